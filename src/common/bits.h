/*
 * Fields of 0 .. 64 bits at any bit offset, little-endian: bit i of a field that starts at bit `at`
 * is bit (at + i) % 8 of byte (at + i) / 8.
 *
 * Reading touches up to 16 bytes from byte at / 8, so every bit-packed section ends with
 * LANEMAP_BITS_PADDING bytes of zeros (which also keeps SIGBUS away at the end of a mapped file).
 */
#ifndef LANEMAP_COMMON_BITS_H
#define LANEMAP_COMMON_BITS_H

#include <endian.h>
#include <string.h>

#include "common/base.h"

#define LANEMAP_BITS_PADDING 64

LANEMAP_ALWAYS_INLINE uint64_t lanemap_bits_mask(uint32_t n_bits)
{
        return n_bits >= 64 ? UINT64_MAX : (UINT64_C(1) << n_bits) - 1;
}

/* Bits that are needed to hold 0 .. max. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_bits_width(uint64_t max)
{
        return max == 0 ? 0 : 64 - (uint32_t)__builtin_clzll(max);
}

LANEMAP_ALWAYS_INLINE uint64_t lanemap_load_le64(const void *p)
{
        uint64_t x;

        memcpy(&x, p, sizeof(x));
        return le64toh(x);
}

LANEMAP_ALWAYS_INLINE uint32_t lanemap_load_le32(const void *p)
{
        uint32_t x;

        memcpy(&x, p, sizeof(x));
        return le32toh(x);
}

LANEMAP_ALWAYS_INLINE void lanemap_store_le64(void *p, uint64_t x)
{
        x = htole64(x);
        memcpy(p, &x, sizeof(x));
}

LANEMAP_ALWAYS_INLINE void lanemap_store_le32(void *p, uint32_t x)
{
        x = htole32(x);
        memcpy(p, &x, sizeof(x));
}

LANEMAP_ALWAYS_INLINE uint64_t lanemap_bits_get(const unsigned char *bytes, uint64_t at,
                                                uint32_t n_bits)
{
        const unsigned char *p = bytes + (at >> 3);
        uint32_t shift = (uint32_t)(at & 7);
        uint64_t low = lanemap_load_le64(p) >> shift;

        if (shift + n_bits > 64)
                low |= lanemap_load_le64(p + 8) << (64 - shift);

        return low & lanemap_bits_mask(n_bits);
}

/* The bytes must be zero there before; value has no bits past n_bits. */
LANEMAP_ALWAYS_INLINE void lanemap_bits_put(unsigned char *bytes, uint64_t at, uint32_t n_bits,
                                            uint64_t value)
{
        unsigned char *p = bytes + (at >> 3);
        uint32_t shift = (uint32_t)(at & 7);

        lanemap_store_le64(p, lanemap_load_le64(p) | value << shift);
        if (shift + n_bits > 64)
                lanemap_store_le64(p + 8, lanemap_load_le64(p + 8) | value >> (64 - shift));
}

/*
 * Writes fields of at most 56 bits one after the other, from a byte on. It only stores: a load that
 * covers bytes of two stores just made, as lanemap_bits_put() would do for each field, waits for
 * both to reach the cache. Up to 8 bytes after the last field become zero.
 */
struct lanemap_bits_writer {
        unsigned char *at;
        uint64_t bits; /* not a whole byte yet, or stored already */
        uint32_t n_bits;
};

LANEMAP_ALWAYS_INLINE void lanemap_bits_write(struct lanemap_bits_writer *writer, uint32_t n_bits,
                                              uint64_t value)
{
        uint64_t bits = writer->bits | value << writer->n_bits;
        uint32_t n = writer->n_bits + n_bits;

        lanemap_store_le64(writer->at, bits);
        writer->at += n >> 3;
        writer->bits = bits >> (n & ~UINT32_C(7));
        writer->n_bits = n & 7;
}

#endif
