/* See rng.h. */
#include "rng.h"

#include <stdlib.h>

void rng_init(struct rng *rng, uint64_t seed)
{
        /* The generator never leaves 0, and small seeds would begin alike. */
        rng->state = (seed ^ UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xbf58476d1ce4e5b9);
        if (rng->state == 0)
                rng->state = 1;
        for (int i = 0; i < 8; i++)
                (void)rng_next(rng);
}

uint64_t rng_next(struct rng *rng)
{
        rng->state ^= rng->state >> 12;
        rng->state ^= rng->state << 25;
        rng->state ^= rng->state >> 27;
        return rng->state * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t rng_below(struct rng *rng, uint64_t n)
{
        return (rng_next(rng) >> 16) % n;
}

bool rng_chance(struct rng *rng, uint32_t percent)
{
        return rng_below(rng, 100) < percent;
}

static uint64_t number_of(const char *variable, uint64_t fallback)
{
        const char *text = getenv(variable);

        return text && text[0] ? strtoull(text, NULL, 0) : fallback;
}

uint64_t rng_test_seed(uint64_t fallback)
{
        return number_of("LANEMAP_TEST_SEED", fallback);
}

uint64_t rng_test_steps(uint64_t fallback)
{
        return number_of("LANEMAP_TEST_STEPS", fallback);
}
