/*
 * Full disk, full shared memory, no private memory: what is refused is not there, what was there
 * can be looked up, and when there is room again the writer goes on by itself.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/alloc.h"
#include "support/engine_fixture.h"
#include "support/faulty_files.h"
#include "support/rng.h"

TestSuite(writer_full, .timeout = 120);

#define N_OPS 200

struct batch {
        struct lanemap_op ops[N_OPS];
        char keys[N_OPS][24];
};

/* Each test is a process. */
static struct rng rng;
static uint32_t next;

static void index_init(struct fixture *fixture)
{
        fixture_init(fixture, "full");
        rng_init(&rng, rng_test_seed(3));
}

static void index_open(struct fixture *fixture)
{
        fixture_open(fixture);
        if (!fixture->reader)
                fixture_attach(fixture, NULL);
}

/* New keys, and removals of old ones; with long_keys, ids of a few keys instead. */
static void batch_make(bool long_keys, struct batch *batch)
{
        for (uint32_t i = 0; i < N_OPS; i++) {
                bool adding = rng_chance(&rng, 90);
                uint32_t n = adding ? next++ : (uint32_t)rng_below(&rng, next + 1);

                snprintf(batch->keys[i], sizeof(batch->keys[i]), "k%" PRIu32,
                         long_keys ? n % 16 : n);
                batch->ops[i] =
                        (struct lanemap_op){adding ? LANEMAP_OP_ADD : LANEMAP_OP_REMOVE, n * 7919,
                                            batch->keys[i], strlen(batch->keys[i])};
        }
}

/* The model gets what was applied: a prefix. Return: what apply answered. */
static int batch_apply(struct fixture *fixture, bool long_keys)
{
        struct lanemap_op_result results[N_OPS];
        struct batch batch;
        size_t n_applied = SIZE_MAX;
        int r;

        batch_make(long_keys, &batch);
        r = lanemap_writer_apply(fixture->writer, batch.ops, N_OPS, results, &n_applied, NULL);
        cr_assert(r == 0 ? n_applied == N_OPS : n_applied < N_OPS, "%d: %zu", r, n_applied);
        for (size_t i = 0; i < n_applied; i++) {
                struct lanemap_op_result expected = model_apply(&fixture->model, &batch.ops[i]);

                cr_assert_eq(results[i].n_changed, expected.n_changed);
                cr_assert_eq(results[i].n_ids, expected.n_ids);
        }
        return r;
}

static void pause_ms(long ms)
{
        struct timespec pause = {.tv_nsec = ms * 1000 * 1000};

        nanosleep(&pause, NULL);
}

static void resume(struct fixture *fixture, bool long_keys)
{
        int r = -1;

        for (int i = 0; i < 250 && r != 0; i++) {
                r = batch_apply(fixture, long_keys);
                if (r != 0)
                        pause_ms(20);
        }
        cr_assert_eq(r, 0, "writing does not resume: %d", r);
        fixture_expect_model(fixture, "resumed");
}

/* ---- the disk ---- */

Test(writer_full, disk)
{
        struct faulty_files faulty;
        struct fixture fixture;
        int r = 0;

        index_init(&fixture);
        faulty_files_init(&faulty, fixture.scratch.dir_fd);
        faulty.calls = FAULTY_ALLOCATE | FAULTY_PWRITE;
        faulty.error = -ENOSPC;
        faulty.n_failing = UINT64_MAX;
        fixture.hooks.files = &faulty.files;
        fixture.options.outcome_limit_ns = 50 * 1000 * 1000;
        index_open(&fixture);
        for (int round = 0; round < 3; round++) {
                for (int i = 0; i < 10; i++)
                        cr_assert_eq(batch_apply(&fixture, false), 0);

                faulty.fail_at = 1;
                for (int i = 0; i < 2000 && r == 0; i++)
                        r = batch_apply(&fixture, false);
                cr_assert(r == -ENOSPC, "%d", r);
                fixture_expect_model(&fixture, "full disk");
                r = lanemap_writer_sync(fixture.writer, lanemap_writer_position(fixture.writer));
                cr_assert(r == 0 || r == -ENOSPC, "%d", r);

                faulty.fail_at = 0;
                resume(&fixture, false);
                r = lanemap_writer_sync(fixture.writer, lanemap_writer_position(fixture.writer));
                cr_assert_eq(r, 0, "%d", r);
                cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
                fixture_expect_model(&fixture, "room again");
        }

        fixture_close(&fixture);
        fixture.hooks.files = NULL;
        index_open(&fixture);
        fixture_expect_model(&fixture, "reopened");
        fixture_deinit(&fixture);
        faulty_files_deinit(&faulty);
}

/* ---- shared memory ---- */

/* While no flush gets through, it fills up. */
static void fill_shared_memory(struct fixture *fixture, struct faulty_files *faulty, bool long_keys)
{
        int r = 0;

        faulty->fail_at = 1;
        for (int i = 0; i < 20000 && r == 0; i++)
                r = batch_apply(fixture, long_keys);
        faulty->fail_at = 0;
        cr_assert_eq(r, -ENOSPC, "%d", r);
        fixture_expect_model(fixture, "full");
}

/* Refused too while the engine still takes flushes for failing: until its next try. */
static void clear_all(struct fixture *fixture)
{
        static const struct lanemap_op clear = {.code = LANEMAP_OP_CLEAR};
        int r = -1;

        for (int i = 0; i < 250 && r != 0; i++) {
                r = engine_apply_durably(fixture->writer, &clear, 1);
                cr_assert(r == 0 || r == -ENOSPC, "%d", r);
                if (r != 0)
                        pause_ms(20);
        }
        cr_assert_eq(r, 0, "a clear in full memory: %d", r);
        (void)model_apply(&fixture->model, &clear);
}

static void shared_memory(uint64_t bytes_max, uint32_t n_lanes, bool long_keys)
{
        struct faulty_files faulty;
        struct fixture fixture;

        index_init(&fixture);
        faulty_files_init(&faulty, fixture.scratch.dir_fd);
        faulty.calls = FAULTY_RENAME;
        faulty.n_failing = UINT64_MAX;
        fixture.hooks.files = &faulty.files;
        fixture.options.n_lanes = n_lanes;
        fixture.options.shared_bytes_max = bytes_max;
        fixture.options.flush_bytes = 64 << 20; /* never for its own sake */
        fixture.options.log_file_bytes = 64 << 20;
        fixture.options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        index_open(&fixture);
        for (int round = 0; round < 3; round++) {
                fill_shared_memory(&fixture, &faulty, long_keys);
                resume(&fixture, long_keys);
        }

        fill_shared_memory(&fixture, &faulty, long_keys);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        fixture_expect_model(&fixture, "compacted");
        resume(&fixture, long_keys);

        /* Full again, and everything goes. */
        fill_shared_memory(&fixture, &faulty, long_keys);
        clear_all(&fixture);
        resume(&fixture, long_keys);
        fill_shared_memory(&fixture, &faulty, long_keys);
        fixture_close(&fixture);
        index_open(&fixture);
        fixture_expect_model(&fixture, "reopened");
        fixture_deinit(&fixture);
        faulty_files_deinit(&faulty);
}

Test(writer_full, shared_memory_with_many_keys)
{
        shared_memory(512 << 10, 4, false);
}

Test(writer_full, shared_memory_with_many_lanes)
{
        shared_memory(512 << 10, 200, false);
}

/* A table for each of so many lanes may take all of it: what a flush needs is there only because it
 * was kept back. */
Test(writer_full, shared_memory_that_empty_overlays_fill)
{
        shared_memory(1 << 20, 1000, false);
}

Test(writer_full, shared_memory_with_long_postings)
{
        shared_memory(512 << 10, 1, true);
}

/* Not even the first object has room: open says so and leaves nothing behind. */
Test(writer_full, shared_memory_too_small_to_open)
{
        struct fixture fixture;
        struct lanemap_writer *writer = NULL;
        char *left;
        int r;

        index_init(&fixture);
        fixture.options.n_lanes = 64;
        fixture.options.shared_bytes_max = 16 << 10;
        r = lanemap_writer_open(&fixture.options, &writer);
        cr_expect_eq(r, -ENOSPC, "%d", r);
        cr_expect(strstr(fixture.error.text, "shared memory"), "%s", fixture.error.text);
        fixture.options.shared_bytes_max = 0;
        cr_expect_eq(lanemap_writer_open(&fixture.options, &writer), 0, "%s", fixture.error.text);
        left = scratch_shared_listing(fixture.scratch.name);
        free(left);
        lanemap_writer_close(writer);
        fixture_deinit(&fixture);
}

/* ---- private memory ---- */

Test(writer_full, the_nth_allocation_of_open_fails)
{
        struct lanemap_writer *writer;
        struct fixture fixture;
        uint64_t n;
        int r = -1;

        index_init(&fixture);
        index_open(&fixture);
        for (int i = 0; i < 5; i++)
                cr_assert_eq(batch_apply(&fixture, false), 0);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_assert_eq(batch_apply(&fixture, false), 0);
        fixture_close(&fixture);

        for (n = 1; n < 2000 && r != 0; n++) {
                lanemap_alloc_fail_after(n);
                r = lanemap_writer_open(&fixture.options, &writer);
                lanemap_alloc_fail_after(0);
                cr_assert(r == 0 || r == -ENOMEM, "allocation %" PRIu64 ": %d, %s", n, r,
                          fixture.error.text);
        }
        cr_assert_gt(n, 10);
        fixture.writer = writer;
        fixture_expect_model(&fixture, "after all");
        fixture_deinit(&fixture);
}

Test(writer_full, the_nth_allocation_of_apply_and_flush_fails)
{
        static const uint32_t requests[] = {LANEMAP_REQUEST_FLUSH, LANEMAP_REQUEST_COMPACT,
                                            LANEMAP_REQUEST_FLIP};
        struct fixture fixture;
        int r;

        index_init(&fixture);
        index_open(&fixture);
        for (uint64_t n = 1; n < 120; n++) {
                lanemap_alloc_fail_after(n % 30 + 1);
                r = batch_apply(&fixture, n % 3 == 0);
                cr_assert(r == 0 || r == -ENOMEM, "allocation %" PRIu64 ": %d", n, r);

                lanemap_alloc_fail_after(n);
                r = engine_request(fixture.writer, requests[n % LANEMAP_N_ELEMENTS(requests)]);
                lanemap_alloc_fail_after(0);
                cr_assert(r == 0 || r == -ENOMEM, "allocation %" PRIu64 ": %d", n, r);
                fixture_expect_model(&fixture, "after a failed allocation");
        }
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        fixture_expect_model(&fixture, "compacted");
        fixture_close(&fixture);
        index_open(&fixture);
        fixture_expect_model(&fixture, "reopened");
        fixture_deinit(&fixture);
}
