/*
 * Iterating the kinds `recsplit` and `bbhash` in the order of their fingerprints. See
 * cursor_read.c, which calls this.
 *
 * The entries of a perfect hash are in no order inside their bucket. The cursor sorts one bucket at
 * a time, in memory that its caller gave it.
 */
#include "segment/read.h"

#include <string.h>

int lanemap_segment_mph_bucket(const struct lanemap_segment *segment, uint32_t bucket,
                               struct lanemap_mph_bucket *ret_bucket)
{
        uint64_t code_at;
        uint32_t block;

        if (segment->kind == LANEMAP_SEGMENT_KIND_RECSPLIT)
                return lanemap_recsplit_bucket(&segment->recsplit, bucket, ret_bucket, &code_at);

        return lanemap_bbhash_bucket(&segment->bbhash, bucket, ret_bucket, &block);
}

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

int lanemap_segment_cursor_enter_mph(struct lanemap_segment_cursor *cursor)
{
        const struct lanemap_mph *mph = &cursor->segment.mph;
        struct lanemap_mph_bucket bucket;
        uint64_t start;
        int r;

        while (cursor->position == cursor->sub_end) {
                if (cursor->sub == mph->n_buckets)
                        return -EBADMSG;

                r = lanemap_segment_mph_bucket(&cursor->segment, (uint32_t)cursor->sub, &bucket);
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

void lanemap_segment_cursor_decode_mph(struct lanemap_segment_cursor *cursor, uint32_t n)
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
