/*
 * The kinds `recsplit` and `bbhash` share: buckets in the order of the dense hashes, and in
 * each bucket entries in the order of a minimal perfect hash. The layout is in format.h.
 *
 * A perfect hash forgets the order of its keys, and merges need it. It is not stored: buckets are
 * ranges of the dense hash, so whoever wants the order sorts one bucket at a time. The same ranges
 * imply the top bits of every hash in them, so an entry stores only what is left.
 *
 * What a perfect hash answers for a key that it does not know is some entry; only the comparison
 * with all bits of that entry is an answer. So whatever the index bytes are, a find is right or
 * misses, as long as it stays inside the section.
 */
#ifndef LANEMAP_SEGMENT_PERFECT_MPH_READ_H
#define LANEMAP_SEGMENT_PERFECT_MPH_READ_H

#include "segment/hash_read.h"

/* The pointers are valid for what the counts imply, and 64 bytes more. */
struct lanemap_mph {
        const unsigned char *index;
        const unsigned char *entries;
        uint64_t multiplier;
        uint32_t n_buckets;
        uint32_t n_entries;
        uint16_t bucket_entries_max;
        uint8_t remainder_bits;
        uint8_t ext_bits;
        uint8_t value_bits; /* with the flag */
        uint8_t entry_bits;
        uint8_t leaf; /* recsplit only; here because there is room */
};

/* The entries [first, first + n) of a bucket. */
struct lanemap_mph_bucket {
        uint64_t first;
        uint32_t n;
};

struct lanemap_mph_entry {
        uint64_t remainder;
        uint64_t value;
        uint32_t ext;
};

/* Without the instruction, which the compiler may not use unless told so, its own function is a
 * call into a table. In each byte of the answer: the set bits of that byte and those below it. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_mph_byte_ranks(uint64_t bits)
{
        bits -= bits >> 1 & UINT64_C(0x5555555555555555);
        bits = (bits & UINT64_C(0x3333333333333333)) + (bits >> 2 & UINT64_C(0x3333333333333333));
        bits = (bits + (bits >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
        return bits * UINT64_C(0x0101010101010101);
}

LANEMAP_ALWAYS_INLINE uint32_t lanemap_mph_popcount(uint64_t bits)
{
#ifdef __POPCNT__
        return (uint32_t)__builtin_popcountll(bits);
#else
        return (uint32_t)(lanemap_mph_byte_ranks(bits) >> 56);
#endif
}

/* Where the set bit is that comes after `skip` others; there is one. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_mph_select(uint64_t bits, uint32_t skip)
{
        const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
        uint64_t ranks = lanemap_mph_byte_ranks(bits);
        /* The top bit of each byte that is wholly passed over; no borrow crosses a byte. */
        uint64_t passed = ((skip * ones | tops) - ranks) & tops;
        uint32_t shift = (uint32_t)((passed >> 7) * ones >> 56) * 8;

        skip -= (uint32_t)(ranks << 8 >> shift & 0xff);
        for (bits >>= shift; skip > 0; skip--)
                bits &= bits - 1;
        return shift + (uint32_t)__builtin_ctzll(bits);
}

LANEMAP_ALWAYS_INLINE uint64_t lanemap_mph_key(uint64_t dense, uint32_t ext)
{
        return lanemap_segment_mix(dense + ext * LANEMAP_SEGMENT_GOLDEN);
}

/* One of the family of functions from keys to 0 .. n - 1. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_mph_place(uint64_t key, uint64_t salt, uint32_t n)
{
        return (uint32_t)((lanemap_segment_mix(key + salt) >> 32) * n >> 32);
}

/* Less than n_buckets for every dense hash of the section. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_mph_bucket_of(const struct lanemap_mph *mph, uint64_t dense)
{
        return (uint32_t)lanemap_segment_range_of(dense, mph->multiplier);
}

LANEMAP_ALWAYS_INLINE uint64_t lanemap_mph_remainder(const struct lanemap_mph *mph, uint64_t dense)
{
        return dense & lanemap_bits_mask(mph->remainder_bits);
}

/* Without the value: most entries that a miss meets differ already in the remainder. */
LANEMAP_ALWAYS_INLINE bool lanemap_mph_entry_is(const struct lanemap_mph *mph, uint64_t position,
                                                uint64_t dense, uint32_t ext, uint64_t *ret_value)
{
        uint64_t at = position * mph->entry_bits;

        if (lanemap_bits_get(mph->entries, at, mph->remainder_bits) !=
            lanemap_mph_remainder(mph, dense))
                return false;

        at += mph->remainder_bits;
        if (lanemap_bits_get(mph->entries, at, mph->ext_bits) != ext)
                return false;

        *ret_value = lanemap_bits_get(mph->entries, at + mph->ext_bits, mph->value_bits);
        return true;
}

LANEMAP_ALWAYS_INLINE struct lanemap_mph_entry lanemap_mph_entry_at(const struct lanemap_mph *mph,
                                                                    uint64_t position)
{
        uint64_t at = position * mph->entry_bits;
        struct lanemap_mph_entry entry;

        entry.remainder = lanemap_bits_get(mph->entries, at, mph->remainder_bits);
        at += mph->remainder_bits;
        entry.ext = (uint32_t)lanemap_bits_get(mph->entries, at, mph->ext_bits);
        entry.value = lanemap_bits_get(mph->entries, at + mph->ext_bits, mph->value_bits);
        return entry;
}

LANEMAP_ALWAYS_INLINE void lanemap_mph_prefetch_entry(const struct lanemap_mph *mph,
                                                      uint64_t position)
{
        lanemap_prefetch(mph->entries + (position * mph->entry_bits >> 3));
}

/* 0 for a section without entries. */
uint64_t lanemap_mph_n_buckets(uint64_t n_keys, uint32_t bucket_entries);

/* What follows from n_entries, ext_bits and value_bits, which are there: how many buckets, and the
 * widths of an entry. Builder and reader must agree, so both ask here. n_slots: of the section. */
void lanemap_mph_shape(struct lanemap_mph *mph, uint32_t bucket_entries, uint32_t n_slots);

/* The remainder is this wide. n_buckets and n_slots: 1 or more. */
uint32_t lanemap_mph_remainder_bits(uint32_t n_buckets, uint32_t n_slots);

/* The least dense hash of a bucket. Cost: a division. */
uint64_t lanemap_mph_bucket_start(const struct lanemap_mph *mph, uint32_t bucket);

/* The whole dense hash of an entry of a bucket that begins at `start`. Return: 0. Errors: -EBADMSG
 * it is in another bucket. */
LANEMAP_ALWAYS_INLINE int lanemap_mph_dense(const struct lanemap_mph *mph, uint32_t bucket,
                                            uint64_t start, uint64_t remainder, uint64_t *ret_dense)
{
        uint64_t above = (remainder - start) & lanemap_bits_mask(mph->remainder_bits);

        *ret_dense = start + above;
        return *ret_dense >= start && lanemap_mph_bucket_of(mph, *ret_dense) == bucket ? 0
                                                                                       : -EBADMSG;
}

/*
 * The operations that the rows of both kinds share. ops: the row, for its bucket() (kind_read.h).
 */
struct lanemap_segment;
struct lanemap_segment_ops;
struct lanemap_segment_cursor;

/* Buckets and entries. Return: 0. Errors: -EBADMSG. */
int lanemap_mph_open(const struct lanemap_segment *segment, uint32_t bucket_entries_limit,
                     uint32_t fullest_limit, struct lanemap_mph *ret_mph);

size_t lanemap_mph_cursor_scratch_bytes(const struct lanemap_segment *segment);
int lanemap_mph_cursor_seek(struct lanemap_segment_cursor *cursor, uint64_t dense,
                            const struct lanemap_segment_ops *ops);
int lanemap_mph_cursor_enter(struct lanemap_segment_cursor *cursor,
                             const struct lanemap_segment_ops *ops);
void lanemap_mph_cursor_decode(struct lanemap_segment_cursor *cursor, uint32_t n);

int lanemap_mph_walk(const struct lanemap_segment *segment, const struct lanemap_segment_ops *ops,
                     int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg);

#endif
