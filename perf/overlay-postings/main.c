/*
 * perf/overlay-postings: what it costs to change a long posting while it is in an overlay.
 *
 * Times are of whole operations through the engine, one apply each, everything that an add does
 * beside it included. Bytes are counted, not timed: the blocks that a change of one id makes, in an
 * arena that only counts. The first touch after a flush copies the posting from its segment.
 */
#include <errno.h>
#include <inttypes.h>
#include <lanemap/writer.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/histogram.h"
#include "overlay/posting_write.h"
#include "support/command.h"
#include "support/die.h"
#include "support/engine.h"
#include "support/keys.h"
#include "support/memory.h"
#include "support/output.h"
#include "support/pin.h"
#include "support/timer.h"
#include "support/windows.h"

#define ARENA_BYTES (UINT64_C(1) << 30)
#define TOUCHES_MAX 101
#define KEY         "public.users.country=xx"

static const struct perf_goal goals[] = {
        {"add_p50", false, 10},
        {"remove_p50", false, 10},
        {"change_bytes_max", false, 4096},
        {"first_touch_p50", false, 200},
};

struct bench {
        const char *name;
        const char *dir;
        bool quick;
        uint64_t n_ids;
        uint32_t n_changes;
        uint32_t n_touches;
        struct lanemap_writer *writer;
        struct lanemap_histogram histogram; /* of the changes at hand, in ticks */
        double tick_us;
};

/* ---- through the engine ---- */

/* Even ids are there to begin with; odd ones come and go. */
static uint32_t id_odd(const struct bench *bench, uint64_t i)
{
        return 2 * (uint32_t)(perf_mix64(i) % bench->n_ids) + 1;
}

static bool apply(struct bench *bench, uint32_t code, uint32_t id)
{
        const struct lanemap_op op = {
                .code = code, .id = id, .key = KEY, .key_bytes = sizeof(KEY) - 1};
        struct lanemap_op_result result;
        int r = lanemap_writer_apply(bench->writer, &op, 1, &result, NULL, NULL);

        if (r < 0)
                perf_die("apply", r);
        return result.n_changed == 1;
}

static void posting_load(struct bench *bench)
{
        struct lanemap_op *ops = malloc(bench->n_ids * sizeof(*ops));
        int r = ops ? 0 : -ENOMEM;

        for (uint64_t i = 0; i < bench->n_ids && ops; i++)
                ops[i] = (struct lanemap_op){.code = LANEMAP_OP_ADD,
                                             .id = 2 * (uint32_t)i,
                                             .key = KEY,
                                             .key_bytes = sizeof(KEY) - 1};
        for (uint64_t at = 0; at < bench->n_ids && r == 0; at += 4096)
                r = lanemap_writer_apply(bench->writer, ops + at,
                                         bench->n_ids - at < 4096 ? bench->n_ids - at : 4096, NULL,
                                         NULL, NULL);
        if (r < 0)
                perf_die("apply", r);
        free(ops);
}

/* The posting is in the overlay already. Ids that were drawn before change nothing: not counted. */
static void changes_measure(struct bench *bench, uint32_t code, const char *what,
                            struct perf_table *table)
{
        struct lanemap_histogram *histogram = &bench->histogram;
        char name[32];

        *histogram = (struct lanemap_histogram){0};
        for (uint32_t i = 0; i < bench->n_changes; i++) {
                uint32_t id = id_odd(bench, i);
                uint64_t from = perf_ticks_begin(), ticks;
                bool changed = apply(bench, code, id);

                ticks = perf_ticks_end() - from;
                if (changed)
                        lanemap_histogram_record(histogram, ticks, 1);
        }
        snprintf(name, sizeof(name), "%s_p50", what);
        perf_table_add(table, name,
                       (double)lanemap_histogram_quantile(histogram, 0.5) * bench->tick_us, "us");
        snprintf(name, sizeof(name), "%s_p99", what);
        perf_table_add(table, name,
                       (double)lanemap_histogram_quantile(histogram, 0.99) * bench->tick_us, "us");
}

static void touches_measure(struct bench *bench, struct perf_table *table)
{
        double times[TOUCHES_MAX];

        for (uint32_t i = 0; i < bench->n_touches; i++) {
                uint64_t from;

                (void)perf_engine_request(bench->writer, LANEMAP_REQUEST_FLUSH);
                from = perf_ticks_begin();
                if (!apply(bench, i & 1 ? LANEMAP_OP_REMOVE : LANEMAP_OP_ADD, id_odd(bench, i / 2)))
                        perf_die("the first touch changes nothing", EPROTO);
                times[i] = (double)(perf_ticks_end() - from) * bench->tick_us;
        }
        perf_table_add(table, "first_touch_p50", perf_median(times, bench->n_touches), "us");
        perf_table_add(table, "first_touch_min", perf_minimum(times, bench->n_touches), "us");
}

static void engine_measure(struct bench *bench, struct perf_table *table)
{
        const struct lanemap_writer_options options = {.appendfsync = LANEMAP_APPENDFSYNC_NO};
        struct perf_place place;

        perf_place_make(bench->name, bench->dir, &place);
        bench->writer = perf_engine_open(&place, &options);
        posting_load(bench);
        touches_measure(bench, table);
        changes_measure(bench, LANEMAP_OP_ADD, "add", table);
        changes_measure(bench, LANEMAP_OP_REMOVE, "remove", table);
        lanemap_writer_close(bench->writer);
        perf_place_remove(&place);
}

/* ---- counted ---- */

struct counting_arena {
        struct lanemap_arena arena;
        uint64_t used_bytes;
        uint64_t n_bytes; /* asked for */
};

static int counting_alloc(struct lanemap_arena *base, uint64_t bytes, uint64_t *ret_off)
{
        struct counting_arena *arena = LANEMAP_CONTAINER_OF(base, struct counting_arena, arena);

        if (arena->used_bytes + bytes > ARENA_BYTES)
                return -ENOSPC;

        *ret_off = arena->used_bytes;
        arena->used_bytes += LANEMAP_ALIGN_UP(bytes, (uint64_t)LANEMAP_ARENA_ALIGN);
        arena->n_bytes += bytes;
        return 0;
}

/* A block is never given out again. */
static void counting_release(struct lanemap_arena *base, uint64_t off, uint64_t bytes)
{
        (void)base, (void)off, (void)bytes;
}

/* One change of a posting. Return: how many bytes of new blocks it wrote. */
static uint64_t change_count(struct counting_arena *arena, bool insert, uint32_t id,
                             uint64_t *value)
{
        uint64_t before = arena->n_bytes;
        struct lanemap_posting_change change;
        int r = insert ? lanemap_posting_prepare_insert(&arena->arena, *value, id, &change)
                       : lanemap_posting_prepare_remove(&arena->arena, *value, id, &change);

        if (r < 0)
                perf_die("change", r);
        lanemap_posting_commit(&arena->arena, &change);
        *value = change.value;
        return arena->n_bytes - before;
}

static void bytes_measure(struct bench *bench, struct perf_table *table)
{
        uint32_t *ids = malloc(bench->n_ids * sizeof(*ids)), n = bench->n_changes;
        struct counting_arena arena = {
                .arena = {.alloc = counting_alloc,
                          .free = counting_release,
                          .retire = counting_release},
                .used_bytes = LANEMAP_ARENA_ALIGN,
        };
        struct lanemap_posting_change change;
        uint64_t most = 0, all = 0, value;

        arena.arena.base = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (!ids || arena.arena.base == MAP_FAILED)
                perf_die("memory", ENOMEM);
        for (uint64_t i = 0; i < bench->n_ids; i++)
                ids[i] = 2 * (uint32_t)i;
        if (lanemap_posting_prepare_build(&arena.arena, 0, ids, bench->n_ids, false, &change) < 0)
                perf_die("build", ENOMEM);
        lanemap_posting_commit(&arena.arena, &change);
        perf_table_add(table, "first_touch_bytes", (double)arena.n_bytes, "bytes");

        value = change.value;
        for (uint32_t i = 0; i < n; i++)
                for (int insert = 1; insert >= 0; insert--) {
                        uint64_t bytes = change_count(&arena, insert, id_odd(bench, i), &value);

                        most = bytes > most ? bytes : most;
                        all += bytes;
                }
        perf_table_add(table, "change_bytes", (double)all / (2.0 * n), "bytes");
        perf_table_add(table, "change_bytes_max", (double)most, "bytes");
        munmap(arena.arena.base, ARENA_BYTES);
        free(ids);
}

struct options {
        struct lanemap_option_sizes sizes;
        const char *csv, *name, *dir;
        bool quick;
};

#define TO(member) LANEMAP_OPTION_TO(struct options, member)

static void options_parse(int argc, char **argv, struct options *options)
{
        static const struct lanemap_option all[] = {
                {"ids", "N[,N...]", "ids of the posting (default 1000,10000,100000)", TO(sizes),
                 1000, 1000000},
                PERF_OPTION_CSV(struct options, csv),
                PERF_OPTION_QUICK(struct options, quick),
                PERF_OPTION_NAME(struct options, name),
                PERF_OPTION_DIR(struct options, dir),
        };

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), options, argc, argv);
        options->dir = perf_command_dir(options->dir);
}

int main(int argc, char **argv)
{
        static struct bench bench;
        static struct perf_table table;
        struct options options = {.sizes = {3, {1000, 10000, 100000}}};
        struct perf_output output;

        options_parse(argc, argv, &options);
        bench.name = options.name;
        bench.dir = options.dir;
        bench.quick = options.quick;
        bench.n_changes = bench.quick ? 1000 : 50000;
        bench.n_touches = bench.quick ? 3 : 51;
        bench.tick_us = perf_tick_ns() * 1e-3;
        perf_output_open(&output, options.csv, goals, LANEMAP_N_ELEMENTS(goals));

        for (size_t i = 0; i < options.sizes.n; i++) {
                char title[64];

                table = (struct perf_table){0};
                perf_table_circumstances(&table);
                bench.n_ids = options.sizes.values[i];
                engine_measure(&bench, &table);
                bytes_measure(&bench, &table);
                snprintf(title, sizeof(title), "a posting of %" PRIu64 " ids in an overlay",
                         bench.n_ids);
                perf_output_table(&output, &table, title, bench.n_ids);
        }

        perf_output_close(&output);
        return 0;
}
