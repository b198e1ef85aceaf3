/* Random numbers that a seed brings back: xorshift64*, Marsaglia 2003 and Vigna 2016. Not for
 * cryptography. */
#ifndef LANEMAP_TESTS_RNG_H
#define LANEMAP_TESTS_RNG_H

#include "common/base.h"

struct rng {
        uint64_t state;
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t n); /* 0 .. n-1; n > 0 */
bool rng_chance(struct rng *rng, uint32_t percent);

/* The environment's LANEMAP_TEST_SEED, or fallback. */
uint64_t rng_test_seed(uint64_t fallback);
/* The environment's LANEMAP_TEST_STEPS, or fallback. */
uint64_t rng_test_steps(uint64_t fallback);

#endif
