/*
 * Iterating a section in the order of the fingerprints. See segment_read.h.
 *
 * The hash is put together again from where the entry is (slot, group, sub-block), its tag and its
 * remainder. Since sub-blocks are visited in order and must begin where the one before ended, each
 * entry is visited once and the loop ends, whatever the directory says.
 */
#include "segment/segment_read.h"

/* Steps to the first sub-block that holds cursor->position. */
static int cursor_enter(struct lanemap_segment_cursor *cursor)
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

/* Reads the entry at cursor->position without its ids: cursor->last and cursor->value. */
static int cursor_step(struct lanemap_segment_cursor *cursor)
{
        const struct lanemap_packed *packed = &cursor->segment.packed;
        uint64_t at = (uint64_t)cursor->position * packed->entry_bits;
        struct lanemap_fingerprint fp;
        uint64_t dense;
        int r;

        dense = (cursor->sub - 1) << packed->sub_shift |
                (uint64_t)packed->tags[cursor->position] << packed->tag_shift |
                lanemap_packed_field(packed->payload, at, packed->tag_shift);
        r = cursor_slot(cursor, dense);
        if (r < 0)
                return r;

        fp.hash = (uint64_t)cursor->slot << LANEMAP_SLOT_LOW_BITS | (dense & LANEMAP_SLOT_LOW_MASK);
        at += packed->tag_shift;
        fp.ext = (uint32_t)lanemap_packed_field(packed->payload, at, packed->ext_bits);
        if (cursor->position > 0 && lanemap_fingerprint_compare(cursor->last, fp) >= 0)
                return -EBADMSG;

        at += packed->ext_bits;
        cursor->value = lanemap_packed_field(packed->payload, at, packed->value_bits);
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

                r = cursor_enter(cursor);
                if (r < 0)
                        return r;

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

int lanemap_segment_cursor_init(struct lanemap_segment_cursor *cursor,
                                const struct lanemap_segment *segment, const uint64_t *slot_mask,
                                uint32_t *ids, size_t ids_capacity)
{
        if (ids_capacity < segment->ids_max)
                return -EINVAL;

        *cursor = (struct lanemap_segment_cursor){
                .cursor = {.next = cursor_next, .rewind = cursor_rewind},
                .segment = *segment,
                .slot_mask = slot_mask,
                .ids = ids,
        };
        return cursor_rewind(&cursor->cursor);
}
