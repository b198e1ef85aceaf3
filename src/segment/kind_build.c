/* See kind_build.h. */
#include "segment/kind_build.h"

#define ROW(kind, name) [kind] = &lanemap_##name##_build_ops,

const struct lanemap_segment_build_ops *lanemap_segment_build_ops_of(uint32_t kind)
{
        static const struct lanemap_segment_build_ops *const by_kind[] = {
                LANEMAP_SEGMENT_KINDS(ROW)};

        return kind < LANEMAP_N_ELEMENTS(by_kind) ? by_kind[kind] : NULL;
}
