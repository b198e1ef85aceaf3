/*
 * See siphash_many.h. SipHash-2-4 of four keys at once, in the vectors of AVX2 or AVX-512
 * (256 bits of it: wider ones can slow down the processor that somebody else's program runs on).
 * The same function is compiled for each; without them keys are hashed one after the other. All
 * forms agree bit for bit.
 *
 * Keys of one group may have different lengths: a key that has no more words keeps its state.
 */
#include "common/siphash_many.h"

#include "common/siphash.h"

#if defined(__x86_64__)
#define SIP_GROUP_KEYS 4

typedef uint64_t vector __attribute__((vector_size(32)));
typedef uint32_t vector32 __attribute__((vector_size(32)));
typedef uint16_t vector16 __attribute__((vector_size(32)));

struct sip_vectors {
        vector v0, v1, v2, v3;
};

#define VECTOR_ROTATE(x, n) ((x) << (n) | (x) >> (64 - (n)))

/* Without an instruction that rotates: words and halves of words are moved. */
#define VECTOR_ROTATE_32(x) \
        ((vector)__builtin_shufflevector((vector32)(x), (vector32)(x), 1, 0, 3, 2, 5, 4, 7, 6))
#define VECTOR_ROTATE_16(x)                                                                        \
        ((vector)__builtin_shufflevector((vector16)(x), (vector16)(x), 3, 0, 1, 2, 7, 4, 5, 6, 11, \
                                         8, 9, 10, 15, 12, 13, 14))

LANEMAP_ALWAYS_INLINE void vectors_round(struct sip_vectors *s, bool rotates)
{
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = VECTOR_ROTATE(s->v1, 13) ^ s->v0;
        s->v3 = (rotates ? VECTOR_ROTATE(s->v3, 16) : VECTOR_ROTATE_16(s->v3)) ^ s->v2;
        s->v0 = rotates ? VECTOR_ROTATE(s->v0, 32) : VECTOR_ROTATE_32(s->v0);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = VECTOR_ROTATE(s->v1, 17) ^ s->v2;
        s->v3 = VECTOR_ROTATE(s->v3, 21) ^ s->v0;
        s->v2 = rotates ? VECTOR_ROTATE(s->v2, 32) : VECTOR_ROTATE_32(s->v2);
}

LANEMAP_ALWAYS_INLINE void vectors_compress(struct sip_vectors *s, const vector *words,
                                            bool rotates)
{
        s->v3 ^= *words;
        vectors_round(s, rotates);
        vectors_round(s, rotates);
        s->v0 ^= *words;
}

LANEMAP_ALWAYS_INLINE void vectors_keep(struct sip_vectors *s, const struct sip_vectors *before,
                                        const vector *changes)
{
        s->v0 = before->v0 ^ ((s->v0 ^ before->v0) & *changes);
        s->v1 = before->v1 ^ ((s->v1 ^ before->v1) & *changes);
        s->v2 = before->v2 ^ ((s->v2 ^ before->v2) & *changes);
        s->v3 = before->v3 ^ ((s->v3 ^ before->v3) & *changes);
}

LANEMAP_ALWAYS_INLINE void vectors_squeeze(struct sip_vectors *s, bool rotates,
                                           struct lanemap_fingerprint *ret_fps)
{
        s->v2 ^= (vector){0xff, 0xff, 0xff, 0xff};
        for (int i = 0; i < 4; i++)
                vectors_round(s, rotates);
        s->v0 ^= s->v1 ^ s->v2 ^ s->v3;
        for (int i = 0; i < SIP_GROUP_KEYS; i++)
                ret_fps[i] = (struct lanemap_fingerprint){.hash = s->v0[i]};
}

LANEMAP_ALWAYS_INLINE uint64_t word_at(const struct lanemap_key *key, size_t w)
{
        return lanemap_load_le64((const unsigned char *)key->data + 8 * w);
}

/* Word w of a key, or its last, incomplete one. Without a branch, since none is foreseen. */
LANEMAP_ALWAYS_INLINE uint64_t word_or_tail(const struct lanemap_key *key, size_t n_words,
                                            const uint64_t *tail, size_t w)
{
        uintptr_t word = (uintptr_t)key->data + 8 * w, is_past = -(uintptr_t)(w >= n_words);

        return lanemap_load_le64((const void *)(word + (((uintptr_t)tail - word) & is_past)));
}

LANEMAP_ALWAYS_INLINE void group_hash(const struct lanemap_hash_key *key,
                                      const struct lanemap_key *keys, bool rotates,
                                      struct lanemap_fingerprint *ret_fps)
{
        struct sip_vectors s = {
                {key->v0, key->v0, key->v0, key->v0},
                {key->v1, key->v1, key->v1, key->v1},
                {key->v2, key->v2, key->v2, key->v2},
                {key->v3, key->v3, key->v3, key->v3},
        };
        size_t n[SIP_GROUP_KEYS], n_min = SIZE_MAX, n_max = 0;
        uint64_t tails[SIP_GROUP_KEYS];

#pragma GCC unroll 4
        for (int i = 0; i < SIP_GROUP_KEYS; i++) {
                const unsigned char *data = keys[i].data;

                n[i] = keys[i].bytes / 8;
                tails[i] = lanemap_sip_tail(data + 8 * n[i], keys[i].bytes);
                n_min = LANEMAP_MIN(n_min, n[i]);
                n_max = LANEMAP_MAX(n_max, n[i]);
        }
        for (size_t w = 0; w < n_min; w++) {
                vector words = {word_at(&keys[0], w), word_at(&keys[1], w), word_at(&keys[2], w),
                                word_at(&keys[3], w)};

                vectors_compress(&s, &words, rotates);
        }
        for (size_t w = n_min; w <= n_max; w++) {
                vector words = {
                        word_or_tail(&keys[0], n[0], &tails[0], w),
                        word_or_tail(&keys[1], n[1], &tails[1], w),
                        word_or_tail(&keys[2], n[2], &tails[2], w),
                        word_or_tail(&keys[3], n[3], &tails[3], w),
                };
                struct sip_vectors before = s;

                vectors_compress(&s, &words, rotates);
                if (w > n_min) {
                        vector changes = {n[0] >= w, n[1] >= w, n[2] >= w, n[3] >= w};

                        changes = -changes;
                        vectors_keep(&s, &before, &changes);
                }
        }
        vectors_squeeze(&s, rotates, ret_fps);
}

__attribute__((target("avx2"))) static void group_hash_avx2(const struct lanemap_hash_key *key,
                                                            const struct lanemap_key *keys,
                                                            struct lanemap_fingerprint *ret_fps)
{
        group_hash(key, keys, false, ret_fps);
}

__attribute__((target("avx2,avx512f,avx512vl"))) static void
group_hash_avx512(const struct lanemap_hash_key *key, const struct lanemap_key *keys,
                  struct lanemap_fingerprint *ret_fps)
{
        group_hash(key, keys, true, ret_fps);
}

enum lanemap_sip_vectors lanemap_sip_vectors_best(void)
{
        __builtin_cpu_init();
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl"))
                return LANEMAP_SIP_AVX512;

        return __builtin_cpu_supports("avx2") ? LANEMAP_SIP_AVX2 : LANEMAP_SIP_PLAIN;
}

/* Return: how many of the keys were hashed, in whole groups. */
static size_t groups_hash(const struct lanemap_hash_key *key, const struct lanemap_key *keys,
                          size_t n_keys, struct lanemap_fingerprint *ret_fps)
{
        size_t at = 0;

        if (key->vectors == LANEMAP_SIP_AVX512)
                for (; at + SIP_GROUP_KEYS <= n_keys; at += SIP_GROUP_KEYS)
                        group_hash_avx512(key, keys + at, ret_fps + at);
        else if (key->vectors == LANEMAP_SIP_AVX2)
                for (; at + SIP_GROUP_KEYS <= n_keys; at += SIP_GROUP_KEYS)
                        group_hash_avx2(key, keys + at, ret_fps + at);
        return at;
}
#else
enum lanemap_sip_vectors lanemap_sip_vectors_best(void)
{
        return LANEMAP_SIP_PLAIN;
}

static size_t groups_hash(const struct lanemap_hash_key *key, const struct lanemap_key *keys,
                          size_t n_keys, struct lanemap_fingerprint *ret_fps)
{
        return 0;
}
#endif

void lanemap_fingerprints_of(const struct lanemap_hash_key *key, const struct lanemap_key *keys,
                             size_t n_keys, struct lanemap_fingerprint *ret_fps)
{
        size_t at = 0;

        if (key->fingerprint_bits == 64)
                at = groups_hash(key, keys, n_keys, ret_fps);
        for (; at < n_keys; at++)
                ret_fps[at] = lanemap_fingerprint_of(key, keys[at].data, keys[at].bytes);
}
