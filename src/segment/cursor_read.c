/*
 * Iterating a section in the order of the fingerprints. See read.h.
 *
 * The hash is put together again from where the entry is (slot; group and sub-block, or bucket) and
 * what is stored of it. Since sub-blocks and buckets are visited in order and must begin where the
 * one before ended, each entry is visited once and the loop ends, whatever the index says.
 *
 * Entries are decoded a sub-block (or 64) at a time, and then given out.
 */
#include "segment/read.h"

#include <lanemap/lanemap.h>

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

/* Fills cursor->stored with n entries from cursor->position on, all of the sub-block at hand. */
static void packed_decode(struct lanemap_segment_cursor *cursor, uint32_t n)
{
        const struct lanemap_packed packed = cursor->segment.packed;
        const unsigned char *tags = packed.tags + cursor->position;
        uint64_t at = (uint64_t)cursor->position * packed.entry_bits;
        uint64_t above = (cursor->sub - 1) << packed.sub_shift;
        uint64_t remainder_mask = lanemap_bits_mask(packed.tag_shift);
        struct lanemap_segment_cursor_stored *stored = &cursor->stored;

        for (uint32_t i = 0; i < n; i++, at += packed.entry_bits) {
                uint64_t value_at = at + packed.tag_shift + packed.ext_bits;

                stored->dense[i] = above | (uint64_t)tags[i] << packed.tag_shift |
                                   (lanemap_load_le64(packed.payload + (at >> 3)) >> (at & 7) &
                                    remainder_mask);
                stored->exts[i] = (uint32_t)lanemap_packed_field(
                        packed.payload, at + packed.tag_shift, packed.ext_bits);
                stored->values[i] =
                        lanemap_packed_field(packed.payload, value_at, packed.value_bits);
        }
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

/* Return: 0; LANEMAP_CURSOR_END: behind the last slot that is wanted. Errors: -EBADMSG. */
static int cursor_slot(struct lanemap_segment_cursor *cursor, uint64_t dense)
{
        int32_t rank = (int32_t)(dense >> LANEMAP_SLOT_LOW_BITS);

        if (rank < cursor->rank)
                return -EBADMSG;

        while (cursor->rank < rank) {
                int32_t slot = slot_after(&cursor->segment, cursor->slot);

                if (slot < 0)
                        return -EBADMSG;

                cursor->slot = slot;
                cursor->rank++;
        }

        return cursor->slot <= cursor->slot_last ? 0 : LANEMAP_CURSOR_END;
}

/* ---- all kinds ---- */

/* At the end of what is stored: the next entries. */
static int cursor_decode(struct lanemap_segment_cursor *cursor)
{
        bool packed = cursor->segment.kind == LANEMAP_SEGMENT_KIND_PACKED;
        uint32_t n;
        int r;

        r = packed ? packed_enter(cursor) : lanemap_segment_cursor_enter_mph(cursor);
        if (r < 0)
                return r;

        n = LANEMAP_MIN(cursor->sub_end - cursor->position, LANEMAP_CURSOR_BATCH);
        if (packed)
                packed_decode(cursor, n);
        else
                lanemap_segment_cursor_decode_mph(cursor, n);

        cursor->stored_first = cursor->position;
        cursor->stored_end = cursor->position + n;
        return 0;
}

/* The fingerprint of stored entry i: cursor->last, from now on. */
LANEMAP_ALWAYS_INLINE int cursor_take(struct lanemap_segment_cursor *cursor, uint32_t i,
                                      struct lanemap_fingerprint *ret_fingerprint)
{
        uint64_t dense = cursor->stored.dense[i], hash;
        uint32_t ext = cursor->stored.exts[i];
        int r;

        if (LANEMAP_UNLIKELY((int32_t)(dense >> LANEMAP_SLOT_LOW_BITS) != cursor->rank)) {
                r = cursor_slot(cursor, dense);
                if (r != 0)
                        return r;
        }

        hash = (uint64_t)cursor->slot << LANEMAP_SLOT_LOW_BITS | (dense & LANEMAP_SLOT_LOW_MASK);
        if (LANEMAP_UNLIKELY(hash <= cursor->last.hash) && cursor->position > 0 &&
            (hash < cursor->last.hash || ext <= cursor->last.ext))
                return -EBADMSG;

        /* Each member by itself: a copy of both would wait for these two stores. */
        cursor->last.hash = ret_fingerprint->hash = hash;
        cursor->last.ext = ret_fingerprint->ext = ext;
        return 0;
}

static bool cursor_wants(const struct lanemap_segment_cursor *cursor)
{
        uint32_t slot = (uint32_t)cursor->slot;

        if (LANEMAP_UNLIKELY(cursor->slot < cursor->slot_first))
                return false;

        return !cursor->slot_mask || cursor->slot_mask[slot >> 6] >> (slot & 63) & 1;
}

/* An entry with a list, which goes to `ids`, or a tombstone. */
static int cursor_list(const struct lanemap_segment_cursor *cursor, uint64_t value, uint32_t *ids,
                       struct lanemap_entry *ret_entry)
{
        struct lanemap_segment_posting posting;
        int r;

        r = lanemap_segment_value(&cursor->segment, value, &posting);
        if (r < 0)
                return r;
        if (posting.n_ids > cursor->segment.ids_max)
                return -EBADMSG;

        ret_entry->n_ids = posting.n_ids;
        ret_entry->ids = ids;
        return posting.n_ids > 0 ? lanemap_segment_posting_copy(&posting, ids) : 0;
}

/* What a batch has so far. */
struct given {
        struct lanemap_entry *entries;
        uint32_t n;
        size_t n_ids; /* of the caller's buffer */
};

/*
 * Gives the next n stored entries out, those of them that are wanted. Stops in front of one whose
 * ids have no room in this batch, or that is bad (and says so).
 */
static int cursor_give(struct lanemap_segment_cursor *cursor, uint32_t n, struct given *given)
{
        uint32_t ids_max = cursor->segment.ids_max, i = cursor->position - cursor->stored_first;
        uint64_t mask = lanemap_bits_mask(cursor->segment.value_bits);
        uint64_t inline_end = ids_max > 0 ? LANEMAP_MIN(mask, (uint64_t)LANEMAP_ID_MAX) + 1 : 0;
        int r;

        for (uint32_t end = i + n; i < end; i++, cursor->position++) {
                struct lanemap_entry *entry = &given->entries[given->n];
                uint64_t value = cursor->stored.values[i];
                bool inlined = value < inline_end;

                if (!inlined && given->n_ids > 0 && cursor->ids_capacity - given->n_ids < ids_max)
                        return 0;

                r = cursor_take(cursor, i, &entry->fingerprint);
                if (LANEMAP_UNLIKELY(r != 0)) {
                        if (r == LANEMAP_CURSOR_END)
                                cursor->end = cursor->position;
                        return r < 0 ? r : 0;
                }
                if (!cursor_wants(cursor))
                        continue;

                if (LANEMAP_LIKELY(inlined)) {
                        cursor->inlined[given->n] = (uint32_t)value;
                        entry->n_ids = 1;
                        entry->ids = &cursor->inlined[given->n];
                } else {
                        /* Without lists there may be no room at all: tombstones take none. */
                        uint32_t *ids = given->n_ids ? cursor->ids + given->n_ids : cursor->ids;

                        r = cursor_list(cursor, value, ids, entry);
                        if (r < 0)
                                return r;
                        given->n_ids += entry->n_ids;
                }
                cursor->value = value;
                given->n++;
        }

        return 0;
}

static int cursor_next_batch(struct lanemap_cursor *base, struct lanemap_entry *entries,
                             uint32_t n_max, uint32_t *ret_n)
{
        struct lanemap_segment_cursor *cursor =
                LANEMAP_CONTAINER_OF(base, struct lanemap_segment_cursor, cursor);
        struct given given = {.entries = entries};
        int r = 0;

        while (given.n < n_max && cursor->position < cursor->end) {
                uint32_t n, from = cursor->position;

                if (cursor->position == cursor->stored_end) {
                        r = cursor_decode(cursor);
                        if (r < 0)
                                break;
                }

                n = LANEMAP_MIN(n_max - given.n, cursor->stored_end - cursor->position);
                r = cursor_give(cursor, n, &given);
                if (r < 0 || cursor->position - from < n)
                        break;
        }
        if (given.n == 0)
                return r < 0 ? r : LANEMAP_CURSOR_END;

        *ret_n = given.n;
        return 0;
}

static int cursor_next(struct lanemap_cursor *base, struct lanemap_entry *ret_entry)
{
        uint32_t n;

        return cursor_next_batch(base, ret_entry, 1, &n);
}

/* To the sub-block or bucket where the entries of cursor->slot_first begin. */
static int cursor_seek(struct lanemap_segment_cursor *cursor)
{
        const struct lanemap_segment *segment = &cursor->segment;
        uint32_t rank = lanemap_segment_rank(segment, (uint32_t)cursor->slot_first);
        uint64_t dense = (uint64_t)rank << LANEMAP_SLOT_LOW_BITS;
        int r;

        if (segment->n_keys == 0 || rank == LANEMAP_SEGMENT_RANK_UNKNOWN) {
                cursor->end = 0;
                return 0;
        }
        if (rank >= segment->n_slots)
                return -EBADMSG;

        if (segment->kind == LANEMAP_SEGMENT_KIND_PACKED) {
                struct lanemap_packed_range range;

                r = lanemap_packed_range(&segment->packed, dense, &range);
                if (r != 0)
                        return -EBADMSG;
                cursor->sub = dense >> segment->packed.sub_shift;
                cursor->position = (uint32_t)range.first;
        } else {
                struct lanemap_mph_bucket bucket;

                cursor->sub = lanemap_mph_bucket_of(&segment->mph, dense);
                r = lanemap_segment_mph_bucket(segment, (uint32_t)cursor->sub, &bucket);
                if (r < 0)
                        return r;
                cursor->position = (uint32_t)bucket.first;
        }

        cursor->sub_end = cursor->stored_first = cursor->stored_end = cursor->position;
        return 0;
}

static int cursor_rewind(struct lanemap_cursor *base)
{
        struct lanemap_segment_cursor *cursor =
                LANEMAP_CONTAINER_OF(base, struct lanemap_segment_cursor, cursor);

        cursor->last = (struct lanemap_fingerprint){0};
        cursor->end = cursor->segment.n_keys;
        cursor->position = 0;
        cursor->sub_end = 0;
        cursor->sub = 0;
        cursor->stored_first = 0;
        cursor->stored_end = 0;
        cursor->rank = -1;
        cursor->slot = -1;
        return cursor->slot_first > 0 || cursor->slot_last < LANEMAP_N_SLOTS - 1
                       ? cursor_seek(cursor)
                       : 0;
}

size_t lanemap_segment_cursor_scratch_bytes(const struct lanemap_segment *segment)
{
        if (segment->kind == LANEMAP_SEGMENT_KIND_PACKED)
                return 0;

        return segment->mph.bucket_entries_max *
               (2 * sizeof(struct lanemap_segment_cursor_slot) + sizeof(uint32_t));
}

static int cursor_init(struct lanemap_segment_cursor *cursor, const struct lanemap_segment *segment,
                       uint32_t *ids, size_t ids_capacity, void *scratch)
{
        if (ids_capacity < segment->ids_max ||
            (!scratch && lanemap_segment_cursor_scratch_bytes(segment) > 0))
                return -EINVAL;

        cursor->cursor = (struct lanemap_cursor){
                .next = cursor_next, .rewind = cursor_rewind, .next_batch = cursor_next_batch};
        cursor->segment = *segment;
        cursor->ids = ids;
        cursor->ids_capacity = ids_capacity;
        cursor->bucket = scratch;
        return cursor_rewind(&cursor->cursor);
}

int lanemap_segment_cursor_init(struct lanemap_segment_cursor *cursor,
                                const struct lanemap_segment *segment, const uint64_t *slot_mask,
                                uint32_t *ids, size_t ids_capacity, void *scratch)
{
        cursor->slot_mask = slot_mask;
        cursor->slot_first = 0;
        cursor->slot_last = LANEMAP_N_SLOTS - 1;
        return cursor_init(cursor, segment, ids, ids_capacity, scratch);
}

int lanemap_segment_cursor_init_slot(struct lanemap_segment_cursor *cursor,
                                     const struct lanemap_segment *segment, uint32_t slot,
                                     uint32_t *ids, size_t ids_capacity, void *scratch)
{
        if (slot >= LANEMAP_N_SLOTS)
                return -EINVAL;

        cursor->slot_mask = NULL;
        cursor->slot_first = cursor->slot_last = (int32_t)slot;
        return cursor_init(cursor, segment, ids, ids_capacity, scratch);
}

/* ---- without order ---- */

static int packed_walk(const struct lanemap_segment *segment,
                       int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg)
{
        struct lanemap_segment_cursor cursor = {
                .segment = *segment, .rank = -1, .slot = -1, .slot_last = LANEMAP_N_SLOTS - 1};
        struct lanemap_fingerprint fp;
        int r;

        for (; cursor.position < segment->n_keys; cursor.position++) {
                if (cursor.position == cursor.stored_end) {
                        r = cursor_decode(&cursor);
                        if (r < 0)
                                return r;
                }

                r = cursor_take(&cursor, cursor.position - cursor.stored_first, &fp);
                if (r == 0)
                        r = fn(arg, fp);
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

                r = lanemap_mph_dense(&segment->mph, bucket, start, entry.remainder, &dense);
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
