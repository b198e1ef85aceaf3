/* See filter/read.h. */
#include "segment/section_read.h"

uint64_t lanemap_filter_bytes(uint32_t kind, uint32_t shift, uint32_t n_blocks)
{
        if (n_blocks == 0)
                return 0;
        if (kind == LANEMAP_FILTER_FUSE8)
                return shift < LANEMAP_FILTER_SHIFT_MIN || shift > LANEMAP_FILTER_SHIFT_MAX
                               ? 0
                               : (n_blocks + UINT64_C(2)) << shift;

        return kind == LANEMAP_FILTER_XOR8 && shift == 0 ? UINT64_C(3) * n_blocks : 0;
}

int lanemap_filter_open(struct lanemap_segment *segment)
{
        const unsigned char *p = segment->section;
        uint32_t kind = LANEMAP_SECTION8(p, filter_kind);
        uint32_t shift = LANEMAP_SECTION8(p, filter_shift);
        uint32_t n_blocks = LANEMAP_SECTION32(p, filter_blocks);
        struct lanemap_filter *filter = &segment->filter;
        uint64_t n_bytes = lanemap_filter_bytes(kind, shift, n_blocks);

        if (kind != LANEMAP_FILTER_FUSE8 && kind != LANEMAP_FILTER_XOR8)
                return 0;
        if (n_bytes == 0 || segment->n_slots == 0)
                return -EBADMSG;

        filter->multiplier = lanemap_segment_multiplier(n_blocks, segment->n_slots);
        filter->n_blocks = n_blocks;
        filter->seed = (uint16_t)LANEMAP_SECTION16(p, filter_seed);
        filter->kind = (uint8_t)kind;
        filter->shift = (uint8_t)shift;
        segment->has_filter = 1;
        return lanemap_segment_array_place(segment, LANEMAP_SECTION64(p, filter_off), n_bytes,
                                           &filter->bytes);
}
