/*
 * The identity of a key: SipHash-2-4 of its bytes under the index's random 128-bit key.
 *
 * No key bytes are stored anywhere. Two keys with the same fingerprint are the same key to lanemap,
 * so the hash is keyed (untrusted input cannot make collisions) and all of its bits can be
 * recovered from every structure. An index has 64, 80 or 96 fingerprint bits; with more than 64 the
 * 128-bit variant of SipHash is used, whose first word differs from the 64-bit variant's, so the
 * width is fixed at creation.
 *
 * Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012;
 * checked against the published vectors and libsodium in tests/unit/common.
 */
#ifndef LANEMAP_COMMON_FINGERPRINT_H
#define LANEMAP_COMMON_FINGERPRINT_H

#include "common/base.h"

#define LANEMAP_HASH_KEY_BYTES 16

/* Ordered by (hash, ext). ext holds the bits past 64, in its low end; 0 in an index of 64 bits. */
struct lanemap_fingerprint {
        uint64_t hash;
        uint32_t ext;
};

/* The key as SipHash begins with it. */
struct lanemap_hash_key {
        uint64_t v0;
        uint64_t v1;
        uint64_t v2;
        uint64_t v3;
        uint32_t fingerprint_bits; /* 64, 80 or 96 */
        uint32_t vectors;          /* what hashes many keys (siphash_many.h) */
};

/* The 16 bytes are read little-endian, as the paper does. No vectors are chosen. */
void lanemap_hash_key_init(struct lanemap_hash_key *hash_key, const unsigned char *bytes,
                           uint32_t fingerprint_bits);

uint64_t lanemap_siphash24(const struct lanemap_hash_key *key, const void *data, size_t bytes);
void lanemap_siphash24_128(const struct lanemap_hash_key *key, const void *data, size_t bytes,
                           uint64_t *ret_first, uint64_t *ret_second);

/* Cost: about 1.5 cycles a byte and 40 of start-up. */
struct lanemap_fingerprint lanemap_fingerprint_of(const struct lanemap_hash_key *key,
                                                  const void *data, size_t bytes);

LANEMAP_ALWAYS_INLINE bool lanemap_fingerprint_equal(struct lanemap_fingerprint a,
                                                     struct lanemap_fingerprint b)
{
        return a.hash == b.hash && a.ext == b.ext;
}

/* Negative, 0, positive: the order of a segment. */
LANEMAP_ALWAYS_INLINE int lanemap_fingerprint_compare(struct lanemap_fingerprint a,
                                                      struct lanemap_fingerprint b)
{
        if (a.hash != b.hash)
                return a.hash < b.hash ? -1 : 1;

        return (a.ext > b.ext) - (a.ext < b.ext);
}

LANEMAP_ALWAYS_INLINE bool lanemap_fingerprint_bits_known(uint32_t fingerprint_bits)
{
        return fingerprint_bits == 64 || fingerprint_bits == 80 || fingerprint_bits == 96;
}

LANEMAP_ALWAYS_INLINE uint32_t lanemap_fingerprint_ext_bits(uint32_t fingerprint_bits)
{
        return fingerprint_bits - 64;
}

#endif
