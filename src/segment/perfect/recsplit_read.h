/*
 * Kind `recsplit`: lookups. The layout is in format.h, the buckets and entries in
 * perfect/mph_read.h, the trees in perfect/recsplit_tree_format.h.
 *
 * A lookup reads the bucket's place in the two Elias-Fano lists (0.15 bits a key: in cache), walks
 * down the bucket's code (one or two lines) and compares one entry (one line).
 */
#ifndef LANEMAP_SEGMENT_PERFECT_RECSPLIT_READ_H
#define LANEMAP_SEGMENT_PERFECT_RECSPLIT_READ_H

#include "segment/perfect/mph_read.h"
#include "segment/perfect/recsplit_tree_format.h"

struct lanemap_recsplit {
        struct lanemap_mph mph;
        uint32_t cum_high; /* where arrays begin in the index, in words of 8 bytes */
        uint32_t pos_high;
        uint32_t codes;
        uint32_t codes_end;
        int16_t pos_step;
        uint16_t cum_step;
        uint16_t pos_slope;
        uint8_t cum_low_bits;
        uint8_t pos_low_bits;
};

/* The sub-arrays of an index, in words of 8 bytes; each begins where the one before ended. */
struct lanemap_recsplit_layout {
        uint64_t lows;
        uint64_t cum_high;
        uint64_t pos_high;
        uint64_t codes;
        uint64_t n_words;
};

/* The header's numbers, as they are on the disk but in this machine's byte order. */
struct lanemap_recsplit_numbers {
        uint64_t code_bits;
        uint32_t n_buckets;
        uint32_t n_keys;
        uint32_t cum_step;
        int32_t pos_step;
        uint32_t pos_slope;
        uint32_t cum_low_bits;
        uint32_t pos_low_bits;
};

/* Return: 0. Errors: -EBADMSG numbers that no section has. */
int lanemap_recsplit_layout(const struct lanemap_recsplit_numbers *numbers,
                            struct lanemap_recsplit_layout *ret_layout);

/* pos - (cum * slope >> 10) is what the second list holds, without its step. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_recsplit_predicted(uint64_t cum, uint32_t pos_slope)
{
        return cum * pos_slope >> LANEMAP_RECSPLIT_SLOPE_BITS;
}

/* A seed's salt, by its node's level. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_recsplit_salt(uint32_t level, uint32_t x)
{
        return ((uint64_t)level << 32) + x;
}

#endif
