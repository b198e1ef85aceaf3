/*
 * Kind `packed`: its row. The lookup is in packed/read.h; here are opening and iterating.
 *
 * A cursor visits sub-blocks in their order. Each must begin where the one before ended, so each
 * entry is visited once, whatever the directory says.
 */
#include "segment/section_read.h"

uint64_t lanemap_packed_n_groups(uint32_t n_slots, uint32_t group_shift)
{
        uint64_t last = ((uint64_t)n_slots << LANEMAP_SLOT_LOW_BITS) - 1;

        return (last >> (group_shift - LANEMAP_PACKED_SUB_BITS) >> LANEMAP_PACKED_SUB_BITS) + 1;
}

static int packed_open(struct lanemap_segment *segment)
{
        const unsigned char *p = segment->section;
        uint32_t shift = LANEMAP_SECTION32(p, group_shift),
                 entry_bits = LANEMAP_SECTION32(p, entry_bits);
        uint32_t ext_bits = lanemap_fingerprint_ext_bits(segment->fingerprint_bits);
        struct lanemap_packed *packed = &segment->packed;
        uint64_t n = segment->n_keys;
        int r;

        if (shift < LANEMAP_PACKED_GROUP_SHIFT_MIN || shift > LANEMAP_PACKED_GROUP_SHIFT_MAX)
                return -EBADMSG;

        packed->n_entries = segment->n_keys;
        packed->n_groups = n == 0 ? 0 : lanemap_packed_n_groups(segment->n_slots, shift);
        packed->sub_shift = (uint8_t)(shift - LANEMAP_PACKED_SUB_BITS);
        packed->tag_shift = (uint8_t)(packed->sub_shift - LANEMAP_PACKED_TAG_BITS);
        packed->ext_bits = (uint8_t)ext_bits;
        packed->value_bits = (uint8_t)(segment->value_bits + segment->value_flagged);
        packed->value_shift = (uint8_t)(packed->tag_shift + ext_bits);
        packed->entry_bits = (uint8_t)(packed->value_shift + packed->value_bits);
        packed->remainder_mask = lanemap_bits_mask(packed->tag_shift);
        packed->value_mask = lanemap_bits_mask(packed->value_bits);
        if (entry_bits != packed->entry_bits)
                return -EBADMSG;

        r = lanemap_segment_array_place(segment, LANEMAP_SECTION64(p, index_off),
                                        packed->n_groups * LANEMAP_PACKED_RECORD_BYTES,
                                        &packed->directory);
        if (r < 0)
                return r;

        r = lanemap_segment_array_place(segment, LANEMAP_SECTION64(p, tags_off), n, &packed->tags);
        if (r < 0)
                return r;

        return lanemap_segment_array_place(segment, LANEMAP_SECTION64(p, payload_off),
                                           (n * entry_bits + 7) / 8, &packed->payload);
}

static int packed_find(const struct lanemap_segment *segment, uint64_t dense, uint32_t ext,
                       uint64_t *ret_value)
{
        return lanemap_packed_find(&segment->packed, dense, ext, ret_value);
}

static size_t packed_scratch_bytes(const struct lanemap_segment *segment)
{
        return 0;
}

static int packed_seek(struct lanemap_segment_cursor *cursor, uint64_t dense)
{
        const struct lanemap_packed *packed = &cursor->segment.packed;
        struct lanemap_packed_range range;

        if (lanemap_packed_range(packed, dense, &range) != 0)
                return -EBADMSG;

        cursor->sub = dense >> packed->sub_shift;
        cursor->position = (uint32_t)range.first;
        return 0;
}

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

const struct lanemap_segment_ops lanemap_packed_ops = {
        .open = packed_open,
        .find = packed_find,
        .cursor_scratch_bytes = packed_scratch_bytes,
        .cursor_seek = packed_seek,
        .cursor_enter = packed_enter,
        .cursor_decode = packed_decode,
};
