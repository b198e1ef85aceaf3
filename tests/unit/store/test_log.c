/* The log in good weather: what goes in comes back, in order, once. */
#include "log_model.h"

#include "common/alloc.h"
#include "common/bits.h"

TestSuite(log, .timeout = 60);

static const uint32_t all_bits[] = {64, 80, 96};

Test(log, every_operation_comes_back_at_every_width)
{
        for (size_t i = 0; i < 3; i++) {
                struct lanemap_log_recovery recovery;
                struct lanemap_log *log;
                struct log_model model;

                log_model_init(&model, all_bits[i]);
                cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
                log_model_append_n(&model, log, 500);
                log_model_must_sync(&model, log);
                lanemap_log_close(log);

                log_model_must_recover(&model, &recovery);
                cr_expect_eq(recovery.last_seq, 500);
                cr_expect_eq(recovery.n_records, 500);
                cr_expect_eq(recovery.n_torn_bytes, 0);
                cr_expect_eq(recovery.next_number, 2);
                cr_expect_eq(recovery.n_files, 1);
                cr_expect_eq(recovery.files[0].first_seq, 1);
                cr_expect_eq(recovery.files[0].last_seq, 500);
                lanemap_log_recovery_deinit(&recovery);
                log_model_deinit(&model);
        }
}

Test(log, an_empty_directory_recovers_to_nothing)
{
        struct lanemap_log_recovery recovery;
        struct log_model model;

        log_model_init(&model, 64);
        log_model_must_recover(&model, &recovery);
        cr_expect_eq(recovery.last_seq, 0);
        cr_expect_eq(recovery.next_number, 1);
        cr_expect_eq(recovery.n_files, 0);
        lanemap_log_recovery_deinit(&recovery);
        log_model_deinit(&model);
}

Test(log, a_small_log_stays_small)
{
        struct lanemap_log_stats stats;
        struct lanemap_log *log;
        struct log_model model;

        log_model_init(&model, 64);
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        log_model_append_n(&model, log, 100);
        log_model_must_sync(&model, log);
        lanemap_log_get_stats(log, &stats);
        cr_expect_eq(stats.n_files, 1);
        cr_expect_eq(stats.bytes, 65536);
        cr_expect_eq(stats.buffered_bytes, 0);
        cr_expect_eq(stats.n_syncs, 1);
        cr_expect_eq(stats.n_records, 100);
        lanemap_log_close(log);
        log_model_deinit(&model);
}

Test(log, an_idle_log_holds_no_memory_of_a_burst)
{
        struct lanemap_log *log;
        struct log_model model;
        uint64_t idle_bytes;

        log_model_init(&model, 64);
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        idle_bytes = lanemap_alloc_bytes();
        log_model_append_n(&model, log, 4000);
        cr_assert_gt(lanemap_alloc_bytes(), idle_bytes + 65536);
        log_model_must_sync(&model, log);
        cr_expect_leq(lanemap_alloc_bytes(), idle_bytes + 16384);
        log_model_append_n(&model, log, 10);
        log_model_must_sync(&model, log);
        lanemap_log_close(log);
        log_model_deinit(&model);
}

Test(log, numbers_go_on_over_restarts_and_old_files_can_go)
{
        struct lanemap_log_file files[64];
        struct lanemap_log *log;
        struct log_model model;

        log_model_init(&model, 64);
        for (int run = 0; run < 5; run++) {
                cr_assert_eq(log_model_reopen(&model, &log), 0);
                cr_expect_eq(lanemap_log_last(log), 10 * (uint64_t)run);
                cr_expect_eq(lanemap_log_durable(log), 10 * (uint64_t)run);
                cr_expect_eq(lanemap_log_number(log), 1 + (uint64_t)run);
                log_model_append_n(&model, log, 10);
                log_model_must_sync(&model, log);
                if (run < 4)
                        lanemap_log_close(log);
        }

        cr_expect_eq(lanemap_log_get_files(log, files, 64), 5);
        cr_expect_eq(lanemap_log_get_files(log, files, 0), 5);
        for (uint64_t i = 0; i < 4; i++)
                cr_expect_eq(files[i].last_seq, files[i + 1].first_seq - 1);

        /* Each writer has copied what was not proven, so the files hold 0, 10, 10, 10 and 20. */
        cr_expect_eq(lanemap_log_drop(log, 25, 2), 1);
        cr_expect_eq(lanemap_log_drop(log, 25, 2), 0);
        cr_expect_eq(lanemap_log_drop(log, 25, UINT64_MAX), 2);
        cr_expect_eq(lanemap_log_drop(log, 1000, UINT64_MAX), 1, "the current file stays");
        lanemap_log_close(log);

        model.recover.lowest_position = model.recover.highest_position = 50;
        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_last(log), 50);
        lanemap_log_close(log);
        log_model_deinit(&model);
}

Test(log, the_manifest_may_be_ahead_of_an_empty_log)
{
        struct lanemap_log_recovery recovery;
        struct lanemap_log *log;
        struct log_model model;

        log_model_init(&model, 64);
        model.n_records = 77;
        model.recover.lowest_position = model.recover.highest_position = 77;
        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_last(log), 77);
        log_model_append_n(&model, log, 3);
        log_model_must_sync(&model, log);
        lanemap_log_close(log);
        log_model_must_recover(&model, &recovery);
        cr_expect_eq(recovery.last_seq, 80);
        cr_expect_eq(recovery.n_records, 3);
        lanemap_log_recovery_deinit(&recovery);

        /* But then a hole between lowest and highest is corruption. */
        model.recover.lowest_position = 70;
        cr_expect_eq(log_model_recover(&model, &recovery), -EBADMSG);
        cr_expect(strstr(model.error.text, "record 71"), "%s", model.error.text);
        log_model_deinit(&model);
}

Test(log, a_full_file_is_followed_by_a_new_one)
{
        struct lanemap_log_recovery recovery;
        struct lanemap_log_stats stats;
        struct lanemap_log *log;
        struct log_model model;

        log_model_init(&model, 64);
        model.config.file_bytes = 10000;
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        for (int i = 0; i < 40; i++) {
                log_model_append_n(&model, log, 1 + (size_t)i % 20);
                cr_assert_eq(lanemap_log_write_and_sync(log, i % 3 == 0), 0);
                log_model_note(&model, log);
                cr_assert_eq(lanemap_log_written(log), model.n_records);
        }
        lanemap_log_get_stats(log, &stats);
        cr_expect_gt(stats.n_rotations, 10);
        cr_expect_eq(stats.n_files, stats.n_rotations + 1);
        lanemap_log_close(log);

        log_model_must_recover(&model, &recovery);
        cr_expect_eq(recovery.last_seq, model.n_records, "the page cache has it all");
        cr_expect_eq(recovery.n_files, stats.n_files);
        cr_expect_geq(recovery.proven, recovery.files[recovery.n_files - 1].first_seq - 1);
        lanemap_log_recovery_deinit(&recovery);
        log_model_deinit(&model);
}

Test(log, an_idle_log_settles_once)
{
        struct lanemap_log *log;
        struct log_model model;

        log_model_init(&model, 64);
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        cr_assert_eq(lanemap_log_settle(log), 0);
        cr_expect_eq(lanemap_log_last(log), 0, "nothing to prove");

        log_model_append_n(&model, log, 10);
        cr_assert_eq(lanemap_log_settle(log), 0);
        cr_expect_eq(lanemap_log_last(log), 10, "not durable yet");

        log_model_must_sync(&model, log);
        cr_expect_eq(lanemap_log_proven(log), 0);
        for (int i = 0; i < 3; i++) {
                cr_assert_eq(lanemap_log_settle(log), 0);
                log_model_note(&model, log);
                cr_expect_eq(lanemap_log_proven(log), 10);
                cr_expect_eq(lanemap_log_last(log), 11);
                cr_expect_eq(lanemap_log_durable(log), 11);
        }

        /* A reservation that is still to be used survives it. */
        cr_assert_eq(lanemap_log_reserve(log, 16000), 0);
        log_model_append_n(&model, log, 1);
        log_model_must_sync(&model, log);
        cr_assert_eq(lanemap_log_settle(log), 0);
        log_model_note(&model, log);
        lanemap_log_close(log);

        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_last(log), 13);
        lanemap_log_close(log);
        log_model_deinit(&model);
}

Test(log, records_that_are_not_proven_move_into_the_new_file)
{
        struct lanemap_log_recovery recovery;
        struct lanemap_log *log;
        struct log_model model;

        log_model_init(&model, 64);
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        log_model_append_n(&model, log, 10);
        log_model_must_sync(&model, log);
        log_model_append_n(&model, log, 10);
        log_model_must_sync(&model, log); /* these say that 10 was synced */
        log_model_append_n(&model, log, 10);
        cr_assert_eq(lanemap_log_write_and_sync(log, false), 0);
        log_model_note(&model, log);
        cr_expect_eq(lanemap_log_durable(log), 20);
        cr_expect_eq(lanemap_log_written(log), 30);
        lanemap_log_close(log); /* without a sync: the process was killed */

        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_durable(log), 30);
        lanemap_log_close(log);

        log_model_must_recover(&model, &recovery);
        cr_expect_eq(recovery.last_seq, 30);
        cr_expect_eq(recovery.n_files, 2);
        cr_expect_eq(recovery.files[0].last_seq, 20);
        cr_expect_eq(recovery.files[1].first_seq, 21);
        cr_expect_eq(recovery.files[1].last_seq, 30);
        lanemap_log_recovery_deinit(&recovery);
        log_model_deinit(&model);
}

/* E1: a writer that was stopped, and thought dead, writes on into its own file. */
Test(log, records_of_a_superseded_writer_are_void)
{
        struct lanemap_log *zombie, *log;
        struct log_model model, before;

        log_model_init(&model, 64);
        cr_assert_eq(lanemap_log_open(&model.config, &zombie), 0);
        log_model_append_n(&model, zombie, 10);
        log_model_must_sync(&model, zombie);
        cr_assert_eq(log_model_reopen(&model, &log), 0);

        before = model;
        before.next_token = 1000;
        log_model_append_n(&before, zombie, 20);
        cr_assert_eq(lanemap_log_write_and_sync(zombie, true), 0);
        lanemap_log_close(zombie);

        log_model_append_n(&model, log, 5);
        log_model_must_sync(&model, log);
        lanemap_log_close(log);
        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_last(log), 15);
        lanemap_log_close(log);
        log_model_deinit(&model);
}

Test(log, numbers_in_use_are_passed_over)
{
        struct lanemap_log *log;
        struct log_model model;

        log_model_init(&model, 64);
        for (int i = 1; i < 5; i++) {
                char name[LANEMAP_LOG_NAME_BYTES];

                snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT, (unsigned long long)i);
                close(openat(model.dir_fd, name, O_CREAT | O_WRONLY, 0600));
        }
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        cr_expect_eq(lanemap_log_number(log), 5);
        cr_expect_eq(lanemap_log_next_number(log), 6);
        log_model_append_n(&model, log, 5);
        log_model_must_sync(&model, log);
        lanemap_log_close(log);
        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_number(log), 6);
        cr_expect_eq(lanemap_log_drop(log, 0, UINT64_MAX), 5, "nothing in them that counts");
        lanemap_log_close(log);
        log_model_deinit(&model);
}

Test(log, records_of_the_largest_size)
{
        size_t n_ops = 500000, bytes;
        struct lanemap_log_op *ops = calloc(n_ops, sizeof(*ops));
        struct lanemap_log_recovery recovery;
        struct lanemap_log *log;
        struct log_model model;
        uint64_t seq;

        for (size_t i = 0; i < n_ops; i++)
                ops[i] = (struct lanemap_log_op){.code = LANEMAP_OP_ADD, .fingerprint.hash = i};

        log_model_init(&model, 64);
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        bytes = lanemap_log_record_bytes(64, ops, n_ops);
        cr_expect_eq(bytes, 16 * n_ops + 40);
        for (int i = 0; i < 8; i++) {
                cr_assert_eq(lanemap_log_reserve(log, bytes), 0);
                lanemap_log_append(log, ops, n_ops, &seq);
        }
        cr_expect_eq(lanemap_log_reserve(log, bytes), -EAGAIN);
        cr_expect_eq(lanemap_log_reserve(log, LANEMAP_LOG_RECORD_BYTES_MAX + 1), -EINVAL);
        cr_assert_eq(lanemap_log_write_and_sync(log, true), 0);
        cr_assert_eq(lanemap_log_reserve(log, bytes), 0);
        cr_expect_eq(lanemap_log_number(log), 1);
        lanemap_log_append(log, ops, n_ops, &seq);
        cr_assert_eq(lanemap_log_write_and_sync(log, true), 0);
        cr_expect_eq(lanemap_log_number(log), 2, "past 64 MiB");
        lanemap_log_close(log);

        cr_assert_eq(lanemap_log_recover(&model.recover, NULL, NULL, &recovery, &model.error), 0);
        cr_expect_eq(recovery.n_ops, 9 * n_ops);
        lanemap_log_recovery_deinit(&recovery);
        log_model_deinit(&model);
        free(ops);
}

struct test_clock {
        struct lanemap_clock clock;
        uint64_t now;
};

static uint64_t test_clock_now(const struct lanemap_clock *clock)
{
        return ((const struct test_clock *)clock)->now;
}

Test(log, the_age_of_what_is_not_durable)
{
        struct test_clock clock = {.clock.now_ns = test_clock_now, .now = 1000};
        struct lanemap_log *log;
        struct log_model model;

        log_model_init(&model, 64);
        model.config.clock = &clock.clock;
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        cr_expect_eq(lanemap_log_oldest_unsynced_ns(log), 0);
        log_model_append_n(&model, log, 1);
        cr_expect_eq(lanemap_log_oldest_unsynced_ns(log), 1000);
        clock.now = 2000;
        log_model_append_n(&model, log, 1);
        cr_expect_eq(lanemap_log_oldest_unsynced_ns(log), 1000);
        cr_assert_eq(lanemap_log_write_and_sync(log, false), 0);
        cr_expect_eq(lanemap_log_oldest_unsynced_ns(log), 1000);
        clock.now = 3000;
        log_model_append_n(&model, log, 1);
        cr_expect_eq(lanemap_log_oldest_unsynced_ns(log), 1000);
        log_model_must_sync(&model, log);
        cr_expect_eq(lanemap_log_oldest_unsynced_ns(log), 0);
        clock.now = 4000;
        log_model_append_n(&model, log, 1);
        cr_expect_eq(lanemap_log_oldest_unsynced_ns(log), 4000);
        lanemap_log_close(log);
        log_model_deinit(&model);
}

/* ---- E6: writes in the midst of syncs ---- */

struct busy_files {
        struct lanemap_files files; /* a copy of lanemap_files_posix, but for sync */
        struct log_model *model;
        struct lanemap_log *log;
        bool is_busy;
        uint64_t n_syncs;
};

static int busy_sync(const struct lanemap_files *files, int fd)
{
        struct busy_files *busy = (struct busy_files *)(uintptr_t)files;
        uint64_t written;

        if (busy->is_busy) {
                busy->n_syncs++;
                log_model_append_n(busy->model, busy->log, 1);
                written = lanemap_log_written(busy->log);
                cr_assert_eq(lanemap_log_write(busy->log), 0);
                cr_expect_eq(lanemap_log_written(busy->log), lanemap_log_last(busy->log));
                cr_expect_gt(lanemap_log_written(busy->log), written);
                /* One that must not wait leaves it to others. */
                log_model_append_n(busy->model, busy->log, 1);
                cr_expect_eq(lanemap_log_try_write(busy->log), 1);
        }
        return lanemap_files_posix.sync(&lanemap_files_posix, fd);
}

/* What is written while a sync is under way is written, and not durable: not in the file that is
 * synced, and not in the next one either, which is being made. */
Test(log, writes_in_the_midst_of_syncs)
{
        struct busy_files busy = {.files = lanemap_files_posix};
        struct lanemap_log_recovery recovery;
        struct lanemap_log_stats stats;
        struct log_model model;

        busy.files.sync = busy_sync;
        busy.model = &model;
        log_model_init(&model, 64);
        model.config.files = &busy.files;
        model.config.file_bytes = 16384;
        cr_assert_eq(lanemap_log_open(&model.config, &busy.log), 0);
        busy.is_busy = true;
        for (unsigned i = 0; i < 200; i++) {
                uint64_t before = lanemap_log_last(busy.log) + 1;

                log_model_append_n(&model, busy.log, 1);
                cr_assert_eq(lanemap_log_write_and_sync(busy.log, true), 0);
                cr_expect_geq(lanemap_log_durable(busy.log), before);
                cr_expect_lt(lanemap_log_durable(busy.log), lanemap_log_written(busy.log));
                cr_expect_eq(lanemap_log_sync_since_ns(busy.log), 0);
        }
        busy.is_busy = false;
        lanemap_log_get_stats(busy.log, &stats);
        cr_expect_geq(stats.n_rotations, 3);
        cr_expect_gt(busy.n_syncs, 200, "also of what a rotation syncs");
        log_model_must_sync(&model, busy.log);
        lanemap_log_close(busy.log);
        log_model_must_recover(&model, &recovery);
        cr_expect_eq(recovery.last_seq, model.n_records);
        lanemap_log_recovery_deinit(&recovery);
        log_model_deinit(&model);
}
