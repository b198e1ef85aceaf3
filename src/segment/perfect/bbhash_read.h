/*
 * Kind `bbhash`: lookups. The layout is in format.h, the buckets and entries in perfect/mph_read.h.
 *
 * A lookup reads the bucket's record (8 bytes per 2048 keys: in cache), probes levels until it
 * meets a set bit (1.65 lines on average for a key that is there, with gamma 2; the bits of a
 * bucket are within a kilobyte, so neighbours in one page) and compares one entry (one line).
 */
#ifndef LANEMAP_SEGMENT_PERFECT_BBHASH_READ_H
#define LANEMAP_SEGMENT_PERFECT_BBHASH_READ_H

#include "segment/perfect/mph_read.h"

struct lanemap_bbhash {
        struct lanemap_mph mph;
        uint32_t n_blocks;
        uint32_t shrink;
        uint16_t gamma;
};

/* One level of a bucket: bits [first, first + n_bits) of its string. */
struct lanemap_bbhash_level {
        uint32_t first;
        uint32_t n_bits;
        uint32_t level;
};

/*
 * The levels of a bucket of n keys, one after another:
 *
 *         for (level = lanemap_bbhash_first(n, gamma); lanemap_bbhash_is(&level);
 *              lanemap_bbhash_next(&level, shrink))
 */
LANEMAP_ALWAYS_INLINE struct lanemap_bbhash_level lanemap_bbhash_first(uint32_t n, uint32_t gamma)
{
        return (struct lanemap_bbhash_level){.n_bits = (n * gamma + 255) >> 8};
}

LANEMAP_ALWAYS_INLINE bool lanemap_bbhash_is(const struct lanemap_bbhash_level *level)
{
        return level->n_bits >= LANEMAP_BBHASH_LEVEL_BITS_MIN &&
               level->level < LANEMAP_BBHASH_LEVELS_MAX;
}

LANEMAP_ALWAYS_INLINE void lanemap_bbhash_next(struct lanemap_bbhash_level *level, uint32_t shrink)
{
        level->first += level->n_bits;
        level->n_bits = (uint32_t)((uint64_t)level->n_bits * shrink >> LANEMAP_BBHASH_SHRINK_BITS);
        level->level++;
}

/* Where a key is in its bucket's string, on this level. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_bbhash_bit(const struct lanemap_bbhash_level *level,
                                                  uint64_t key)
{
        return level->first +
               lanemap_mph_place(key, level->level * LANEMAP_SEGMENT_GOLDEN, level->n_bits);
}

/* Set bits of the bucket before this one, of the block that holds it. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_bbhash_block_rank(const unsigned char *block, uint32_t bit)
{
        uint32_t rank = (uint32_t)(block[0] | block[1] << 8), at = bit + 16;
        uint64_t word = lanemap_load_le64(block) & ~UINT64_C(0xffff);

        for (uint32_t i = 0; i < at >> 6; i++) {
                rank += lanemap_mph_popcount(word);
                word = lanemap_load_le64(block + (i + 1) * 8);
        }

        return rank + lanemap_mph_popcount(word & ((UINT64_C(1) << (at & 63)) - 1));
}

/* Set bits of the bucket up to the end of this block. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_bbhash_block_end(const unsigned char *block)
{
        return lanemap_bbhash_block_rank(block, LANEMAP_BBHASH_BLOCK_BITS - 1) +
               (block[LANEMAP_BBHASH_BLOCK_BYTES - 1] >> 7);
}

/* Return: the number of blocks of a bucket of n keys. */
uint32_t lanemap_bbhash_n_blocks(uint32_t n, uint32_t gamma, uint32_t shrink);

#endif
