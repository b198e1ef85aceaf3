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

#include "overlay/posting_change_write.h"
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

/* Retires what the stored value replaced. Return: by how many bytes the overlay's postings have
 * grown. */
int64_t lanemap_posting_commit(struct lanemap_arena *arena, struct lanemap_posting_change *change);
void lanemap_posting_abort(struct lanemap_arena *arena, struct lanemap_posting_change *change);

/* Every block of a value word. */
void lanemap_posting_retire(struct lanemap_arena *arena, uint64_t value);
uint64_t lanemap_posting_bytes(const struct lanemap_arena *arena, uint64_t value);

#endif
