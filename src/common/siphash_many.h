/*
 * Fingerprints of many keys at once, by the vectors that the processor has.
 */
#ifndef LANEMAP_COMMON_SIPHASH_MANY_H
#define LANEMAP_COMMON_SIPHASH_MANY_H

#include <lanemap/lanemap.h>

#include "common/fingerprint.h"

/* The instructions that hash many keys at once. */
enum lanemap_sip_vectors {
        LANEMAP_SIP_PLAIN,  /* none: one key after the other */
        LANEMAP_SIP_AVX2,   /* four keys */
        LANEMAP_SIP_AVX512, /* four keys, with an instruction that rotates */
};

/* Return: the best that this processor has; for the hash key's `vectors`. */
enum lanemap_sip_vectors lanemap_sip_vectors_best(void);

/* lanemap_fingerprint_of() of n keys. Cost: half of its instructions for each, where there are
 * vectors. */
void lanemap_fingerprints_of(const struct lanemap_hash_key *key, const struct lanemap_key *keys,
                             size_t n_keys, struct lanemap_fingerprint *ret_fps);

#endif
