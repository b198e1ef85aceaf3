/*
 * Reading an overlay that may change, or be reused for something else, at any instruction.
 *
 * O1. A reader that finds a value word in a table that was not reused finds the ids which that
 *     word stood for, however the writer goes on: postings are immutable and retired, never
 *     changed.
 * O2. For any bytes whatsoever a call ends after a bounded number of steps, reads only inside
 *     the window, and answers a result or -EBADMSG. Whether the result was true is for the
 *     caller to validate (protocol P0, shm/read.h).
 *
 * Thread: any. Cost: one cache miss for a cell; nothing is allocated.
 */
#ifndef LANEMAP_OVERLAY_READ_H
#define LANEMAP_OVERLAY_READ_H

#include <errno.h>

#include "common/fingerprint.h"
#include "common/order.h"
#include "common/window.h"
#include "overlay/format.h"

#define LANEMAP_OVERLAY_E_ABSENT 1 /* this overlay does not know the key */

/* A table, as a lane view names it. */
struct lanemap_overlay_table {
        uint64_t off;
        uint32_t log2_cells;
        uint32_t cell_bytes;
};

/* A table that is inside the window. */
struct lanemap_overlay_cells {
        const unsigned char *first; /* NULL: none */
        uint64_t mask;              /* the number of cells, less one */
};

/* Return: the table's cells; first is NULL when they are not inside the window. */
LANEMAP_ALWAYS_INLINE struct lanemap_overlay_cells
lanemap_overlay_cells(const struct lanemap_window *window,
                      const struct lanemap_overlay_table *table)
{
        struct lanemap_overlay_cells cells = {.first = NULL};

        if (LANEMAP_UNLIKELY(table->log2_cells > LANEMAP_OVERLAY_LOG2_CELLS_MAX))
                return cells;

        cells.first = lanemap_window_at(window, table->off,
                                        (uint64_t)table->cell_bytes << table->log2_cells, 8);
        cells.mask = (UINT64_C(1) << table->log2_cells) - 1;
        return cells;
}

LANEMAP_ALWAYS_INLINE void lanemap_overlay_prefetch(struct lanemap_overlay_cells cells,
                                                    uint32_t cell_bytes,
                                                    struct lanemap_fingerprint fp)
{
        lanemap_prefetch(cells.first + (fp.hash & cells.mask) * cell_bytes);
}

/*
 * Looks for the key's cell. Return: 0 and the value word (never 0), or LANEMAP_OVERLAY_E_ABSENT.
 *
 * The value is loaded before the hash: a hash is written before its first value, so whoever sees
 * the value sees the hash. Weaker, a reader could compare with a hash that is not there yet and
 * call a present key absent.
 */
LANEMAP_ALWAYS_INLINE int lanemap_overlay_find(struct lanemap_overlay_cells cells,
                                               uint32_t cell_bytes, struct lanemap_fingerprint fp,
                                               uint64_t *ret_value)
{
        uint64_t at = fp.hash & cells.mask;

        for (uint64_t n_probes = 0; n_probes <= cells.mask;
             n_probes++, at = (at + 1) & cells.mask) {
                const unsigned char *bytes = cells.first + at * cell_bytes;
                const struct lanemap_overlay_wide_cell_shm *cell = (const void *)bytes;
                uint64_t value = lanemap_load_acquire(&cell->value);

                if (value == 0)
                        return LANEMAP_OVERLAY_E_ABSENT;
                if (lanemap_load_relaxed(&cell->hash) != fp.hash)
                        continue;
                if (cell_bytes == sizeof(*cell) && lanemap_load_relaxed(&cell->ext) != fp.ext)
                        continue;

                *ret_value = value;
                return 0;
        }

        return LANEMAP_OVERLAY_E_ABSENT;
}

/* Counts the ids of a value word; 0 for a tombstone. Return: 0 or -EBADMSG. */
int lanemap_overlay_posting_count(const struct lanemap_window *window, uint64_t value,
                                  uint64_t *ret_n_ids);

/*
 * Copies the ids of a value word out, ascending.
 *
 * Return: 0 and *ret_n_ids; when that is more than capacity nothing was written. -EBADMSG.
 */
int lanemap_overlay_posting_copy(const struct lanemap_window *window, uint64_t value, uint32_t *ids,
                                 size_t capacity, size_t *ret_n_ids);

/* Where a walk through a posting is. Plain values of this process; the pointers are into the
 * window, checked. */
struct lanemap_overlay_walk {
        uint64_t n_left;     /* ids that are still to come */
        const uint32_t *ids; /* of a short posting; NULL after it */
        uint64_t root_off;   /* of a long one; 0: not long, or under way */
        uint32_t inline_id;
        bool is_part; /* it began in the midst: n_left is only a bound */
        uint32_t depth;
        struct {
                const struct lanemap_overlay_child_shm *children;
                uint32_t at;
                uint32_t n;
                uint32_t height;
        } path[LANEMAP_OVERLAY_TREE_HEIGHT_MAX];
};

/*
 * Begins a walk through the ids of a value word, in place. ret_walk->n_left is how many there are.
 *
 * Return: 0 or -EBADMSG.
 */
int lanemap_overlay_walk_begin(const struct lanemap_window *window, uint64_t value,
                               struct lanemap_overlay_walk *ret_walk);

/*
 * The next chunk: at most LANEMAP_OVERLAY_LEAF_IDS_MAX ids, where they are. Together the chunks are
 * what lanemap_overlay_posting_copy() copies.
 *
 * Return: 1 and a chunk, 0 there are no more, -EBADMSG. Owner: *ret_ids points into the window, or
 * into the walk. Cost: one cache miss a chunk; at most LANEMAP_OVERLAY_TREE_HEIGHT_MAX + 1 nodes
 * are looked at, whatever the bytes.
 */
int lanemap_overlay_walk_next(const struct lanemap_window *window,
                              struct lanemap_overlay_walk *walk, const uint32_t **ret_ids,
                              uint32_t *ret_n_ids);

/*
 * For a walk that has just begun: it goes on at the leaf where `from` is or belongs, so its first
 * chunk may begin with smaller ids.
 *
 * Return: 0 or -EBADMSG. Cost: a search in each node of one path.
 */
int lanemap_overlay_walk_seek(const struct lanemap_window *window,
                              struct lanemap_overlay_walk *walk, uint32_t from);

/* Return: 1, 0 or -EBADMSG. Cost: a search in one leaf. */
int lanemap_overlay_posting_contains(const struct lanemap_window *window, uint64_t value,
                                     uint32_t id);

#endif
