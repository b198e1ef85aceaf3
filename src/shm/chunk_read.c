/*
 * Many keys at once (lanemap_shm_lookup_chunk() in read.h), in stages: each goes over all keys and
 * requests the memory that the next one needs, so that the waiting overlaps. Of a key in simple
 * levels (lane/read.h) each stage leaves what it has computed for the next one; keys in other
 * levels go through the stages of their kinds.
 */
#include "shm/question_read.h"

struct chunk {
        const struct lanemap_fingerprint *fps;
        size_t n_keys;
        uint32_t *ids;
        size_t capacity;
        size_t used_before;
        size_t used;
        struct lanemap_span *spans;
};

/* One key on its way. */
struct chunk_key {
        bool is_simple;
        bool is_bad; /* its record is: which only matters if no overlay has the key */
        uint32_t rank;
        uint32_t match; /* simple: of the first 32 tags of the range */
        struct lanemap_shm_simple simple;
        uint64_t dense, sub;
        const unsigned char *record; /* NULL: in no group */
        struct lanemap_packed_range range;
        struct lanemap_lane_levels levels; /* not simple */
};

LANEMAP_ALWAYS_INLINE int key_open(const struct lanemap_shm_region *region,
                                   struct lanemap_shm_try *try, struct lanemap_fingerprint fp,
                                   struct chunk_key *key)
{
        uint32_t lane;
        int r;

        r = lanemap_shm_slot(region, fp.hash, &lane, &key->rank);
        if (LANEMAP_UNLIKELY(r != 0))
                return r;

        key->is_simple = LANEMAP_LIKELY(try->kept) &&
                         LANEMAP_LIKELY(lanemap_shm_simple_get(region, &try->kept[lane], lane,
                                                               &key->simple));
        if (LANEMAP_UNLIKELY(!key->is_simple)) {
                r = lanemap_shm_levels_get(region, try, lane, &key->levels);
                if (r == 0)
                        lanemap_lane_prefetch(&key->levels, fp, key->rank);
                return r;
        }

        try->oldest = LANEMAP_MIN(try->oldest, key->simple.epoch);
        key->dense = lanemap_dense_hash(fp.hash, key->rank);
        key->sub = lanemap_packed_sub(&key->simple.segment->packed, key->dense);
        key->record = lanemap_packed_record(&key->simple.segment->packed, key->sub);
        lanemap_overlay_prefetch(key->simple.active, sizeof(struct lanemap_overlay_cell_shm), fp);
        lanemap_prefetch(key->record);
        return 0;
}

/* The directory has arrived. */
LANEMAP_ALWAYS_INLINE void key_entries(struct lanemap_fingerprint fp, struct chunk_key *key)
{
        const struct lanemap_packed *packed;

        if (LANEMAP_UNLIKELY(!key->is_simple)) {
                lanemap_lane_prefetch_entries(&key->levels, fp, key->rank);
                return;
        }
        packed = &key->simple.segment->packed;
        if (LANEMAP_UNLIKELY(!key->record))
                return;
        key->is_bad = lanemap_packed_range_in(packed, key->record, key->sub, &key->range) != 0;
        if (LANEMAP_LIKELY(!key->is_bad))
                lanemap_packed_prefetch_tags(packed, key->range);
}

/* The tags have arrived. */
LANEMAP_ALWAYS_INLINE void key_values(struct lanemap_fingerprint fp, struct chunk_key *key)
{
        const struct lanemap_packed *packed;

        if (LANEMAP_UNLIKELY(!key->is_simple)) {
                lanemap_lane_prefetch_values(&key->levels, fp, key->rank);
                return;
        }
        packed = &key->simple.segment->packed;
        if (LANEMAP_UNLIKELY(!key->record || key->is_bad))
                return;

        key->match = lanemap_packed_match(packed, key->range.first, key->range.end,
                                          lanemap_packed_tag(packed, key->dense));
        if (key->match)
                lanemap_packed_prefetch_entry(packed, key->range.first +
                                                              (uint32_t)__builtin_ctz(key->match));
}

/* In simple levels, when all has arrived. */
LANEMAP_ALWAYS_INLINE enum lanemap_lane_place
key_find(struct lanemap_fingerprint fp, const struct chunk_key *key, uint64_t *ret_value)
{
        const struct lanemap_segment *segment = key->simple.segment;
        bool is_there;

        if (lanemap_overlay_find(key->simple.active, sizeof(struct lanemap_overlay_cell_shm), fp,
                                 ret_value) == 0)
                return LANEMAP_LANE_IN_OVERLAY;
        if (LANEMAP_UNLIKELY(!key->record))
                return LANEMAP_LANE_NOWHERE;
        if (LANEMAP_UNLIKELY(key->is_bad))
                return LANEMAP_LANE_UNKNOWN;

        is_there = lanemap_packed_find_matched(&segment->packed, key->range, key->match, key->dense,
                                               false, 0, ret_value) == 0;
        /* N3. */
        lanemap_fence_acquire();
        if (lanemap_segment_is_unreadable(segment))
                return LANEMAP_LANE_UNKNOWN;

        return is_there ? LANEMAP_LANE_IN_SEGMENT : LANEMAP_LANE_NOWHERE;
}

/* Copies ids out, when they fit. Return: 0 and *ret_n_ids, -EBADMSG. */
LANEMAP_ALWAYS_INLINE int key_copy(const struct lanemap_window *window,
                                   struct lanemap_fingerprint fp, const struct chunk_key *key,
                                   uint32_t *ids, size_t capacity, size_t *ret_n_ids)
{
        enum lanemap_lane_place place = LANEMAP_LANE_UNKNOWN;
        struct lanemap_lane_posting posting;
        uint64_t value = 0;
        int r;

        *ret_n_ids = 0;
        if (LANEMAP_UNLIKELY(!key->is_simple)) {
                r = lanemap_lane_find(&key->levels, fp, key->rank, &posting);
                if (r == LANEMAP_LANE_E_ABSENT)
                        return 0;
        } else {
                place = key_find(fp, key, &value);
                if (place == LANEMAP_LANE_NOWHERE)
                        return 0;
                if (LANEMAP_LIKELY(place == LANEMAP_LANE_IN_SEGMENT &&
                                   value <= key->simple.segment->inline_max)) {
                        if (LANEMAP_LIKELY(capacity))
                                ids[0] = (uint32_t)value;
                        *ret_n_ids = 1;
                        return 0;
                }
                r = place == LANEMAP_LANE_UNKNOWN
                            ? -EBADMSG
                            : lanemap_lane_simple_posting(place, value, key->simple.segment,
                                                          &posting);
        }

        return r == 0 ? lanemap_lane_posting_copy(window, &posting, ids, capacity, ret_n_ids) : r;
}

static int chunk_request(const struct lanemap_shm_region *region, struct lanemap_shm_try *try,
                         const struct chunk *chunk, struct chunk_key *keys)
{
        int r;

        for (size_t i = 0; i < chunk->n_keys; i++) {
                r = key_open(region, try, chunk->fps[i], &keys[i]);
                if (LANEMAP_UNLIKELY(r != 0))
                        return r;
        }
        for (size_t i = 0; i < chunk->n_keys; i++)
                key_entries(chunk->fps[i], &keys[i]);
        for (size_t i = 0; i < chunk->n_keys; i++)
                key_values(chunk->fps[i], &keys[i]);
        return 0;
}

static int chunk_try(const struct lanemap_shm_region *region, struct lanemap_shm_try *try,
                     void *arg)
{
        struct lanemap_window window = lanemap_shm_window(region);
        struct chunk_key keys[LANEMAP_SHM_CHUNK_KEYS];
        struct chunk *chunk = arg;
        size_t n_ids, used = chunk->used_before;
        int r;

        r = chunk_request(region, try, chunk, keys);
        if (LANEMAP_UNLIKELY(r != 0))
                return r;

        for (size_t i = 0; i < chunk->n_keys; i++) {
                r = key_copy(&window, chunk->fps[i], &keys[i], chunk->ids + used,
                             chunk->capacity - used, &n_ids);
                if (LANEMAP_UNLIKELY(r < 0))
                        return r;

                chunk->spans[i].n_ids = n_ids;
                if (n_ids <= chunk->capacity - used) {
                        chunk->spans[i].offset = used;
                        used += n_ids;
                } else {
                        chunk->spans[i].offset = LANEMAP_SPAN_UNWRITTEN;
                }
        }

        chunk->used = used;
        return 0;
}

int lanemap_shm_lookup_chunk(const struct lanemap_shm_region *region,
                             const struct lanemap_fingerprint *fps, size_t n_keys, uint32_t *ids,
                             size_t capacity, size_t used, struct lanemap_span *ret_spans,
                             size_t *ret_used, uint64_t *n_tries)
{
        struct chunk chunk = {
                .fps = fps,
                .n_keys = n_keys,
                .ids = ids,
                .capacity = capacity,
                .used_before = used,
                .spans = ret_spans,
        };
        int r;

        r = lanemap_shm_question_ask(region, chunk_try, &chunk, n_tries);
        if (r == 0)
                *ret_used = chunk.used;
        return r;
}
