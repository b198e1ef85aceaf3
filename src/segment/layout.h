/* Where the arrays of a section lie, by their lengths: the only legal places. */
#ifndef LANEMAP_SEGMENT_LAYOUT_H
#define LANEMAP_SEGMENT_LAYOUT_H

#include "segment/format.h"

struct lanemap_segment_layout {
        uint64_t index_off;
        uint64_t tags_off;
        uint64_t payload_off;
        uint64_t postings_off;
        uint64_t section_bytes;
};

void lanemap_segment_layout_of(uint64_t index_bytes, uint64_t tags_bytes, uint64_t payload_bytes,
                               uint64_t postings_bytes, struct lanemap_segment_layout *ret_layout);

#endif
