/* The writers' operations by kind: the other half of a row of kind_read.h. */
#ifndef LANEMAP_SEGMENT_KIND_BUILD_H
#define LANEMAP_SEGMENT_KIND_BUILD_H

#include "segment/build.h"
#include "segment/kind_read.h"
#include "segment/verify.h"

/* The lengths of the arrays of a section that depend on its kind. */
struct lanemap_segment_sizes {
        uint64_t index_bytes;
        uint64_t tags_bytes;
        uint32_t entry_bits;
};

struct lanemap_segment_build_ops {
        /* lanemap_segment_build() without a filter, for which room is left. */
        int (*build)(struct lanemap_heap *heap, const struct lanemap_segment_build_options *options,
                     struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built);

        void (*sizes)(const struct lanemap_segment *segment, struct lanemap_segment_sizes *ret);

        /* Every byte of the index that a cursor does not look at is what it has to be. report: says
         * what is wrong, and where in the section. Return: 0. Errors: -EBADMSG. */
        int (*verify_index)(const struct lanemap_segment *segment,
                            struct lanemap_segment_report *report);

        /* The first byte of the header that the kind leaves zero, up to the filter's fields. */
        size_t reserved_off;

        /* The cursor's order is the index's: what it gives, a lookup finds. */
        bool ordered;
};

#define LANEMAP_SEGMENT_BUILD_OPS_DECLARE(kind, name) \
        extern const struct lanemap_segment_build_ops lanemap_##name##_build_ops;
LANEMAP_SEGMENT_KINDS(LANEMAP_SEGMENT_BUILD_OPS_DECLARE)

/* NULL: there is no such kind. */
const struct lanemap_segment_build_ops *lanemap_segment_build_ops_of(uint32_t kind);

#endif
