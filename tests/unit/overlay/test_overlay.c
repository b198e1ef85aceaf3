/* The table: growth, order of its cursor, both widths of cells, a reader's find against every
 * stored key. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "overlay/write.h"
#include "plain_arena.h"

static struct plain_arena arena;

static void setup(void)
{
        plain_arena_init(&arena);
}

static void teardown(void)
{
        plain_arena_deinit(&arena);
}

TestSuite(overlay, .init = setup, .fini = teardown, .timeout = 60);

static struct lanemap_fingerprint fp_of(uint64_t i, uint32_t bits)
{
        struct lanemap_fingerprint fp = {.hash = i * UINT64_C(0x9e3779b97f4a7c15)};

        fp.hash ^= fp.hash >> 29;
        if (bits > 64)
                fp.ext = (uint32_t)(i & 3);
        return fp;
}

static void put(struct lanemap_overlay *overlay, struct lanemap_fingerprint fp, uint64_t value)
{
        struct lanemap_overlay_cell_shm *cell;
        struct lanemap_overlay grown;
        uint64_t old;

        if (lanemap_overlay_is_full(overlay, 1)) {
                cr_assert_eq(lanemap_overlay_grow(overlay, 1, &grown), 0);
                lanemap_overlay_retire_table(overlay);
                *overlay = grown;
        }
        cell = lanemap_overlay_cell(overlay, fp, &old);
        lanemap_overlay_store(overlay, cell, fp, value);
}

static void fill_and_find(uint32_t bits)
{
        struct lanemap_window window = {.base = arena.arena.base};
        struct lanemap_overlay overlay;
        struct lanemap_overlay_cells cells;
        uint64_t value;

        cr_assert_eq(lanemap_overlay_init(&overlay, &arena.arena, LANEMAP_OVERLAY_LOG2_CELLS_MIN,
                                          lanemap_overlay_cell_bytes(bits)),
                     0);
        for (uint64_t i = 0; i < 5000; i++)
                put(&overlay, fp_of(i, bits),
                    i << LANEMAP_OVERLAY_INLINE_SHIFT | LANEMAP_OVERLAY_TAG_INLINE);

        window.bytes = arena.used_bytes;
        cells = lanemap_overlay_cells(&window, &overlay.table);
        cr_assert_not_null(cells.first);
        for (uint64_t i = 0; i < 5000; i++) {
                cr_assert_eq(lanemap_overlay_find(cells, overlay.table.cell_bytes, fp_of(i, bits),
                                                  &value),
                             0);
                cr_assert_eq(value >> LANEMAP_OVERLAY_INLINE_SHIFT, i);
                cr_assert_eq(lanemap_overlay_find(cells, overlay.table.cell_bytes,
                                                  fp_of(i + 5000, bits), &value),
                             LANEMAP_OVERLAY_E_ABSENT);
        }
        lanemap_overlay_retire(&overlay);
        cr_assert_eq(arena.n_live, 0);
}

Test(overlay, every_key_is_found_after_growth_64_bits)
{
        fill_and_find(64);
}

Test(overlay, every_key_is_found_after_growth_96_bits)
{
        fill_and_find(96);
}

Test(overlay, equal_hashes_with_different_extra_bits_are_different_keys)
{
        struct lanemap_overlay overlay;
        uint64_t value;

        cr_assert_eq(lanemap_overlay_init(&overlay, &arena.arena, 4, 24), 0);
        for (uint32_t ext = 0; ext < 4; ext++) {
                struct lanemap_fingerprint fp = {.hash = 77, .ext = ext};

                put(&overlay, fp,
                    (uint64_t)ext << LANEMAP_OVERLAY_INLINE_SHIFT | LANEMAP_OVERLAY_TAG_INLINE);
        }
        for (uint32_t ext = 0; ext < 4; ext++) {
                lanemap_overlay_cell(&overlay, (struct lanemap_fingerprint){77, ext}, &value);
                cr_assert_eq(value >> LANEMAP_OVERLAY_INLINE_SHIFT, ext);
        }
}

Test(overlay, growth_and_cursor_forget_fresh_tombstones_only)
{
        struct lanemap_overlay overlay, grown;
        struct lanemap_overlay_cursor cursor;
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_entry entry;
        uint64_t value, n_tombstones = 0, n = 0;

        cr_assert_eq(lanemap_overlay_init(&overlay, &arena.arena, 12, 16), 0);
        for (uint64_t i = 0; i < 1000; i++)
                put(&overlay, fp_of(i, 64),
                    i % 3 == 0   ? LANEMAP_OVERLAY_TAG_TOMBSTONE | LANEMAP_OVERLAY_TAG_FRESH
                    : i % 3 == 1 ? LANEMAP_OVERLAY_TAG_TOMBSTONE
                                 : i << LANEMAP_OVERLAY_INLINE_SHIFT | LANEMAP_OVERLAY_TAG_INLINE);

        cr_assert_eq(lanemap_overlay_cursor_init(&cursor, &overlay, heap), 0);
        while (cursor.cursor.next(&cursor.cursor, &entry) == 0) {
                n_tombstones += entry.n_ids == 0;
                n++;
        }
        cr_assert_eq(n, 666);
        cr_assert_eq(n_tombstones, 333);

        cr_assert_eq(lanemap_overlay_grow(&overlay, 1, &grown), 0);
        cr_assert_eq(grown.n_used, 666);
        lanemap_overlay_cell(&grown, fp_of(1, 64), &value);
        cr_assert_eq(value, LANEMAP_OVERLAY_TAG_TOMBSTONE);
        lanemap_heap_free(heap);
}

static void cursor_is_sorted(uint64_t n, bool adversarial)
{
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_overlay_cursor cursor;
        struct lanemap_overlay overlay;
        struct lanemap_entry entry;
        uint64_t n_seen = 0, last = 0;

        cr_assert_eq(lanemap_overlay_init(&overlay, &arena.arena, 15, 16), 0);
        for (uint64_t i = 0; i < n; i++) {
                struct lanemap_fingerprint fp = fp_of(i + 1, 64);

                if (adversarial)
                        fp.hash = n - i;
                put(&overlay, fp,
                    UINT64_C(7) << LANEMAP_OVERLAY_INLINE_SHIFT | LANEMAP_OVERLAY_TAG_INLINE);
        }
        cr_assert_eq(lanemap_overlay_cursor_init(&cursor, &overlay, heap), 0);
        for (int round = 0; round < 2; round++) {
                n_seen = last = 0;
                while (cursor.cursor.next(&cursor.cursor, &entry) == 0) {
                        cr_assert_gt(entry.fingerprint.hash, last);
                        cr_assert_eq(entry.ids[0], 7);
                        last = entry.fingerprint.hash;
                        n_seen++;
                }
                cr_assert_eq(n_seen, n);
                cursor.cursor.rewind(&cursor.cursor);
        }
        lanemap_heap_free(heap);
}

Test(overlay, cursor_is_sorted_for_uniform_and_for_adversarial_hashes)
{
        cursor_is_sorted(0, false);
        cursor_is_sorted(1, false);
        cursor_is_sorted(20000, false);
        cursor_is_sorted(20000, true);
}

Test(overlay, copy_holds_the_same_postings_in_another_arena)
{
        static uint32_t ids[5000], out[5000];
        struct plain_arena other;
        struct lanemap_posting_change change;
        struct lanemap_overlay overlay, copy;
        struct lanemap_window window;
        size_t n_ids;
        uint64_t value;

        plain_arena_init(&other);
        for (uint32_t i = 0; i < 5000; i++)
                ids[i] = 5 * i;
        cr_assert_eq(lanemap_overlay_init(&overlay, &arena.arena, 6, 16), 0);
        for (uint64_t i = 0; i < 30; i++) {
                cr_assert_eq(lanemap_posting_prepare_build(&arena.arena, 0, ids, i * i * 5, false,
                                                           &change),
                             0);
                put(&overlay, fp_of(i, 64), change.value);
                overlay.posting_bytes += (uint64_t)lanemap_posting_commit(&arena.arena, &change);
        }
        cr_assert_eq(lanemap_overlay_copy(&overlay, &other.arena, &copy), 0);
        window = (struct lanemap_window){.base = other.arena.base, .bytes = other.used_bytes};
        for (uint64_t i = 0; i < 30; i++) {
                lanemap_overlay_cell(&copy, fp_of(i, 64), &value);
                cr_assert_eq(lanemap_overlay_posting_copy(&window, value, out, 5000, &n_ids), 0);
                cr_assert_eq(n_ids, i * i * 5);
                cr_assert_eq(memcmp(out, ids, n_ids * 4), 0);
        }
        cr_assert_eq(copy.posting_bytes, other.live_bytes - (64u * 16));
        plain_arena_deinit(&other);
}

/* Wherever room or memory ends, the answer says so and what was copied from is as it was. */
Test(overlay, copy_without_room_is_refused)
{
        static uint32_t ids[300];
        struct lanemap_posting_change change;
        struct lanemap_overlay overlay, copy;
        uint64_t fail_after = 0;
        int r;

        for (uint32_t i = 0; i < 300; i++)
                ids[i] = 5 * i;
        cr_assert_eq(lanemap_overlay_init(&overlay, &arena.arena, 6, 16), 0);
        for (uint64_t i = 0; i < 4; i++) {
                cr_assert_eq(lanemap_posting_prepare_build(&arena.arena, 0, ids, i * 100, false,
                                                           &change),
                             0);
                put(&overlay, fp_of(i, 64), change.value);
                overlay.posting_bytes += (uint64_t)lanemap_posting_commit(&arena.arena, &change);
        }

        do {
                struct plain_arena other;

                plain_arena_init(&other);
                other.fail_after = ++fail_after;
                r = lanemap_overlay_copy(&overlay, &other.arena, &copy);
                cr_assert(r == 0 || r == -ENOSPC, "%d", r);
                other.fail_after = 0;
                lanemap_alloc_fail_after(1);
                cr_expect_eq(lanemap_overlay_copy(&overlay, &other.arena, &copy), -ENOMEM);
                lanemap_alloc_fail_after(0);
                plain_arena_deinit(&other);
        } while (r != 0);
        cr_expect_gt(fail_after, 5);
        lanemap_overlay_retire(&overlay);
        cr_expect_eq(arena.n_live, 0);
}

Test(overlay, copy_of_a_table_that_is_nearly_empty_is_small)
{
        struct lanemap_overlay overlay, copy;
        struct plain_arena other;

        plain_arena_init(&other);
        cr_assert_eq(lanemap_overlay_init(&overlay, &arena.arena, 12, 16), 0);
        for (uint64_t i = 0; i < 9; i++)
                put(&overlay, fp_of(i, 64), LANEMAP_OVERLAY_TAG_INLINE);
        cr_assert_eq(lanemap_overlay_copy(&overlay, &other.arena, &copy), 0);
        cr_expect_eq(copy.table.log2_cells, 5);
        cr_expect_eq(copy.n_used, 9);
        cr_expect_eq(lanemap_overlay_bytes(&overlay) - lanemap_overlay_slack_bytes(&overlay),
                     lanemap_overlay_bytes(&copy));
        cr_expect_eq(lanemap_overlay_slack_bytes(&copy), 0);
        plain_arena_deinit(&other);
}
