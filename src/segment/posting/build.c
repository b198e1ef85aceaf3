/* See posting/build.h. */
#include "segment/posting/build.h"

bool lanemap_segment_ids_ascend(const uint32_t *ids, uint32_t n_ids)
{
        for (uint32_t i = 1; i < n_ids; i++)
                if (ids[i - 1] >= ids[i])
                        return false;

        return ids[n_ids - 1] <= LANEMAP_ID_MAX;
}

static uint32_t varint_size(uint32_t value)
{
        uint32_t bits = lanemap_bits_width(value);

        return bits == 0 ? 1 : (bits + 6) / 7;
}

static unsigned char *varint_put(unsigned char *p, uint32_t value)
{
        for (; value >= 0x80; value >>= 7)
                *p++ = (unsigned char)(value | 0x80);

        *p++ = (unsigned char)value;
        return p;
}

/* The ids after the first of a run. */
static uint64_t gaps_size(const uint32_t *ids, uint32_t n_ids)
{
        uint64_t n_bytes = 0;

        for (uint32_t i = 1; i < n_ids; i++)
                n_bytes += varint_size(ids[i] - ids[i - 1] - 1);

        return n_bytes;
}

static unsigned char *gaps_put(unsigned char *p, const uint32_t *ids, uint32_t n_ids)
{
        for (uint32_t i = 1; i < n_ids; i++)
                p = varint_put(p, ids[i] - ids[i - 1] - 1);

        return p;
}

uint64_t lanemap_segment_posting_size(const uint32_t *ids, uint32_t n_ids)
{
        uint64_t n_bytes = varint_size(n_ids);

        if (n_ids <= LANEMAP_SEGMENT_POSTING_BLOCK)
                return n_bytes + varint_size(ids[0]) + gaps_size(ids, n_ids);

        for (uint32_t from = 0, n; from < n_ids; from += n) {
                n = LANEMAP_MIN(n_ids - from, LANEMAP_SEGMENT_POSTING_BLOCK);
                n_bytes += LANEMAP_SEGMENT_SKIP_BYTES + gaps_size(ids + from, n);
        }

        return n_bytes;
}

unsigned char *lanemap_segment_posting_encode(unsigned char *bytes, const uint32_t *ids,
                                              uint32_t n_ids)
{
        unsigned char *p = varint_put(bytes, n_ids), *skip = p, *data;
        uint32_t n_blocks;

        if (n_ids <= LANEMAP_SEGMENT_POSTING_BLOCK)
                return gaps_put(varint_put(p, ids[0]), ids, n_ids);

        n_blocks = (n_ids - 1) / LANEMAP_SEGMENT_POSTING_BLOCK + 1;
        data = p += (size_t)n_blocks * LANEMAP_SEGMENT_SKIP_BYTES;
        for (uint32_t from = 0, n; from < n_ids; from += n) {
                n = LANEMAP_MIN(n_ids - from, LANEMAP_SEGMENT_POSTING_BLOCK);
                lanemap_store_le32(skip, ids[from]);
                lanemap_store_le32(skip + 4, (uint32_t)(p - data));
                skip += LANEMAP_SEGMENT_SKIP_BYTES;
                p = gaps_put(p, ids + from, n);
        }

        return p;
}
