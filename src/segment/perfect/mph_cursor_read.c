/*
 * Iterating the kinds `recsplit` and `bbhash`, in the order of their fingerprints or in none. See
 * cursor_read.c, which calls this through their rows.
 *
 * The entries of a perfect hash are in no order inside their bucket. The cursor sorts one bucket at
 * a time, in memory that its caller gave it.
 */
#include "segment/section_read.h"

#include <string.h>

static bool slot_after_other(const struct lanemap_segment_cursor_slot *a,
                             const struct lanemap_segment_cursor_slot *b)
{
        return a->dense > b->dense || (a->dense == b->dense && a->ext > b->ext);
}

/* Shell's sort: in place, and never much slower than usual, whatever the bytes are. */
static void slots_sort(struct lanemap_segment_cursor_slot *slots, uint32_t n)
{
        static const uint32_t gaps[] = {8858, 3937, 1750, 701, 301, 132, 57, 23, 10, 4, 1};

        for (uint32_t g = 0; g < LANEMAP_N_ELEMENTS(gaps); g++) {
                uint32_t gap = gaps[g];

                for (uint32_t i = gap; i < n; i++) {
                        struct lanemap_segment_cursor_slot slot = slots[i];
                        uint32_t k = i;

                        for (; k >= gap && slot_after_other(&slots[k - gap], &slot); k -= gap)
                                slots[k] = slots[k - gap];
                        slots[k] = slot;
                }
        }
}

/* Which of n equal parts of the bucket a hash is in. */
static uint32_t slot_part(const struct lanemap_mph *mph, uint64_t above, uint32_t n)
{
        return (uint32_t)((lanemap_uint128)above * n >> mph->remainder_bits);
}

/*
 * Sorts the bucket at hand: first into n equal parts, which for hashes is nearly all of it, then by
 * comparing. Scratch: the sorted slots, the slots as they are, where each part begins.
 */
static void bucket_sort(struct lanemap_segment_cursor *cursor, uint64_t start, uint32_t n)
{
        const struct lanemap_mph *mph = &cursor->segment.mph;
        struct lanemap_segment_cursor_slot *raw = cursor->bucket + mph->bucket_entries_max;
        uint32_t *ends = (uint32_t *)(void *)(raw + mph->bucket_entries_max), before = 0;

        memset(ends, 0, n * sizeof(*ends));
        for (uint32_t i = 0; i < n; i++)
                ends[slot_part(mph, raw[i].dense - start, n)]++;
        for (uint32_t i = 0; i < n; i++) {
                uint32_t n_here = ends[i];

                ends[i] = before;
                before += n_here;
        }
        for (uint32_t i = 0; i < n; i++)
                cursor->bucket[ends[slot_part(mph, raw[i].dense - start, n)]++] = raw[i];

        slots_sort(cursor->bucket, n);
}

size_t lanemap_mph_cursor_scratch_bytes(const struct lanemap_segment *segment)
{
        return segment->mph.bucket_entries_max *
               (2 * sizeof(struct lanemap_segment_cursor_slot) + sizeof(uint32_t));
}

int lanemap_mph_cursor_seek(struct lanemap_segment_cursor *cursor, uint64_t dense,
                            const struct lanemap_segment_ops *ops)
{
        struct lanemap_mph_bucket bucket;
        int r;

        cursor->sub = lanemap_mph_bucket_of(&cursor->segment.mph, dense);
        r = ops->bucket(&cursor->segment, (uint32_t)cursor->sub, &bucket);
        if (r < 0)
                return r;

        cursor->position = (uint32_t)bucket.first;
        return 0;
}

int lanemap_mph_cursor_enter(struct lanemap_segment_cursor *cursor,
                             const struct lanemap_segment_ops *ops)
{
        const struct lanemap_mph *mph = &cursor->segment.mph;
        struct lanemap_mph_bucket bucket;
        uint64_t start;
        int r;

        while (cursor->position == cursor->sub_end) {
                if (cursor->sub == mph->n_buckets)
                        return -EBADMSG;

                r = ops->bucket(&cursor->segment, (uint32_t)cursor->sub, &bucket);
                if (r < 0)
                        return r;
                if (bucket.first != cursor->position)
                        return -EBADMSG;

                start = lanemap_mph_bucket_start(mph, (uint32_t)cursor->sub);
                for (uint32_t i = 0; i < bucket.n; i++) {
                        struct lanemap_segment_cursor_slot *slot =
                                &cursor->bucket[mph->bucket_entries_max + i];
                        struct lanemap_mph_entry entry =
                                lanemap_mph_entry_at(mph, bucket.first + i);

                        r = lanemap_mph_dense(mph, (uint32_t)cursor->sub, start, entry.remainder,
                                              &slot->dense);
                        if (r < 0)
                                return r;
                        slot->ext = entry.ext;
                        slot->position = (uint32_t)bucket.first + i;
                }
                bucket_sort(cursor, start, bucket.n);
                cursor->sub_first = (uint32_t)bucket.first;
                cursor->sub_end = cursor->sub_first + bucket.n;
                cursor->sub++;
        }

        return 0;
}

void lanemap_mph_cursor_decode(struct lanemap_segment_cursor *cursor, uint32_t n)
{
        const struct lanemap_segment_cursor_slot *slots =
                &cursor->bucket[cursor->position - cursor->sub_first];
        struct lanemap_segment_cursor_stored *stored = &cursor->stored;

        for (uint32_t i = 0; i < n; i++) {
                stored->dense[i] = slots[i].dense;
                stored->exts[i] = slots[i].ext;
                stored->values[i] =
                        lanemap_mph_entry_at(&cursor->segment.mph, slots[i].position).value;
        }
}

/* ---- without order ---- */

static int bucket_walk(const struct lanemap_segment *segment, uint32_t bucket,
                       struct lanemap_mph_bucket range,
                       int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg)
{
        uint64_t start = lanemap_mph_bucket_start(&segment->mph, bucket), dense;
        uint32_t slot;
        int r;

        for (uint64_t i = range.first; i < range.first + range.n; i++) {
                struct lanemap_mph_entry entry = lanemap_mph_entry_at(&segment->mph, i);
                struct lanemap_fingerprint fp = {.ext = entry.ext};

                r = lanemap_mph_dense(&segment->mph, bucket, start, entry.remainder, &dense);
                if (r == 0)
                        r = lanemap_segment_slot_of_rank(
                                segment, (uint32_t)(dense >> LANEMAP_SLOT_LOW_BITS), &slot);
                if (r < 0)
                        return r;

                fp.hash = (uint64_t)slot << LANEMAP_SLOT_LOW_BITS | (dense & LANEMAP_SLOT_LOW_MASK);
                r = fn(arg, fp);
                if (r != 0)
                        return r;
        }

        return 0;
}

int lanemap_mph_walk(const struct lanemap_segment *segment, const struct lanemap_segment_ops *ops,
                     int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg)
{
        struct lanemap_mph_bucket bucket;
        uint64_t n = 0;
        int r;

        for (uint32_t i = 0; i < segment->mph.n_buckets; i++) {
                r = ops->bucket(segment, i, &bucket);
                if (r < 0)
                        return r;
                if (bucket.first != n)
                        return -EBADMSG;

                r = bucket_walk(segment, i, bucket, fn, arg);
                if (r != 0)
                        return r;

                n += bucket.n;
        }

        return n == segment->n_keys ? 0 : -EBADMSG;
}
