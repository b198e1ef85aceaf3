/*
 * The log in bad weather: every call of the file layer fails, once or for good; the power goes at
 * every call; the disk is full. No record that was said to be durable is ever lost, and none comes
 * back that was not appended.
 */
#include "log_model.h"

#include "common/alloc.h"

TestSuite(log_faults, .timeout = 120);

/* Appends, rotations, syncs, a takeover: up to the first call that fails. Return: whether all of it
 * was done. */
static bool workload(struct log_model *model)
{
        struct lanemap_log *log;
        bool done = false;

        for (int run = 0; run < 2; run++) {
                if (log_model_reopen(model, &log) < 0)
                        return false;

                done = true;
                for (int i = 0; i < 12 && done; i++) {
                        for (int n = 0; n < 8; n++)
                                done &= log_model_append(model, log) == 0;
                        done &= lanemap_log_write_and_sync(log, i % 3 != 0) == 0;
                        log_model_note(model, log);
                        if (i == 6) {
                                done &= lanemap_log_settle(log) == 0;
                                log_model_note(model, log);
                        }
                }
                lanemap_log_close(log);
                if (!done)
                        return false;
        }

        return true;
}

/* What is done to the directory once the process is dead. */
enum aftermath { KILLED, POWER_CUT, POWER_CUT_NAMES_KEPT, POWER_CUT_AT_RANDOM };

static void come_over(struct faulty_files *faulty, enum aftermath aftermath, uint64_t seed)
{
        seed *= UINT64_C(0x9e3779b97f4a7c15);
        if (aftermath == POWER_CUT_AT_RANDOM)
                faulty_files_cut_power(faulty, seed >> 40 & 1, seed);
        else if (aftermath != KILLED)
                faulty_files_cut_power(faulty, aftermath == POWER_CUT, 0);
}

/* The process dies at the n-th call: for every n. A second one comes up, and dies likewise at every
 * of its calls; the third one finds what was acknowledged. */
static void die_at_every_call(enum aftermath aftermath, size_t torn_bytes, uint64_t salt)
{
        uint64_t n_states = 0;
        bool done = false;

        for (uint64_t n = 1; !done; n++) {
                struct faulty_files faulty;
                struct log_model model;
                bool opened = false;

                for (uint64_t m = 1; !opened; m++) {
                        struct lanemap_log *log;

                        log_model_init(&model, 64);
                        faulty_files_init(&faulty, model.dir_fd);
                        faulty.torn_bytes = torn_bytes;
                        model.config.files = &faulty.files;
                        model.config.file_bytes = 12000;
                        faulty.fail_at = n;
                        faulty.n_failing = UINT64_MAX;
                        done = workload(&model);
                        come_over(&faulty, aftermath, n * 1000 + m + salt * 1000000);

                        /* Only every fifth state is worth the second death. */
                        faulty.n_calls = 0;
                        faulty.fail_at = n % 5 == 0 ? m : 0;
                        opened = log_model_reopen(&model, &log) == 0;
                        if (opened)
                                lanemap_log_close(log);
                        come_over(&faulty, aftermath, n * 1000 + m + salt * 1000000);

                        faulty.fail_at = 0;
                        cr_assert_eq(log_model_reopen(&model, &log), 0, "n %" PRIu64 ", m %" PRIu64,
                                     n, m);
                        log_model_append_n(&model, log, 3);
                        log_model_must_sync(&model, log);
                        lanemap_log_close(log);
                        cr_assert_eq(log_model_reopen(&model, &log), 0);
                        lanemap_log_close(log);
                        n_states++;
                        faulty_files_deinit(&faulty);
                        log_model_deinit(&model);
                }
        }

        cr_expect_gt(n_states, 100);
}

Test(log_faults, killed_at_every_call)
{
        die_at_every_call(KILLED, 0, 0);
}

Test(log_faults, killed_at_every_call_in_the_midst_of_a_write)
{
        die_at_every_call(KILLED, 60, 0);
}

Test(log_faults, power_cut_at_every_call)
{
        die_at_every_call(POWER_CUT, 0, 0);
}

Test(log_faults, power_cut_at_every_call_but_names_are_durable)
{
        die_at_every_call(POWER_CUT_NAMES_KEPT, 0, 0);
}

Test(log_faults, power_cut_at_every_call_and_some_writes_reach_the_disk)
{
        for (uint64_t salt = 1; salt <= 5; salt++)
                die_at_every_call(POWER_CUT_AT_RANDOM, 0, salt);
}

/* One call fails, for every n; the log goes on by itself. */
static void fail_once_at_every_call(int error, uint64_t n_failing, bool lose_names)
{
        for (uint64_t n = 1;; n++) {
                struct faulty_files faulty;
                struct lanemap_log_stats stats;
                struct lanemap_log *log;
                struct log_model model;
                int r;

                log_model_init(&model, 64);
                faulty_files_init(&faulty, model.dir_fd);
                model.config.files = &faulty.files;
                model.config.file_bytes = 12000;
                faulty.fail_at = n;
                faulty.n_failing = n_failing;
                faulty.error = error;
                while (log_model_reopen(&model, &log) < 0)
                        ;

                for (int i = 0; i < 12; i++) {
                        for (int k = 0; k < 8; k++) {
                                while ((r = log_model_append(&model, log)) < 0) {
                                        cr_assert(r == -EIO || r == -ENOSPC);
                                        lanemap_log_write_and_sync(log, false);
                                }
                        }
                        while (lanemap_log_write_and_sync(log, true) < 0)
                                log_model_note(&model, log);
                        log_model_note(&model, log);
                        cr_assert_eq(model.durable, model.n_records);
                }
                lanemap_log_get_stats(log, &stats);
                cr_expect_eq(stats.buffered_bytes, 0);
                lanemap_log_close(log);
                faulty.fail_at = 0;
                faulty_files_cut_power(&faulty, lose_names, 0);
                cr_assert_eq(log_model_reopen(&model, &log), 0);
                cr_assert_eq(lanemap_log_last(log), 12 * 8);
                lanemap_log_close(log);
                faulty_files_deinit(&faulty);
                log_model_deinit(&model);
                if (faulty.n_failed == 0)
                        return;
        }
}

Test(log_faults, one_call_fails)
{
        fail_once_at_every_call(-EIO, 1, true);
        fail_once_at_every_call(-EIO, 1, false);
}

Test(log_faults, five_calls_fail)
{
        fail_once_at_every_call(-ENOSPC, 5, true);
        fail_once_at_every_call(-ENOSPC, 5, false);
        fail_once_at_every_call(-EIO, 3, false);
}

Test(log_faults, short_writes)
{
        struct faulty_files faulty;
        struct lanemap_log *log;
        struct log_model model;

        log_model_init(&model, 64);
        faulty_files_init(&faulty, model.dir_fd);
        faulty.write_bytes_max = 17;
        model.config.files = &faulty.files;
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        log_model_append_n(&model, log, 200);
        log_model_must_sync(&model, log);
        lanemap_log_close(log);
        faulty_files_cut_power(&faulty, true, 0);
        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_last(log), 200);
        lanemap_log_close(log);
        faulty_files_deinit(&faulty);
        log_model_deinit(&model);
}

/* A disk that is full at the start: nothing is lost, nothing taken, and it goes on with room. */
Test(log_faults, a_log_that_opens_on_a_full_disk)
{
        struct lanemap_log_file files[4];
        struct lanemap_log_stats stats;
        struct faulty_files faulty;
        struct lanemap_log *log;
        struct log_model model;
        uint64_t since = 0;

        log_model_init(&model, 64);
        faulty_files_init(&faulty, model.dir_fd);
        model.config.files = &faulty.files;
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        log_model_append_n(&model, log, 10);
        log_model_must_sync(&model, log);
        log_model_append_n(&model, log, 10);
        log_model_must_sync(&model, log);
        lanemap_log_close(log);

        faulty.disk_full = true;
        cr_expect_eq(log_model_reopen(&model, &log), -ENOSPC, "not asked for");
        model.config.may_be_full = true;
        model.config.number = 1;
        model.durable = 10; /* the rest is, but nothing on the disk says so */
        /* Whether or not the disk can be asked, a sync that fails proves nothing. */
        faulty.calls = FAULTY_SYNC;
        faulty.n_calls = 0;
        faulty.fail_at = 1;
        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_error(log, &since), -ENOSPC);
        cr_expect_eq(lanemap_log_last(log), 20);
        cr_expect_eq(lanemap_log_written(log), 20);
        cr_expect_eq(lanemap_log_durable(log), 10);
        cr_expect_eq(lanemap_log_number(log), 1);
        cr_expect_eq(lanemap_log_reserve(log, LANEMAP_LOG_EMPTY_BYTES), -ENOSPC);
        cr_expect_eq(lanemap_log_settle(log), 0, "what is not durable is not settled");
        cr_expect_lt(lanemap_log_write_and_sync(log, true), 0);
        cr_expect_eq(lanemap_log_drop(log, 20, UINT64_MAX), 0, "the last one stays");
        cr_expect_eq(lanemap_log_get_files(log, files, 4), 1);
        cr_expect_eq(files[0].last_seq, 20);
        lanemap_log_get_stats(log, &stats);
        cr_expect_gt(stats.bytes, 0);

        faulty.disk_full = false;
        log_model_must_sync(&model, log);
        cr_expect_eq(lanemap_log_error(log, &since), 0);
        log_model_append_n(&model, log, 10);
        log_model_must_sync(&model, log);
        cr_expect_eq(lanemap_log_number(log), 2);
        lanemap_log_close(log);
        faulty_files_cut_power(&faulty, true, 0);
        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_last(log), 30);
        lanemap_log_close(log);
        faulty_files_deinit(&faulty);
        log_model_deinit(&model);
}

/* E3. */
Test(log_faults, a_failed_sync_gives_the_file_up)
{
        struct faulty_files faulty;
        struct lanemap_log_stats stats;
        struct lanemap_log *log;
        struct log_model model;
        uint64_t since = 0, first_since;

        log_model_init(&model, 64);
        faulty_files_init(&faulty, model.dir_fd);
        model.config.files = &faulty.files;
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        log_model_append_n(&model, log, 10);
        log_model_must_sync(&model, log);
        log_model_append_n(&model, log, 10);

        faulty.calls = FAULTY_SYNC;
        faulty.n_calls = 0;
        faulty.fail_at = 1;
        faulty.n_failing = 3;
        cr_expect_eq(lanemap_log_error(log, &since), 0);
        cr_expect_eq(lanemap_log_write_and_sync(log, true), -EIO);
        cr_expect_eq(lanemap_log_error(log, &since), -EIO);
        cr_expect_neq(since, 0);
        first_since = since;
        cr_expect_eq(lanemap_log_durable(log), 10);
        cr_expect_eq(log_model_append(&model, log), -EIO, "refused before it is applied");
        cr_expect_eq(lanemap_log_write_and_sync(log, true), -EIO);
        cr_expect_eq(lanemap_log_write_and_sync(log, true), -EIO);
        cr_expect_eq(lanemap_log_error(log, &since), -EIO);
        cr_expect_eq(since, first_since);
        cr_expect_eq(lanemap_log_durable(log), 10);

        cr_expect_eq(lanemap_log_write_and_sync(log, true), 0);
        cr_expect_eq(lanemap_log_error(log, &since), 0);
        cr_expect_eq(lanemap_log_durable(log), 20);
        cr_expect_neq(lanemap_log_number(log), 1);
        lanemap_log_get_stats(log, &stats);
        cr_expect_eq(stats.n_restarts, 1);
        log_model_note(&model, log);
        log_model_append_n(&model, log, 5);
        log_model_must_sync(&model, log);
        lanemap_log_close(log);
        faulty_files_cut_power(&faulty, true, 0);
        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_last(log), 25);
        lanemap_log_close(log);
        faulty_files_deinit(&faulty);
        log_model_deinit(&model);
}

static void disk_fill(int error)
{
        struct lanemap_log_op op = {.code = LANEMAP_OP_ADD, .id = 1};
        struct faulty_files faulty;
        struct lanemap_log *log;
        struct log_model model;
        uint64_t since, seq;
        int n_more = 0;

        log_model_init(&model, 64);
        faulty_files_init(&faulty, model.dir_fd);
        model.config.files = &faulty.files;
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        faulty.calls = FAULTY_ALLOCATE;
        faulty.n_calls = 0;
        faulty.fail_at = 1;
        faulty.n_failing = UINT64_MAX;
        faulty.error = error;

        /* What was set aside holds (65536 - 8192) / 56 records of one operation. */
        while (lanemap_log_reserve(log, 56) == 0) {
                lanemap_log_append(log, &op, 1, &seq);
                n_more++;
        }
        cr_expect_eq(n_more, (65536 - 8192) / 56);
        cr_expect_eq(lanemap_log_reserve(log, 56), -ENOSPC);
        cr_expect_eq(lanemap_log_error(log, &since), 0, "the log itself is well");
        cr_expect_eq(lanemap_log_write_and_sync(log, true), 0);
        cr_expect_eq(lanemap_log_durable(log), (uint64_t)n_more);
        cr_expect_eq(lanemap_log_reserve(log, 56), -ENOSPC);

        faulty.fail_at = 0;
        cr_expect_eq(lanemap_log_reserve(log, 56), 0, "there is room again");
        lanemap_log_close(log);
        faulty_files_deinit(&faulty);
        log_model_deinit(&model);
}

/* E5. A quota is a disk, too. */
Test(log_faults, a_full_disk_refuses_before_anything_is_applied)
{
        disk_fill(-ENOSPC);
        disk_fill(-EDQUOT);
}

/* E2: a full disk lets the next file not begin; the old one has room for all that was promised. */
Test(log_faults, a_full_disk_at_rotation)
{
        struct faulty_files faulty;
        struct lanemap_log *log;
        struct log_model model;

        log_model_init(&model, 64);
        faulty_files_init(&faulty, model.dir_fd);
        model.config.files = &faulty.files;
        model.config.file_bytes = 10000;
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        faulty.calls = FAULTY_ALLOCATE;
        faulty.n_calls = 0;
        faulty.fail_at = 1;
        faulty.n_failing = UINT64_MAX;
        faulty.error = -ENOSPC;
        log_model_append_n(&model, log, 100);
        log_model_must_sync(&model, log);
        cr_expect_eq(lanemap_log_number(log), 1);
        faulty.fail_at = 0;
        for (int i = 0; i < 200; i++)
                log_model_append_n(&model, log, 10);
        log_model_must_sync(&model, log);
        lanemap_log_close(log);
        faulty_files_cut_power(&faulty, true, 0);
        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_last(log), 2100);
        lanemap_log_close(log);
        faulty_files_deinit(&faulty);
        log_model_deinit(&model);
}

/* A file layer that appends a record whenever a sync or a directory sync is under way. */
struct meddler {
        struct faulty_files faulty;
        struct log_model *model;
        struct lanemap_log *log;
        unsigned n_refused;
};

/* More than is set aside for a new file, in three calls; then the disk is full. */
static int meddler_sync(const struct lanemap_files *files, int fd)
{
        struct meddler *meddler = (struct meddler *)(uintptr_t)files;

        for (int i = 0; i < 150 && meddler->log; i++)
                if (log_model_append(meddler->model, meddler->log) < 0)
                        meddler->n_refused++;
        return 0;
}

static int meddler_sync_directory(const struct lanemap_files *files, int fd)
{
        struct meddler *meddler = (struct meddler *)(uintptr_t)files;

        meddler_sync(files, fd);
        meddler->faulty.disk_full = meddler->log;
        meddler->log = NULL;
        return 0;
}

/* E2 holds at any moment of a rotation: whatever is reserved while the next file is being made has
 * room in it, on a disk that is full when it is written. */
Test(log_faults, records_appended_in_the_midst_of_a_rotation)
{
        struct meddler meddler;
        struct lanemap_log_stats stats;
        struct lanemap_log *log;
        struct log_model model;

        log_model_init(&model, 64);
        faulty_files_init(&meddler.faulty, model.dir_fd);
        meddler.model = &model;
        meddler.log = NULL;
        meddler.n_refused = 0;
        meddler.faulty.files.sync = meddler_sync;
        meddler.faulty.files.sync_directory = meddler_sync_directory;
        model.config.files = &meddler.faulty.files;
        model.config.file_bytes = 64000;
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        for (int i = 0; i < 3; i++) {
                meddler.faulty.disk_full = false;
                while (lanemap_log_number(log) == (uint64_t)i + 1) {
                        cr_assert_not(meddler.faulty.disk_full);
                        log_model_append_n(&model, log, 50);
                        meddler.log = log;
                        cr_assert_eq(lanemap_log_write_and_sync(log, false), 0);
                        meddler.log = NULL;
                }
                cr_assert(meddler.faulty.disk_full, "it was full when the new file was written");
                cr_assert_eq(lanemap_log_write_and_sync(log, true), 0);
        }
        lanemap_log_get_stats(log, &stats);
        cr_expect_eq(stats.n_rotations, 3);
        cr_expect_eq(stats.n_restarts, 0);
        cr_expect_eq(meddler.n_refused, 0);
        log_model_note(&model, log);
        lanemap_log_close(log);
        cr_assert_eq(log_model_reopen(&model, &log), -ENOSPC);
        meddler.faulty.disk_full = false;
        cr_assert_eq(log_model_reopen(&model, &log), 0);
        cr_expect_eq(lanemap_log_last(log), model.n_records);
        lanemap_log_close(log);
        faulty_files_deinit(&meddler.faulty);
        log_model_deinit(&model);
}

/* An empty record by the sync thread takes no room that the apply thread was promised. */
Test(log_faults, settling_leaves_reservations_alone)
{
        static struct lanemap_log_op ops[4000];
        struct faulty_files faulty;
        struct lanemap_log *log;
        struct log_model model;
        size_t n_ops;
        uint64_t seq;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(ops); i++)
                ops[i].code = LANEMAP_OP_ADD;

        /* Exactly the rest of a block of 16 KiB: the first record fills 56 bytes of it. */
        n_ops = (16384 - 56 - LANEMAP_LOG_EMPTY_BYTES) / 16;
        log_model_init(&model, 64);
        faulty_files_init(&faulty, model.dir_fd);
        model.config.files = &faulty.files;
        cr_assert_eq(lanemap_log_open(&model.config, &log), 0);
        for (int i = 0; i < 2; i++) {
                cr_assert_eq(lanemap_log_reserve(log, 56), 0);
                lanemap_log_append(log, ops, 1, &seq);
                cr_assert_eq(lanemap_log_write_and_sync(log, true), 0);
        }
        cr_assert_eq(lanemap_log_reserve(log, 16384), 0);
        cr_assert_eq(lanemap_log_settle(log), 0);
        cr_assert_eq(lanemap_log_proven(log), 2);
        lanemap_log_append(log, ops, n_ops + 3, &seq);
        cr_assert_eq(lanemap_log_write_and_sync(log, true), 0);

        /* And exactly the rest of what the disk has set aside. */
        faulty.disk_full = true;
        n_ops = 0;
        while (lanemap_log_reserve(log, 40 + (n_ops + 1) * 16 + 8) == 0)
                n_ops++;
        cr_assert_eq(lanemap_log_reserve(log, 40 + (n_ops - 1) * 16), 0);
        lanemap_log_settle(log);
        lanemap_log_append(log, ops, n_ops - 1, &seq);
        cr_assert_eq(lanemap_log_write_and_sync(log, true), 0);
        lanemap_log_close(log);
        faulty_files_deinit(&faulty);
        log_model_deinit(&model);
}

Test(log_faults, every_allocation_fails_once)
{
        uint64_t n;
        bool done = false;

        for (n = 1; !done; n++) {
                struct lanemap_log_recovery recovery;
                struct lanemap_log *log = NULL;
                struct log_model model;
                int r;

                log_model_init(&model, 64);
                model.config.file_bytes = 10000;
                lanemap_alloc_fail_after(n);
                r = lanemap_log_open(&model.config, &log);
                for (int i = 0; r == 0 && i < 60; i++) {
                        r = log_model_append(&model, log);
                        if (r == 0 && i % 5 == 0)
                                r = lanemap_log_write_and_sync(log, true);
                }
                lanemap_log_close(log);
                if (r == 0) {
                        r = log_model_recover(&model, &recovery);
                        if (r == 0)
                                lanemap_log_recovery_deinit(&recovery);
                }
                lanemap_alloc_fail_after(0);
                cr_assert(r == 0 || r == -ENOMEM || r == -EIO, "%d", r);
                done = r == 0 && n > 30;
                log_model_deinit(&model);
        }
        cr_expect_lt(n, 100);
}
