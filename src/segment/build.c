/* See build.h. The kinds build what is theirs (kind_build.h); here the filter is put after it. */
#include "segment/build.h"

#include <errno.h>

#include "segment/filter/build.h"
#include "segment/kind_build.h"

int lanemap_segment_build(struct lanemap_heap *heap,
                          const struct lanemap_segment_build_options *options,
                          struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built)
{
        const struct lanemap_segment_build_ops *ops = lanemap_segment_build_ops_of(options->kind);
        struct lanemap_segment_built built;
        size_t n_bytes;
        int r;

        if (!ops || options->filter > LANEMAP_FILTER_XOR8)
                return -EINVAL;

        r = ops->build(heap, options, cursor, &built);
        if (r < 0)
                return r;

        if (options->filter != LANEMAP_FILTER_NONE && built.n_keys > 0) {
                /* The block is the heap's, and nobody else has seen it yet. */
                r = lanemap_filter_append(options->filter, (unsigned char *)(uintptr_t)built.bytes,
                                          built.n_bytes, &n_bytes);
                if (r < 0)
                        return r;

                built.filter_unpopulated = r == LANEMAP_FILTER_E_UNPOPULATED;
                if (r == 0) {
                        built.filter_bytes = n_bytes - built.n_bytes;
                        built.n_bytes = n_bytes;
                }
        }

        *ret_built = built;
        return 0;
}
