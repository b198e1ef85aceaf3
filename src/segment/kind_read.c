/* See kind_read.h. */
#include "segment/kind_read.h"

#define ROW(kind, name) [kind] = &lanemap_##name##_ops,

const struct lanemap_segment_ops *const lanemap_segment_ops_by_kind[LANEMAP_SEGMENT_KIND_MAX + 1] =
        {LANEMAP_SEGMENT_KINDS(ROW)};
