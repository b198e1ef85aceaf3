/*
 * See perfect/bbhash_read.h. The index is foreign bytes: block numbers and ranks are checked before
 * they are followed, and there are at most 24 levels and 15 steps of a search.
 */
#include "segment/section_read.h"

/* One bucket, open for lookups. */
struct bits {
        const unsigned char *blocks; /* its first one */
        struct lanemap_mph_bucket bucket;
        uint32_t n_blocks;
};

uint32_t lanemap_bbhash_n_blocks(uint32_t n, uint32_t gamma, uint32_t shrink)
{
        struct lanemap_bbhash_level level = lanemap_bbhash_first(n, gamma);

        while (lanemap_bbhash_is(&level))
                lanemap_bbhash_next(&level, shrink);

        return (level.first + LANEMAP_BBHASH_BLOCK_BITS - 1) / LANEMAP_BBHASH_BLOCK_BITS;
}

/* The entries of a bucket and its first block. Return: 0. Errors: -EBADMSG. */
static int bbhash_bucket(const struct lanemap_bbhash *bbhash, uint32_t bucket,
                         struct lanemap_mph_bucket *ret_bucket, uint32_t *ret_block)
{
        const unsigned char *record = bbhash->mph.index +
                                      (uint64_t)bbhash->n_blocks * LANEMAP_BBHASH_BLOCK_BYTES +
                                      (uint64_t)bucket * LANEMAP_BBHASH_RECORD_BYTES;
        uint32_t first = lanemap_load_le32(record);
        uint32_t end = lanemap_load_le32(record + LANEMAP_BBHASH_RECORD_BYTES);

        if (LANEMAP_UNLIKELY(first > end || end > bbhash->mph.n_entries ||
                             end - first > bbhash->mph.bucket_entries_max))
                return -EBADMSG;

        ret_bucket->first = first;
        ret_bucket->n = end - first;
        *ret_block = lanemap_load_le32(record + 4);
        return 0;
}

static int bits_open(const struct lanemap_bbhash *bbhash, uint64_t dense, struct bits *ret_bits)
{
        uint32_t block;
        int r;

        if (bbhash->mph.n_buckets == 0)
                return LANEMAP_SEGMENT_E_ABSENT;

        r = bbhash_bucket(bbhash, lanemap_mph_bucket_of(&bbhash->mph, dense), &ret_bits->bucket,
                          &block);
        if (LANEMAP_UNLIKELY(r < 0))
                return r;
        if (LANEMAP_UNLIKELY(block > bbhash->n_blocks))
                return -EBADMSG;

        ret_bits->blocks = bbhash->mph.index + (uint64_t)block * LANEMAP_BBHASH_BLOCK_BYTES;
        ret_bits->n_blocks = bbhash->n_blocks - block;
        return 0;
}

/* Return: 0 and the rank of the key's bit; LANEMAP_SEGMENT_E_ABSENT no level has it.
 * Errors: -EBADMSG. */
static int bits_rank(const struct lanemap_bbhash *bbhash, const struct bits *bits, uint64_t key,
                     uint32_t *ret_rank)
{
        struct lanemap_bbhash_level level = lanemap_bbhash_first(bits->bucket.n, bbhash->gamma);

        for (; lanemap_bbhash_is(&level); lanemap_bbhash_next(&level, bbhash->shrink)) {
                uint32_t at = lanemap_bbhash_bit(&level, key);
                uint32_t block = at / LANEMAP_BBHASH_BLOCK_BITS;
                uint32_t bit = at % LANEMAP_BBHASH_BLOCK_BITS;
                const unsigned char *p =
                        bits->blocks + (uint64_t)block * LANEMAP_BBHASH_BLOCK_BYTES;

                if (LANEMAP_UNLIKELY(block >= bits->n_blocks))
                        return -EBADMSG;
                if (!(p[2 + (bit >> 3)] >> (bit & 7) & 1))
                        continue;

                *ret_rank = lanemap_bbhash_block_rank(p, bit);
                return LANEMAP_LIKELY(*ret_rank < bits->bucket.n) ? 0 : -EBADMSG;
        }

        return LANEMAP_SEGMENT_E_ABSENT;
}

/* Return: the number of keys of the bucket that its levels settle. */
static int bits_settled(const struct lanemap_bbhash *bbhash, const struct bits *bits,
                        uint32_t *ret_settled)
{
        uint32_t n = lanemap_bbhash_n_blocks(bits->bucket.n, bbhash->gamma, bbhash->shrink);

        *ret_settled = 0;
        if (n > bits->n_blocks)
                return -EBADMSG;
        if (n > 0)
                *ret_settled = lanemap_bbhash_block_end(bits->blocks +
                                                        (n - 1) * LANEMAP_BBHASH_BLOCK_BYTES);

        return *ret_settled <= bits->bucket.n ? 0 : -EBADMSG;
}

/* Among the entries that no level settles, which are sorted. */
static int rest_find(const struct lanemap_bbhash *bbhash, const struct bits *bits, uint64_t dense,
                     uint32_t ext, uint64_t *ret_value)
{
        const struct lanemap_mph *mph = &bbhash->mph;
        uint64_t low = bits->bucket.first, high = low + bits->bucket.n;
        uint64_t start = lanemap_mph_bucket_start(mph, lanemap_mph_bucket_of(mph, dense));
        uint64_t mask = lanemap_bits_mask(mph->remainder_bits);
        uint32_t settled;
        int r;

        r = bits_settled(bbhash, bits, &settled);
        if (LANEMAP_UNLIKELY(r < 0))
                return r;

        low += settled;
        while (low < high) {
                uint64_t middle = low + (high - low) / 2;
                struct lanemap_mph_entry entry = lanemap_mph_entry_at(mph, middle);
                uint64_t there = (entry.remainder - start) & mask;

                if (there == dense - start && entry.ext == ext) {
                        *ret_value = entry.value;
                        return 0;
                }
                if (there < dense - start || (there == dense - start && entry.ext < ext))
                        low = middle + 1;
                else
                        high = middle;
        }

        return LANEMAP_SEGMENT_E_ABSENT;
}

/* ---- the row ---- */

static int bbhash_open(struct lanemap_segment *segment)
{
        const unsigned char *p = segment->section;
        uint32_t gamma = LANEMAP_SECTION32(p, bbhash.gamma),
                 shrink = LANEMAP_SECTION32(p, bbhash.shrink);
        uint64_t index_bytes = LANEMAP_SECTION64(p, index_bytes), records;
        struct lanemap_bbhash *bbhash = &segment->bbhash;
        int r;

        r = lanemap_mph_open(segment, LANEMAP_BBHASH_BUCKET_MAX, LANEMAP_BBHASH_BUCKET_ENTRIES_MAX,
                             &bbhash->mph);
        if (r < 0)
                return r;

        records = segment->n_keys ? bbhash->mph.n_buckets + UINT64_C(1) : 0;
        records *= LANEMAP_BBHASH_RECORD_BYTES;
        if (gamma < LANEMAP_BBHASH_GAMMA_MIN || gamma > LANEMAP_BBHASH_GAMMA_MAX ||
            shrink >= 1u << LANEMAP_BBHASH_SHRINK_BITS || index_bytes < records ||
            (index_bytes - records) % LANEMAP_BBHASH_BLOCK_BYTES != 0 ||
            (index_bytes - records) / LANEMAP_BBHASH_BLOCK_BYTES > UINT32_MAX)
                return -EBADMSG;

        bbhash->n_blocks = (uint32_t)((index_bytes - records) / LANEMAP_BBHASH_BLOCK_BYTES);
        bbhash->gamma = (uint16_t)gamma;
        bbhash->shrink = shrink;
        return 0;
}

static int bbhash_find(const struct lanemap_segment *segment, uint64_t dense, uint32_t ext,
                       uint64_t *ret_value)
{
        const struct lanemap_bbhash *bbhash = &segment->bbhash;
        struct bits bits;
        uint32_t rank;
        int r;

        r = bits_open(bbhash, dense, &bits);
        if (r != 0)
                return r;

        r = bits_rank(bbhash, &bits, lanemap_mph_key(dense, ext), &rank);
        if (r == LANEMAP_SEGMENT_E_ABSENT)
                return rest_find(bbhash, &bits, dense, ext, ret_value);
        if (r < 0)
                return r;

        return lanemap_mph_entry_is(&bbhash->mph, bits.bucket.first + rank, dense, ext, ret_value)
                       ? 0
                       : LANEMAP_SEGMENT_E_ABSENT;
}

/* The line of the first level's bit. */
static void bbhash_prefetch_index(const struct lanemap_segment *segment, uint64_t dense,
                                  uint32_t ext)
{
        const struct lanemap_bbhash *bbhash = &segment->bbhash;
        struct lanemap_bbhash_level level;
        struct bits bits;
        uint32_t block;

        if (bits_open(bbhash, dense, &bits) != 0)
                return;

        level = lanemap_bbhash_first(bits.bucket.n, bbhash->gamma);
        block = lanemap_bbhash_bit(&level, lanemap_mph_key(dense, ext)) / LANEMAP_BBHASH_BLOCK_BITS;
        if (block < bits.n_blocks)
                lanemap_prefetch(bits.blocks + (uint64_t)block * LANEMAP_BBHASH_BLOCK_BYTES);
}

static void bbhash_prefetch_entry(const struct lanemap_segment *segment, uint64_t dense,
                                  uint32_t ext)
{
        const struct lanemap_bbhash *bbhash = &segment->bbhash;
        struct bits bits;
        uint32_t rank;

        if (bits_open(bbhash, dense, &bits) == 0 &&
            bits_rank(bbhash, &bits, lanemap_mph_key(dense, ext), &rank) == 0)
                lanemap_mph_prefetch_entry(&bbhash->mph, bits.bucket.first + rank);
}

static int bbhash_bucket_of(const struct lanemap_segment *segment, uint32_t bucket,
                            struct lanemap_mph_bucket *ret_bucket)
{
        uint32_t block;

        return bbhash_bucket(&segment->bbhash, bucket, ret_bucket, &block);
}

static int bbhash_seek(struct lanemap_segment_cursor *cursor, uint64_t dense)
{
        return lanemap_mph_cursor_seek(cursor, dense, &lanemap_bbhash_ops);
}

static int bbhash_enter(struct lanemap_segment_cursor *cursor)
{
        return lanemap_mph_cursor_enter(cursor, &lanemap_bbhash_ops);
}

static int bbhash_walk(const struct lanemap_segment *segment,
                       int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg)
{
        return lanemap_mph_walk(segment, &lanemap_bbhash_ops, fn, arg);
}

const struct lanemap_segment_ops lanemap_bbhash_ops = {
        .open = bbhash_open,
        .find = bbhash_find,
        .prefetch_index = bbhash_prefetch_index,
        .prefetch_entry = bbhash_prefetch_entry,
        .cursor_scratch_bytes = lanemap_mph_cursor_scratch_bytes,
        .cursor_seek = bbhash_seek,
        .cursor_enter = bbhash_enter,
        .cursor_decode = lanemap_mph_cursor_decode,
        .walk = bbhash_walk,
        .bucket = bbhash_bucket_of,
};
