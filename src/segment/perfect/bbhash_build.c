/*
 * Building a BBHash index, a bucket at a time. See format.h for the bytes.
 *
 * The sizes of a bucket's levels are what they are expected to be, not what the levels before left
 * over: so they follow from the number of keys and need not be stored. Keys that the last level
 * leaves over go to the end of the bucket, sorted, and are found by a binary search.
 *
 * Source: A. Limasset, G. Rizk, R. Chikhi, P. Peterlongo, "Fast and scalable minimal perfect
 * hashing for massive key sets", SEA 2017.
 */
#include <string.h>

#include "common/check.h"
#include "segment/perfect/bbhash_read.h"
#include "segment/perfect/mph_build.h"

#define BUCKET_DEFAULT 2048
#define GAMMA_DEFAULT  512

struct bbhash {
        struct lanemap_mph_method method; /* first */
        uint32_t gamma;
        uint32_t shrink;
        uint64_t n_keys;
        struct lanemap_build_buffer blocks;
        struct lanemap_build_buffer records;
};

/* The most bits that the levels of a bucket have together: gamma times the keys, and what the
 * levels after the first add, which is a geometric series. */
#define STRING_BYTES_MAX                                                                        \
        ((uint64_t)LANEMAP_BBHASH_BUCKET_ENTRIES_MAX * (LANEMAP_BBHASH_GAMMA_MAX + 512) / 256 / \
                 8 +                                                                            \
         2 * LANEMAP_BBHASH_BLOCK_BYTES)

/* One bucket in the making. */
struct bucket {
        uint32_t bits[LANEMAP_BBHASH_BUCKET_ENTRIES_MAX]; /* where each key is settled */
        uint32_t alive[LANEMAP_BBHASH_BUCKET_ENTRIES_MAX];
        unsigned char once[STRING_BYTES_MAX];  /* its string, as bits */
        unsigned char again[STRING_BYTES_MAX]; /* bits that more than one key wants */
};

static bool bit_get(const unsigned char *bytes, uint32_t at)
{
        return bytes[at >> 3] >> (at & 7) & 1;
}

static void bit_set(unsigned char *bytes, uint32_t at)
{
        bytes[at >> 3] |= (unsigned char)(1u << (at & 7));
}

static void bit_clear(unsigned char *bytes, uint32_t at)
{
        bytes[at >> 3] &= (unsigned char)~(1u << (at & 7));
}

/* 1 - exp(-1 / gamma), by its series: the same everywhere, and stored in any case. */
static uint32_t shrink_of(uint32_t gamma)
{
        double y = 256.0 / gamma, term = 1, sum = 0;

        for (int k = 1; k < 24; k++) {
                term = term * -y / k;
                sum -= term;
        }

        return (uint32_t)(sum * (1 << LANEMAP_BBHASH_SHRINK_BITS) + 0.5);
}

/* One level: who is alone on a bit is settled. Return: how many are still alive. */
static uint32_t level_settle(struct bucket *bucket, const struct lanemap_bbhash_level *level,
                             const uint64_t *keys, uint32_t n_alive)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < n_alive; i++) {
                uint32_t key = bucket->alive[i], at = lanemap_bbhash_bit(level, keys[key]);

                bucket->bits[key] = at;
                if (bit_get(bucket->once, at))
                        bit_set(bucket->again, at);
                bit_set(bucket->once, at);
        }
        for (uint32_t i = 0; i < n_alive; i++) {
                uint32_t key = bucket->alive[i], at = bucket->bits[key];

                if (!bit_get(bucket->again, at))
                        continue;
                bit_clear(bucket->once, at);
                bucket->alive[n++] = key;
        }

        return n;
}

/* The bucket's string, cut into blocks with their ranks. */
static void blocks_put(const struct bucket *bucket, uint32_t n_blocks, unsigned char *blocks)
{
        const uint32_t n_bytes = LANEMAP_BBHASH_BLOCK_BITS / 8;
        uint32_t rank = 0;

        for (uint32_t i = 0; i < n_blocks; i++) {
                unsigned char *block = blocks + (uint64_t)i * LANEMAP_BBHASH_BLOCK_BYTES;

                block[0] = (unsigned char)rank;
                block[1] = (unsigned char)(rank >> 8);
                memcpy(block + 2, bucket->once + (uint64_t)i * n_bytes, n_bytes);
                rank = lanemap_bbhash_block_end(block);
        }
}

static int record_put(struct bbhash *bbhash)
{
        unsigned char *record;
        int r;

        r = lanemap_build_buffer_extend(&bbhash->records, LANEMAP_BBHASH_RECORD_BYTES);
        if (r < 0)
                return r;

        record = bbhash->records.bytes + bbhash->records.n_bytes - LANEMAP_BBHASH_RECORD_BYTES;
        lanemap_store_le32(record, (uint32_t)bbhash->n_keys);
        lanemap_store_le32(record + 4,
                           (uint32_t)(bbhash->blocks.n_bytes / LANEMAP_BBHASH_BLOCK_BYTES));
        return 0;
}

static void positions_put(const struct bucket *bucket, const unsigned char *blocks, uint32_t n,
                          uint32_t n_alive, uint32_t *ret_positions)
{
        uint32_t settled = n - n_alive, rest = 0;

        for (uint32_t i = 0; i < n; i++) {
                uint32_t block = bucket->bits[i] / LANEMAP_BBHASH_BLOCK_BITS;
                uint32_t bit = bucket->bits[i] % LANEMAP_BBHASH_BLOCK_BITS;

                /* Both are in the order of the fingerprints. */
                if (rest < n_alive && bucket->alive[rest] == i)
                        ret_positions[i] = settled + rest++;
                else
                        ret_positions[i] = lanemap_bbhash_block_rank(
                                blocks + (uint64_t)block * LANEMAP_BBHASH_BLOCK_BYTES, bit);
        }
}

static uint64_t bbhash_piece_bytes(const struct lanemap_mph_method *method, uint32_t n)
{
        const struct bbhash *bbhash = (const struct bbhash *)method;

        return (uint64_t)lanemap_bbhash_n_blocks(n, bbhash->gamma, bbhash->shrink) *
               LANEMAP_BBHASH_BLOCK_BYTES;
}

static int64_t bbhash_place(const struct lanemap_mph_method *method, const uint64_t *keys,
                            uint32_t n, void *workspace, uint32_t *ret_positions,
                            unsigned char *piece)
{
        const struct bbhash *bbhash = (const struct bbhash *)method;
        uint32_t n_blocks = lanemap_bbhash_n_blocks(n, bbhash->gamma, bbhash->shrink);
        uint64_t string_bytes = (uint64_t)n_blocks * (LANEMAP_BBHASH_BLOCK_BITS / 8);
        struct lanemap_bbhash_level level = lanemap_bbhash_first(n, bbhash->gamma);
        struct bucket *bucket = workspace;
        uint32_t n_alive = n;

        lanemap_check(string_bytes <= STRING_BYTES_MAX);
        memset(bucket->once, 0, string_bytes);
        memset(bucket->again, 0, string_bytes);
        for (uint32_t i = 0; i < n; i++)
                bucket->alive[i] = i;
        for (; lanemap_bbhash_is(&level); lanemap_bbhash_next(&level, bbhash->shrink))
                n_alive = level_settle(bucket, &level, keys, n_alive);

        blocks_put(bucket, n_blocks, piece);
        positions_put(bucket, piece, n, n_alive, ret_positions);
        return (int64_t)((uint64_t)n_blocks * LANEMAP_BBHASH_BLOCK_BYTES);
}

static int bbhash_append(struct lanemap_mph_method *method, uint32_t n, const unsigned char *piece,
                         uint64_t n_bytes)
{
        struct bbhash *bbhash = LANEMAP_CONTAINER_OF(method, struct bbhash, method);
        uint64_t at = bbhash->blocks.n_bytes;
        int r;

        r = record_put(bbhash);
        if (r == 0 && n_bytes > 0)
                r = lanemap_build_buffer_extend(&bbhash->blocks, n_bytes);
        if (r < 0)
                return r;

        if (n_bytes > 0)
                memcpy(bbhash->blocks.bytes + at, piece, n_bytes);
        bbhash->n_keys += n;
        return 0;
}

static int bbhash_seal(struct lanemap_mph_method *method,
                       struct lanemap_segment_section_file *header,
                       struct lanemap_build_buffer *ret_index)
{
        struct bbhash *bbhash = LANEMAP_CONTAINER_OF(method, struct bbhash, method);
        uint64_t at = bbhash->blocks.n_bytes;
        int r;

        header->bbhash.gamma = htole32(bbhash->gamma);
        header->bbhash.shrink = htole32(bbhash->shrink);
        if (bbhash->n_keys > 0) {
                r = record_put(bbhash);
                if (r == 0)
                        r = lanemap_build_buffer_extend(&bbhash->blocks, bbhash->records.n_bytes);
                if (r < 0)
                        return r;
                memcpy(bbhash->blocks.bytes + at, bbhash->records.bytes, bbhash->records.n_bytes);
        }

        *ret_index = bbhash->blocks;
        return 0;
}

static void bbhash_free(struct lanemap_mph_method *method)
{
        struct bbhash *bbhash = LANEMAP_CONTAINER_OF(method, struct bbhash, method);

        lanemap_free(bbhash->blocks.bytes);
        lanemap_free(bbhash->records.bytes);
        lanemap_free(bbhash);
}

static int method_new(const struct lanemap_segment_build_options *options,
                      struct lanemap_mph_method **ret_method)
{
        uint32_t bucket = options->bucket_entries ? options->bucket_entries : BUCKET_DEFAULT;
        uint32_t gamma = options->gamma ? options->gamma : GAMMA_DEFAULT;
        struct bbhash *bbhash;

        if (gamma < LANEMAP_BBHASH_GAMMA_MIN || gamma > LANEMAP_BBHASH_GAMMA_MAX ||
            bucket > LANEMAP_BBHASH_BUCKET_MAX)
                return -EINVAL;

        bbhash = lanemap_alloc_zero(sizeof(*bbhash));
        if (!bbhash)
                return -ENOMEM;

        bbhash->method = (struct lanemap_mph_method){
                .place = bbhash_place,
                .piece_bytes = bbhash_piece_bytes,
                .append = bbhash_append,
                .seal = bbhash_seal,
                .free = bbhash_free,
                .workspace_bytes = sizeof(struct bucket),
                .bucket_entries = bucket,
                .bucket_entries_max = LANEMAP_BBHASH_BUCKET_ENTRIES_MAX,
        };
        bbhash->gamma = gamma;
        bbhash->shrink = shrink_of(gamma);
        *ret_method = &bbhash->method;
        return 0;
}

/* ---- the row ---- */

static int bbhash_build(struct lanemap_heap *heap,
                        const struct lanemap_segment_build_options *options,
                        struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built)
{
        return lanemap_mph_build(heap, options, method_new, cursor, ret_built);
}

static int bbhash_verify_index(const struct lanemap_segment *segment,
                               struct lanemap_segment_report *report)
{
        return lanemap_mph_verify_buckets(segment, &lanemap_bbhash_ops, report);
}

const struct lanemap_segment_build_ops lanemap_bbhash_build_ops = {
        .build = bbhash_build,
        .sizes = lanemap_mph_sizes,
        .verify_index = bbhash_verify_index,
        .reserved_off = offsetof(struct lanemap_segment_section_file, bbhash.reserved),
};
