/* See layout.h. */
#include "segment/layout.h"

static uint64_t layout_array(uint64_t *end, uint64_t n_bytes)
{
        uint64_t offset = *end;

        if (n_bytes == 0)
                return 0;

        *end = LANEMAP_ALIGN_UP(offset + n_bytes + LANEMAP_BITS_PADDING, LANEMAP_SEGMENT_ALIGN);
        return offset;
}

void lanemap_segment_layout_of(uint64_t index_bytes, uint64_t tags_bytes, uint64_t payload_bytes,
                               uint64_t postings_bytes, struct lanemap_segment_layout *ret_layout)
{
        uint64_t end = sizeof(struct lanemap_segment_section_file);

        ret_layout->index_off = layout_array(&end, index_bytes);
        ret_layout->tags_off = layout_array(&end, tags_bytes);
        ret_layout->payload_off = layout_array(&end, payload_bytes);
        ret_layout->postings_off = layout_array(&end, postings_bytes);
        ret_layout->section_bytes = end;
}
