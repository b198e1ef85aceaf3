/*
 * The entries of a frozen overlay in the order of their fingerprints: what a flush reads.
 *
 * Fingerprints are uniform, so two counting passes over the top 24 bits leave runs of one or two,
 * which an insertion sort finishes. Hashes that are not uniform (a test's) make it slow, never
 * wrong.
 */
#include "overlay/write.h"

#include <stdlib.h>
#include <string.h>

#include "common/check.h"

#define RADIX_BITS    12
#define RADIX_SIZE    (1u << RADIX_BITS)
#define INSERTION_MAX 64 /* a longer run of equal prefixes goes to qsort */

struct lanemap_overlay_sorted {
        struct lanemap_fingerprint fingerprint;
        uint64_t value;
};

static int sorted_compare(const void *a, const void *b)
{
        const struct lanemap_overlay_sorted *left = a, *right = b;

        return lanemap_fingerprint_compare(left->fingerprint, right->fingerprint);
}

static void radix_pass(const struct lanemap_overlay_sorted *from, struct lanemap_overlay_sorted *to,
                       size_t n, uint32_t shift, size_t *starts)
{
        memset(starts, 0, (RADIX_SIZE + 1) * sizeof(*starts));
        for (size_t i = 0; i < n; i++)
                starts[(from[i].fingerprint.hash >> shift & (RADIX_SIZE - 1)) + 1]++;
        for (size_t i = 0; i < RADIX_SIZE; i++)
                starts[i + 1] += starts[i];
        for (size_t i = 0; i < n; i++)
                to[starts[from[i].fingerprint.hash >> shift & (RADIX_SIZE - 1)]++] = from[i];
}

static void run_sort(struct lanemap_overlay_sorted *run, size_t n)
{
        if (n > INSERTION_MAX) {
                qsort(run, n, sizeof(*run), sorted_compare);
                return;
        }

        for (size_t i = 1; i < n; i++) {
                struct lanemap_overlay_sorted x = run[i];
                size_t at = i;

                for (; at > 0 &&
                       lanemap_fingerprint_compare(run[at - 1].fingerprint, x.fingerprint) > 0;
                     at--)
                        run[at] = run[at - 1];
                run[at] = x;
        }
}

static void sorted_sort(struct lanemap_overlay_sorted *sorted,
                        struct lanemap_overlay_sorted *scratch, size_t n, size_t *starts)
{
        size_t first = 0;

        radix_pass(sorted, scratch, n, 64 - 2 * RADIX_BITS, starts);
        radix_pass(scratch, sorted, n, 64 - RADIX_BITS, starts);

        for (size_t i = 1; i <= n; i++) {
                if (i < n && sorted[i].fingerprint.hash >> (64 - 2 * RADIX_BITS) ==
                                     sorted[first].fingerprint.hash >> (64 - 2 * RADIX_BITS))
                        continue;
                run_sort(sorted + first, i - first);
                first = i;
        }
}

static int cursor_next(struct lanemap_cursor *base, struct lanemap_entry *ret_entry)
{
        struct lanemap_overlay_cursor *cursor =
                LANEMAP_CONTAINER_OF(base, struct lanemap_overlay_cursor, cursor);
        struct lanemap_window window = {.base = cursor->arena->base, .bytes = UINT64_MAX};
        const struct lanemap_overlay_sorted *at;
        size_t n_ids;
        int r;

        if (cursor->at == cursor->n_sorted)
                return LANEMAP_CURSOR_END;

        at = &cursor->sorted[cursor->at++];
        r = lanemap_overlay_posting_copy(&window, at->value, cursor->ids, cursor->ids_capacity,
                                         &n_ids);
        if (r < 0)
                return r;

        lanemap_check(n_ids <= cursor->ids_capacity);
        *ret_entry = (struct lanemap_entry){
                .fingerprint = at->fingerprint,
                .n_ids = (uint32_t)n_ids,
                .ids = cursor->ids,
        };
        return 0;
}

static int cursor_rewind(struct lanemap_cursor *base)
{
        LANEMAP_CONTAINER_OF(base, struct lanemap_overlay_cursor, cursor)->at = 0;
        return 0;
}

/* The live cells, unsorted, and the length of the longest posting. */
static int cells_gather(const struct lanemap_overlay *overlay,
                        struct lanemap_overlay_sorted *sorted, size_t *ret_n, uint64_t *ret_ids_max)
{
        struct lanemap_window window = {.base = overlay->arena->base, .bytes = UINT64_MAX};
        uint64_t n_ids, ids_max = 1;
        size_t n = 0;
        int r;

        for (uint64_t i = 0; i < UINT64_C(1) << overlay->table.log2_cells; i++) {
                const struct lanemap_overlay_wide_cell_shm *cell = lanemap_arena_at(
                        overlay->arena, overlay->table.off + i * overlay->table.cell_bytes);

                if (!lanemap_overlay_value_is_kept(cell->value))
                        continue;

                r = lanemap_overlay_posting_count(&window, cell->value, &n_ids);
                if (r < 0)
                        return r;

                ids_max = LANEMAP_MAX(ids_max, n_ids);
                sorted[n].fingerprint.hash = cell->hash;
                sorted[n].fingerprint.ext =
                        overlay->table.cell_bytes == sizeof(*cell) ? cell->ext : 0;
                sorted[n++].value = cell->value;
        }

        *ret_n = n;
        *ret_ids_max = ids_max;
        return 0;
}

int lanemap_overlay_cursor_init(struct lanemap_overlay_cursor *cursor,
                                const struct lanemap_overlay *overlay, struct lanemap_heap *heap)
{
        struct lanemap_overlay_sorted *sorted, *scratch;
        uint64_t ids_max;
        size_t n, *starts;
        uint32_t *ids;
        int r;

        sorted = lanemap_heap_alloc(heap, (overlay->n_used + 1) * sizeof(*sorted));
        scratch = lanemap_heap_alloc(heap, (overlay->n_used + 1) * sizeof(*sorted));
        starts = lanemap_heap_alloc(heap, (RADIX_SIZE + 1) * sizeof(*starts));
        if (!sorted || !scratch || !starts)
                return -ENOMEM;

        r = cells_gather(overlay, sorted, &n, &ids_max);
        if (r < 0)
                return r;

        ids = lanemap_heap_alloc(heap, ids_max * sizeof(*ids));
        if (!ids)
                return -ENOMEM;

        sorted_sort(sorted, scratch, n, starts);
        *cursor = (struct lanemap_overlay_cursor){
                .cursor = {.next = cursor_next, .rewind = cursor_rewind},
                .arena = overlay->arena,
                .sorted = sorted,
                .n_sorted = n,
                .ids = ids,
                .ids_capacity = ids_max,
        };
        return 0;
}
