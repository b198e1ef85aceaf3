/* See build.h. The kinds are in packed/build.c and perfect/mph_build.c. */
#include "segment/build.h"

#include <string.h>

#include "segment/intake.h"
#include "segment/filter/build.h"

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

void lanemap_segment_layout_packed(uint64_t n_groups, uint64_t n_entries, uint32_t entry_bits,
                                   uint64_t postings_bytes,
                                   struct lanemap_segment_layout *ret_layout)
{
        lanemap_segment_layout_of(n_groups * LANEMAP_PACKED_RECORD_BYTES, n_entries,
                                  (n_entries * entry_bits + 7) / 8, postings_bytes, ret_layout);
}

static int kind_build(struct lanemap_heap *heap,
                      const struct lanemap_segment_build_options *options,
                      struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built)
{
        switch (options->kind) {
        case LANEMAP_SEGMENT_KIND_PACKED:
                return lanemap_packed_build(heap, options, cursor, ret_built);
        case LANEMAP_SEGMENT_KIND_RECSPLIT:
        case LANEMAP_SEGMENT_KIND_BBHASH:
                return lanemap_mph_build(heap, options, cursor, ret_built);
        default:
                return -EINVAL;
        }
}

unsigned char *lanemap_build_block(struct lanemap_heap *heap,
                                   const struct lanemap_segment_build_options *options,
                                   uint64_t section_bytes, uint64_t n_keys)
{
        uint64_t n_bytes = section_bytes + lanemap_filter_room(options->filter, n_keys);
        unsigned char *bytes = lanemap_heap_alloc(heap, n_bytes);

        if (bytes)
                memset(bytes, 0, n_bytes);
        return bytes;
}

int lanemap_segment_build(struct lanemap_heap *heap,
                          const struct lanemap_segment_build_options *options,
                          struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built)
{
        struct lanemap_segment_built built;
        size_t n_bytes;
        int r;

        if (options->filter > LANEMAP_FILTER_XOR8)
                return -EINVAL;

        r = kind_build(heap, options, cursor, &built);
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
