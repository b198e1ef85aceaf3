/*
 * Making and changing the postings of an overlay (format.h): immutable once published, so a
 * change builds new blocks first, then the caller publishes one value word, then the old blocks are
 * retired.
 *
 *      prepare (may fail, nothing has happened)  ->  store the value word  ->  commit
 *                                                \-> abort
 *
 * Thread: the writer, under its lock. Cost: a short posting is copied whole (at most 512 bytes); a
 * long one copies the path from a leaf to the head, at most a few KiB, whatever its length.
 */
#ifndef LANEMAP_OVERLAY_POSTING_WRITE_H
#define LANEMAP_OVERLAY_POSTING_WRITE_H

#include "common/arena.h"
#include "overlay/read.h"

struct lanemap_posting_block {
        uint64_t off;
        uint64_t bytes;
};

/* Two nodes a level can be new (a split) or old (a merge), and the heads. */
#define LANEMAP_POSTING_CHANGE_BLOCKS_MAX (2 * (LANEMAP_OVERLAY_TREE_HEIGHT_MAX + 2) + 2)

struct lanemap_posting_change {
        uint64_t old_value;      /* 0: there was none in this overlay */
        uint64_t value;          /* to be stored */
        bool replaces_whole_old; /* every block of old_value goes, not only old_blocks */
        bool built_whole_new;    /* every block of value is new, not only new_blocks */
        uint32_t n_new_blocks;
        uint32_t n_old_blocks;
        struct lanemap_posting_block new_blocks[LANEMAP_POSTING_CHANGE_BLOCKS_MAX];
        struct lanemap_posting_block old_blocks[LANEMAP_POSTING_CHANGE_BLOCKS_MAX];
};

/* A posting of n ascending, distinct ids; n == 0 is a tombstone. Return: 0, -ENOSPC, -ENOMEM. Cost:
 * O(n). */
int lanemap_posting_prepare_build(struct lanemap_arena *arena, uint64_t old_value,
                                  const uint32_t *ids, size_t n_ids, bool fresh,
                                  struct lanemap_posting_change *ret_change);

/* One id more, which is not there, or one less, which is. old_value is not 0. The FRESH tag is
 * kept. */
int lanemap_posting_prepare_insert(struct lanemap_arena *arena, uint64_t old_value, uint32_t id,
                                   struct lanemap_posting_change *ret_change);
int lanemap_posting_prepare_remove(struct lanemap_arena *arena, uint64_t old_value, uint32_t id,
                                   struct lanemap_posting_change *ret_change);

/* Retires what the stored value replaced. Return: by how many bytes the overlay's postings have
 * grown. */
int64_t lanemap_posting_commit(struct lanemap_arena *arena, struct lanemap_posting_change *change);
void lanemap_posting_abort(struct lanemap_arena *arena, struct lanemap_posting_change *change);

/* For posting_tree_write.c: notes a block of the change, bounded (lanemap_check). */
void lanemap_posting_change_made(struct lanemap_posting_change *change, uint64_t off,
                                 uint64_t bytes);
void lanemap_posting_change_dropped(struct lanemap_posting_change *change, uint64_t off,
                                    uint64_t bytes);
/* An ascending array with one id more, for which there is room, or one less. Return: its length. */
uint32_t lanemap_posting_ids_change(uint32_t *ids, uint32_t n_ids, uint32_t id, bool insert);

/* Every block of a value word. */
void lanemap_posting_retire(struct lanemap_arena *arena, uint64_t value);
uint64_t lanemap_posting_bytes(const struct lanemap_arena *arena, uint64_t value);

#endif
