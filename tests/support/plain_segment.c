/* See plain_segment.h. */
#define LANEMAP_TAG_MATCH_PLAIN
#include "plain_segment.h"

int plain_segment_find(const struct lanemap_segment *segment,
                       struct lanemap_fingerprint fingerprint, uint32_t rank,
                       struct lanemap_segment_posting *ret_posting)
{
        lanemap_segment_prefetch_value(segment, fingerprint, rank);
        return lanemap_segment_find(segment, fingerprint, rank, ret_posting);
}
