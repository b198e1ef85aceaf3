/*
 * A question by protocol P0 (read.h), as inline functions: a lookup makes no call before it has its
 * answer. What is not for every lookup is in read.c.
 */
#ifndef LANEMAP_SHM_QUESTION_READ_H
#define LANEMAP_SHM_QUESTION_READ_H

#include "shm/read.h"

/* The state of one try; the epoch is loaded first, so that nothing below is older than it. */
struct lanemap_shm_try {
        uint64_t epoch;
        uint64_t oldest; /* epoch, or that of the oldest view that was decoded before and used */
        struct lanemap_shm_kept *kept; /* NULL: views are decoded anew */
};

LANEMAP_ALWAYS_INLINE int lanemap_shm_try_begin(const struct lanemap_shm_region *region,
                                                bool is_again, struct lanemap_shm_try *try)
{
        const struct lanemap_shm_control *control = region->control;

        /* Pairs with the release store of E at the end of a batch (P1): weaker, a reader with a
         * late epoch could still follow a word to a block that this epoch says is unlinked. */
        try->epoch = try->oldest = lanemap_load_acquire(&control->epoch);
        /* The try before may have been misled by what was kept long ago. */
        try->kept = LANEMAP_UNLIKELY(is_again) ? NULL : region->kept;
        return LANEMAP_UNLIKELY(lanemap_load_acquire(&control->generation) != region->generation)
                       ? LANEMAP_SHM_E_GENERATION
                       : 0;
}

/* Return: true if everything that was seen at `epoch` and since may be believed (P2, P3, P7). */
LANEMAP_ALWAYS_INLINE bool lanemap_shm_epoch_holds(const struct lanemap_shm_region *region,
                                                   uint64_t epoch)
{
        lanemap_fence_acquire();
        return LANEMAP_LIKELY(lanemap_load_relaxed(&region->control->watermark) <= epoch);
}

LANEMAP_ALWAYS_INLINE struct lanemap_window
lanemap_shm_window(const struct lanemap_shm_region *region)
{
        return (struct lanemap_window){.base = region->base,
                                       .bytes = lanemap_load_relaxed(&region->bytes)};
}

/* Where a fingerprint lives. The slot table never changes, but its bytes are not trusted. */
LANEMAP_ALWAYS_INLINE int lanemap_shm_slot(const struct lanemap_shm_region *region, uint64_t hash,
                                           uint32_t *ret_lane, uint32_t *ret_rank)
{
        const struct lanemap_slot *slot = &region->slots[lanemap_slot_of(hash)];
        uint32_t lane = lanemap_load_relaxed(&slot->lane);

        if (LANEMAP_UNLIKELY(lane >= region->n_lanes))
                return -EBADMSG;

        *ret_lane = lane;
        *ret_rank = lanemap_load_relaxed(&slot->rank);
        return 0;
}

/* Decodes the view that a lane's word leads to, and keeps it for the next lookup. Return: 0,
 * LANEMAP_SHM_E_UNMAPPED, -EBADMSG. */
int lanemap_shm_levels_decode(const struct lanemap_shm_region *region,
                              const struct lanemap_shm_try *try, uint32_t lane, uint64_t word,
                              struct lanemap_lane_levels *ret_levels);

/* The levels of a lane, as of its word now. */
LANEMAP_ALWAYS_INLINE int lanemap_shm_levels_get(const struct lanemap_shm_region *region,
                                                 struct lanemap_shm_try *try, uint32_t lane,
                                                 struct lanemap_lane_levels *ret_levels)
{
        /* Pairs with the release store in lanemap_lane_view_publish(). */
        uint64_t word = lanemap_load_acquire(&region->lanes[lane].view_off), epoch;

        if (LANEMAP_LIKELY(try->kept) &&
            lanemap_shm_kept_get(&try->kept[lane], word,
                                 lanemap_load_relaxed(&region->files_serial), ret_levels, &epoch)) {
                try->oldest = LANEMAP_MIN(try->oldest, epoch);
                return 0;
        }

        return lanemap_shm_levels_decode(region, try, lane, word, ret_levels);
}

/* Levels that are kept and simple, out of the memory that threads share. */
struct lanemap_shm_simple {
        struct lanemap_overlay_cells active;
        const struct lanemap_segment *segment;
        uint64_t epoch;
};

/* Return: true and the levels of a lane's word now, if they are kept and simple. */
LANEMAP_ALWAYS_INLINE bool lanemap_shm_simple_get(const struct lanemap_shm_region *region,
                                                  const struct lanemap_shm_kept *kept,
                                                  uint32_t lane,
                                                  struct lanemap_shm_simple *ret_simple)
{
        const struct lanemap_lane_levels *levels = &kept->levels;
        /* As in lanemap_shm_levels_get(). */
        uint64_t word = lanemap_load_acquire(&region->lanes[lane].view_off), sequence;

        if (LANEMAP_UNLIKELY(!lanemap_shm_kept_begin(kept, word,
                                                     lanemap_load_relaxed(&region->files_serial),
                                                     &sequence) ||
                             !lanemap_load_relaxed(&levels->is_simple)))
                return false;

        ret_simple->epoch = lanemap_load_relaxed(&kept->epoch);
        ret_simple->segment = lanemap_load_relaxed(&levels->segments[0]);
        ret_simple->active.first = lanemap_load_relaxed(&levels->active.first);
        ret_simple->active.mask = lanemap_load_relaxed(&levels->active.mask);
        return lanemap_shm_kept_end(kept, sequence);
}

/*
 * Finds a key's posting.
 *
 * Return: 0 (the posting may be a tombstone; a key that no level knows has an empty one),
 * LANEMAP_SHM_E_UNMAPPED, -EBADMSG.
 */
int lanemap_shm_posting_find(const struct lanemap_shm_region *region, struct lanemap_shm_try *try,
                             struct lanemap_fingerprint fp,
                             struct lanemap_lane_posting *ret_posting);

/* A question about one generation. Return: 0, LANEMAP_SHM_E_*, or a negative errno. */
typedef int lanemap_shm_question(const struct lanemap_shm_region *region,
                                 struct lanemap_shm_try *try, void *arg);

/*
 * The one retry loop of P0: asks until an outcome may be believed (P3), at most
 * LANEMAP_SHM_TRIES_MAX times (P5). The question writes its answer into arg; only an outcome of 0
 * makes it true. Inlined with its question: a lookup makes no indirect call.
 */
LANEMAP_ALWAYS_INLINE int lanemap_shm_question_ask(const struct lanemap_shm_region *region,
                                                   lanemap_shm_question *question, void *arg,
                                                   uint64_t *n_tries)
{
        for (uint32_t i = 0; i < LANEMAP_SHM_TRIES_MAX; i++) {
                struct lanemap_shm_try try;
                int r;

                r = lanemap_shm_try_begin(region, i > 0, &try);
                if (LANEMAP_UNLIKELY(r != 0))
                        return r;

                r = question(region, &try, arg);
                if (lanemap_shm_epoch_holds(region, try.oldest))
                        return r;
                /* Only a view that was decoded long ago is no reason to speak of reuse. */
                *n_tries += !lanemap_shm_epoch_holds(region, try.epoch);
        }

        return -EAGAIN;
}

/* A posting that was found in simple levels. Return: true if its ids were copied, or counted where
 * there is no room. */
bool lanemap_shm_simple_copy(const struct lanemap_shm_region *region,
                             const struct lanemap_segment *segment, enum lanemap_lane_place place,
                             uint64_t value, uint32_t *ids, size_t capacity, size_t *ret_n_ids);

/*
 * The first try of nearly all lookups: in levels that are kept and simple, in a region that keeps
 * them, of an index whose fingerprints have 64 bits. It has no struct in memory and no loop but the
 * probing.
 *
 * Return: true and the answer. false: lanemap_shm_lookup() has to say, whatever the cause; ids may
 * have been written to, and *n_tries is counted up where memory was reused under this one.
 */
LANEMAP_ALWAYS_INLINE bool lanemap_shm_lookup_simple(const struct lanemap_shm_region *region,
                                                     uint64_t hash, uint32_t *ids, size_t capacity,
                                                     size_t *ret_n_ids, uint64_t *n_tries)
{
        uint64_t epoch = lanemap_load_acquire(&region->control->epoch);
        struct lanemap_shm_simple simple;
        enum lanemap_lane_place place;
        size_t n_ids = 1, n_copied;
        uint64_t value = 0;
        uint32_t lane, rank;

        if (LANEMAP_UNLIKELY(lanemap_load_acquire(&region->control->generation) !=
                             region->generation) ||
            LANEMAP_UNLIKELY(lanemap_shm_slot(region, hash, &lane, &rank) != 0) ||
            LANEMAP_UNLIKELY(!lanemap_shm_simple_get(region, &region->kept[lane], lane, &simple)))
                return false;

        place = lanemap_lane_find_simple(simple.active, simple.segment, hash, rank, &value);
        if (place == LANEMAP_LANE_IN_SEGMENT && value <= simple.segment->inline_max) {
                if (LANEMAP_LIKELY(capacity))
                        ids[0] = (uint32_t)value;
        } else if (place == LANEMAP_LANE_NOWHERE) {
                n_ids = 0;
        } else {
                if (!lanemap_shm_simple_copy(region, simple.segment, place, value, ids, capacity,
                                             &n_copied))
                        return false;
                n_ids = n_copied;
        }

        if (LANEMAP_UNLIKELY(!lanemap_shm_epoch_holds(region, simple.epoch))) {
                *n_tries += !lanemap_shm_epoch_holds(region, epoch);
                return false;
        }

        *ret_n_ids = n_ids;
        return true;
}

#endif
