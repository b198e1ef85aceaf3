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

#include "overlay/posting_tree_write.h"
#include "overlay/read.h"

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

/* Return: true if an edit of this value, which ends with n_after ids, changes the tree that it is;
 * otherwise the posting is built anew, by lanemap_posting_prepare_build(). */
bool lanemap_posting_edits_in_place(uint64_t old_value, uint64_t n_after);

/*
 * Many ids more, which are not there, and many less, which are: each node of the tree that is
 * touched is copied once. The FRESH tag is kept.
 *
 * made, dropped    the blocks that are new, and those that are replaced, are added to these lists:
 *                  a change names its part of them (more_new, more_old)
 *
 * Return: 0, and the value to be stored; -ENOSPC, -ENOMEM: nothing is left of it.
 */
int lanemap_posting_prepare_edit(struct lanemap_arena *arena, uint64_t old_value,
                                 const struct lanemap_posting_edit *edit,
                                 struct lanemap_posting_blocks *made,
                                 struct lanemap_posting_blocks *dropped, uint64_t *ret_value);

/* Retires what the stored value replaced. Return: by how many bytes the overlay's postings have
 * grown. */
int64_t lanemap_posting_commit(struct lanemap_arena *arena, struct lanemap_posting_change *change);
void lanemap_posting_abort(struct lanemap_arena *arena, struct lanemap_posting_change *change);

/* Every block of a value word. */
void lanemap_posting_retire(struct lanemap_arena *arena, uint64_t value);
uint64_t lanemap_posting_bytes(const struct lanemap_arena *arena, uint64_t value);

#endif
