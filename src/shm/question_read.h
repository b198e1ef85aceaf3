/*
 * A question by protocol P0 (read.h), as inline functions: a lookup makes no call before it has its
 * answer. What is not for every lookup is in read.c.
 */
#ifndef LANEMAP_SHM_QUESTION_READ_H
#define LANEMAP_SHM_QUESTION_READ_H

#include "common/siphash.h"
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

/* In levels of any kind. */
int lanemap_shm_posting_find_any(const struct lanemap_shm_region *region,
                                 struct lanemap_shm_try *try, struct lanemap_fingerprint fp,
                                 uint32_t lane, uint32_t rank,
                                 struct lanemap_lane_posting *ret_posting);

/* In levels that are kept and simple, where they lie. Return: true and as
 * lanemap_shm_posting_find(); false: there are none for the lane's word. */
LANEMAP_ALWAYS_INLINE bool
lanemap_shm_find_kept(const struct lanemap_shm_region *region, const struct lanemap_shm_kept *kept,
                      struct lanemap_shm_try *try, struct lanemap_fingerprint fp, uint32_t lane,
                      uint32_t rank, struct lanemap_lane_posting *ret_posting, int *ret_r)
{
        const struct lanemap_lane_levels *levels = &kept->levels;
        const struct lanemap_segment *segment;
        struct lanemap_overlay_cells active;
        uint64_t sequence, epoch;
        bool is_simple;

        /* As in lanemap_shm_levels_get(). */
        sequence = lanemap_shm_kept_begin(kept, lanemap_load_acquire(&region->lanes[lane].view_off),
                                          lanemap_load_relaxed(&region->files_serial));
        is_simple = lanemap_load_relaxed(&levels->is_simple);
        if (LANEMAP_UNLIKELY((sequence & 1) || !is_simple))
                return false;

        epoch = lanemap_load_relaxed(&kept->epoch);
        segment = lanemap_load_relaxed(&levels->segments[0]);
        active.first = lanemap_load_relaxed(&levels->active.first);
        active.mask = lanemap_load_relaxed(&levels->active.mask);
        if (LANEMAP_UNLIKELY(!lanemap_shm_kept_end(kept, sequence)))
                return false;

        try->oldest = epoch;
        *ret_r = lanemap_lane_find_simple(active, segment, fp.hash, rank, ret_posting);
        if (*ret_r == LANEMAP_LANE_E_ABSENT) {
                *ret_posting = (struct lanemap_lane_posting){.in_overlay = false};
                *ret_r = 0;
        }
        return true;
}

/*
 * Finds a key's posting. What is kept is used where it lies when it is simple.
 *
 * Return: 0 (the posting may be a tombstone), LANEMAP_SHM_E_*, -EBADMSG. A key that no level knows
 * has an empty posting.
 */
LANEMAP_ALWAYS_INLINE int lanemap_shm_posting_find(const struct lanemap_shm_region *region,
                                                   struct lanemap_shm_try *try,
                                                   struct lanemap_fingerprint fp,
                                                   struct lanemap_lane_posting *ret_posting)
{
        uint32_t lane, rank;
        int r;

        r = lanemap_shm_slot(region, fp.hash, &lane, &rank);
        if (LANEMAP_UNLIKELY(r != 0))
                return r;

        if (LANEMAP_LIKELY(try->kept) &&
            LANEMAP_LIKELY(lanemap_shm_find_kept(region, &try->kept[lane], try, fp, lane, rank,
                                                 ret_posting, &r)))
                return r;

        return lanemap_shm_posting_find_any(region, try, fp, lane, rank, ret_posting);
}

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

/* lanemap_shm_fingerprint(), inline where the index has 64 bits. */
LANEMAP_ALWAYS_INLINE struct lanemap_fingerprint
lanemap_shm_fingerprint_inline(const struct lanemap_shm_region *region, const void *key,
                               size_t key_bytes)
{
        struct lanemap_fingerprint fp = {0};

        if (LANEMAP_UNLIKELY(region->hash_key.fingerprint_bits != 64))
                return lanemap_fingerprint_of(&region->hash_key, key, key_bytes);

        fp.hash = lanemap_sip_hash(&region->hash_key, key, key_bytes);
        return fp;
}

struct lanemap_shm_lookup {
        struct lanemap_fingerprint fp;
        uint32_t *ids;
        size_t capacity;
        size_t n_ids;
};

LANEMAP_ALWAYS_INLINE int lanemap_shm_lookup_try(const struct lanemap_shm_region *region,
                                                 struct lanemap_shm_try *try, void *arg)
{
        struct lanemap_shm_lookup *lookup = arg;
        struct lanemap_lane_posting posting, found;
        struct lanemap_window window;
        int r;

        r = lanemap_shm_posting_find(region, try, lookup->fp, &posting);
        if (LANEMAP_LIKELY(r == 0 && !posting.in_overlay && !posting.segment.bytes)) {
                lookup->n_ids = posting.segment.n_ids;
                if (lookup->n_ids <= lookup->capacity && lookup->n_ids)
                        lookup->ids[0] = posting.segment.id;
                return 0;
        }
        if (r != 0)
                return r;

        window = lanemap_shm_window(region);
        found = posting; /* which stays in registers */
        return lanemap_lane_posting_copy(&window, &found, lookup->ids, lookup->capacity,
                                         &lookup->n_ids);
}

/* lanemap_shm_lookup(), inline. */
LANEMAP_ALWAYS_INLINE int lanemap_shm_lookup_inline(const struct lanemap_shm_region *region,
                                                    struct lanemap_fingerprint fp, uint32_t *ids,
                                                    size_t capacity, size_t *ret_n_ids,
                                                    uint64_t *n_tries)
{
        struct lanemap_shm_lookup lookup = {.fp = fp, .ids = ids, .capacity = capacity};
        int r;

        r = lanemap_shm_question_ask(region, lanemap_shm_lookup_try, &lookup, n_tries);
        if (LANEMAP_LIKELY(r == 0))
                *ret_n_ids = lookup.n_ids;
        return r;
}

#endif
