/*
 * Kind `packed`: sorted dense hashes whose top bits are implied by their position. The layout is in
 * format.h; here is the lookup, inline because it is the hot path.
 *
 * A lookup costs one line of the directory (8 bytes per 48 to 96 entries: mostly in cache), one
 * line of tags, and, for a hit or one miss in fifteen, one line of the payload, which is requested
 * together with the tags at the place where interpolation expects it.
 *
 * The directory is foreign bytes: a record that points outside the section answers -EBADMSG, and no
 * record makes a lookup look at more than 255 entries.
 */
#ifndef LANEMAP_SEGMENT_PACKED_READ_H
#define LANEMAP_SEGMENT_PACKED_READ_H

#include "segment/hash_read.h"
#include "segment/packed/tag_match_read.h"

/* The pointers are valid for the lengths that n_groups and n_entries imply, and 64 bytes more. */
struct lanemap_packed {
        const unsigned char *directory;
        const unsigned char *tags;
        const unsigned char *payload;
        uint64_t n_groups;
        uint32_t n_entries;
        uint8_t sub_shift; /* dense >> sub_shift: group and sub-block */
        uint8_t tag_shift; /* also the width of the remainder */
        uint8_t ext_bits;
        uint8_t value_bits; /* with the flag */
        uint8_t entry_bits;
};

/* Return: the groups of a directory that is not empty. n_slots: of the section, 1 or more. */
uint64_t lanemap_packed_n_groups(uint32_t n_slots, uint32_t group_shift);

/* The entries [first, end) that a dense hash can be among. */
struct lanemap_packed_range {
        uint64_t first;
        uint64_t end;
};

/* Fields of up to 57 bits: never more than one load, so nothing to mispredict. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_packed_field(const unsigned char *bytes, uint64_t at,
                                                    uint32_t n_bits)
{
        return lanemap_load_le64(bytes + (at >> 3)) >> (at & 7) & lanemap_bits_mask(n_bits);
}

/* The directory record of a group: *ret_range within [0, n_entries]. */
LANEMAP_ALWAYS_INLINE int lanemap_packed_range(const struct lanemap_packed *packed, uint64_t dense,
                                               struct lanemap_packed_range *ret_range)
{
        uint64_t sub = dense >> packed->sub_shift, group = sub >> LANEMAP_PACKED_SUB_BITS;
        uint64_t record, counts, from, to, first;

        if (LANEMAP_UNLIKELY(group >= packed->n_groups))
                return LANEMAP_SEGMENT_E_ABSENT;

        record = lanemap_load_le64(packed->directory + group * LANEMAP_PACKED_RECORD_BYTES);
        counts = record >> 32 << 8; /* a zero below: what lies before sub-block 0 */
        sub = (sub & 3) * 8;
        from = counts >> sub & 0xff;
        to = counts >> (sub + 8) & 0xff;
        first = record & UINT32_MAX;
        if (LANEMAP_UNLIKELY(from > to || first + to > packed->n_entries))
                return -EBADMSG;

        ret_range->first = first + from;
        ret_range->end = first + to;
        return 0;
}

LANEMAP_ALWAYS_INLINE uint8_t lanemap_packed_tag(const struct lanemap_packed *packed,
                                                 uint64_t dense)
{
        return (uint8_t)(dense >> packed->tag_shift);
}

/* Requests the payload line where an entry with this tag would be if tags were evenly spread. */
LANEMAP_ALWAYS_INLINE void lanemap_packed_prefetch_payload(const struct lanemap_packed *packed,
                                                           struct lanemap_packed_range range,
                                                           uint8_t tag)
{
        uint64_t guess = range.first + ((range.end - range.first) * tag >> 8);

        lanemap_prefetch(packed->payload + (guess * packed->entry_bits >> 3));
}

/* The tags of a range may lie across two lines. */
LANEMAP_ALWAYS_INLINE void lanemap_packed_prefetch_tags(const struct lanemap_packed *packed,
                                                        struct lanemap_packed_range range)
{
        lanemap_prefetch(packed->tags + range.first);
        lanemap_prefetch(packed->tags + range.end);
}

/* Requests the payload of the first entry that has this tag: for a batch, whose tags have arrived.
 * A miss has none, but for one in fifteen. */
LANEMAP_ALWAYS_INLINE void lanemap_packed_prefetch_match(const struct lanemap_packed *packed,
                                                         struct lanemap_packed_range range,
                                                         uint8_t tag)
{
        uint32_t match = lanemap_tag_match(packed->tags + range.first, tag);
        uint64_t n = range.end - range.first, at;

        match &= (uint32_t)lanemap_bits_mask((uint32_t)LANEMAP_MIN(n, 32));
        if (!match)
                return;

        at = (range.first + (uint32_t)__builtin_ctz(match)) * packed->entry_bits >> 3;
        lanemap_prefetch(packed->payload + at);
        lanemap_prefetch(packed->payload + at + 15);
}

LANEMAP_ALWAYS_INLINE bool lanemap_packed_entry_is(const struct lanemap_packed *packed, uint64_t at,
                                                   uint64_t remainder, uint32_t ext)
{
        if (lanemap_packed_field(packed->payload, at, packed->tag_shift) != remainder)
                return false;
        if (packed->ext_bits == 0)
                return ext == 0;

        return lanemap_packed_field(packed->payload, at + packed->tag_shift, packed->ext_bits) ==
               ext;
}

/*
 * Return: 0 and the value field, LANEMAP_SEGMENT_E_ABSENT. Errors: -EBADMSG. Thread: any.
 */
LANEMAP_ALWAYS_INLINE int lanemap_packed_find(const struct lanemap_packed *packed, uint64_t dense,
                                              uint32_t ext, uint64_t *ret_value)
{
        uint64_t remainder = dense & lanemap_bits_mask(packed->tag_shift);
        uint8_t tag = lanemap_packed_tag(packed, dense);
        struct lanemap_packed_range range;
        int r;

        r = lanemap_packed_range(packed, dense, &range);
        if (LANEMAP_UNLIKELY(r != 0))
                return r;

        lanemap_packed_prefetch_payload(packed, range, tag);

        for (uint64_t i = range.first; i < range.end; i += LANEMAP_TAG_MATCH_BYTES) {
                uint32_t match = lanemap_tag_match(packed->tags + i, tag);
                uint64_t left = range.end - i;

                match &= (uint32_t)lanemap_bits_mask((uint32_t)LANEMAP_MIN(left, 32));
                for (; match; match &= match - 1) {
                        uint64_t at = (i + (uint32_t)__builtin_ctz(match)) * packed->entry_bits;

                        if (!lanemap_packed_entry_is(packed, at, remainder, ext))
                                continue;

                        at += (uint64_t)packed->tag_shift + packed->ext_bits;
                        *ret_value = lanemap_packed_field(packed->payload, at, packed->value_bits);
                        return 0;
                }
        }

        return LANEMAP_SEGMENT_E_ABSENT;
}

#endif
