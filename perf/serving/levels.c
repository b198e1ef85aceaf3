/*
 * What prefetching across levels is worth: one lane of an empty overlay and four segments, each ten
 * times the size of the one above; keys of all levels, and absent ones, with and without requesting
 * the first lines of all levels at once.
 */
#include "serving/levels_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serving/private.h"
#include "support/hashes.h"
#include "support/keys.h"
#include "support/memory.h"
#include "support/recorder.h"
#include "support/section.h"

#define N_LEVELS   4
#define N_QUERIES  (1 << 18)
#define ROUNDS     11
#define LOG2_CELLS 17
#define TABLE_OFF  4096

/* Every 1111 keys, so many are in a level, newest first. */
static const uint32_t shares[N_LEVELS] = {1, 10, 100, 1000};

static uint32_t level_of(uint64_t hash)
{
        uint32_t place = (uint32_t)(perf_mix64(hash) % 1111), level = 0;

        while (place >= shares[level])
                place -= shares[level++];
        return level;
}

static bool level_has(const struct perf_hash_cursor *cursor, uint64_t at)
{
        return level_of(cursor->hashes[at]) == cursor->part;
}

static struct lanemap_lane_file *level_make(const uint64_t *hashes, uint64_t n, uint32_t level)
{
        const struct lanemap_segment_build_options options = {.kind = LANEMAP_SEGMENT_KIND_PACKED};
        struct lanemap_lane_file *file =
                perf_allocate(sizeof(*file) + sizeof(struct lanemap_segment));
        struct perf_hash_cursor cursor;
        struct perf_section section;

        perf_hash_cursor_init(&cursor, hashes, n);
        cursor.wanted = level_has;
        cursor.part = level;
        perf_section_make("a level", &options, &cursor.cursor, &section);
        *file = (struct lanemap_lane_file){
                .number = level + 1,
                .bytes = section.bytes,
                .n_bytes = section.n_bytes,
                .n_sections = 1,
        };
        file->sections[0] = section.segment;
        return file;
}

static void lane_make(const uint64_t *hashes, uint64_t n, struct serving_lane *lane)
{
        struct lanemap_lane_files *files =
                calloc(1, sizeof(*files) + N_LEVELS * sizeof(files->slots[0]));
        uint32_t cell_bytes = lanemap_overlay_cell_bytes(64);
        uint64_t bytes = TABLE_OFF + ((uint64_t)cell_bytes << LOG2_CELLS);
        unsigned char *base = aligned_alloc(4096, bytes);
        struct lanemap_lane_view_shm *view = (void *)base;

        if (!files || !base)
                perf_die("memory", -ENOMEM);
        memset(base, 0, bytes);
        view->magic = LANEMAP_LANE_VIEW_MAGIC;
        view->n_segments = N_LEVELS;
        view->active_log2_cells = LOG2_CELLS;
        view->active_off = TABLE_OFF;
        files->n_slots = N_LEVELS;
        for (uint32_t level = 0; level < N_LEVELS; level++) {
                files->slots[level] = level_make(hashes, n, level);
                view->segments[level] = (struct lanemap_lane_segment_shm){
                        .file_number = level + 1,
                        .file_slot = level,
                        .flags = LANEMAP_LANE_SEGMENT_NATIVE_SLOTS,
                };
        }
        *lane = (struct serving_lane){.source = {.window = {.base = base, .bytes = bytes},
                                                 .files = files,
                                                 .cell_bytes = cell_bytes}};
}

static void lane_free(struct serving_lane *lane)
{
        for (uint32_t level = 0; level < N_LEVELS; level++) {
                struct lanemap_lane_file *file = lane->source.files->slots[level];

                perf_unmap((void *)(uintptr_t)file->bytes, file->n_bytes);
                free(file);
        }
        free((void *)(uintptr_t)lane->source.files);
        free((void *)(uintptr_t)lane->source.window.base);
}

/* Hits and misses, one behind the other in memory. Return: what the ids sum up to. */
static uint64_t queries_make(const uint64_t *hashes, uint64_t n, bool hits, uint64_t *queries)
{
        uint64_t sum = 0;

        for (uint64_t i = 0; i < N_QUERIES; i++) {
                queries[i] =
                        hits ? hashes[perf_mix64(i + 77) % n] : perf_mix64(PERF_KEYS_ABSENT + i);
                sum += hits ? perf_hash_id(queries[i]) : 0;
        }
        return sum;
}

static void pair_measure(const struct serving_lane *lane, const uint64_t *queries, uint64_t sum,
                         bool batch, const char *name, struct perf_table *table)
{
        double on[ROUNDS], off[ROUNDS], ratio[ROUNDS];
        char row[56];

        for (int i = 0; i < ROUNDS; i++) {
                for (int k = 0; k < 2; k++) {
                        bool is_on = (i + k) % 2;
                        uint64_t from = perf_thread_ns(), got;

                        got = is_on ? serving_levels_on(lane, queries, N_QUERIES, batch)
                                    : serving_levels_off(lane, queries, N_QUERIES, batch);
                        (is_on ? on : off)[i] = (double)(perf_thread_ns() - from) / N_QUERIES;
                        if (got != sum)
                                perf_die("a lookup is wrong", 0);
                }
                ratio[i] = off[i] / on[i];
        }
        snprintf(row, sizeof(row), "levels_%s", name);
        perf_table_add(table, row, perf_median(on, ROUNDS), "ns");
        snprintf(row, sizeof(row), "levels_%s_unprefetched", name);
        perf_table_add(table, row, perf_median(off, ROUNDS), "ns");
        snprintf(row, sizeof(row), "levels_%s_gain", name);
        perf_table_add(table, row, perf_median(ratio, ROUNDS), "");
}

void serving_measure_levels(const struct serving_options *options, struct perf_table *table)
{
        static const char *const names[] = {"miss", "miss_batch32", "hit", "hit_batch32"};
        uint64_t *hashes = perf_hashes_sorted(options->n_keys);
        uint64_t *queries = perf_allocate(N_QUERIES * sizeof(*queries));
        struct serving_lane lane;

        lane_make(hashes, options->n_keys, &lane);
        for (int i = 0; i < 4; i++) {
                uint64_t sum = queries_make(hashes, options->n_keys, i >= 2, queries);

                pair_measure(&lane, queries, sum, i % 2, names[i], table);
        }
        lane_free(&lane);
        free(queries);
        free(hashes);
}
