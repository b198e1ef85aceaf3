/*
 * SipHash-2-4 as an inline function, for the one place that cannot afford a call: a lookup. All
 * others call fingerprint.h.
 *
 * Source: see fingerprint.h.
 */
#ifndef LANEMAP_COMMON_SIPHASH_H
#define LANEMAP_COMMON_SIPHASH_H

#include "common/bits.h"
#include "common/fingerprint.h"

struct lanemap_sip_state {
        uint64_t v0, v1, v2, v3;
};

LANEMAP_ALWAYS_INLINE uint64_t lanemap_sip_rotate(uint64_t x, unsigned n)
{
        return x << n | x >> (64 - n);
}

LANEMAP_ALWAYS_INLINE void lanemap_sip_round(struct lanemap_sip_state *s)
{
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = lanemap_sip_rotate(s->v1, 13) ^ s->v0;
        s->v3 = lanemap_sip_rotate(s->v3, 16) ^ s->v2;
        s->v0 = lanemap_sip_rotate(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = lanemap_sip_rotate(s->v1, 17) ^ s->v2;
        s->v3 = lanemap_sip_rotate(s->v3, 21) ^ s->v0;
        s->v2 = lanemap_sip_rotate(s->v2, 32);
}

LANEMAP_ALWAYS_INLINE void lanemap_sip_compress(struct lanemap_sip_state *s, uint64_t word)
{
        s->v3 ^= word;
        lanemap_sip_round(s);
        lanemap_sip_round(s);
        s->v0 ^= word;
}

/* The bytes after the last whole word, with the length in the top byte. Keys are short, so this is
 * much of the work: one load that ends where the key ends, where the key has a whole word. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_sip_tail(const unsigned char *p, size_t bytes)
{
        size_t left = bytes & 7;
        uint64_t tail = (uint64_t)bytes << 56;

        if (LANEMAP_LIKELY(bytes >= 8))
                /* 56 - 8 * left bits, and 8 before, since 64 at once would be too many. */
                tail |= lanemap_load_le64(p + left - 8) >> 8 >> (left * 8 ^ 56);
        else if (left >= 4)
                tail |= (uint64_t)lanemap_load_le32(p) | (uint64_t)lanemap_load_le32(p + left - 4)
                                                                 << (8 * (left - 4));
        else if (left > 0)
                tail |= (uint64_t)p[0] | (uint64_t)p[left >> 1] << (8 * (left >> 1)) |
                        (uint64_t)p[left - 1] << (8 * (left - 1));

        return tail;
}

/* variant: 0 or 0xee, of 64 or 128 bits of output */
LANEMAP_ALWAYS_INLINE struct lanemap_sip_state
lanemap_sip_absorb(const struct lanemap_hash_key *key, const void *data, size_t bytes,
                   uint64_t variant)
{
        struct lanemap_sip_state s = {key->v0, key->v1 ^ variant, key->v2, key->v3};
        const unsigned char *p = data, *end = p + (bytes & ~(size_t)7);

        for (; p != end; p += 8)
                lanemap_sip_compress(&s, lanemap_load_le64(p));
        lanemap_sip_compress(&s, lanemap_sip_tail(p, bytes));
        return s;
}

LANEMAP_ALWAYS_INLINE uint64_t lanemap_sip_squeeze(struct lanemap_sip_state *s)
{
        lanemap_sip_round(s);
        lanemap_sip_round(s);
        lanemap_sip_round(s);
        lanemap_sip_round(s);
        return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* lanemap_siphash24(). */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_sip_hash(const struct lanemap_hash_key *key,
                                                const void *data, size_t bytes)
{
        struct lanemap_sip_state s = lanemap_sip_absorb(key, data, bytes, 0);

        s.v2 ^= 0xff;
        return lanemap_sip_squeeze(&s);
}

#endif
