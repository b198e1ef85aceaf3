/*
 * perf/adds: what the thread that applies spends on adding new keys to a large index, its processor
 * time only: flushes and merges are other threads'. And on one apply of many ids of one key.
 *
 * Keys are made before the clock starts. A chunk is long enough to hold its share of waits for the
 * lock; the median of the chunks is reported, and the least, which a busy machine disturbs least.
 */
#include <errno.h>
#include <inttypes.h>
#include <lanemap/writer.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/base.h"
#include "support/command.h"
#include "support/die.h"
#include "support/engine.h"
#include "support/keys.h"
#include "support/windows.h"
#include "support/output.h"
#include "support/timer.h"

#define CHUNK      32768
#define CHUNKS_MAX 1024
#define MANY       LANEMAP_APPLY_OPS_MAX

static const struct perf_goal goals[] = {
        {"add_cpu", false, 250},
        {"many_ids_cpu", false, 20},
};

struct options {
        struct lanemap_option_sizes keys;
        uint64_t n_adds;
        uint64_t batch;
        const char *csv, *name, *dir;
        bool quick;
};

static double cpu_ns(void)
{
        struct timespec now;

        if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) < 0)
                perf_die("clock", -errno);
        return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static struct lanemap_op ops[CHUNK];
static char texts[CHUNK][PERF_KEY_BYTES_MAX];

/* Return: nanoseconds an add. */
static double chunk_add(struct lanemap_writer *writer, uint64_t first, size_t batch)
{
        double begin;

        for (size_t i = 0; i < CHUNK; i++)
                ops[i] = (struct lanemap_op){
                        .code = LANEMAP_OP_ADD,
                        .id = perf_key_route(PERF_MIX_SINGLE, first + i).first,
                        .key = texts[i],
                        .key_bytes = perf_key_text(PERF_MIX_SINGLE, first + i, texts[i]),
                };

        begin = cpu_ns();
        for (size_t at = 0, n; at < CHUNK; at += n) {
                int r;

                n = LANEMAP_MIN(batch, CHUNK - at);
                r = lanemap_writer_apply(writer, ops + at, n, NULL, NULL, NULL);
                if (r < 0)
                        perf_die("apply", r);
        }
        return (cpu_ns() - begin) / CHUNK;
}

/* Return: milliseconds of one apply of half a million random ids of one key. */
static double many_add(struct lanemap_writer *writer)
{
        struct lanemap_op *many = malloc(MANY * sizeof(*many));
        double begin;
        int r;

        if (!many)
                perf_die("memory", -ENOMEM);
        for (uint32_t i = 0; i < MANY; i++)
                many[i] = (struct lanemap_op){LANEMAP_OP_ADD | LANEMAP_OP_WITH_NEXT,
                                              (uint32_t)perf_mix64(i) >> 1, "many", 4};
        begin = cpu_ns();
        r = lanemap_writer_apply(writer, many, MANY, NULL, NULL, NULL);
        if (r < 0)
                perf_die("apply", r);
        begin = cpu_ns() - begin;
        free(many);
        return begin * 1e-6;
}

static void size_measure(const struct options *options, uint64_t n_keys, struct perf_output *output)
{
        const struct lanemap_writer_options engine = {.appendfsync = LANEMAP_APPENDFSYNC_NO};
        struct perf_table table = {0};
        struct perf_place place;
        struct lanemap_writer *writer;
        double chunks[CHUNKS_MAX];
        size_t n = 0;
        char title[64];

        perf_table_circumstances(&table);
        perf_engine_index_make(options->name, perf_command_dir(options->dir), n_keys, &place);
        writer = perf_engine_open(&place, &engine);
        for (uint64_t at = 0; at < options->n_adds && n < CHUNKS_MAX; at += CHUNK)
                chunks[n++] = chunk_add(writer, n_keys + at, options->batch);
        perf_table_add(&table, "add_cpu", perf_median(chunks, n), "ns");
        perf_table_add(&table, "add_cpu_least", perf_minimum(chunks, n), "ns");
        perf_table_add(&table, "many_ids_cpu", many_add(writer), "ms");
        lanemap_writer_close(writer);
        perf_place_remove(&place);
        snprintf(title, sizeof(title), "adds into %" PRIu64 " keys", n_keys);
        perf_output_table(output, &table, title, n_keys);
}

int main(int argc, char **argv)
{
        struct options options = {
                .keys = {2, {1000000, 10000000}}, .n_adds = 2000000, .batch = 256};
        static const struct lanemap_option all[] = {
                {"keys", "N[,N...]", "keys of the index (default 1000000,10000000)",
                 LANEMAP_OPTION_TO(struct options, keys), 1000, 1000000000},
                {"adds", "N", "new keys that are added (default 2000000)",
                 LANEMAP_OPTION_TO(struct options, n_adds), 1},
                {"batch", "N", "of so many operations an apply (default 256)",
                 LANEMAP_OPTION_TO(struct options, batch), 1, CHUNK},
                PERF_OPTION_CSV(struct options, csv),
                PERF_OPTION_QUICK(struct options, quick),
                PERF_OPTION_NAME(struct options, name),
                PERF_OPTION_DIR(struct options, dir),
        };
        struct perf_output output;

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), &options, argc, argv);
        if (options.quick) {
                options.keys = (struct lanemap_option_sizes){1, {20000}};
                options.n_adds = CHUNK;
        }
        perf_output_open(&output, options.csv, goals, LANEMAP_N_ELEMENTS(goals));
        for (size_t i = 0; i < options.keys.n; i++)
                size_measure(&options, options.keys.values[i], &output);
        perf_output_close(&output);
        return 0;
}
