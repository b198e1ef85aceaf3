/*
 * Back-pressure (src/README.md): a flush that does not get through costs writes their time, never
 * more memory than a bound; and they go on when it does.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "common/order.h"
#include "support/engine.h"
#include "support/still_clock.h"
#include "writer/apply/apply.h"
#include "writer/core/hooks.h"

TestSuite(writer_pressure, .timeout = 120);

#define BATCHES 2000
#define BATCH   256
#define N_LANES 4

/* Four times the budget, or 4 MiB, is where applies wait: writer/apply/apply.c. A table may double
 * within the batch that got past it, and the frozen overlays lie beside it. */
#define OVERLAY_BYTES_MAX (UINT64_C(3) * (4 << 20))

static uint32_t renames_wait;

static int rename_when_allowed(const struct lanemap_files *files, int dir_fd, const char *from,
                               const char *to)
{
        while (lanemap_load_acquire(&renames_wait))
                usleep(1000);
        return lanemap_files_posix.rename(&lanemap_files_posix, dir_fd, from, to);
}

struct adder {
        struct lanemap_writer *writer;
        uint32_t n_done; /* atomic: batches */
        int result;
};

static void *adder_main(void *arg)
{
        static struct lanemap_op ops[BATCH];
        static char keys[BATCH][24];
        struct adder *adder = arg;

        for (uint32_t b = 0; b < BATCHES && adder->result == 0; b++) {
                for (uint32_t i = 0; i < BATCH; i++) {
                        int n = snprintf(keys[i], sizeof(keys[i]), "pressed=%u", b * BATCH + i);

                        ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, b, keys[i], (size_t)n};
                }
                adder->result = lanemap_writer_apply(adder->writer, ops, BATCH, NULL, NULL, NULL);
                lanemap_store_release(&adder->n_done, b + 1);
        }
        return NULL;
}

Test(writer_pressure, writes_wait_for_a_flush_that_is_stuck)
{
        struct lanemap_files files = lanemap_files_posix;
        struct lanemap_writer_hooks hooks = {.files = &files};
        struct lanemap_writer_options options;
        struct lanemap_writer_stats stats;
        struct adder adder = {0};
        struct scratch scratch;
        pthread_t thread;

        files.rename = rename_when_allowed;
        scratch_init(&scratch, "pressure");
        engine_options_init(&options, &scratch, NULL);
        options.n_lanes = N_LANES;
        options.hooks = &hooks;
        options.log_file_bytes = 0;
        options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        cr_assert_eq(lanemap_writer_open(&options, &adder.writer), 0);

        lanemap_store_release(&renames_wait, UINT32_C(1));
        cr_assert_eq(pthread_create(&thread, NULL, adder_main, &adder), 0);
        do {
                usleep(1000);
                engine_stats(adder.writer, &stats);
                cr_assert_leq(stats.overlay_bytes, OVERLAY_BYTES_MAX);
        } while (stats.n_write_stalls == 0 && lanemap_load_acquire(&adder.n_done) < BATCHES);
        cr_expect_lt(lanemap_load_acquire(&adder.n_done), BATCHES, "nothing ever waited");
        cr_expect_eq(stats.n_flushes, 0);

        lanemap_store_release(&renames_wait, UINT32_C(0));
        pthread_join(thread, NULL);
        cr_assert_eq(adder.result, 0);
        engine_stats(adder.writer, &stats);
        cr_expect_eq(stats.n_keys, BATCHES * BATCH);
        cr_expect_gt(stats.write_stall_ns, 0);
        cr_expect_gt(stats.n_flushes, 0);
        cr_expect_leq(stats.n_segments_max, 6); /* one of them on top of a merge */

        lanemap_writer_close(adder.writer);
        scratch_deinit(&scratch);
}

/* ---- a caller that does not wait ---- */

/* LP4 in daemon/daemon.h: it is told when to come back, by delays that grow, then until a flush
 * ends; and what it was refused it may bring again. */
Test(writer_pressure, an_apply_that_may_not_wait_says_how_long)
{
        struct lanemap_files files = lanemap_files_posix;
        struct lanemap_writer_hooks hooks = {.files = &files};
        struct lanemap_writer_options options;
        struct lanemap_writer_stats stats;
        struct lanemap_writer *writer;
        uint64_t wait_ns, n_delayed = 0;
        struct still_clock clock;
        struct scratch scratch;
        uint32_t n_added = 0;

        /* Time passes only here: how fast this machine is does not matter. */
        still_clock_init(&clock, UINT64_C(1000000000));
        hooks.clock = &clock.clock;
        files.rename = rename_when_allowed;
        scratch_init(&scratch, "pressure");
        engine_options_init(&options, &scratch, NULL);
        options.n_lanes = N_LANES;
        options.hooks = &hooks;
        options.log_file_bytes = 0;
        options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);

        lanemap_store_release(&renames_wait, UINT32_C(1));
        do {
                struct lanemap_op op = {LANEMAP_OP_ADD, 7, &n_added, sizeof(n_added)};
                size_t n_applied = 1;
                int r;

                r = lanemap_writer_try_apply(writer, &op, 1, NULL, &n_applied, NULL, &wait_ns);
                cr_assert(r == 0 || r == -EAGAIN, "%d", r);
                cr_assert_eq(n_applied, r == 0 ? 1 : 0);
                cr_assert_eq(wait_ns > 0, r == -EAGAIN);
                n_added += r == 0;
                if (r == -EAGAIN)
                        still_clock_advance(&clock, wait_ns);
                engine_stats(writer, &stats);
                /* Not for a lock that a flush has at the moment. */
                n_delayed += r == -EAGAIN && wait_ns != LANEMAP_ENGINE_TRY_NS &&
                             stats.n_write_stalls == 0;
        } while (stats.n_write_stalls == 0);
        cr_expect_gt(stats.n_write_delays, 0);
        cr_expect_gt(stats.write_delay_ns, 0);
        cr_expect_gt(n_delayed, 0, "slowed down before it was stopped");
        cr_expect_eq(lanemap_writer_apply_is_ready(writer, 100, &wait_ns), 0);
        cr_expect_gt(wait_ns, 0);

        lanemap_store_release(&renames_wait, UINT32_C(0));
        while (!lanemap_writer_apply_is_ready(writer, 100, &wait_ns)) {
                still_clock_advance(&clock, wait_ns);
                usleep(1000);
        }
        cr_expect_eq(wait_ns, 0);
        cr_expect_eq(engine_add(writer, "more", 1), 0);
        engine_stats(writer, &stats);
        cr_expect_eq(stats.n_keys, n_added + 1);
        cr_expect_gt(stats.write_stall_ns, 0);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}

/*
 * Policy `no`, and no flush: memory of the log for what is not durable is 64 MiB, and only a sync
 * empties it. Twice as much goes through, also for a caller that may not wait.
 */
Test(writer_pressure, a_log_that_nobody_syncs_does_not_fill_up)
{
        static struct lanemap_op ops[LANEMAP_APPLY_OPS_MAX / 2];
        struct lanemap_writer_options options;
        struct lanemap_writer_stats stats;
        struct lanemap_writer *writer;
        struct scratch scratch;
        uint32_t code = LANEMAP_OP_REMOVE;
        uint64_t wait_ns;

        scratch_init(&scratch, "pressure");
        engine_options_init(&options, &scratch, NULL);
        options.n_lanes = N_LANES;
        options.flush_bytes = UINT64_C(1) << 40;
        options.log_file_bytes = UINT64_C(1) << 30;
        options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);

        do {
                code = LANEMAP_OP_ADD + LANEMAP_OP_REMOVE - code;
                for (uint32_t i = 0; i < LANEMAP_N_ELEMENTS(ops); i++)
                        ops[i] = (struct lanemap_op){code, i, "key", 3};
                for (uint32_t n_looks = 0;
                     !lanemap_writer_apply_is_ready(writer, LANEMAP_APPLY_BYTES_MAX, &wait_ns);
                     n_looks++) {
                        cr_assert_lt(n_looks, 20000, "nobody empties it");
                        usleep((useconds_t)(wait_ns / 1000));
                }
                cr_assert_eq(lanemap_writer_apply(writer, ops, LANEMAP_N_ELEMENTS(ops), NULL, NULL,
                                                  NULL),
                             0);
                engine_stats(writer, &stats);
        } while (stats.log_bytes < UINT64_C(160) << 20);
        cr_expect_eq(stats.n_flushes, 0);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}

/* ---- closing in the midst of a merge that is held back ---- */

static void add_keys(struct lanemap_writer *writer, uint32_t n)
{
        char key[24];

        for (uint32_t i = 0; i < n; i++) {
                snprintf(key, sizeof(key), "closed=%u", i);
                cr_assert_eq(engine_add(writer, key, n), 0);
        }
        cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_FLUSH), 0);
}

static uint32_t n_complaints;

static void complaint_count(void *arg, int priority, const char *line)
{
        if (priority <= LOG_WARNING && strstr(line, "merged"))
                __atomic_add_fetch(&n_complaints, 1, __ATOMIC_RELAXED);
}

/* At a byte a second it would take an hour. Whoever closes waits for a section at most, and is not
 * told of a failure. */
Test(writer_pressure, a_paced_merge_is_given_up_when_the_writer_closes)
{
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct scratch scratch;
        char path[256];
        size_t n_ids;

        scratch_init(&scratch, "pressure");
        engine_options_init(&options, &scratch, NULL);
        options.n_lanes = N_LANES;
        options.flush_bytes = UINT64_C(1) << 30;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        add_keys(writer, 4000);
        add_keys(writer, 40);
        lanemap_writer_close(writer);

        /* Lanes that nobody changes are merged, and were not changed since the start. */
        options.compaction_bytes_per_second = 1;
        options.log = complaint_count;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        while (!scratch_find(scratch.directory, "tmp-seg-", path, sizeof(path)))
                usleep(1000);
        lanemap_writer_close(writer);
        cr_expect_eq(n_complaints, 0);
        cr_expect_not(scratch_find(scratch.directory, "tmp-seg-", path, sizeof(path)));

        options.compaction_bytes_per_second = 0;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        cr_expect_eq(lanemap_writer_lookup(writer, "closed=39", 9, NULL, 0, &n_ids, NULL), 0);
        cr_expect_eq(n_ids, 2);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}
