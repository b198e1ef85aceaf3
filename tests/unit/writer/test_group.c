/*
 * Groups of operations: whole or not at all, however memory runs out (GR1); a posting is changed
 * once per group, counted in shared memory (GR2); in the midst of other operations, too.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "support/engine_fixture.h"
#include "support/faulty_files.h"
#include "support/rng.h"

TestSuite(writer_group, .timeout = 120);

#define MANY  524288
#define N_OPS 400

static struct lanemap_op ops[MANY];
static struct lanemap_op_result results[MANY];
static char keys[MANY][16];

static void op_set(size_t i, uint32_t code, const char *key, uint32_t id)
{
        snprintf(keys[i], sizeof(keys[i]), "%s", key);
        ops[i] = (struct lanemap_op){code, id, keys[i], strlen(keys[i])};
}

static void ops_join(size_t first, size_t n)
{
        for (size_t i = first; i + 1 < first + n; i++)
                ops[i].code |= LANEMAP_OP_WITH_NEXT;
}

/* What the writer answers, and that all of it, or nothing from `whole` on, was applied. */
static int ops_apply(struct fixture *fixture, size_t n, size_t whole)
{
        size_t n_applied = SIZE_MAX;
        int r;

        r = lanemap_writer_apply(fixture->writer, ops, n, results, &n_applied, NULL);
        cr_assert(r == 0 ? n_applied == n : n_applied == whole, "%d: %zu of %zu", r, n_applied, n);
        for (size_t i = 0; i < n_applied; i++) {
                struct lanemap_op_result expected = model_apply(&fixture->model, &ops[i]);

                cr_assert_eq(results[i].n_changed, expected.n_changed, "%zu", i);
                cr_assert_eq(results[i].n_ids, expected.n_ids, "%zu", i);
        }
        return r;
}

/* ---- operations that undo each other ---- */

/* A clear where nothing is left to clear: what is added after it was there before the group. */
Test(writer_group, a_clear_of_what_the_group_has_emptied)
{
        struct fixture fixture;

        fixture_init(&fixture, "group");
        fixture_open(&fixture);
        fixture_attach(&fixture, NULL);
        op_set(0, LANEMAP_OP_ADD, "k", 1);
        cr_assert_eq(ops_apply(&fixture, 1, 1), 0);
        op_set(0, LANEMAP_OP_REMOVE, "k", 1);
        op_set(1, LANEMAP_OP_CLEAR, "", 0);
        op_set(2, LANEMAP_OP_ADD, "k", 1);
        op_set(3, LANEMAP_OP_ADD, "other", 3);
        ops_join(0, 4);
        cr_assert_eq(ops_apply(&fixture, 4, 4), 0);
        fixture_expect_model(&fixture, "applied");
        fixture_close(&fixture);
        fixture_open(&fixture);
        fixture_expect_model(&fixture, "reopened");
        fixture_deinit(&fixture);
}

/* It changes no key, but it is a record: a flush covers it, and the log does not grow for ever. */
Test(writer_group, a_group_that_cancels_out_moves_the_position)
{
        struct fixture fixture;
        uint64_t position;

        fixture_init(&fixture, "group");
        fixture_open(&fixture);
        fixture_attach(&fixture, NULL);
        position = lanemap_writer_position(fixture.writer);
        op_set(0, LANEMAP_OP_ADD, "k", 1);
        op_set(1, LANEMAP_OP_REMOVE, "k", 1);
        ops_join(0, 2);
        cr_assert_eq(ops_apply(&fixture, 2, 2), 0);
        cr_expect_eq(lanemap_writer_position(fixture.writer), position + 1);
        cr_expect_eq(lanemap_writer_sync(fixture.writer, position + 1), 0);
        fixture_expect_model(&fixture, "applied");
        fixture_deinit(&fixture);
}

/* ---- GR1 ---- */

/* No flush gets through, and memory has no room for half a million ids of one key. */
static void small_open(struct fixture *fixture, struct faulty_files *faulty)
{
        fixture_init(fixture, "group");
        faulty_files_init(faulty, fixture->scratch.dir_fd);
        faulty->calls = FAULTY_RENAME;
        faulty->n_failing = UINT64_MAX;
        fixture->hooks.files = &faulty->files;
        fixture->options.shared_bytes_max = 1 << 20;
        fixture->options.flush_bytes = 64 << 20; /* never for its own sake */
        fixture->options.log_file_bytes = 64 << 20;
        fixture->options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        fixture_open(fixture);
        fixture_attach(fixture, NULL);
        faulty->fail_at = 1;
        op_set(0, LANEMAP_OP_ADD, "before", 1);
        op_set(1, LANEMAP_OP_ADD, "other", 2);
        cr_assert_eq(ops_apply(fixture, 2, 2), 0);
}

static void small_close(struct fixture *fixture, struct faulty_files *faulty)
{
        fixture_expect_model(fixture, "refused");
        faulty->fail_at = 0;
        fixture_close(fixture);
        fixture_open(fixture);
        fixture_expect_model(fixture, "reopened");
        fixture_deinit(fixture);
        faulty_files_deinit(faulty);
}

static void too_much_set(size_t first)
{
        for (size_t i = first; i < MANY; i++)
                op_set(i, LANEMAP_OP_ADD, "long", (uint32_t)i);
        ops_join(first, MANY - first);
}

Test(writer_group, a_group_without_room_changes_nothing)
{
        struct faulty_files faulty;
        struct fixture fixture;
        uint64_t position, used_bytes;

        small_open(&fixture, &faulty);
        used_bytes = fixture_stats(&fixture).shared_used_bytes;
        position = lanemap_writer_position(fixture.writer);
        op_set(0, LANEMAP_OP_ADD, "first", 1);
        op_set(1, LANEMAP_OP_DELETE, "before", 0);
        op_set(2, LANEMAP_OP_MARK, "mark", 0);
        for (uint32_t i = 3; i < 20003; i++)
                op_set(i, LANEMAP_OP_ADD, "long too", i);
        too_much_set(20003);
        ops_join(0, MANY);
        cr_assert_eq(ops_apply(&fixture, MANY, 0), -ENOSPC);
        cr_expect_leq(fixture_stats(&fixture).shared_used_bytes, used_bytes + 4096);
        cr_expect_eq(lanemap_writer_position(fixture.writer), position);
        small_close(&fixture, &faulty);
}

Test(writer_group, a_clear_in_a_group_without_room_clears_nothing)
{
        struct faulty_files faulty;
        struct fixture fixture;

        small_open(&fixture, &faulty);
        op_set(0, LANEMAP_OP_CLEAR, "", 0);
        too_much_set(1);
        ops_join(0, MANY);
        cr_assert_eq(ops_apply(&fixture, MANY, 0), -ENOSPC);
        small_close(&fixture, &faulty);
}

Test(writer_group, what_comes_before_a_group_without_room_is_applied)
{
        struct faulty_files faulty;
        struct fixture fixture;

        small_open(&fixture, &faulty);
        op_set(0, LANEMAP_OP_ADD, "long", 5);
        op_set(1, LANEMAP_OP_ADD, "first", 1);
        op_set(2, LANEMAP_OP_ADD, "first", 2);
        ops_join(1, 2);
        too_much_set(3);
        cr_assert_eq(ops_apply(&fixture, MANY, 3), -ENOSPC);
        /* What is too much alone leaves room for others. */
        op_set(0, LANEMAP_OP_REMOVE, "long", 5);
        op_set(1, LANEMAP_OP_ADD, "long", 6);
        ops_join(0, 2);
        cr_assert_eq(ops_apply(&fixture, 2, 2), 0);
        small_close(&fixture, &faulty);
}

Test(writer_group, a_bad_operation_refuses_its_group)
{
        struct fixture fixture;

        fixture_init(&fixture, "group");
        fixture_open(&fixture);
        op_set(0, LANEMAP_OP_ADD, "alone", 1);
        op_set(1, LANEMAP_OP_ADD, "one", 1);
        op_set(2, LANEMAP_OP_ADD, "two", 1);
        op_set(3, LANEMAP_OP_ADD, "", 1);
        op_set(4, LANEMAP_OP_ADD, "three", 1);
        ops_join(1, 4);
        cr_assert_eq(ops_apply(&fixture, 5, 1), -EINVAL);
        fixture_expect_model(&fixture, "a bad operation");
        fixture_deinit(&fixture);
}

/* Ids come, go and come again, of few keys; a clear, a mark; some of it alone and some together. */
static size_t mixed_set(struct rng *rng)
{
        static const uint32_t codes[] = {LANEMAP_OP_ADD, LANEMAP_OP_ADD, LANEMAP_OP_REMOVE};
        size_t n = 1 + rng_below(rng, N_OPS);
        char key[16];

        for (size_t i = 0; i < n; i++) {
                uint32_t code = rng_below(rng, 60) == 0    ? LANEMAP_OP_DELETE
                                : rng_below(rng, 100) == 0 ? LANEMAP_OP_MARK
                                : rng_below(rng, 300) == 0 ? LANEMAP_OP_CLEAR
                                                           : codes[rng_below(rng, 3)];

                snprintf(key, sizeof(key), "k%" PRIu64, rng_below(rng, 12));
                op_set(i, code, key, (uint32_t)rng_below(rng, 700));
        }
        ops_join(0, n);
        return n;
}

/* Every allocation of private memory fails once, at whatever step of a group. */
Test(writer_group, a_group_without_private_memory_changes_nothing)
{
        struct fixture fixture;
        struct rng rng;

        fixture_init(&fixture, "group");
        rng_init(&rng, rng_test_seed(11));
        fixture_open(&fixture);
        fixture_attach(&fixture, NULL);
        for (uint32_t round = 0; round < 60; round++) {
                size_t n = mixed_set(&rng);
                int r = -ENOMEM;

                for (uint64_t fail = 1; r == -ENOMEM; fail++) {
                        lanemap_alloc_fail_after(fail);
                        r = ops_apply(&fixture, n, 0);
                        lanemap_alloc_fail_after(0);
                        cr_assert(r == 0 || r == -ENOMEM, "round %u, allocation %" PRIu64 ": %d",
                                  round, fail, r);
                }
                if (round % 10 == 0)
                        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
                fixture_expect_model(&fixture, "a group");
        }
        fixture_deinit(&fixture);
}

/* ---- GR2 ---- */

static uint64_t shared_bytes(const struct fixture *fixture)
{
        return fixture_stats(fixture).shared_bytes;
}

/* Distinct, in no order. */
static uint32_t id_of(uint32_t i)
{
        return i * UINT32_C(2654435761) >> 1;
}

/* Half a million random ids of one key, new or there already: 16 bytes of shared memory each, at
 * most, whether they are one group, or operations of their own. */
Test(writer_group, many_ids_of_one_key_take_16_bytes_each)
{
        struct fixture fixture;
        uint64_t before;

        fixture_init(&fixture, "group");
        fixture.options.n_lanes = 64;
        fixture.options.flush_bytes = 0;
        fixture.options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        fixture_open(&fixture);
        for (uint32_t round = 0; round < 4; round++) {
                uint32_t code = round == 3 ? LANEMAP_OP_REMOVE : LANEMAP_OP_ADD;

                before = shared_bytes(&fixture);
                for (uint32_t i = 0; i < MANY; i++)
                        op_set(i, code, "long", id_of(i) ^ (round == 1));
                if (round % 2 == 0)
                        ops_join(0, MANY);
                cr_assert_eq(lanemap_writer_apply(fixture.writer, ops, MANY, results, NULL, NULL),
                             0);
                cr_expect_leq(shared_bytes(&fixture) - before, 16 * (uint64_t)MANY,
                              "round %u: %" PRIu64 " bytes an id", round,
                              (shared_bytes(&fixture) - before) / MANY);
        }
        fixture_deinit(&fixture);
}

/* Between two keys, to and fro: once for each of them. */
Test(writer_group, operations_of_two_keys_in_turn_change_each_once)
{
        struct lanemap_writer_stats stats;
        struct fixture fixture;

        fixture_init(&fixture, "group");
        fixture.options.flush_bytes = 64 << 20;
        fixture_open(&fixture);
        for (uint32_t i = 0; i < 60000; i++)
                op_set(i, LANEMAP_OP_ADD, i % 2 ? "odd" : "even", i);
        cr_assert_eq(ops_apply(&fixture, 60000, 0), 0);
        for (uint32_t i = 0; i < 20000; i++)
                op_set(i, LANEMAP_OP_REMOVE, i % 2 ? "odd" : "even", 3 * i);
        cr_assert_eq(ops_apply(&fixture, 20000, 0), 0);
        stats = fixture_stats(&fixture);
        /* The postings as they were, and as they are. */
        cr_expect_leq(stats.shared_used_bytes, 2 * 60000 * 5 + (256 << 10));
        fixture_expect_model(&fixture, "two keys");
        fixture_deinit(&fixture);
}

static int many_then_crash(void *arg)
{
        struct fixture *fixture = arg;

        fixture_open(fixture);
        for (uint32_t i = 0; i < MANY; i++)
                op_set(i, LANEMAP_OP_ADD, "long", id_of(i));
        cr_assert_eq(engine_apply_durably(fixture->writer, ops, MANY), 0);
        return 0;
}

/* The record of it is replayed as it was applied, with memory for twice the posting, not for each
 * of its operations. */
Test(writer_group, a_record_of_many_ids_is_replayed_as_one_change)
{
        struct fixture fixture;
        uint64_t heap_bytes;

        fixture_init(&fixture, "group");
        fixture.options.n_lanes = 64;
        fixture.options.flush_bytes = 0;
        cr_assert_eq(engine_crash_after(many_then_crash, &fixture), 0);
        fixture_open(&fixture);
        cr_expect_eq(fixture_stats(&fixture).n_pairs, MANY);
        cr_expect_eq(fixture_stats(&fixture).recovered_records, 1);
        cr_expect_leq(shared_bytes(&fixture), 16 * (uint64_t)MANY);
        heap_bytes = fixture_stats(&fixture).heap_bytes;
        cr_expect_leq(heap_bytes, 64 << 20, "%" PRIu64, heap_bytes);
        fixture_deinit(&fixture);
}
