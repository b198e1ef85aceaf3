/*
 * Decoded views, kept in a reader's private memory: one per lane. A view's bytes are read and
 * checked once, not for each key; a lookup compares the lane's word.
 *
 * The word alone does not say that a view is the same: its block is reused, so the same word comes
 * to mean another view. The epoch does:
 *
 * P7. What is kept was decoded from a view at an epoch e, and its decoding was believed (P2). Who
 *     uses it finds the same word in the lane, and believes the outcome only if W <= e. A block
 *     that was unlinked since has W above e before it is overwritten, so before the word can lead
 *     to it again: a reader that sees the second word sees that W.
 * P8. What is kept holds nothing but checked pointers, in memory that no other process can write:
 *     whatever the writer does meanwhile, a lookup by it stays inside the mappings.
 * P9. A mapping that is taken out of the table of files is not found here by a guard that was
 *     entered after its retirement was stamped: the table's owner raises the serial number first.
 *
 * Threads share what is kept. One that writes makes the sequence number odd; others do not wait for
 * it: they decode for themselves. One that has vanished in a fork() is known by the number of forks
 * in the sequence number, and its place is taken.
 */
#ifndef LANEMAP_SHM_KEPT_READ_H
#define LANEMAP_SHM_KEPT_READ_H

#include "common/order.h"
#include "lane/read.h"

/* All of it is loaded and stored by relaxed atomics, but for the sequence number. The first line is
 * all that a lookup in an overlay and one segment needs. */
struct lanemap_shm_kept {
        uint64_t sequence; /* odd: being written; by the process of so many forks (top 16 bits) */
        uint64_t word;     /* the lane's, that led to the view */
        uint64_t serial;   /* of the table of files that its segments were found in */
        uint64_t epoch;
        struct lanemap_lane_levels levels;
        unsigned char padding[192 - 4 * sizeof(uint64_t) - sizeof(struct lanemap_lane_levels)];
};
static_assert(sizeof(struct lanemap_shm_kept) == 192, "whole lines");
static_assert(offsetof(struct lanemap_shm_kept, levels.segments[1]) == LANEMAP_CACHE_LINE_BYTES,
              "one segment in the first line");

/* Return: what is kept for n lanes, nothing yet, or NULL without memory. Owner: the caller, free().
 */
struct lanemap_shm_kept *lanemap_shm_kept_new(uint32_t n_lanes);

/* Keeps a decoded view whose decoding was believed at `epoch`, unless another thread is at it. */
void lanemap_shm_kept_put(struct lanemap_shm_kept *kept, uint64_t word, uint64_t serial,
                          uint64_t epoch, const struct lanemap_lane_levels *levels);

/* Return: true if what is kept is of this word and this serial number, and nobody writes. */
LANEMAP_ALWAYS_INLINE bool lanemap_shm_kept_begin(const struct lanemap_shm_kept *kept,
                                                  uint64_t word, uint64_t serial,
                                                  uint64_t *ret_sequence)
{
        /* Pairs with the release store in lanemap_shm_kept_put(): weaker, a segment could be seen
         * before its fields, or the word before the unlinkings that its epoch stands for. */
        *ret_sequence = lanemap_load_acquire(&kept->sequence);
        return LANEMAP_LIKELY(lanemap_load_relaxed(&kept->word) == word) &&
               LANEMAP_LIKELY(lanemap_load_relaxed(&kept->serial) == serial) &&
               LANEMAP_LIKELY(!(*ret_sequence & 1));
}

/* Return: true if all that was loaded since belongs together. */
LANEMAP_ALWAYS_INLINE bool lanemap_shm_kept_end(const struct lanemap_shm_kept *kept,
                                                uint64_t sequence)
{
        /* Fence to fence: one word of another decoding, and the number has changed. */
        lanemap_fence_acquire();
        return LANEMAP_LIKELY(lanemap_load_relaxed(&kept->sequence) == sequence);
}

/* Return: true and a copy, if what is kept is of this word and this serial number. */
LANEMAP_ALWAYS_INLINE bool lanemap_shm_kept_get(const struct lanemap_shm_kept *kept, uint64_t word,
                                                uint64_t serial,
                                                struct lanemap_lane_levels *ret_levels,
                                                uint64_t *ret_epoch)
{
        const struct lanemap_lane_levels *from = &kept->levels;
        struct lanemap_lane_levels *to = ret_levels;
        uint64_t sequence;

        if (LANEMAP_UNLIKELY(!lanemap_shm_kept_begin(kept, word, serial, &sequence)))
                return false;

        *ret_epoch = lanemap_load_relaxed(&kept->epoch);
        to->active.first = lanemap_load_relaxed(&from->active.first);
        to->active.mask = lanemap_load_relaxed(&from->active.mask);
        to->cell_bytes = lanemap_load_relaxed(&from->cell_bytes);
        to->has_frozen = lanemap_load_relaxed(&from->has_frozen);
        to->is_simple = lanemap_load_relaxed(&from->is_simple);
        to->n_segments = lanemap_load_relaxed(&from->n_segments);
        for (uint32_t i = 0; i < to->n_segments; i++)
                to->segments[i] = lanemap_load_relaxed(&from->segments[i]);
        if (LANEMAP_UNLIKELY(to->has_frozen)) {
                to->frozen.first = lanemap_load_relaxed(&from->frozen.first);
                to->frozen.mask = lanemap_load_relaxed(&from->frozen.mask);
        }

        return lanemap_shm_kept_end(kept, sequence);
}

#endif
