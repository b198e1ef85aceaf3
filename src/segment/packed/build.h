/* Where the arrays of a packed section lie. See packed/build.c. */
#ifndef LANEMAP_SEGMENT_PACKED_BUILD_H
#define LANEMAP_SEGMENT_PACKED_BUILD_H

#include "segment/layout.h"

void lanemap_packed_layout(uint64_t n_groups, uint64_t n_entries, uint32_t entry_bits,
                           uint64_t postings_bytes, struct lanemap_segment_layout *ret_layout);

#endif
