/* See perfect/mph_read.h: the arithmetic of buckets that no lookup needs. */
#include "segment/perfect/mph_read.h"

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

void lanemap_mph_shape(struct lanemap_mph *mph, uint32_t bucket_entries, uint32_t n_slots)
{
        mph->n_buckets = (uint32_t)lanemap_mph_n_buckets(mph->n_entries, bucket_entries);
        mph->multiplier = 0;
        mph->remainder_bits = 0;
        if (mph->n_entries > 0) {
                mph->multiplier = lanemap_mph_multiplier(mph->n_buckets, n_slots);
                mph->remainder_bits = (uint8_t)lanemap_mph_remainder_bits(mph->n_buckets, n_slots);
        }
        mph->entry_bits = (uint8_t)(mph->remainder_bits + mph->ext_bits + mph->value_bits);
}

uint64_t lanemap_mph_bucket_start(const struct lanemap_mph *mph, uint32_t bucket)
{
        lanemap_uint128 from = (lanemap_uint128)bucket << (64 + LANEMAP_MPH_SCALE_BITS);

        return (uint64_t)((from + mph->multiplier - 1) / mph->multiplier);
}
