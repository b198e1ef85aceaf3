/*
 * Filters: a byte array that says "no" for nearly every key that a section does not hold, and never
 * for one that it does. The layout is in format.h; here is the question, inline because it
 * stands in front of the index on the lookup path.
 *
 * Two kinds, one question: three bytes, xored, are the key's fingerprint byte, or the key is not
 * there. They differ only in where the bytes lie: binary fuse (Graf & Lemire 2022) has them in
 * three neighbouring segments, chosen by the order of the hashes, so a filter is built in the order
 * in which entries come; xor (Graf & Lemire 2020) has them anywhere in three thirds.
 *
 * A compatible feature: whoever does not ask is right, only slower. The bytes are foreign: all that
 * a wrong one can do is to hide a key, and the places are inside the array whatever they are.
 */
#ifndef LANEMAP_SEGMENT_FILTER_READ_H
#define LANEMAP_SEGMENT_FILTER_READ_H

#include "segment/hash_read.h"

/* An open filter. The places that lanemap_filter_places() gives are valid. */
struct lanemap_filter {
        const unsigned char *bytes;
        uint64_t multiplier; /* fuse: from a dense hash to its segment */
        uint32_t n_blocks;   /* fuse: segments to begin in; xor: bytes of a third */
        uint16_t seed;
        uint8_t kind; /* LANEMAP_FILTER_*; 0: none */
        uint8_t shift;
};

struct lanemap_filter_places {
        uint64_t at[3];
        uint8_t fingerprint;
};

#define LANEMAP_FILTER_SEED_STEP UINT64_C(0xd1342543de82ef95)

LANEMAP_ALWAYS_INLINE void lanemap_filter_places_fuse(const struct lanemap_filter *filter,
                                                      uint64_t dense, uint64_t mixed,
                                                      struct lanemap_filter_places *places)
{
        uint64_t mask = (UINT64_C(1) << filter->shift) - 1;
        uint64_t segment = lanemap_segment_range_of(dense, filter->multiplier);

        places->at[0] = (segment << filter->shift) + (mixed & mask);
        places->at[1] = ((segment + 1) << filter->shift) + (mixed >> 18 & mask);
        places->at[2] = ((segment + 2) << filter->shift) + (mixed >> 36 & mask);
}

LANEMAP_ALWAYS_INLINE void lanemap_filter_places_xor(const struct lanemap_filter *filter,
                                                     uint64_t mixed,
                                                     struct lanemap_filter_places *places)
{
        uint64_t n = filter->n_blocks;

        places->at[0] = (mixed & UINT32_MAX) * n >> 32;
        places->at[1] = n + ((mixed >> 21 & UINT32_MAX) * n >> 32);
        places->at[2] = 2 * n + (((mixed >> 42 | mixed << 22) & UINT32_MAX) * n >> 32);
}

/* dense: of a slot that the section has. */
LANEMAP_ALWAYS_INLINE struct lanemap_filter_places
lanemap_filter_places(const struct lanemap_filter *filter, uint64_t dense, uint32_t ext)
{
        uint64_t mixed =
                lanemap_segment_mix(dense + ext * LANEMAP_SEGMENT_GOLDEN +
                                    (filter->seed + UINT64_C(1)) * LANEMAP_FILTER_SEED_STEP);
        struct lanemap_filter_places places;

        places.fingerprint = (uint8_t)(mixed >> 56);
        if (LANEMAP_LIKELY(filter->kind == LANEMAP_FILTER_FUSE8))
                lanemap_filter_places_fuse(filter, dense, mixed, &places);
        else
                lanemap_filter_places_xor(filter, mixed, &places);
        return places;
}

/* Return: false: the section does not hold this key. */
LANEMAP_ALWAYS_INLINE bool lanemap_filter_passes(const struct lanemap_filter *filter,
                                                 uint64_t dense, uint32_t ext)
{
        struct lanemap_filter_places places = lanemap_filter_places(filter, dense, ext);

        return (filter->bytes[places.at[0]] ^ filter->bytes[places.at[1]] ^
                filter->bytes[places.at[2]]) == places.fingerprint;
}

LANEMAP_ALWAYS_INLINE void lanemap_filter_prefetch(const struct lanemap_filter *filter,
                                                   uint64_t dense, uint32_t ext)
{
        struct lanemap_filter_places places = lanemap_filter_places(filter, dense, ext);

        lanemap_prefetch(filter->bytes + places.at[0]);
        lanemap_prefetch(filter->bytes + places.at[1]);
        lanemap_prefetch(filter->bytes + places.at[2]);
}

/* Return: the bytes of the array of a filter; 0: these parameters are none of a known kind's. */
uint64_t lanemap_filter_bytes(uint32_t kind, uint32_t shift, uint32_t n_blocks);

/* The filter of a section that is being opened; one of a kind that is not known is left alone,
 * since the feature is a compatible one. Return: 0. Errors: -EBADMSG. */
struct lanemap_segment;
int lanemap_filter_open(struct lanemap_segment *segment);

#endif
