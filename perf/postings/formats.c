/*
 * See postings_private.h.
 *
 *   lanemap        what segments have: delta varints, above 128 ids in blocks of 128 with a skip
 *                  record each (src/segment/format.h)
 *   streamvbyte    the same blocks and skip records, a block's deltas as Stream VByte (Lemire, Kurz,
 *                  Rupp 2018; libstreamvbyte): so contains() decodes one block here too
 *   roaring        a Roaring bitmap (Lemire et al. 2018; CRoaring) after run_optimize(), frozen: the
 *                  form that can be used where it lies; opening it is part of every call
 */
#include "postings/private.h"

#include <errno.h>
#include <string.h>

#include "segment/posting/build.h"
#include "segment/posting/read.h"

#ifdef PERF_STREAMVBYTE
#include <streamvbyte.h>
#include <streamvbytedelta.h>
#endif
#ifdef PERF_ROARING
#include <roaring/roaring.h>
#endif

/* Two ascending lists into one. */
static uint32_t arrays_unite(const uint32_t *a, uint32_t n_a, const uint32_t *b, uint32_t n_b,
                             uint32_t *ret_ids)
{
        uint32_t i = 0, k = 0, n = 0;

        while (i < n_a && k < n_b) {
                uint32_t left = a[i], right = b[k];

                ret_ids[n++] = left < right ? left : right;
                i += left <= right;
                k += right <= left;
        }
        for (; i < n_a; i++)
                ret_ids[n++] = a[i];
        for (; k < n_b; k++)
                ret_ids[n++] = b[k];
        return n;
}

/* ---- lanemap ---- */

static size_t own_encode(const uint32_t *ids, uint32_t n_ids, unsigned char *bytes)
{
        return (size_t)(lanemap_segment_posting_encode(bytes, ids, n_ids) - bytes);
}

static struct lanemap_segment_posting own_open(const struct postings_list *list)
{
        struct lanemap_segment_posting posting;

        if (lanemap_segment_posting_open(list->bytes, list->n_bytes, 0, UINT32_MAX, &posting) < 0)
                perf_die("a list cannot be opened", 0);
        return posting;
}

static void own_decode(const struct postings_list *list, uint32_t *ret_ids)
{
        struct lanemap_segment_posting posting = own_open(list);

        if (lanemap_segment_posting_copy(&posting, ret_ids) < 0)
                perf_die("a list cannot be decoded", 0);
}

static bool own_contains(const struct postings_list *list, uint32_t id)
{
        struct lanemap_segment_posting posting = own_open(list);

        return lanemap_segment_posting_contains(&posting, id) > 0;
}

static uint32_t own_unite(const struct postings_list *a, const struct postings_list *b,
                          uint32_t *scratch, uint32_t *ret_ids)
{
        own_decode(a, scratch);
        own_decode(b, scratch + a->n_ids);
        return arrays_unite(scratch, a->n_ids, scratch + a->n_ids, b->n_ids, ret_ids);
}

/* ---- Stream VByte ---- */

#ifdef PERF_STREAMVBYTE

#define SKIP_BYTES 8

static uint32_t n_blocks_of(uint32_t n_ids)
{
        return n_ids <= LANEMAP_SEGMENT_POSTING_BLOCK
                       ? 0
                       : (n_ids - 1) / LANEMAP_SEGMENT_POSTING_BLOCK + 1;
}

static uint32_t varint_bytes(uint32_t value)
{
        return value == 0 ? 1 : (lanemap_bits_width(value) + 6) / 7;
}

/* n_ids is stored too, as a varint, but nobody has to read it here: zeros in its place. */
static size_t vbyte_encode(const uint32_t *ids, uint32_t n_ids, unsigned char *bytes)
{
        uint32_t n_blocks = n_blocks_of(n_ids), head = varint_bytes(n_ids);
        unsigned char *skip = bytes + head, *data = skip + (size_t)n_blocks * SKIP_BYTES, *p = data;

        memset(bytes, 0, head);
        if (n_blocks == 0)
                return head + streamvbyte_delta_encode(ids, n_ids, data, 0);

        for (uint32_t from = 0; from < n_ids; from += LANEMAP_SEGMENT_POSTING_BLOCK) {
                uint32_t n = LANEMAP_MIN(n_ids - from, LANEMAP_SEGMENT_POSTING_BLOCK);

                lanemap_store_le32(skip, ids[from]);
                lanemap_store_le32(skip + 4, (uint32_t)(p - data));
                skip += SKIP_BYTES;
                p += streamvbyte_delta_encode(ids + from + 1, n - 1, p, ids[from]);
        }

        return (size_t)(p - bytes);
}

static void vbyte_block(const struct postings_list *list, uint32_t block, uint32_t *ret_ids)
{
        uint32_t n_blocks = n_blocks_of(list->n_ids);
        uint32_t from = block * LANEMAP_SEGMENT_POSTING_BLOCK;
        uint32_t n = LANEMAP_MIN(list->n_ids - from, LANEMAP_SEGMENT_POSTING_BLOCK);
        const unsigned char *skips = list->bytes + varint_bytes(list->n_ids);
        const unsigned char *skip = skips + (size_t)block * SKIP_BYTES;
        const unsigned char *data = skips + (size_t)n_blocks * SKIP_BYTES;

        ret_ids[0] = lanemap_load_le32(skip);
        streamvbyte_delta_decode(data + lanemap_load_le32(skip + 4), ret_ids + 1, n - 1,
                                 ret_ids[0]);
}

static void vbyte_decode(const struct postings_list *list, uint32_t *ret_ids)
{
        uint32_t n_blocks = n_blocks_of(list->n_ids);

        if (n_blocks == 0)
                streamvbyte_delta_decode(list->bytes + varint_bytes(list->n_ids), ret_ids,
                                         list->n_ids, 0);
        for (uint32_t i = 0; i < n_blocks; i++)
                vbyte_block(list, i, ret_ids + (size_t)i * LANEMAP_SEGMENT_POSTING_BLOCK);
}

static bool vbyte_contains(const struct postings_list *list, uint32_t id)
{
        uint32_t ids[LANEMAP_SEGMENT_POSTING_BLOCK], n_blocks = n_blocks_of(list->n_ids), low = 0;
        const unsigned char *skips = list->bytes + varint_bytes(list->n_ids);
        uint32_t n = list->n_ids;

        if (n_blocks == 0) {
                vbyte_decode(list, ids);
        } else {
                for (uint32_t high = n_blocks; high - low > 1;) {
                        uint32_t middle = low + (high - low) / 2;

                        if (lanemap_load_le32(skips + (size_t)middle * SKIP_BYTES) <= id)
                                low = middle;
                        else
                                high = middle;
                }
                n = LANEMAP_MIN(n - low * LANEMAP_SEGMENT_POSTING_BLOCK,
                                LANEMAP_SEGMENT_POSTING_BLOCK);
                vbyte_block(list, low, ids);
        }
        for (uint32_t i = 0; i < n; i++)
                if (ids[i] >= id)
                        return ids[i] == id;

        return false;
}

static uint32_t vbyte_unite(const struct postings_list *a, const struct postings_list *b,
                            uint32_t *scratch, uint32_t *ret_ids)
{
        vbyte_decode(a, scratch);
        vbyte_decode(b, scratch + a->n_ids);
        return arrays_unite(scratch, a->n_ids, scratch + a->n_ids, b->n_ids, ret_ids);
}

#endif

/* ---- Roaring ---- */

#ifdef PERF_ROARING

static size_t roaring_encode(const uint32_t *ids, uint32_t n_ids, unsigned char *bytes)
{
        roaring_bitmap_t *bitmap = roaring_bitmap_of_ptr(n_ids, ids);
        size_t n_bytes;

        if (!bitmap)
                perf_die("memory", -ENOMEM);
        roaring_bitmap_run_optimize(bitmap);
        n_bytes = roaring_bitmap_frozen_size_in_bytes(bitmap);
        roaring_bitmap_frozen_serialize(bitmap, (char *)bytes);
        roaring_bitmap_free(bitmap);
        return n_bytes;
}

static const roaring_bitmap_t *roaring_open(const struct postings_list *list)
{
        const roaring_bitmap_t *bitmap =
                roaring_bitmap_frozen_view((const char *)list->bytes, list->n_bytes);

        if (!bitmap)
                perf_die("a bitmap cannot be opened", 0);
        return bitmap;
}

static void roaring_decode(const struct postings_list *list, uint32_t *ret_ids)
{
        const roaring_bitmap_t *bitmap = roaring_open(list);

        roaring_bitmap_to_uint32_array(bitmap, ret_ids);
        roaring_bitmap_free(bitmap);
}

static bool roaring_contains(const struct postings_list *list, uint32_t id)
{
        const roaring_bitmap_t *bitmap = roaring_open(list);
        bool found = roaring_bitmap_contains(bitmap, id);

        roaring_bitmap_free(bitmap);
        return found;
}

static uint32_t roaring_unite(const struct postings_list *a, const struct postings_list *b,
                              uint32_t *scratch, uint32_t *ret_ids)
{
        const roaring_bitmap_t *left = roaring_open(a), *right = roaring_open(b);
        roaring_bitmap_t *both = roaring_bitmap_or(left, right);
        uint32_t n;

        if (!both)
                perf_die("memory", -ENOMEM);
        n = (uint32_t)roaring_bitmap_get_cardinality(both);
        roaring_bitmap_to_uint32_array(both, ret_ids);
        roaring_bitmap_free(both);
        roaring_bitmap_free(left);
        roaring_bitmap_free(right);
        return n;
}

#endif

const struct postings_format postings_formats[] = {
        {"lanemap", own_encode, own_decode, own_contains, own_unite},
#ifdef PERF_STREAMVBYTE
        {"streamvbyte", vbyte_encode, vbyte_decode, vbyte_contains, vbyte_unite},
#endif
#ifdef PERF_ROARING
        {"roaring", roaring_encode, roaring_decode, roaring_contains, roaring_unite},
#endif
        {NULL, NULL, NULL, NULL, NULL},
};
