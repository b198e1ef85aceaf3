/*
 * Protocol P0: reading memory that the writer reuses, without writing anything.
 *
 *   reader   e = acquire load of E, and the generation word beside it
 *            search, copy the answer out
 *            acquire fence
 *            believe the outcome, whatever it is, only if W <= e; otherwise do it again
 *
 *   writer   unlink a block                          (release store of the word that led to it)
 *            end of batch: r = E + 1, E = r          (release store; the block is stamped r)
 *            before its bytes are reused: W = max(W, r), release fence, overwrite
 *
 * P1. A reader with e >= r cannot reach the block: the acquire load of E that gave r saw the
 *     unlinking before it.
 * P2. A reader with e < r that saw one overwritten byte sees W >= r after its fence (fence to
 *     fence), so it does not believe the outcome.
 * P3. So every outcome believed, also "absent", "does not fit" and "bad bytes", was true at some
 *     moment of the call, and no byte that a reader writes plays any part.
 * P4. A reader answers only from the generation that the control line named during the call.
 * P5. The number of tries is bounded: after LANEMAP_SHM_TRIES_MAX the answer is -EAGAIN.
 * P6. A view looks at the posting where it is. Postings are immutable until they are reused, and
 *     the end check of a view says whether that may have begun: so what was read before a good
 *     end check are the ids that the key had when the view began, and of what was read before a
 *     bad one nothing is claimed.
 *
 * The litmus cases are in src/FORMAT.md. Thread: any; nothing here writes shared or private state.
 */
#ifndef LANEMAP_SHM_READ_H
#define LANEMAP_SHM_READ_H

#include <lanemap/lanemap.h>

#include "lane/read.h"
#include "shm/format.h"
#include "shm/kept_read.h"

#define LANEMAP_SHM_E_GENERATION 1 /* another generation is in force */
#define LANEMAP_SHM_E_UNMAPPED   2 /* a view names a segment that is not mapped here */

#define LANEMAP_SHM_TRIES_MAX  1000
#define LANEMAP_SHM_CHUNK_KEYS 32

/* An attached generation, in private memory. */
struct lanemap_shm_region {
        const struct lanemap_shm_control *control;
        const unsigned char *base;
        uint64_t bytes; /* known size of the object: loaded and stored relaxed, grows */
        uint64_t bytes_max;
        uint64_t generation;
        const struct lanemap_slot *slots;
        const struct lanemap_lane_shm *lanes;
        uint32_t n_lanes;
        uint32_t cell_bytes;
        struct lanemap_hash_key hash_key;
        uint64_t uuid[2];
        struct lanemap_lane_files *files; /* replaced by its owner; loaded once per decoding */
        uint64_t files_serial; /* P9: raised by its owner (release) after a file has left the table,
                                  before it is retired */
        struct lanemap_shm_kept *kept; /* one per lane; NULL: each lookup decodes its view */
};

/*
 * Validates a mapped data object's head and fills what lookups need of it. control, files, kept and
 * generation are the caller's to set.
 *
 * bytes       the object's size as fstat says
 *
 * Return: 0, -EBADMSG (also: not the generation that was asked for), -EPROTONOSUPPORT.
 */
int lanemap_shm_region_init(struct lanemap_shm_region *region, const void *base, uint64_t bytes);

LANEMAP_ALWAYS_INLINE struct lanemap_fingerprint
lanemap_shm_fingerprint(const struct lanemap_shm_region *region, const void *key, size_t key_bytes)
{
        return lanemap_fingerprint_of(&region->hash_key, key, key_bytes);
}

/*
 * The questions. n_tries counts the tries that were not believed; may not be NULL.
 *
 * Return: 0 (contains: 1 or 0 in *ret_found), LANEMAP_SHM_E_*, -EBADMSG, -EAGAIN.
 */
int lanemap_shm_lookup(const struct lanemap_shm_region *region, struct lanemap_fingerprint fp,
                       uint32_t *ids, size_t capacity, size_t *ret_n_ids, uint64_t *n_tries);
/* The ids from `from` on, at most capacity. */
int lanemap_shm_lookup_from(const struct lanemap_shm_region *region, struct lanemap_fingerprint fp,
                            uint32_t from, uint32_t *ids, size_t capacity, size_t *ret_n_ids,
                            uint64_t *n_tries);
int lanemap_shm_posting_bytes(const struct lanemap_shm_region *region,
                              struct lanemap_fingerprint fp, uint64_t n_chunks, uint64_t *ret_bytes,
                              uint64_t *ret_n_ids, uint64_t *n_tries);
int lanemap_shm_contains(const struct lanemap_shm_region *region, struct lanemap_fingerprint fp,
                         uint32_t id, bool *ret_found, uint64_t *n_tries);

/*
 * At most LANEMAP_SHM_CHUNK_KEYS keys with one epoch, loaded in this call. Answers are put at
 * ids[used ..]; offsets in the spans count from ids[0]. *ret_used is how much of ids is taken
 * afterwards.
 */
int lanemap_shm_lookup_chunk(const struct lanemap_shm_region *region,
                             const struct lanemap_fingerprint *fps, size_t n_keys, uint32_t *ids,
                             size_t capacity, size_t used, struct lanemap_span *ret_spans,
                             size_t *ret_used, uint64_t *n_tries);

/* A posting that is being looked at in place. All of it is private to one thread. */
struct lanemap_shm_view {
        const struct lanemap_shm_region *region;
        uint64_t epoch;
        struct lanemap_window window;
        struct lanemap_lane_walk walk;
};

/*
 * Finds a key's posting; none of its ids is copied. The region must stay mapped until the end.
 *
 * Return: 0 and how many ids the key has, true at this moment; as lanemap_shm_lookup().
 */
int lanemap_shm_view_begin(const struct lanemap_shm_region *region, struct lanemap_fingerprint fp,
                           struct lanemap_shm_view *ret_view, uint64_t *ret_n_ids,
                           uint64_t *n_tries);

/*
 * The next ids, where they are: they may change at any moment, and only an end check after their
 * use says whether they had.
 *
 * Return: 1 and at most LANEMAP_OVERLAY_LEAF_IDS_MAX ids; 0 no more; -EBADMSG, which only a good
 * end check makes true; -EAGAIN when the end check is bad already.
 */
int lanemap_shm_view_next(struct lanemap_shm_view *view, const uint32_t **ret_ids,
                          uint32_t *ret_n_ids);

/* The end check. Return: true if everything seen since the beginning may be believed. */
bool lanemap_shm_view_end(const struct lanemap_shm_view *view);

/*
 * The segments that a lane's current view names, newest first.
 *
 * Return: 0 and at most LANEMAP_LANE_SEGMENTS_MAX entries; LANEMAP_SHM_E_GENERATION, -EBADMSG,
 * -EAGAIN.
 */
int lanemap_shm_lane_segments(const struct lanemap_shm_region *region, uint32_t lane,
                              struct lanemap_lane_segment_shm *ret_segments, uint32_t *ret_n);

/*
 * Calls fn with the levels of a lane, at least once; again from the start after each try that was
 * not believed. So fn begins with an empty result, and its bytes are input.
 *
 * Return: as fn, which returns 0 or a negative errno; LANEMAP_SHM_E_*, -EBADMSG, -EAGAIN.
 */
int lanemap_shm_lane_visit(const struct lanemap_shm_region *region, uint32_t lane,
                           int (*fn)(void *arg, const struct lanemap_lane_levels *levels),
                           void *arg);

#endif
