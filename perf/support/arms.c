/* See arms.h. Samples are sorted from the largest on: a quantile near 1 is found after few. */
#include "arms.h"

#include <stdlib.h>
#include <string.h>

#include "die.h"
#include "keys.h"
#include "memory.h"
#include "windows.h"

#define DRAWS 1000

void perf_arms_init(struct perf_arms *arms, uint32_t n_arms)
{
        *arms = (struct perf_arms){.n_arms = n_arms};
}

void perf_arms_deinit(struct perf_arms *arms)
{
        for (uint32_t i = 0; i < arms->n_arms; i++)
                free(arms->arms[i].samples);
}

/* Room for one more of `bytes`, doubled when it is short. */
static void *grown(void *block, size_t n, size_t *capacity, size_t bytes)
{
        if (n <= *capacity)
                return block;

        while (*capacity < n)
                *capacity = *capacity ? 2 * *capacity : 4096;
        block = realloc(block, *capacity * bytes);
        if (!block)
                perf_die("memory", 0);
        return block;
}

void perf_arms_round(struct perf_arms *arms, size_t n_samples)
{
        for (uint32_t i = 0; i < arms->n_arms; i++)
                arms->arms[i].samples =
                        grown(arms->arms[i].samples, arms->arms[i].n + n_samples,
                              &arms->arms[i].capacity, sizeof(*arms->arms[i].samples));
        arms->n_rounds++;
}

static int largest_first(const void *a, const void *b)
{
        const struct perf_arm_sample *left = a, *right = b;

        return (left->ticks < right->ticks) - (left->ticks > right->ticks);
}

void perf_arms_end(struct perf_arms *arms)
{
        for (uint32_t i = 0; i < arms->n_arms; i++)
                if (arms->arms[i].n > 0)
                        qsort(arms->arms[i].samples, arms->arms[i].n,
                              sizeof(*arms->arms[i].samples), largest_first);
}

/* weights: how often each round was drawn; NULL: once. n: samples, so weighted. */
static double quantile_of(const struct perf_arms *arms, uint32_t arm, double quantile,
                          const uint32_t *weights, size_t n)
{
        const struct perf_arm_sample *samples = arms->arms[arm].samples;
        size_t above = n - (size_t)((double)n * quantile), seen = 0;

        for (size_t i = 0; i < arms->arms[arm].n; i++) {
                seen += weights ? weights[samples[i].round] : 1;
                if (seen >= above)
                        return samples[i].ticks;
        }

        return 0;
}

double perf_arms_quantile(const struct perf_arms *arms, uint32_t arm, double quantile)
{
        return quantile_of(arms, arm, quantile, NULL, arms->arms[arm].n);
}

static void rounds_draw(uint32_t n_rounds, uint64_t *seed, uint32_t *weights)
{
        memset(weights, 0, n_rounds * sizeof(*weights));
        for (uint32_t i = 0; i < n_rounds; i++)
                weights[perf_mix64((*seed)++) % n_rounds]++;
}

struct perf_ratio perf_arms_ratio(const struct perf_arms *arms, uint32_t arm, uint32_t base,
                                  double quantile)
{
        uint32_t *weights = perf_allocate((size_t)arms->n_rounds * sizeof(*weights));
        size_t n = arms->arms[base].n;
        double drawn[DRAWS];
        uint64_t seed = 1;
        struct perf_ratio ratio = {
                .value = perf_arms_quantile(arms, arm, quantile) /
                         perf_arms_quantile(arms, base, quantile),
        };

        for (int i = 0; i < DRAWS; i++) {
                rounds_draw(arms->n_rounds, &seed, weights);
                drawn[i] = quantile_of(arms, arm, quantile, weights, n) /
                           quantile_of(arms, base, quantile, weights, n);
        }
        free(weights);
        (void)perf_median(drawn, DRAWS); /* sorts them */
        ratio.low = drawn[DRAWS / 40];
        ratio.high = drawn[DRAWS - 1 - DRAWS / 40];
        return ratio;
}
