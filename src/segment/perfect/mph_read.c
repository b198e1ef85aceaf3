/* See perfect/mph_read.h: opening, and the arithmetic of buckets that no lookup needs. */
#include "segment/section_read.h"

uint64_t lanemap_mph_n_buckets(uint64_t n_keys, uint32_t bucket_entries)
{
        return (n_keys + bucket_entries - 1) / bucket_entries;
}

uint32_t lanemap_mph_remainder_bits(uint32_t n_buckets, uint32_t n_slots)
{
        lanemap_uint128 whole = (lanemap_uint128)1 << (64 + LANEMAP_SEGMENT_SCALE_BITS);
        uint32_t most = LANEMAP_SLOT_LOW_BITS + lanemap_bits_width(n_slots - 1);
        lanemap_uint128 width = whole / lanemap_segment_multiplier(n_buckets, n_slots);

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
                mph->multiplier = lanemap_segment_multiplier(mph->n_buckets, n_slots);
                mph->remainder_bits = (uint8_t)lanemap_mph_remainder_bits(mph->n_buckets, n_slots);
        }
        mph->entry_bits = (uint8_t)(mph->remainder_bits + mph->ext_bits + mph->value_bits);
}

int lanemap_mph_open(const struct lanemap_segment *segment, uint32_t bucket_entries_limit,
                     uint32_t fullest_limit, struct lanemap_mph *ret_mph)
{
        const unsigned char *p = segment->section;
        uint32_t bucket_entries = LANEMAP_SECTION32(p, bucket_entries);
        uint32_t fullest = LANEMAP_SECTION32(p, bucket_entries_max),
                 entry_bits = LANEMAP_SECTION32(p, entry_bits);
        uint64_t n = segment->n_keys;
        int r;

        if (bucket_entries == 0 || bucket_entries > bucket_entries_limit ||
            fullest > fullest_limit || LANEMAP_SECTION32(p, group_shift) != 0)
                return -EBADMSG;

        *ret_mph = (struct lanemap_mph){
                .n_entries = segment->n_keys,
                .bucket_entries_max = (uint16_t)fullest,
                .ext_bits = (uint8_t)lanemap_fingerprint_ext_bits(segment->fingerprint_bits),
                .value_bits = (uint8_t)(segment->value_bits + segment->value_flagged),
        };
        lanemap_mph_shape(ret_mph, bucket_entries, segment->n_slots);
        if (entry_bits != ret_mph->entry_bits)
                return -EBADMSG;

        r = lanemap_segment_array_place(segment, LANEMAP_SECTION64(p, index_off),
                                        LANEMAP_SECTION64(p, index_bytes), &ret_mph->index);
        if (r < 0)
                return r;
        if (LANEMAP_SECTION64(p, tags_off) != 0)
                return -EBADMSG;

        return lanemap_segment_array_place(segment, LANEMAP_SECTION64(p, payload_off),
                                           (n * entry_bits + 7) / 8, &ret_mph->entries);
}

uint64_t lanemap_mph_bucket_start(const struct lanemap_mph *mph, uint32_t bucket)
{
        lanemap_uint128 from = (lanemap_uint128)bucket << (64 + LANEMAP_SEGMENT_SCALE_BITS);

        return (uint64_t)((from + mph->multiplier - 1) / mph->multiplier);
}
