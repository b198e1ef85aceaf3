/* SipHash-2-4, 64 and 128 bits of output. See fingerprint.h. */
#include "common/fingerprint.h"

#include <endian.h>
#include <string.h>

#define SIP_ROUND(v0, v1, v2, v3)              \
        do {                                   \
                v0 += v1;                      \
                v2 += v3;                      \
                v1 = rotate_left(v1, 13) ^ v0; \
                v3 = rotate_left(v3, 16) ^ v2; \
                v0 = rotate_left(v0, 32);      \
                v2 += v1;                      \
                v0 += v3;                      \
                v1 = rotate_left(v1, 17) ^ v2; \
                v3 = rotate_left(v3, 21) ^ v0; \
                v2 = rotate_left(v2, 32);      \
        } while (0)

struct sip_state {
        uint64_t v0, v1, v2, v3;
};

LANEMAP_ALWAYS_INLINE uint64_t rotate_left(uint64_t x, unsigned n)
{
        return x << n | x >> (64 - n);
}

LANEMAP_ALWAYS_INLINE uint64_t load_le64(const unsigned char *p)
{
        uint64_t x;

        memcpy(&x, p, sizeof(x));
        return le64toh(x);
}

/* The bytes after the last whole word, with the length in the top byte. A short switch of
 * overlapping loads instead of a byte loop: keys are short, so the tail is most of the work. */
LANEMAP_ALWAYS_INLINE uint64_t sip_tail(const unsigned char *p, size_t bytes)
{
        size_t left = bytes & 7;
        uint64_t tail = (uint64_t)bytes << 56;

        if (left >= 4) {
                uint32_t low, high;

                memcpy(&low, p, 4);
                memcpy(&high, p + left - 4, 4);
                tail |= (uint64_t)le32toh(low) | (uint64_t)le32toh(high) << (8 * (left - 4));
        } else if (left > 0) {
                tail |= (uint64_t)p[0] | (uint64_t)p[left >> 1] << (8 * (left >> 1)) |
                        (uint64_t)p[left - 1] << (8 * (left - 1));
        }

        return tail;
}

LANEMAP_ALWAYS_INLINE struct sip_state sip_absorb(const struct lanemap_hash_key *key,
                                                  const void *data, size_t bytes, uint64_t variant)
{
        const unsigned char *p = data, *end = p + (bytes & ~(size_t)7);
        uint64_t v0 = key->k0 ^ UINT64_C(0x736f6d6570736575);
        uint64_t v1 = key->k1 ^ UINT64_C(0x646f72616e646f6d) ^ variant;
        uint64_t v2 = key->k0 ^ UINT64_C(0x6c7967656e657261);
        uint64_t v3 = key->k1 ^ UINT64_C(0x7465646279746573);
        uint64_t m;

        for (; p < end; p += 8) {
                m = load_le64(p);
                v3 ^= m;
                SIP_ROUND(v0, v1, v2, v3);
                SIP_ROUND(v0, v1, v2, v3);
                v0 ^= m;
        }

        m = sip_tail(p, bytes);
        v3 ^= m;
        SIP_ROUND(v0, v1, v2, v3);
        SIP_ROUND(v0, v1, v2, v3);
        v0 ^= m;

        return (struct sip_state){v0, v1, v2, v3};
}

LANEMAP_ALWAYS_INLINE uint64_t sip_squeeze(struct sip_state *s)
{
        uint64_t v0 = s->v0, v1 = s->v1, v2 = s->v2, v3 = s->v3;

        for (int i = 0; i < 4; i++)
                SIP_ROUND(v0, v1, v2, v3);

        *s = (struct sip_state){v0, v1, v2, v3};
        return v0 ^ v1 ^ v2 ^ v3;
}

void lanemap_hash_key_init(struct lanemap_hash_key *hash_key, const unsigned char *bytes,
                           uint32_t fingerprint_bits)
{
        hash_key->k0 = load_le64(bytes);
        hash_key->k1 = load_le64(bytes + 8);
        hash_key->fingerprint_bits = fingerprint_bits;
}

uint64_t lanemap_siphash24(const struct lanemap_hash_key *key, const void *data, size_t bytes)
{
        struct sip_state s = sip_absorb(key, data, bytes, 0);

        s.v2 ^= 0xff;
        return sip_squeeze(&s);
}

void lanemap_siphash24_128(const struct lanemap_hash_key *key, const void *data, size_t bytes,
                           uint64_t *ret_first, uint64_t *ret_second)
{
        struct sip_state s = sip_absorb(key, data, bytes, 0xee);

        s.v2 ^= 0xee;
        *ret_first = sip_squeeze(&s);
        s.v1 ^= 0xdd;
        *ret_second = sip_squeeze(&s);
}

struct lanemap_fingerprint lanemap_fingerprint_of(const struct lanemap_hash_key *key,
                                                  const void *data, size_t bytes)
{
        struct lanemap_fingerprint fp = {0};
        uint64_t second;

        if (key->fingerprint_bits == 64) {
                fp.hash = lanemap_siphash24(key, data, bytes);
                return fp;
        }

        lanemap_siphash24_128(key, data, bytes, &fp.hash, &second);
        fp.ext = (uint32_t)(second & ((UINT64_C(1) << (key->fingerprint_bits - 64)) - 1));
        return fp;
}
