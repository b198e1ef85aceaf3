/* Writing posting lists. The layout is in format.h; the reading side in posting/read.h. */
#ifndef LANEMAP_SEGMENT_POSTING_BUILD_H
#define LANEMAP_SEGMENT_POSTING_BUILD_H

#include <lanemap/lanemap.h>

#include "segment/format.h"

/* Return: true if ids are a set for an entry: strictly ascending, none above LANEMAP_ID_MAX. */
bool lanemap_segment_ids_ascend(const uint32_t *ids, uint32_t n_ids);

LANEMAP_ALWAYS_INLINE bool lanemap_segment_ids_valid(const uint32_t *ids, uint32_t n_ids)
{
        if (LANEMAP_LIKELY(n_ids <= 1))
                return n_ids == 0 || ids[0] <= LANEMAP_ID_MAX;

        return lanemap_segment_ids_ascend(ids, n_ids);
}

/* Return: the bytes that lanemap_segment_posting_encode() writes. ids: valid, n_ids >= 2. */
uint64_t lanemap_segment_posting_size(const uint32_t *ids, uint32_t n_ids);

/* Return: one past the last byte written. */
unsigned char *lanemap_segment_posting_encode(unsigned char *bytes, const uint32_t *ids,
                                              uint32_t n_ids);

#endif
