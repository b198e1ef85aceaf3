/* See mph_read.h: the arithmetic of buckets that no lookup needs. */
#include "segment/mph_read.h"

uint64_t lanemap_mph_n_buckets(uint64_t n_keys, uint32_t bucket_entries)
{
        return (n_keys + bucket_entries - 1) / bucket_entries;
}

uint32_t lanemap_mph_remainder_bits(uint32_t n_buckets, uint32_t n_slots)
{
        lanemap_uint128 whole = (lanemap_uint128)1 << (64 + LANEMAP_MPH_SCALE_BITS);
        uint32_t most = LANEMAP_SLOT_LOW_BITS + lanemap_bits_width(n_slots - 1);
        lanemap_uint128 width = whole / lanemap_mph_multiplier(n_buckets, n_slots);

        /* A bucket has `width` hashes or one more. */
        if (width > UINT64_MAX)
                return most;

        return LANEMAP_MIN(most, lanemap_bits_width((uint64_t)width));
}

uint64_t lanemap_mph_bucket_start(const struct lanemap_mph *mph, uint32_t bucket)
{
        lanemap_uint128 from = (lanemap_uint128)bucket << (64 + LANEMAP_MPH_SCALE_BITS);

        return (uint64_t)((from + mph->multiplier - 1) / mph->multiplier);
}
