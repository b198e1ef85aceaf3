/*
 * The write side of an overlay's table. See format.h for the bytes and read.h for
 * what readers may do meanwhile.
 *
 * O3. A cell's hash and ext are stored before its first value word, and never again.
 * O4. Nothing that a reader may reach is changed or freed: a table grows by being rebuilt into a
 * new one that shares the postings, and the old one is retired once no lane view names it.
 *
 * Thread: the writer, under its lock.
 */
#ifndef LANEMAP_OVERLAY_WRITE_H
#define LANEMAP_OVERLAY_WRITE_H

#include "common/alloc.h"
#include "common/entry.h"
#include "overlay/posting_write.h"

/* The cells of a table of the writer's own. */
LANEMAP_ALWAYS_INLINE struct lanemap_overlay_cells
lanemap_overlay_own_cells(const struct lanemap_arena *arena,
                          const struct lanemap_overlay_table *table)
{
        return (struct lanemap_overlay_cells){
                .first = lanemap_arena_at(arena, table->off),
                .mask = (UINT64_C(1) << table->log2_cells) - 1,
        };
}

struct lanemap_overlay {
        struct lanemap_arena *arena;
        struct lanemap_overlay_table table;
        uint64_t n_used; /* cells whose hash is written */
        uint64_t posting_bytes;
        uint64_t long_bytes;     /* of these, in long postings */
        uint64_t n_long_changes; /* how often one was made, changed or replaced */
};

/* Return: true if a key with this value word is there when a table is grown, copied or flushed:
 * neither an empty cell nor a fresh tombstone, which hides nothing. */
LANEMAP_ALWAYS_INLINE bool lanemap_overlay_value_is_kept(uint64_t value)
{
        return value != 0 && value != (LANEMAP_OVERLAY_TAG_TOMBSTONE | LANEMAP_OVERLAY_TAG_FRESH);
}

LANEMAP_ALWAYS_INLINE bool lanemap_overlay_value_is_long(uint64_t value)
{
        return (value & LANEMAP_OVERLAY_TAG_KIND_MASK) == LANEMAP_OVERLAY_TAG_LONG;
}

/* A table of 2^log2_cells empty cells. Return: 0, -ENOSPC, -ENOMEM. */
int lanemap_overlay_init(struct lanemap_overlay *overlay, struct lanemap_arena *arena,
                         uint32_t log2_cells, uint32_t cell_bytes);

/* Retires the table and every posting in it. */
void lanemap_overlay_retire(struct lanemap_overlay *overlay);
/* Retires only the table: its postings live on in the one that it grew into. */
void lanemap_overlay_retire_table(struct lanemap_overlay *overlay);
/* Frees an empty overlay that was never published. */
void lanemap_overlay_free(struct lanemap_overlay *overlay);

/* Return: true if n_more new keys would make the table too full: grow first. */
bool lanemap_overlay_is_full(const struct lanemap_overlay *overlay, uint64_t n_more);
/* Return: log2 of the cells of the smallest table with room for n_keys keys. */
uint32_t lanemap_overlay_log2_cells_for(uint64_t n_keys);

/* A table with the same keys, without fresh tombstones, and room for n_more keys: twice as large,
 * or more; not published. Return: 0, -ENOSPC, -ENOMEM. */
int lanemap_overlay_grow(const struct lanemap_overlay *overlay, uint64_t n_more,
                         struct lanemap_overlay *ret_grown);

/* A copy, postings included, in another arena (a new generation), in a table as small as its keys
 * allow. Return: 0, -ENOSPC, -ENOMEM; then what was copied is given up with that arena. */
int lanemap_overlay_copy(const struct lanemap_overlay *overlay, struct lanemap_arena *arena,
                         struct lanemap_overlay *ret_copy);

/* The key's cell, or the empty one where it would go. *ret_value is 0 for the empty one. */
struct lanemap_overlay_cell_shm *lanemap_overlay_cell(const struct lanemap_overlay *overlay,
                                                      struct lanemap_fingerprint fp,
                                                      uint64_t *ret_value);

/* Publishes a value word in a cell that lanemap_overlay_cell() gave. */
void lanemap_overlay_store(struct lanemap_overlay *overlay, struct lanemap_overlay_cell_shm *cell,
                           struct lanemap_fingerprint fp, uint64_t value);

/* lanemap_posting_commit() of a change that was stored in the overlay, and counted in it. Return:
 * by how many bytes the overlay has grown. */
int64_t lanemap_overlay_commit(struct lanemap_overlay *overlay,
                               struct lanemap_posting_change *change);

/* Return: the bytes that the overlay holds of the arena. */
uint64_t lanemap_overlay_bytes(const struct lanemap_overlay *overlay);

/* Return: how much less a copy of its table would hold. Cost: none; it is at least this much. */
uint64_t lanemap_overlay_slack_bytes(const struct lanemap_overlay *overlay);

/*
 * The entries of an overlay that no longer changes, in ascending order, without fresh tombstones.
 *
 * Owner: all memory is the heap's. Return: 0, -ENOMEM.
 */
struct lanemap_overlay_cursor {
        struct lanemap_cursor cursor;
        const struct lanemap_arena *arena;
        struct lanemap_overlay_sorted *sorted;
        size_t n_sorted;
        size_t at;
        uint32_t *ids;
        size_t ids_capacity;
};
int lanemap_overlay_cursor_init(struct lanemap_overlay_cursor *cursor,
                                const struct lanemap_overlay *overlay, struct lanemap_heap *heap);

#endif
