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
        uint64_t remainder_mask; /* tag_shift bits */
        uint64_t value_mask;     /* value_bits bits */
        uint32_t n_entries;
        uint8_t sub_shift; /* dense >> sub_shift: group and sub-block */
        uint8_t tag_shift; /* also the width of the remainder */
        uint8_t ext_bits;
        uint8_t value_shift; /* where in an entry its value is: after remainder and ext */
        uint8_t value_bits;  /* with the flag */
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

/* The sub-block of a dense hash, counted over all groups. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_packed_sub(const struct lanemap_packed *packed,
                                                  uint64_t dense)
{
        return dense >> packed->sub_shift;
}

/* The directory record of the sub-block's group, or NULL: it is past the last one. */
LANEMAP_ALWAYS_INLINE const unsigned char *
lanemap_packed_record(const struct lanemap_packed *packed, uint64_t sub)
{
        uint64_t group = sub >> LANEMAP_PACKED_SUB_BITS;

        if (LANEMAP_UNLIKELY(group >= packed->n_groups))
                return NULL;

        return packed->directory + group * LANEMAP_PACKED_RECORD_BYTES;
}

/* What a record says of the sub-block: *ret_range within [0, n_entries]. Return: 0. Errors:
 * -EBADMSG. */
LANEMAP_ALWAYS_INLINE int lanemap_packed_range_in(const struct lanemap_packed *packed,
                                                  const unsigned char *record, uint64_t sub,
                                                  struct lanemap_packed_range *ret_range)
{
        uint64_t word = lanemap_load_le64(record), counts, from, to, first;

        counts = word >> 32 << 8; /* a zero below: what lies before sub-block 0 */
        counts >>= (sub & 3) * 8;
        from = counts & 0xff;
        to = counts >> 8 & 0xff;
        first = word & UINT32_MAX;
        if (LANEMAP_UNLIKELY(from > to || first + to > packed->n_entries))
                return -EBADMSG;

        ret_range->first = first + from;
        ret_range->end = first + to;
        return 0;
}

LANEMAP_ALWAYS_INLINE int lanemap_packed_range(const struct lanemap_packed *packed, uint64_t dense,
                                               struct lanemap_packed_range *ret_range)
{
        uint64_t sub = lanemap_packed_sub(packed, dense);
        const unsigned char *record = lanemap_packed_record(packed, sub);

        if (LANEMAP_UNLIKELY(!record))
                return LANEMAP_SEGMENT_E_ABSENT;

        return lanemap_packed_range_in(packed, record, sub, ret_range);
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

/* Which of the 32 tags from entry i on are this tag, and before the end of the range. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_packed_match(const struct lanemap_packed *packed, uint64_t i,
                                                    uint64_t end, uint8_t tag)
{
        uint32_t match = lanemap_tag_match(packed->tags + i, tag);

        return LANEMAP_LIKELY(end - i < 32) ? match & ((UINT32_C(1) << (end - i)) - 1) : match;
}

/* The payload of an entry may lie across two lines. */
LANEMAP_ALWAYS_INLINE void lanemap_packed_prefetch_entry(const struct lanemap_packed *packed,
                                                         uint64_t entry)
{
        uint64_t at = entry * packed->entry_bits >> 3;

        lanemap_prefetch(packed->payload + at);
        lanemap_prefetch(packed->payload + at + 15);
}

/* Requests the payload of the first entry that has this tag: for a batch, whose tags have arrived.
 * A miss has none, but for one in fifteen. */
LANEMAP_ALWAYS_INLINE void lanemap_packed_prefetch_match(const struct lanemap_packed *packed,
                                                         struct lanemap_packed_range range,
                                                         uint8_t tag)
{
        uint32_t match = lanemap_packed_match(packed, range.first, range.end, tag);

        if (match)
                lanemap_packed_prefetch_entry(packed, range.first + (uint32_t)__builtin_ctz(match));
}

LANEMAP_ALWAYS_INLINE bool lanemap_packed_entry_is(const struct lanemap_packed *packed, uint64_t at,
                                                   uint64_t remainder, bool has_ext, uint32_t ext)
{
        if ((lanemap_load_le64(packed->payload + (at >> 3)) >> (at & 7) & packed->remainder_mask) !=
            remainder)
                return false;
        if (!has_ext || packed->ext_bits == 0)
                return ext == 0;

        return lanemap_packed_field(packed->payload, at + packed->tag_shift, packed->ext_bits) ==
               ext;
}

/*
 * Looks among the entries of a range.
 *
 * match        what lanemap_packed_match() said of its beginning
 * has_ext      false: the index is known to have fingerprints of 64 bits; ext is 0
 *
 * Return: 0 and the value field, LANEMAP_SEGMENT_E_ABSENT. Thread: any.
 */
LANEMAP_ALWAYS_INLINE int lanemap_packed_find_matched(const struct lanemap_packed *packed,
                                                      struct lanemap_packed_range range,
                                                      uint32_t match, uint64_t dense, bool has_ext,
                                                      uint32_t ext, uint64_t *ret_value)
{
        uint64_t remainder = dense & packed->remainder_mask, i = range.first;

        for (;;) {
                for (; match; match &= match - 1) {
                        uint64_t at = (i + (uint32_t)__builtin_ctz(match)) * packed->entry_bits;

                        if (!lanemap_packed_entry_is(packed, at, remainder, has_ext, ext))
                                continue;

                        at += packed->value_shift;
                        *ret_value = lanemap_load_le64(packed->payload + (at >> 3)) >> (at & 7) &
                                     packed->value_mask;
                        return 0;
                }
                i += LANEMAP_TAG_MATCH_BYTES;
                if (LANEMAP_LIKELY(i >= range.end))
                        return LANEMAP_SEGMENT_E_ABSENT;

                match = lanemap_packed_match(packed, i, range.end,
                                             lanemap_packed_tag(packed, dense));
        }
}

/* The same, from its beginning. The payload is requested together with the tags. */
LANEMAP_ALWAYS_INLINE int lanemap_packed_find_in(const struct lanemap_packed *packed,
                                                 struct lanemap_packed_range range, uint64_t dense,
                                                 bool has_ext, uint32_t ext, uint64_t *ret_value)
{
        uint8_t tag = lanemap_packed_tag(packed, dense);

        lanemap_packed_prefetch_payload(packed, range, tag);
        return lanemap_packed_find_matched(
                packed, range, lanemap_packed_match(packed, range.first, range.end, tag), dense,
                has_ext, ext, ret_value);
}

/*
 * Return: 0 and the value field, LANEMAP_SEGMENT_E_ABSENT. Errors: -EBADMSG. Thread: any.
 */
LANEMAP_ALWAYS_INLINE int lanemap_packed_find(const struct lanemap_packed *packed, uint64_t dense,
                                              uint32_t ext, uint64_t *ret_value)
{
        struct lanemap_packed_range range;
        int r;

        r = lanemap_packed_range(packed, dense, &range);
        if (LANEMAP_UNLIKELY(r != 0))
                return r;

        return lanemap_packed_find_in(packed, range, dense, true, ext, ret_value);
}

#endif
