/*
 * Iterating a section in the order of the fingerprints. See segment_read.h.
 *
 * The hash is put together again from where the entry is (slot; group and sub-block, or bucket) and
 * what is stored of it. Since sub-blocks and buckets are visited in order and must begin where the
 * one before ended, each entry is visited once and the loop ends, whatever the index says.
 *
 * The entries of a perfect hash are in no order inside their bucket. The cursor sorts one bucket at
 * a time, in memory that its caller gave it.
 */
#include "segment/segment_read.h"

#include <string.h>

/* Steps to the first sub-block that holds cursor->position. */
static int packed_enter(struct lanemap_segment_cursor *cursor)
{
        const struct lanemap_packed *packed = &cursor->segment.packed;

        while (cursor->position == cursor->sub_end) {
                struct lanemap_packed_range range;

                if (cursor->sub >> LANEMAP_PACKED_SUB_BITS >= packed->n_groups)
                        return -EBADMSG;
                if (lanemap_packed_range(packed, cursor->sub << packed->sub_shift, &range) != 0 ||
                    range.first != cursor->position)
                        return -EBADMSG;

                cursor->sub_end = (uint32_t)range.end;
                cursor->sub++;
        }

        return 0;
}

/* The dense hash, ext and value of the entry at cursor->position. */
static uint64_t packed_take(struct lanemap_segment_cursor *cursor, uint32_t *ret_ext)
{
        const struct lanemap_packed *packed = &cursor->segment.packed;
        uint64_t at = (uint64_t)cursor->position * packed->entry_bits, dense;

        dense = (cursor->sub - 1) << packed->sub_shift |
                (uint64_t)packed->tags[cursor->position] << packed->tag_shift |
                lanemap_packed_field(packed->payload, at, packed->tag_shift);
        at += packed->tag_shift;
        *ret_ext = (uint32_t)lanemap_packed_field(packed->payload, at, packed->ext_bits);
        at += packed->ext_bits;
        cursor->value = lanemap_packed_field(packed->payload, at, packed->value_bits);
        return dense;
}

/* The first slot of the section after `slot`, or -1. */
static int32_t slot_after(const struct lanemap_segment *segment, int32_t slot)
{
        const unsigned char *bitmap =
                segment->section + offsetof(struct lanemap_segment_section_file, slot_bitmap);
        uint32_t from = (uint32_t)(slot + 1), word = from >> 6;
        uint64_t bits;

        if (from >= LANEMAP_N_SLOTS)
                return -1;

        bits = lanemap_load_le64(bitmap + word * 8) & UINT64_MAX << (from & 63);
        while (bits == 0) {
                if (++word == LANEMAP_SLOT_WORDS)
                        return -1;
                bits = lanemap_load_le64(bitmap + word * 8);
        }

        return (int32_t)(word * 64) + __builtin_ctzll(bits);
}

static int cursor_slot(struct lanemap_segment_cursor *cursor, uint64_t dense)
{
        int32_t rank = (int32_t)(dense >> LANEMAP_SLOT_LOW_BITS);

        if (LANEMAP_LIKELY(rank == cursor->rank))
                return 0;
        if (rank < cursor->rank)
                return -EBADMSG;

        while (cursor->rank < rank) {
                int32_t slot = slot_after(&cursor->segment, cursor->slot);

                if (slot < 0)
                        return -EBADMSG;

                cursor->slot = slot;
                cursor->rank++;
        }

        return 0;
}

/* ---- perfect hashes ---- */

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

/* The whole dense hash of an entry. Return: 0. Errors: -EBADMSG it is in another bucket. */
static int mph_dense(const struct lanemap_mph *mph, uint32_t bucket, uint64_t start,
                     uint64_t remainder, uint64_t *ret_dense)
{
        uint64_t above = (remainder - start) & lanemap_bits_mask(mph->remainder_bits);

        *ret_dense = start + above;
        return *ret_dense >= start && lanemap_mph_bucket_of(mph, *ret_dense) == bucket ? 0
                                                                                       : -EBADMSG;
}

/* Steps to the first bucket that holds cursor->position, and sorts it. */
static int mph_enter(struct lanemap_segment_cursor *cursor)
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

                        r = mph_dense(mph, (uint32_t)cursor->sub, start, entry.remainder,
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

static uint64_t mph_take(struct lanemap_segment_cursor *cursor, uint32_t *ret_ext)
{
        const struct lanemap_segment_cursor_slot *slot =
                &cursor->bucket[cursor->position - cursor->sub_first];

        cursor->value = lanemap_mph_entry_at(&cursor->segment.mph, slot->position).value;
        *ret_ext = slot->ext;
        return slot->dense;
}

/* ---- all kinds ---- */

/* Reads the entry at cursor->position without its ids: cursor->last and cursor->value. */
static int cursor_step(struct lanemap_segment_cursor *cursor)
{
        bool packed = cursor->segment.kind == LANEMAP_SEGMENT_KIND_PACKED;
        struct lanemap_fingerprint fp;
        uint64_t dense;
        int r;

        r = packed ? packed_enter(cursor) : mph_enter(cursor);
        if (r < 0)
                return r;

        dense = packed ? packed_take(cursor, &fp.ext) : mph_take(cursor, &fp.ext);
        r = cursor_slot(cursor, dense);
        if (r < 0)
                return r;

        fp.hash = (uint64_t)cursor->slot << LANEMAP_SLOT_LOW_BITS | (dense & LANEMAP_SLOT_LOW_MASK);
        if (cursor->position > 0 && lanemap_fingerprint_compare(cursor->last, fp) >= 0)
                return -EBADMSG;

        cursor->last = fp;
        cursor->position++;
        return 0;
}

static bool cursor_wants(const struct lanemap_segment_cursor *cursor)
{
        uint32_t slot = (uint32_t)cursor->slot;

        return !cursor->slot_mask || cursor->slot_mask[slot >> 6] >> (slot & 63) & 1;
}

/* Decodes the ids of the entry at hand into the caller's buffer. */
static int cursor_ids(struct lanemap_segment_cursor *cursor, uint32_t *ret_n_ids)
{
        struct lanemap_segment_posting posting;
        int r;

        r = lanemap_segment_value(&cursor->segment, cursor->value, &posting);
        if (r < 0)
                return r;
        if (posting.n_ids > cursor->segment.ids_max)
                return -EBADMSG;

        if (LANEMAP_LIKELY(posting.n_ids == 1))
                cursor->ids[0] = posting.id;
        else if (posting.n_ids > 1)
                r = lanemap_segment_posting_copy(&posting, cursor->ids);

        *ret_n_ids = posting.n_ids;
        return r;
}

static int cursor_next(struct lanemap_cursor *base, struct lanemap_entry *ret_entry)
{
        struct lanemap_segment_cursor *cursor =
                LANEMAP_CONTAINER_OF(base, struct lanemap_segment_cursor, cursor);
        int r;

        do {
                if (cursor->position == cursor->segment.n_keys)
                        return LANEMAP_CURSOR_END;

                r = cursor_step(cursor);
                if (r < 0)
                        return r;
        } while (!cursor_wants(cursor));

        r = cursor_ids(cursor, &ret_entry->n_ids);
        if (r < 0)
                return r;

        ret_entry->fingerprint = cursor->last;
        ret_entry->ids = cursor->ids;
        return 0;
}

static int cursor_rewind(struct lanemap_cursor *base)
{
        struct lanemap_segment_cursor *cursor =
                LANEMAP_CONTAINER_OF(base, struct lanemap_segment_cursor, cursor);

        cursor->position = 0;
        cursor->sub_end = 0;
        cursor->sub = 0;
        cursor->rank = -1;
        cursor->slot = -1;
        return 0;
}

size_t lanemap_segment_cursor_scratch_bytes(const struct lanemap_segment *segment)
{
        if (segment->kind == LANEMAP_SEGMENT_KIND_PACKED)
                return 0;

        return segment->mph.bucket_entries_max *
               (2 * sizeof(struct lanemap_segment_cursor_slot) + sizeof(uint32_t));
}

int lanemap_segment_cursor_init(struct lanemap_segment_cursor *cursor,
                                const struct lanemap_segment *segment, const uint64_t *slot_mask,
                                uint32_t *ids, size_t ids_capacity, void *scratch)
{
        if (ids_capacity < segment->ids_max ||
            (!scratch && lanemap_segment_cursor_scratch_bytes(segment) > 0))
                return -EINVAL;

        *cursor = (struct lanemap_segment_cursor){
                .cursor = {.next = cursor_next, .rewind = cursor_rewind},
                .segment = *segment,
                .slot_mask = slot_mask,
                .ids = ids,
                .bucket = scratch,
        };
        return cursor_rewind(&cursor->cursor);
}

/* ---- without order ---- */

static int packed_walk(const struct lanemap_segment *segment,
                       int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg)
{
        struct lanemap_segment_cursor cursor = {.segment = *segment, .rank = -1, .slot = -1};
        int r;

        while (cursor.position < segment->n_keys) {
                r = cursor_step(&cursor);
                if (r == 0)
                        r = fn(arg, cursor.last);
                if (r != 0)
                        return r;
        }

        return 0;
}

/* The slot of a rank, by the ranks that the header gives for every 64 slots. */
static int rank_slot(const struct lanemap_segment *segment, uint32_t rank, uint32_t *ret_slot)
{
        const unsigned char *bitmap =
                segment->section + offsetof(struct lanemap_segment_section_file, slot_bitmap);
        const unsigned char *ranks =
                segment->section + offsetof(struct lanemap_segment_section_file, slot_ranks);
        uint32_t word = 0, before;
        uint64_t bits;

        for (uint32_t step = LANEMAP_SLOT_WORDS / 2; step > 0; step /= 2)
                if ((uint32_t)(ranks[(word + step) * 2] | ranks[(word + step) * 2 + 1] << 8) <=
                    rank)
                        word += step;

        before = (uint32_t)(ranks[word * 2] | ranks[word * 2 + 1] << 8);
        bits = lanemap_load_le64(bitmap + word * 8);
        if (before > rank || rank - before >= (uint32_t)__builtin_popcountll(bits))
                return -EBADMSG;

        for (uint32_t i = before; i < rank; i++)
                bits &= bits - 1;
        *ret_slot = word * 64 + (uint32_t)__builtin_ctzll(bits);
        return 0;
}

static int mph_walk_bucket(const struct lanemap_segment *segment, uint32_t bucket,
                           struct lanemap_mph_bucket range,
                           int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg)
{
        uint64_t start = lanemap_mph_bucket_start(&segment->mph, bucket), dense;
        uint32_t slot;
        int r;

        for (uint64_t i = range.first; i < range.first + range.n; i++) {
                struct lanemap_mph_entry entry = lanemap_mph_entry_at(&segment->mph, i);
                struct lanemap_fingerprint fp = {.ext = entry.ext};

                r = mph_dense(&segment->mph, bucket, start, entry.remainder, &dense);
                if (r == 0)
                        r = rank_slot(segment, (uint32_t)(dense >> LANEMAP_SLOT_LOW_BITS), &slot);
                if (r < 0)
                        return r;

                fp.hash = (uint64_t)slot << LANEMAP_SLOT_LOW_BITS | (dense & LANEMAP_SLOT_LOW_MASK);
                r = fn(arg, fp);
                if (r != 0)
                        return r;
        }

        return 0;
}

static int mph_walk(const struct lanemap_segment *segment,
                    int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg)
{
        struct lanemap_mph_bucket bucket;
        uint64_t n = 0;
        int r;

        for (uint32_t i = 0; i < segment->mph.n_buckets; i++) {
                r = lanemap_segment_mph_bucket(segment, i, &bucket);
                if (r < 0)
                        return r;
                if (bucket.first != n)
                        return -EBADMSG;

                r = mph_walk_bucket(segment, i, bucket, fn, arg);
                if (r != 0)
                        return r;

                n += bucket.n;
        }

        return n == segment->n_keys ? 0 : -EBADMSG;
}

int lanemap_segment_walk(const struct lanemap_segment *segment,
                         int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg)
{
        if (segment->kind == LANEMAP_SEGMENT_KIND_PACKED)
                return packed_walk(segment, fn, arg);

        return mph_walk(segment, fn, arg);
}
