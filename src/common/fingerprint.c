/* SipHash-2-4, 64 and 128 bits of output. See fingerprint.h and siphash.h. */
#include "common/fingerprint.h"

#include "common/siphash.h"

void lanemap_hash_key_init(struct lanemap_hash_key *hash_key, const unsigned char *bytes,
                           uint32_t fingerprint_bits)
{
        uint64_t k0 = lanemap_load_le64(bytes), k1 = lanemap_load_le64(bytes + 8);

        hash_key->v0 = k0 ^ UINT64_C(0x736f6d6570736575);
        hash_key->v1 = k1 ^ UINT64_C(0x646f72616e646f6d);
        hash_key->v2 = k0 ^ UINT64_C(0x6c7967656e657261);
        hash_key->v3 = k1 ^ UINT64_C(0x7465646279746573);
        hash_key->fingerprint_bits = fingerprint_bits;
        hash_key->vectors = 0;
}

uint64_t lanemap_siphash24(const struct lanemap_hash_key *key, const void *data, size_t bytes)
{
        return lanemap_sip_hash(key, data, bytes);
}

void lanemap_siphash24_128(const struct lanemap_hash_key *key, const void *data, size_t bytes,
                           uint64_t *ret_first, uint64_t *ret_second)
{
        struct lanemap_sip_state s = lanemap_sip_absorb(key, data, bytes, 0xee);

        s.v2 ^= 0xee;
        *ret_first = lanemap_sip_squeeze(&s);
        s.v1 ^= 0xdd;
        *ret_second = lanemap_sip_squeeze(&s);
}

struct lanemap_fingerprint lanemap_fingerprint_of(const struct lanemap_hash_key *key,
                                                  const void *data, size_t bytes)
{
        struct lanemap_fingerprint fp = {0};
        uint64_t second;

        if (LANEMAP_LIKELY(key->fingerprint_bits == 64)) {
                fp.hash = lanemap_sip_hash(key, data, bytes);
                return fp;
        }

        lanemap_siphash24_128(key, data, bytes, &fp.hash, &second);
        fp.ext = (uint32_t)(second & ((UINT64_C(1) << (key->fingerprint_bits - 64)) - 1));
        return fp;
}
