/* The lookup in a section, compiled with the tag compare in plain C: for comparing it with the one
 * in this architecture's instructions. */
#ifndef LANEMAP_TESTS_PLAIN_SEGMENT_H
#define LANEMAP_TESTS_PLAIN_SEGMENT_H

#include "segment/read.h"

/* lanemap_segment_find(), and lanemap_segment_prefetch_value() before it. */
int plain_segment_find(const struct lanemap_segment *segment,
                       struct lanemap_fingerprint fingerprint, uint32_t rank,
                       struct lanemap_segment_posting *ret_posting);

#endif
