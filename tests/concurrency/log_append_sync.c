/*
 * One thread appends and writes where it can, one writes the rest, one syncs, one asks about
 * everything: the log under the use it is made for (E1 to E6), with rotations and with writes and
 * syncs that fail in between. A plain program, so that ThreadSanitizer can run it. At the end the
 * log is recovered, and holds every record, in order.
 *
 *         concurrency_log_append_sync [records]
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/order.h"
#include "faulty_files.h"
#include "store/log_recover.h"
#include "store/log_write.h"

#define must(expr)                                                                 \
        do {                                                                       \
                if (!(expr)) {                                                     \
                        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #expr); \
                        exit(1);                                                   \
                }                                                                  \
        } while (0)

static struct lanemap_log *the_log;
static uint64_t n_records = 60000;
static uint32_t done;

static size_t make_ops(uint64_t seq, struct lanemap_log_op *ret_ops)
{
        size_t n_ops = 1 + seq % 3;

        for (size_t i = 0; i < n_ops; i++)
                ret_ops[i] = (struct lanemap_log_op){
                        .code = LANEMAP_OP_ADD, .id = (uint32_t)seq, .fingerprint.hash = seq + i};
        return n_ops;
}

static void *append_all(void *arg)
{
        uint64_t *n_refused = arg;

        /* Empty records take numbers too, so the loop runs to a number. */
        while (lanemap_log_last(the_log) < n_records) {
                uint64_t seq, expected = lanemap_log_last(the_log) + 1;
                struct lanemap_log_op ops[3];
                size_t n_ops = make_ops(expected, ops);

                if (lanemap_log_reserve(the_log, lanemap_log_record_bytes(64, ops, n_ops)) < 0) {
                        ++*n_refused;
                        sched_yield();
                        continue;
                }
                lanemap_log_append(the_log, ops, n_ops, &seq);
                if (lanemap_log_try_write(the_log) == 0)
                        must(lanemap_log_written(the_log) >= seq);
        }

        lanemap_store_release(&done, 1);
        return NULL;
}

static void *sync_all(void *arg)
{
        uint64_t *n_failed = arg;

        for (unsigned i = 0;; i++) {
                bool last_round = lanemap_load_acquire(&done);
                uint64_t before = lanemap_log_last(the_log);
                int r = lanemap_log_write_and_sync(the_log, i % 4 != 0 || last_round);

                if (r < 0)
                        ++*n_failed;
                else if (i % 4 != 0)
                        must(lanemap_log_durable(the_log) >= before);
                if (r == 0 && last_round)
                        return NULL;
        }
}

static void *write_all(void *arg)
{
        uint64_t *n_failed = arg;

        while (!lanemap_load_acquire(&done)) {
                uint64_t before = lanemap_log_last(the_log);

                if (lanemap_log_write(the_log) < 0)
                        ++*n_failed;
                else
                        must(lanemap_log_written(the_log) >= before);
                sched_yield();
        }
        return NULL;
}

static void *ask_all(void *arg)
{
        uint64_t *n_dropped = arg;
        uint64_t durable = 0;

        while (!lanemap_load_acquire(&done)) {
                struct lanemap_log_file files[4];
                struct lanemap_log_stats stats;
                uint64_t since, now = lanemap_log_durable(the_log);
                int r;

                must(now >= durable);
                must(now <= lanemap_log_written(the_log));
                must(lanemap_log_written(the_log) <= lanemap_log_last(the_log));
                must(lanemap_log_proven(the_log) <= lanemap_log_durable(the_log));
                durable = now;
                lanemap_log_error(the_log, &since);
                lanemap_log_oldest_unsynced_ns(the_log);
                lanemap_log_busy_since_ns(the_log);
                lanemap_log_is_filling(the_log);
                lanemap_log_is_full(the_log);
                lanemap_log_get_stats(the_log, &stats);
                lanemap_log_get_files(the_log, files, 4);
                r = lanemap_log_drop(the_log, durable / 2, UINT64_MAX);
                if (r > 0)
                        *n_dropped += (uint64_t)r;
                sched_yield();
        }

        return NULL;
}

struct check {
        uint64_t next;
};

static int check_record(void *arg, uint64_t seq, const struct lanemap_log_op *ops, size_t n_ops)
{
        struct check *check = arg;
        struct lanemap_log_op expected[3];

        must(seq == check->next++);
        must(n_ops == make_ops(seq, expected));
        for (size_t i = 0; i < n_ops; i++)
                must(ops[i].id == expected[i].id &&
                     ops[i].fingerprint.hash == expected[i].fingerprint.hash);
        return 0;
}

static void recover_and_check(int dir_fd, uint64_t lowest)
{
        struct lanemap_log_recover_config config = {
                .files = &lanemap_files_posix,
                .dir_fd = dir_fd,
                .fingerprint_bits = 64,
                .lowest_position = lowest,
        };
        struct check check = {.next = lowest + 1};
        struct lanemap_log_recovery recovery;
        struct lanemap_error error;
        int r;

        r = lanemap_log_recover(&config, check_record, &check, &recovery, &error);
        if (r < 0)
                fprintf(stderr, "%s\n", error.text);
        must(r == 0);
        must(recovery.last_seq == n_records);
        for (size_t i = 0; i < recovery.n_files; i++) {
                char name[LANEMAP_LOG_NAME_BYTES];

                snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT,
                         (unsigned long long)recovery.files[i].number);
                unlinkat(dir_fd, name, 0);
        }
        lanemap_log_recovery_deinit(&recovery);
}

int main(int argc, char **argv)
{
        char path[] = "/tmp/lanemap-log-threads-XXXXXX";
        uint64_t n_refused = 0, n_failed = 0, n_failed_writes = 0, n_dropped = 0;
        struct lanemap_log_stats stats;
        struct faulty_files faulty;
        struct lanemap_log_config config = {
                .files = &faulty.files,
                .clock = &lanemap_clock_monotonic,
                .fingerprint_bits = 64,
                .next_number = 1,
                .file_bytes = 300000,
                .buffer_bytes = 100000,
        };
        pthread_t threads[4];

        if (argc > 1)
                n_records = strtoull(argv[1], NULL, 10);
        must(mkdtemp(path));
        config.dir_fd = open(path, O_RDONLY | O_DIRECTORY);
        must(config.dir_fd >= 0);
        faulty_files_init(&faulty, config.dir_fd);
        must(lanemap_log_open(&config, &the_log) == 0);

        faulty.calls = FAULTY_SYNC | FAULTY_PWRITE;
        faulty.fail_at = 500;
        faulty.n_failing = 7;
        must(pthread_create(&threads[0], NULL, append_all, &n_refused) == 0);
        must(pthread_create(&threads[1], NULL, sync_all, &n_failed) == 0);
        must(pthread_create(&threads[2], NULL, ask_all, &n_dropped) == 0);
        must(pthread_create(&threads[3], NULL, write_all, &n_failed_writes) == 0);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(threads); i++)
                must(pthread_join(threads[i], NULL) == 0);

        lanemap_log_get_stats(the_log, &stats);
        printf("%" PRIu64 " records, %" PRIu64 " syncs, %" PRIu64 " rotations, %" PRIu64
               " restarts, %" PRIu64 " + %" PRIu64 " failed calls, %" PRIu64 " refusals, %" PRIu64
               " files dropped\n",
               stats.n_records, stats.n_syncs, stats.n_rotations, stats.n_restarts, n_failed,
               n_failed_writes, n_refused, n_dropped);
        must(stats.n_rotations >= 5 && stats.n_restarts >= 1 && n_failed + n_failed_writes >= 1);
        lanemap_log_close(the_log);
        recover_and_check(config.dir_fd, n_records / 2);

        faulty_files_deinit(&faulty);
        close(config.dir_fd);
        must(rmdir(path) == 0);
        return 0;
}
