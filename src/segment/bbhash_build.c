/*
 * Building a BBHash index, a bucket at a time. See segment_format.h for the bytes.
 *
 * The sizes of a bucket's levels are what they are expected to be, not what the levels before left
 * over: so they follow from the number of keys and need not be stored. Keys that the last level
 * leaves over go to the end of the bucket, sorted, and are found by a binary search.
 *
 * Source: A. Limasset, G. Rizk, R. Chikhi, P. Peterlongo, "Fast and scalable minimal perfect
 * hashing for massive key sets", SEA 2017.
 */
#include <string.h>

#include "segment/bbhash_read.h"
#include "segment/mph_build.h"

#define BUCKET_DEFAULT 2048
#define GAMMA_DEFAULT  512

struct bbhash {
        struct lanemap_mph_method method; /* first */
        uint32_t gamma;
        uint32_t shrink;
        uint64_t n_keys;
        struct lanemap_build_buffer blocks;
        struct lanemap_build_buffer records;
        uint32_t bits[LANEMAP_BBHASH_BUCKET_ENTRIES_MAX]; /* where each key is settled */
        uint32_t alive[LANEMAP_BBHASH_BUCKET_ENTRIES_MAX];
        struct lanemap_build_buffer once;  /* the string of the bucket at hand, as bits */
        struct lanemap_build_buffer again; /* bits that more than one key wants */
};

static bool bit_get(const struct lanemap_build_buffer *buffer, uint32_t at)
{
        return buffer->bytes[at >> 3] >> (at & 7) & 1;
}

static void bit_set(struct lanemap_build_buffer *buffer, uint32_t at)
{
        buffer->bytes[at >> 3] |= (unsigned char)(1u << (at & 7));
}

static void bit_clear(struct lanemap_build_buffer *buffer, uint32_t at)
{
        buffer->bytes[at >> 3] &= (unsigned char)~(1u << (at & 7));
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
static uint32_t level_settle(struct bbhash *bbhash, const struct lanemap_bbhash_level *level,
                             const uint64_t *keys, uint32_t n_alive)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < n_alive; i++) {
                uint32_t key = bbhash->alive[i], at = lanemap_bbhash_bit(level, keys[key]);

                bbhash->bits[key] = at;
                if (bit_get(&bbhash->once, at))
                        bit_set(&bbhash->again, at);
                bit_set(&bbhash->once, at);
        }
        for (uint32_t i = 0; i < n_alive; i++) {
                uint32_t key = bbhash->alive[i], at = bbhash->bits[key];

                if (!bit_get(&bbhash->again, at))
                        continue;
                bit_clear(&bbhash->once, at);
                bbhash->alive[n++] = key;
        }

        return n;
}

/* The bucket's string, cut into blocks with their ranks. *ret_blocks stays what it is when there
 * are none. */
static int blocks_put(struct bbhash *bbhash, uint32_t n_blocks, unsigned char **ret_blocks)
{
        uint64_t at = bbhash->blocks.n_bytes;
        uint32_t rank = 0;
        int r;

        if (n_blocks == 0)
                return 0;

        r = lanemap_build_buffer_extend(&bbhash->blocks,
                                        (uint64_t)n_blocks * LANEMAP_BBHASH_BLOCK_BYTES);
        if (r < 0)
                return r;

        *ret_blocks = bbhash->blocks.bytes + at;
        for (uint32_t i = 0; i < n_blocks; i++) {
                unsigned char *block = *ret_blocks + (uint64_t)i * LANEMAP_BBHASH_BLOCK_BYTES;
                const uint32_t n_bytes = LANEMAP_BBHASH_BLOCK_BITS / 8;

                block[0] = (unsigned char)rank;
                block[1] = (unsigned char)(rank >> 8);
                memcpy(block + 2, bbhash->once.bytes + (uint64_t)i * n_bytes, n_bytes);
                rank = lanemap_bbhash_block_end(block);
        }

        return 0;
}

/* Makes both strings long enough for a bucket of n_blocks, and zero. */
static int strings_clear(struct bbhash *bbhash, uint32_t n_blocks)
{
        uint64_t need = (uint64_t)n_blocks * (LANEMAP_BBHASH_BLOCK_BITS / 8);
        struct lanemap_build_buffer *both[2] = {&bbhash->once, &bbhash->again};

        for (int i = 0; i < 2; i++) {
                if (need > both[i]->n_bytes) {
                        int r = lanemap_build_buffer_extend(both[i], need - both[i]->n_bytes);

                        if (r < 0)
                                return r;
                }
                if (need > 0)
                        memset(both[i]->bytes, 0, need);
        }

        return 0;
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

static void positions_put(struct bbhash *bbhash, const unsigned char *blocks, uint32_t n,
                          uint32_t n_alive, uint32_t *ret_positions)
{
        uint32_t settled = n - n_alive, rest = 0;

        for (uint32_t i = 0; i < n; i++) {
                uint32_t block = bbhash->bits[i] / LANEMAP_BBHASH_BLOCK_BITS;
                uint32_t bit = bbhash->bits[i] % LANEMAP_BBHASH_BLOCK_BITS;

                /* Both are in the order of the fingerprints. */
                if (rest < n_alive && bbhash->alive[rest] == i)
                        ret_positions[i] = settled + rest++;
                else
                        ret_positions[i] = lanemap_bbhash_block_rank(
                                blocks + (uint64_t)block * LANEMAP_BBHASH_BLOCK_BYTES, bit);
        }
}

static int bbhash_place(struct lanemap_mph_method *method, const uint64_t *keys, uint32_t n,
                        uint32_t *ret_positions)
{
        struct bbhash *bbhash = LANEMAP_CONTAINER_OF(method, struct bbhash, method);
        uint32_t n_blocks = lanemap_bbhash_n_blocks(n, bbhash->gamma, bbhash->shrink);
        struct lanemap_bbhash_level level = lanemap_bbhash_first(n, bbhash->gamma);
        unsigned char *blocks = NULL;
        uint32_t n_alive = n;
        int r;

        r = record_put(bbhash);
        if (r == 0)
                r = strings_clear(bbhash, n_blocks);
        if (r < 0)
                return r;

        for (uint32_t i = 0; i < n; i++)
                bbhash->alive[i] = i;
        for (; lanemap_bbhash_is(&level); lanemap_bbhash_next(&level, bbhash->shrink))
                n_alive = level_settle(bbhash, &level, keys, n_alive);

        r = blocks_put(bbhash, n_blocks, &blocks);
        if (r < 0)
                return r;

        positions_put(bbhash, blocks, n, n_alive, ret_positions);
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
        lanemap_free(bbhash->once.bytes);
        lanemap_free(bbhash->again.bytes);
        lanemap_free(bbhash);
}

int lanemap_bbhash_method_new(const struct lanemap_segment_build_options *options,
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
                .seal = bbhash_seal,
                .free = bbhash_free,
                .bucket_entries = bucket,
                .bucket_entries_max = LANEMAP_BBHASH_BUCKET_ENTRIES_MAX,
        };
        bbhash->gamma = gamma;
        bbhash->shrink = shrink_of(gamma);
        *ret_method = &bbhash->method;
        return 0;
}
