/*
 * The arithmetic on dense hashes that the kinds and the filters share: how a hash is mixed, and how
 * all of them are cut into ranges that follow one another. See format.h ("Buckets", "Mixed key",
 * "Filter").
 */
#ifndef LANEMAP_SEGMENT_HASH_READ_H
#define LANEMAP_SEGMENT_HASH_READ_H

#include <errno.h>

#include "common/fingerprint.h"
#include "segment/format.h"

/* The answer of a find for a fingerprint that is absent. */
#define LANEMAP_SEGMENT_E_ABSENT 1

#define LANEMAP_SEGMENT_GOLDEN UINT64_C(0x9e3779b97f4a7c15)

__extension__ typedef unsigned __int128 lanemap_uint128; /* no ISO type is that wide */

LANEMAP_ALWAYS_INLINE uint64_t lanemap_segment_mix(uint64_t z)
{
        z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
        return z ^ (z >> 31);
}

/* n_slots: of the section, 1 or more. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_segment_multiplier(uint32_t n_ranges, uint32_t n_slots)
{
        return ((uint64_t)n_ranges << 32) / n_slots;
}

/* Which of n_ranges a dense hash of the section is in: less than n_ranges. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_segment_range_of(uint64_t dense, uint64_t multiplier)
{
        lanemap_uint128 product = (lanemap_uint128)dense * multiplier;

        return (uint64_t)(product >> (64 + LANEMAP_SEGMENT_SCALE_BITS));
}

#endif
