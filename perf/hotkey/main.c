/*
 * perf/hotkey: what one id more in a long posting costs a running writer, and a restart.
 *
 * Each apply adds a new key, and a new id to the one long posting: what a program does that keeps
 * all ids of a field under one key. Bytes and flushes are the engine's own counters, over so many
 * adds that the posting is flushed several times. Then the process ends without closing anything,
 * and another one opens the index.
 */
#include <errno.h>
#include <inttypes.h>
#include <lanemap/writer.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base.h"
#include "common/histogram.h"
#include "support/command.h"
#include "support/die.h"
#include "support/engine.h"
#include "support/keys.h"
#include "support/memory.h"
#include "support/output.h"
#include "support/timer.h"

#define KEY       "public.users.country=xx"
#define LOAD_OPS  4096
#define LOOK_EACH 500 /* adds between two looks at what shared memory holds */

static const struct perf_goal goals[] = {
        {"add_p50", false, 20},
        {"file_bytes_per_add", false, 4096},
        {"restart", false, 500},
        {"restart_flushes", false, 8},
};

/* In memory that the process that ends shares with the one that goes on. */
struct bench {
        const char *name;
        const char *dir;
        bool quick;
        uint64_t n_ids;
        uint64_t n_records; /* before the restart */
        struct perf_place place;
        struct perf_table table;
};

static struct lanemap_writer_stats stats_of(struct lanemap_writer *writer)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        int r = lanemap_writer_get_stats(writer, &stats);

        if (r < 0)
                perf_die("statistics", r);
        return stats;
}

static struct lanemap_writer *writer_open(const struct bench *bench)
{
        const struct lanemap_writer_options options = {.appendfsync = LANEMAP_APPENDFSYNC_NO};

        return perf_engine_open(&bench->place, &options);
}

/* Even ids; odd ones are added later. */
static void posting_load(const struct bench *bench, struct lanemap_writer *writer)
{
        static struct lanemap_op ops[LOAD_OPS];

        for (uint64_t at = 0, n; at < bench->n_ids; at += n) {
                int r;

                n = LANEMAP_MIN(bench->n_ids - at, (uint64_t)LOAD_OPS);
                for (uint64_t i = 0; i < n; i++)
                        ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, 2 * (uint32_t)(at + i), KEY,
                                                     sizeof(KEY) - 1};
                r = lanemap_writer_apply(writer, ops, n, NULL, NULL, NULL);
                if (r < 0)
                        perf_die("apply", r);
        }
        (void)perf_engine_request(writer, LANEMAP_REQUEST_COMPACT);
}

/* Record i: a key that is new, and an id that nearly always is. */
static void record_apply(const struct bench *bench, struct lanemap_writer *writer, uint64_t i)
{
        uint32_t id = 2 * (uint32_t)(perf_mix64(i) % bench->n_ids) + 1;
        struct lanemap_op ops[2];
        char key[32];
        int r;

        ops[0] = (struct lanemap_op){LANEMAP_OP_ADD, id, key, 0};
        ops[0].key_bytes = (size_t)snprintf(key, sizeof(key), "public.users.id=%" PRIu64, i);
        ops[1] = (struct lanemap_op){LANEMAP_OP_ADD, id, KEY, sizeof(KEY) - 1};
        r = lanemap_writer_apply(writer, ops, 2, NULL, NULL, NULL);
        if (r < 0)
                perf_die("apply", r);
}

static void adds_rows(struct perf_table *table, const struct lanemap_writer_stats *before,
                      const struct lanemap_writer_stats *after, double n)
{
        perf_table_add(table, "log_bytes_per_add",
                       (double)(after->user_bytes_in - before->user_bytes_in) / n, "bytes");
        perf_table_add(table, "flush_bytes_per_add",
                       (double)(after->flush_bytes_written - before->flush_bytes_written) / n,
                       "bytes");
        perf_table_add(table, "merge_bytes_per_add",
                       (double)(after->merge_bytes_written - before->merge_bytes_written) / n,
                       "bytes");
        perf_table_add(table, "file_bytes_per_add",
                       (double)(after->segment_bytes_written - before->segment_bytes_written) / n,
                       "bytes");
        perf_table_add(table, "adds_per_flush", n / (double)(after->n_flushes - before->n_flushes),
                       "adds");
        perf_table_add(table, "write_stalls",
                       (double)(after->n_write_stalls - before->n_write_stalls), "applies");
}

static void adds_measure(struct bench *bench, struct lanemap_writer *writer)
{
        uint64_t n = bench->quick ? 2000 : LANEMAP_MAX(UINT64_C(20000), bench->n_ids / 50);
        struct lanemap_writer_stats before = stats_of(writer), stats;
        uint64_t shared_bytes = 0, overlay_bytes = 0;
        struct lanemap_histogram histogram = {0};
        double tick_us = perf_tick_ns() * 1e-3;
        for (uint64_t i = 0; i < n; i++) {
                uint64_t from = perf_ticks_begin();

                record_apply(bench, writer, i);
                lanemap_histogram_record(&histogram, perf_ticks_end() - from, 1);
                if (i % LOOK_EACH == 0) {
                        stats = stats_of(writer);
                        shared_bytes = LANEMAP_MAX(shared_bytes, stats.shared_bytes);
                        overlay_bytes = LANEMAP_MAX(overlay_bytes, stats.overlay_bytes);
                }
        }
        (void)perf_engine_request(writer, LANEMAP_REQUEST_FLUSH);
        stats = stats_of(writer);
        perf_table_add(&bench->table, "add_p50",
                       (double)lanemap_histogram_quantile(&histogram, 0.5) * tick_us, "us");
        perf_table_add(&bench->table, "add_p99",
                       (double)lanemap_histogram_quantile(&histogram, 0.99) * tick_us, "us");
        perf_table_add(&bench->table, "add_max",
                       (double)lanemap_histogram_quantile(&histogram, 1) * tick_us, "us");
        adds_rows(&bench->table, &before, &stats, (double)n);
        perf_table_add(&bench->table, "overlay_most", (double)overlay_bytes, "bytes");
        perf_table_add(&bench->table, "shared_most", (double)shared_bytes, "bytes");
}

/* Ends without closing anything. */
static void run_and_end(struct bench *bench)
{
        struct lanemap_writer *writer = writer_open(bench);
        int r;

        posting_load(bench, writer);
        perf_table_add(&bench->table, "posting_bytes_compacted",
                       (double)stats_of(writer).segment_live_bytes, "bytes");
        adds_measure(bench, writer);
        (void)perf_engine_request(writer, LANEMAP_REQUEST_COMPACT);
        for (uint64_t i = 0; i < bench->n_records; i++)
                record_apply(bench, writer, (UINT64_C(1) << 32) + i);
        r = lanemap_writer_sync(writer, lanemap_writer_position(writer));
        if (r < 0)
                perf_die("sync", r);
        _exit(0);
}

static void restart_measure(struct bench *bench)
{
        struct lanemap_writer *writer = writer_open(bench);
        struct lanemap_writer_stats stats = stats_of(writer);

        perf_table_add(&bench->table, "restart", (double)stats.recovery_ns * 1e-6, "ms");
        perf_table_add(&bench->table, "restart_flushes", (double)stats.n_flushes, "flushes");
        perf_table_add(&bench->table, "restart_records", (double)stats.recovered_records,
                       "records");
        lanemap_writer_close(writer);
}

struct options {
        struct lanemap_option_sizes sizes;
        const char *csv, *name, *dir;
        uint64_t n_records;
        bool quick;
};

#define TO(member) LANEMAP_OPTION_TO(struct options, member)

static void options_parse(int argc, char **argv, struct options *options)
{
        static const struct lanemap_option all[] = {
                {"ids", "N[,N...]", "ids of the posting (default 200000,1000000,5000000)",
                 TO(sizes), 1000, 100000000},
                {"records", "N", "records that a restart replays (default 6000)", TO(n_records), 1},
                PERF_OPTION_CSV(struct options, csv),
                PERF_OPTION_QUICK(struct options, quick),
                PERF_OPTION_NAME(struct options, name),
                PERF_OPTION_DIR(struct options, dir),
        };

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), options, argc, argv);
}

static void size_measure(struct bench *bench, struct perf_output *output)
{
        char title[64];
        int status;
        pid_t pid;

        bench->table = (struct perf_table){0};
        perf_table_circumstances(&bench->table);
        perf_place_make(bench->name, bench->dir, &bench->place);
        (void)fflush(NULL);
        pid = fork();
        if (pid == 0)
                run_and_end(bench);
        if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
                perf_die("the process that adds", pid < 0 ? -errno : -EPROTO);

        restart_measure(bench);
        perf_place_remove(&bench->place);
        snprintf(title, sizeof(title), "a posting of %" PRIu64 " ids that is added to",
                 bench->n_ids);
        perf_output_table(output, &bench->table, title, bench->n_ids);
}

int main(int argc, char **argv)
{
        struct options options = {.sizes = {3, {200000, 1000000, 5000000}}, .n_records = 6000};
        struct bench *bench = mmap(NULL, sizeof(*bench), PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        struct perf_output output;

        if (bench == MAP_FAILED)
                perf_die("memory", -errno);
        options_parse(argc, argv, &options);
        bench->name = options.name;
        bench->dir = perf_command_dir(options.dir);
        bench->quick = options.quick;
        bench->n_records = options.n_records;
        perf_output_open(&output, options.csv, goals, LANEMAP_N_ELEMENTS(goals));
        for (size_t i = 0; i < (bench->quick ? 1 : options.sizes.n); i++) {
                bench->n_ids = bench->quick ? 20000 : options.sizes.values[i];
                size_measure(bench, &output);
        }

        perf_output_close(&output);
        munmap(bench, sizeof(*bench));
        return 0;
}
