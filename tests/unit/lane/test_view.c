/* Lane views: what was published is found level by level, newest first; and any bytes in a view's
 * place are refused, not followed. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lane/read.h"
#include "lane/write.h"
#include "overlay/write.h"
#include "overlay/posting_write.h"
#include "segment/build.h"
#include "support/plain_arena.h"
#include "support/rng.h"

TestSuite(lane_view, .timeout = 60);

#define HASH(n) ((struct lanemap_fingerprint){.hash = UINT64_C(0x9e3779b97f4a7c15) * (n)})

struct bench {
        struct plain_arena plain;
        struct lanemap_overlay active, frozen;
        struct lanemap_lane_shm lane;
        struct lanemap_lane_view_block current;
        struct lanemap_lane_files *files;
        struct lanemap_lane_source source;
};

static void put(struct lanemap_overlay *overlay, struct lanemap_arena *arena, uint64_t n,
                uint32_t id, bool tombstone)
{
        struct lanemap_posting_change change;
        struct lanemap_overlay_cell_shm *cell;
        uint64_t value;

        cell = lanemap_overlay_cell(overlay, HASH(n), &value);
        cr_assert_eq(
                lanemap_posting_prepare_build(arena, 0, &id, tombstone ? 0 : 1, false, &change), 0);
        lanemap_overlay_store(overlay, cell, HASH(n), change.value);
        (void)lanemap_posting_commit(arena, &change);
}

static void bench_init(struct bench *bench)
{
        memset(bench, 0, sizeof(*bench));
        plain_arena_init(&bench->plain);
        cr_assert_eq(lanemap_overlay_init(&bench->active, &bench->plain.arena, 4, 16), 0);
        cr_assert_eq(lanemap_overlay_init(&bench->frozen, &bench->plain.arena, 4, 16), 0);
        bench->files = calloc(1, sizeof(*bench->files) + 4 * sizeof(bench->files->slots[0]));
        cr_assert(bench->files);
        bench->files->n_slots = 4;
        bench->source = (struct lanemap_lane_source){
                .window = {.base = bench->plain.arena.base, .bytes = bench->plain.used_bytes},
                .files = bench->files,
                .cell_bytes = 16,
        };
}

static void bench_deinit(struct bench *bench)
{
        plain_arena_deinit(&bench->plain);
        free(bench->files);
}

static void publish(struct bench *bench, bool with_frozen,
                    const struct lanemap_lane_segment_shm *segments, uint32_t n_segments)
{
        struct lanemap_lane_view_options options = {
                .active = &bench->active,
                .frozen = with_frozen ? &bench->frozen : NULL,
                .segments = segments,
                .n_segments = n_segments,
        };
        struct lanemap_lane_view_block block;

        cr_assert_eq(lanemap_lane_view_alloc(&bench->plain.arena, n_segments, &block), 0);
        lanemap_lane_view_publish(&bench->plain.arena, &bench->lane, &block, &options,
                                  &bench->current);
        bench->source.window.bytes = bench->plain.used_bytes;
}

/* The id, UINT32_MAX for a tombstone or nothing, or a negative errno. */
static int64_t find_by_rank(struct bench *bench, uint64_t n, uint32_t rank)
{
        struct lanemap_lane_posting posting;
        struct lanemap_lane_levels levels;
        uint32_t id;
        size_t n_ids = 0;
        int r;

        r = lanemap_lane_decode(&bench->source, bench->lane.view_off, &levels);
        if (r == 0)
                r = lanemap_lane_find(&levels, HASH(n), rank, &posting);
        if (r == LANEMAP_LANE_E_ABSENT)
                return UINT32_MAX;
        if (r == 0)
                r = lanemap_lane_posting_copy(&bench->source.window, &posting, &id, 1, &n_ids);
        if (r != 0)
                return r == LANEMAP_LANE_E_UNMAPPED ? -ENOENT : r;
        return n_ids ? (int64_t)id : (int64_t)UINT32_MAX;
}

/* All slots are the lane's and each section's: the slot is the rank. */
static int64_t find(struct bench *bench, uint64_t n)
{
        return find_by_rank(bench, n, lanemap_slot_of(HASH(n).hash));
}

Test(lane_view, newer_shadows_older)
{
        struct bench bench;
        uint64_t first_view;

        bench_init(&bench);
        put(&bench.active, &bench.plain.arena, 1, 11, false);
        put(&bench.frozen, &bench.plain.arena, 1, 12, false);
        put(&bench.frozen, &bench.plain.arena, 2, 22, false);
        put(&bench.active, &bench.plain.arena, 3, 0, true);
        put(&bench.frozen, &bench.plain.arena, 3, 33, false);

        publish(&bench, true, NULL, 0);
        first_view = bench.lane.view_off;
        cr_expect_eq(find(&bench, 1), 11);
        cr_expect_eq(find(&bench, 2), 22);
        cr_expect_eq(find(&bench, 3), UINT32_MAX, "a tombstone ends the search");
        cr_expect_eq(find(&bench, 4), UINT32_MAX);

        /* A new view takes the old one's place, which is retired. */
        publish(&bench, false, NULL, 0);
        cr_expect_neq(bench.lane.view_off, first_view);
        cr_expect_eq(bench.plain.n_retired, 1);
        cr_expect_eq(find(&bench, 2), UINT32_MAX, "the frozen one is not in it");
        bench_deinit(&bench);
}

Test(lane_view, a_segment_that_is_not_mapped_is_said)
{
        struct lanemap_lane_segment_shm segments[] = {{.file_number = 7, .file_slot = 2},
                                                      {.file_number = 8, .file_slot = 4000}};
        struct bench bench;

        bench_init(&bench);
        publish(&bench, false, &segments[0], 1);
        cr_expect_eq(find(&bench, 1), -ENOENT, "an empty slot");
        publish(&bench, false, &segments[1], 1);
        cr_expect_eq(find(&bench, 1), -ENOENT, "a slot past the table");
        bench_deinit(&bench);
}

/* Keys with one id each, or tombstones. */
struct keys {
        struct lanemap_cursor cursor; /* first */
        struct lanemap_entry entries[8];
        uint32_t ids[8];
        uint32_t n, at;
};

static int keys_next(struct lanemap_cursor *cursor, struct lanemap_entry *ret_entry)
{
        struct keys *keys = (struct keys *)cursor;

        if (keys->at == keys->n)
                return LANEMAP_CURSOR_END;

        *ret_entry = keys->entries[keys->at++];
        return 0;
}

static int keys_rewind(struct lanemap_cursor *cursor)
{
        ((struct keys *)cursor)->at = 0;
        return 0;
}

static int keys_order(const void *a, const void *b)
{
        const struct lanemap_entry *left = a, *right = b;

        return lanemap_fingerprint_compare(left->fingerprint, right->fingerprint);
}

/* A file of one section, of all slots, with the keys first .. first + n - 1, whose ids count from
 * `id` on; 0: tombstones. */
static struct lanemap_lane_file *file_make(struct lanemap_heap *heap, uint64_t number,
                                           uint64_t first, uint32_t n, uint32_t id, uint32_t kind)
{
        uint64_t slots[LANEMAP_SLOT_WORDS];
        struct keys keys = {.cursor = {keys_next, keys_rewind}, .n = n};
        struct lanemap_segment_build_options options = {
                .kind = kind, .fingerprint_bits = 64, .slot_bitmap = slots};
        struct lanemap_lane_file *file = calloc(1, sizeof(*file) + sizeof(struct lanemap_segment));
        struct lanemap_segment_built built;

        cr_assert(file);
        memset(slots, 0xff, sizeof(slots));
        for (uint32_t i = 0; i < n; i++) {
                keys.ids[i] = id + i;
                keys.entries[i] = (struct lanemap_entry){
                        .fingerprint = HASH(first + i), .n_ids = id > 0, .ids = &keys.ids[i]};
        }
        qsort(keys.entries, n, sizeof(keys.entries[0]), keys_order);
        cr_assert_eq(lanemap_segment_build(heap, &options, &keys.cursor, &built), 0);
        file->number = number;
        file->n_sections = 1;
        cr_assert_eq(lanemap_segment_open(&file->sections[0], built.bytes, built.n_bytes, 64), 0);
        return file;
}

/* Active, frozen, then segments from the newest on, of every kind; the first that knows the key. */
Test(lane_view, segments_are_asked_from_the_newest_on)
{
        const struct lanemap_lane_segment_shm segments[] = {{.file_number = 7, .file_slot = 2},
                                                            {.file_number = 8, .file_slot = 0},
                                                            {.file_number = 9, .file_slot = 3}};
        struct lanemap_lane_segment_shm other = segments[0];
        struct lanemap_heap *heap = lanemap_heap_new();
        struct bench bench;

        bench_init(&bench);
        bench.files->slots[2] = file_make(heap, 7, 3, 2, 700, LANEMAP_SEGMENT_KIND_PACKED);
        bench.files->slots[0] = file_make(heap, 8, 4, 2, 0, LANEMAP_SEGMENT_KIND_BBHASH);
        bench.files->slots[3] = file_make(heap, 9, 1, 8, 900, LANEMAP_SEGMENT_KIND_RECSPLIT);
        put(&bench.active, &bench.plain.arena, 1, 11, false);
        put(&bench.frozen, &bench.plain.arena, 2, 12, false);
        publish(&bench, true, segments, 3);
        cr_expect_eq(find(&bench, 1), 11);
        cr_expect_eq(find(&bench, 2), 12);
        cr_expect_eq(find(&bench, 3), 700, "the newest segment");
        cr_expect_eq(find(&bench, 4), 701, "not the tombstone below");
        cr_expect_eq(find(&bench, 5), UINT32_MAX, "a tombstone ends the search");
        cr_expect_eq(find(&bench, 6), 905, "the bottom");
        cr_expect_eq(find(&bench, 9), UINT32_MAX);

        /* The slot of a file is another file's by now, or the section is none of its. */
        other.file_number = 6;
        publish(&bench, false, &other, 1);
        cr_expect_eq(find(&bench, 3), -ENOENT, "another file");
        other = segments[0];
        other.section = 1;
        publish(&bench, false, &other, 1);
        cr_expect_eq(find(&bench, 3), -ENOENT, "no such section");

        /* Whether the flag says so or not, the rank of the slot table is the section's: with that
         * of another slot nothing is found. */
        for (uint32_t flags = 0; flags <= LANEMAP_LANE_SEGMENT_NATIVE_SLOTS; flags++) {
                other = segments[0];
                other.flags = flags;
                publish(&bench, false, &other, 1);
                cr_expect_eq(find(&bench, 3), 700);
                cr_expect_eq(find_by_rank(&bench, 3, 0), UINT32_MAX, "the rank is believed");
        }

        for (uint32_t i = 0; i < 4; i++)
                free(bench.files->slots[i]);
        lanemap_heap_free(heap);
        bench_deinit(&bench);
}

Test(lane_view, any_bytes)
{
        unsigned char whole[LANEMAP_LANE_VIEW_BYTES(1)];
        struct lanemap_lane_segment_shm segment = {.file_number = 7, .file_slot = 1};
        struct bench bench;
        unsigned char *view;
        struct rng rng;

        bench_init(&bench);
        rng_init(&rng, rng_test_seed(2));
        put(&bench.active, &bench.plain.arena, 1, 11, false);
        publish(&bench, true, &segment, 1);
        view = bench.plain.arena.base + bench.lane.view_off;
        memcpy(whole, view, sizeof(whole));
        for (int i = 0; i < 20000; i++) {
                int64_t r;

                memcpy(view, whole, sizeof(whole));
                for (uint64_t k = rng_below(&rng, 4); k < 5; k++)
                        view[rng_below(&rng, 64)] = (unsigned char)rng_next(&rng);
                if (rng_chance(&rng, 50))
                        bench.source.window.bytes = rng_below(&rng, bench.plain.used_bytes + 1);
                r = find(&bench, 1 + rng_below(&rng, 3));
                cr_assert(r >= 0 || r == -EBADMSG || r == -ENOENT, "%d: %ld", i, (long)r);
                bench.source.window.bytes = bench.plain.used_bytes;
        }

        /* Views that cannot be. */
        memcpy(view, whole, sizeof(whole));
        bench.lane.view_off += 8;
        cr_expect_eq(find(&bench, 1), -EBADMSG, "not aligned");
        bench.lane.view_off = bench.plain.used_bytes;
        cr_expect_eq(find(&bench, 1), -EBADMSG, "behind the end");
        bench.lane.view_off = UINT64_MAX - 15;
        cr_expect_eq(find(&bench, 1), -EBADMSG, "far behind the end");
        bench_deinit(&bench);
}
