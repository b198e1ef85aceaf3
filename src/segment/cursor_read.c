/*
 * Iterating a section in the order of the fingerprints. See read.h.
 *
 * The hash is put together again from where the entry is (slot; group and sub-block, or bucket) and
 * what is stored of it. The kind decodes entries, a sub-block or bucket (or 64 of one) at a time;
 * they are given out here, in an order that is checked.
 */
#include "segment/read.h"

#include <lanemap/lanemap.h>

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

/* Return: 0; LANEMAP_CURSOR_END: after the last slot that is wanted. Errors: -EBADMSG. */
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

/* At the end of what is stored: the next entries. */
static int cursor_decode(struct lanemap_segment_cursor *cursor)
{
        const struct lanemap_segment_ops *ops = lanemap_segment_ops_by_kind[cursor->segment.kind];
        uint32_t n;
        int r;

        r = ops->cursor_enter(cursor);
        if (r < 0)
                return r;

        n = LANEMAP_MIN(cursor->sub_end - cursor->position, LANEMAP_CURSOR_BATCH);
        ops->cursor_decode(cursor, n);
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

/* The entries of a batch so far. */
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

        r = lanemap_segment_ops_by_kind[segment->kind]->cursor_seek(cursor, dense);
        if (r < 0)
                return r;

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
        return lanemap_segment_ops_by_kind[segment->kind]->cursor_scratch_bytes(segment);
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

/* ---- all fingerprints ---- */

static int ordered_walk(const struct lanemap_segment *segment,
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

int lanemap_segment_walk(const struct lanemap_segment *segment,
                         int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg)
{
        const struct lanemap_segment_ops *ops = lanemap_segment_ops_by_kind[segment->kind];

        return ops->walk ? ops->walk(segment, fn, arg) : ordered_walk(segment, fn, arg);
}
