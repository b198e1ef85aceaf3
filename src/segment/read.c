/*
 * Opening sections: here, in the kinds' open and in filter/read.c the bytes of their header are
 * believed, after they have been checked. See read.h and format.h; the files around them are in
 * file_read.c.
 */
#include "segment/section_read.h"

#include <string.h>

static int section_validate(const unsigned char *p, size_t n_bytes, uint32_t fingerprint_bits)
{
        struct lanemap_segment_section_file header;
        uint64_t section_bytes;

        if (n_bytes < sizeof(header) ||
            LANEMAP_SECTION64(p, magic) != LANEMAP_SEGMENT_SECTION_MAGIC)
                return -EBADMSG;

        memcpy(&header, p, sizeof(header));
        header.check = 0;
        if (lanemap_segment_check_of(&header, sizeof(header)) != LANEMAP_SECTION64(p, check))
                return -EBADMSG;
        if (LANEMAP_SECTION32(p, version) != LANEMAP_SEGMENT_FORMAT_VERSION ||
            LANEMAP_SECTION32(p, incompatible) & ~(uint32_t)LANEMAP_SEGMENT_INCOMPATIBLE_KNOWN ||
            LANEMAP_SECTION32(p, value_flags) & ~LANEMAP_SEGMENT_VALUE_FLAGS_KNOWN ||
            !lanemap_segment_ops_of(LANEMAP_SECTION32(p, kind)))
                return -EPROTONOSUPPORT;

        section_bytes = LANEMAP_SECTION64(p, section_bytes);
        if (!lanemap_fingerprint_bits_known(fingerprint_bits) ||
            LANEMAP_SECTION32(p, fingerprint_bits) != fingerprint_bits || section_bytes > n_bytes ||
            section_bytes < sizeof(header) || section_bytes % LANEMAP_SEGMENT_ALIGN != 0)
                return -EBADMSG;

        return 0;
}

/* The counts and widths that all kinds share. */
static int section_parse(const unsigned char *p, struct lanemap_segment *ret_segment)
{
        uint64_t n_keys = LANEMAP_SECTION64(p, n_keys),
                 n_tombstones = LANEMAP_SECTION64(p, n_tombstones);
        uint32_t n_slots = LANEMAP_SECTION32(p, n_slots),
                 value_bits = LANEMAP_SECTION32(p, value_bits);
        uint32_t flagged = LANEMAP_SECTION32(p, value_flags) & LANEMAP_SEGMENT_VALUE_FLAGGED;
        uint32_t ids_max = LANEMAP_SECTION32(p, ids_max);

        if (n_keys > UINT32_MAX || n_tombstones > n_keys || n_slots > LANEMAP_N_SLOTS ||
            (n_keys > 0 && n_slots == 0) ||
            value_bits > (flagged ? LANEMAP_SEGMENT_VALUE_BITS_MAX : 32) ||
            (ids_max > 1 && ids_max > LANEMAP_SECTION64(p, postings_bytes)))
                return -EBADMSG;

        *ret_segment = (struct lanemap_segment){
                .section = p,
                .section_bytes = LANEMAP_SECTION64(p, section_bytes),
                .postings_bytes = LANEMAP_SECTION64(p, postings_bytes),
                .n_pairs = LANEMAP_SECTION64(p, n_pairs),
                .n_keys = (uint32_t)n_keys,
                .n_tombstones = (uint32_t)n_tombstones,
                .ids_max = ids_max,
                .n_slots = (uint16_t)n_slots,
                .kind = (uint8_t)LANEMAP_SECTION32(p, kind),
                .fingerprint_bits = (uint8_t)LANEMAP_SECTION32(p, fingerprint_bits),
                .value_flagged = (uint8_t)flagged,
                .value_bits = (uint8_t)value_bits,
                .inline_max = (uint32_t)LANEMAP_MIN(
                        flagged ? lanemap_bits_mask(value_bits) : UINT64_MAX, UINT32_MAX - 1),
        };
        return 0;
}

int lanemap_segment_value_open(const struct lanemap_segment *segment, uint64_t value,
                               struct lanemap_segment_posting *ret_posting)
{
        uint64_t mask = lanemap_bits_mask(segment->value_bits);

        if (!segment->value_flagged || value <= mask)
                return -EBADMSG;
        if ((value & mask) != mask)
                return lanemap_segment_posting_open(segment->postings, segment->postings_bytes,
                                                    value & mask, segment->ids_max, ret_posting);

        *ret_posting = (struct lanemap_segment_posting){.n_ids = 0};
        return 0;
}

int lanemap_segment_open(struct lanemap_segment *ret_segment, const void *section, size_t n_bytes,
                         uint32_t fingerprint_bits)
{
        const unsigned char *p = section;
        struct lanemap_segment segment;
        int r;

        r = section_validate(p, n_bytes, fingerprint_bits);
        if (r < 0)
                return r;

        r = section_parse(p, &segment);
        if (r < 0)
                return r;

        r = lanemap_segment_array_place(&segment, LANEMAP_SECTION64(p, postings_off),
                                        segment.postings_bytes, &segment.postings);
        if (r < 0)
                return r;

        r = lanemap_segment_ops_of(segment.kind)->open(&segment);
        if (r == 0)
                r = lanemap_filter_open(&segment);
        if (r < 0)
                return r;

        *ret_segment = segment;
        return 0;
}
