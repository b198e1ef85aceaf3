/*
 * What one id more in a long posting costs a running writer, counted (W12): flushes, bytes in
 * segment files, shared memory. And that it waits for room instead of being refused, where a flush
 * gives some.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "support/engine_fixture.h"
#include "writer/core/engine.h"

TestSuite(writer_long_posting, .timeout = 120);

#define N_IDS  100000
#define N_ADDS 20000

static void index_open(struct fixture *fixture, uint64_t shared_bytes_max)
{
        fixture_init(fixture, "long");
        fixture->options.n_lanes = 64;
        fixture->options.flush_bytes = 0;
        fixture->options.log_file_bytes = 0;
        fixture->options.shared_bytes_max = shared_bytes_max;
        fixture->options.quarantine_ns = 1; /* so that what waits in it is no part of the sums */
        fixture->options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        fixture_open(fixture);
}

/* n_ids even ids in small batches, in a segment. */
static void posting_make(struct fixture *fixture, uint32_t n_ids)
{
        struct lanemap_op ops[100];

        for (uint32_t at = 0; at < n_ids; at += 100) {
                for (uint32_t i = 0; i < 100; i++)
                        ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, 2 * (at + i), "long", 4};
                cr_assert_eq(lanemap_writer_apply(fixture->writer, ops, 100, NULL, NULL, NULL), 0);
        }
        cr_assert_eq(engine_request(fixture->writer, LANEMAP_REQUEST_COMPACT), 0);
}

static void add(struct fixture *fixture, uint32_t i)
{
        uint32_t id = 2 * (uint32_t)((uint64_t)i * 40503 % N_IDS) + 1;
        char key[16];
        struct lanemap_op ops[2] = {
                {LANEMAP_OP_ADD, i, key, (size_t)snprintf(key, sizeof(key), "new-%" PRIu32, i)},
                {LANEMAP_OP_ADD, id, "long", 4},
        };

        cr_assert_eq(lanemap_writer_apply(fixture->writer, ops, 2, NULL, NULL, NULL), 0);
}

/* One that is wanted, under way, or over. */
static bool flush_has_begun(struct fixture *fixture, const struct lanemap_writer_stats *before)
{
        struct lanemap_writer_stats stats;
        bool begun;

        lanemap_mutex_lock(&fixture->writer->lanes.lock);
        begun = fixture->writer->pressure.flush_wanted || fixture->writer->lanes.has_frozen_set;
        lanemap_mutex_unlock(&fixture->writer->lanes.lock);
        engine_stats(fixture->writer, &stats);
        return begun || stats.n_flushes > before->n_flushes;
}

/*
 * The posting takes about 440 KB in an overlay, so the budget of 256 KiB decides: a new key and a
 * change of the posting are 96 bytes of it, so a flush comes after 1,400 adds or more. It writes
 * the posting, of 1 to 3 bytes an id, and the keys; a merge at most the same again.
 */
Test(writer_long_posting, one_id_more_costs_a_bounded_number_of_bytes)
{
        struct lanemap_writer_stats before, after;
        struct fixture fixture;
        uint64_t n_flushes;

        index_open(&fixture, 256 << 20);
        posting_make(&fixture, N_IDS);
        engine_stats(fixture.writer, &before);
        for (uint32_t i = 0; i < N_ADDS; i++) {
                add(&fixture, i);
                if (i == 1000)
                        cr_expect_not(flush_has_begun(&fixture, &before));
        }
        engine_stats(fixture.writer, &after);

        n_flushes = after.n_flushes - before.n_flushes;
        cr_expect_leq(n_flushes, N_ADDS / 1400 + 1, "%" PRIu64 " flushes", n_flushes);
        cr_expect_leq(after.segment_bytes_written - before.segment_bytes_written,
                      UINT64_C(1024) * N_ADDS);
        cr_expect_leq(after.user_bytes_in - before.user_bytes_in, UINT64_C(100) * N_ADDS);
        /* An active and a frozen copy, and as much again for the keys, for growth in steps, and for
         * pages that are not full. */
        cr_expect_leq(after.shared_bytes, 4 * N_IDS * UINT64_C(5), "%" PRIu64, after.shared_bytes);
        fixture_deinit(&fixture);
}

/* Comes, goes and comes again: the posting stays as long as it is. */
static void touch_next(struct lanemap_op *touch)
{
        touch->code = touch->code == LANEMAP_OP_ADD ? LANEMAP_OP_REMOVE : LANEMAP_OP_ADD;
}

/*
 * The copy of the posting takes 440 KB of 800 KiB. While a flush writes it, there is no room for
 * the next one: an add waits until the flush has given the first one's back.
 */
Test(writer_long_posting, the_first_touch_after_a_flush_waits_for_room)
{
        struct lanemap_op touch = {LANEMAP_OP_ADD, 1, "long", 4};
        struct fixture fixture;
        uint64_t ticket;
        int r;

        index_open(&fixture, 256 << 20);
        posting_make(&fixture, N_IDS);
        fixture_close(&fixture);
        fixture.options.shared_bytes_max = 800 << 10;
        fixture_open(&fixture);
        for (int i = 0; i < 20; i++) {
                cr_expect_eq(lanemap_writer_apply(fixture.writer, &touch, 1, NULL, NULL, NULL), 0,
                             "add %d", i);
                touch_next(&touch);
                cr_assert_eq(lanemap_writer_request(fixture.writer, LANEMAP_REQUEST_FLUSH, &ticket),
                             0);
                while ((r = lanemap_writer_request_state(fixture.writer, ticket)) ==
                       LANEMAP_PENDING) {
                        cr_assert_eq(
                                lanemap_writer_apply(fixture.writer, &touch, 1, NULL, NULL, NULL),
                                0, "beside flush %d", i);
                        touch_next(&touch);
                }
                cr_expect_eq(r, 0, "flush %d: %d", i, r);
        }
        fixture_deinit(&fixture);
}

/* The parts of the posting, each from the last id and one on. Return: how many ids they have. */
static uint32_t parts_expect(struct fixture *fixture, size_t n_part, uint32_t n_ids)
{
        uint32_t ids[4096], from = 0, n = 0;
        size_t n_got;

        do {
                cr_assert_eq(lanemap_writer_lookup_from(fixture->writer, "long", 4, from, ids,
                                                        n_part, &n_got, NULL),
                             0);
                for (size_t i = 0; i < n_got; i++, n++)
                        cr_assert_eq(ids[i], 2 * n, "id %u of %u, part of %zu", (unsigned)n,
                                     (unsigned)n_ids, n_part);
                from = n_got > 0 ? ids[n_got - 1] + 1 : from;
        } while (n_got == n_part);
        return n;
}

/* In segments, in an overlay, and where it is short; any size of part. */
Test(writer_long_posting, parts_from_an_id_on_are_the_whole)
{
        static const size_t n_parts[] = {1, 3, 127, 128, 129, 1000, 4096};
        const struct lanemap_op last = {LANEMAP_OP_REMOVE, 2 * 9999, "long", 4};
        const struct lanemap_op all = {LANEMAP_OP_DELETE, 0, "long", 4};
        struct fixture fixture;
        uint32_t id;
        size_t n;

        index_open(&fixture, 256 << 20);
        posting_make(&fixture, 10000);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(n_parts); i++)
                cr_expect_eq(parts_expect(&fixture, n_parts[i], 10000), 10000);
        cr_assert_eq(lanemap_writer_apply(fixture.writer, &last, 1, NULL, NULL, NULL), 0);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(n_parts); i++)
                cr_expect_eq(parts_expect(&fixture, n_parts[i], 9999), 9999);
        cr_assert_eq(lanemap_writer_lookup_from(fixture.writer, "long", 4, 501, &id, 1, &n, NULL),
                     0);
        cr_expect(n == 1 && id == 502);
        cr_assert_eq(lanemap_writer_lookup_from(fixture.writer, "long", 4, 500, NULL, 0, &n, NULL),
                     0);
        cr_expect_eq(n, 0);
        cr_assert_eq(lanemap_writer_lookup_from(fixture.writer, "long", 4, 19997, &id, 1, &n, NULL),
                     0);
        cr_expect_eq(n, 0);
        cr_expect_eq(lanemap_writer_lookup_from(fixture.writer, "", 0, 0, &id, 1, &n, NULL),
                     -EINVAL);
        cr_assert_eq(lanemap_writer_apply(fixture.writer, &all, 1, NULL, NULL, NULL), 0);
        for (uint32_t i = 0; i < 20; i++) {
                cr_expect_eq(parts_expect(&fixture, 3, i), i);
                cr_assert_eq(engine_add(fixture.writer, "long", 2 * i), 0);
        }
        fixture_deinit(&fixture);
}
