/*
 * Arms of an experiment whose samples were taken by turns, compared by a quantile.
 *
 * A round has some samples of each arm, taken within moments of one another, so that what disturbs
 * the machine disturbs them all. A ratio is that of the quantiles of all samples; its interval says
 * what the same experiment might as well have said (a bootstrap): rounds are drawn with
 * replacement, again and again; the same ones for both arms, since their noise is common, and whole
 * ones, since samples of a round are not independent. An arm that differs from another in nothing
 * (A/A) shows what the method can't tell from noise.
 */
#ifndef LANEMAP_PERF_ARMS_H
#define LANEMAP_PERF_ARMS_H

#include <stddef.h>
#include <stdint.h>

#define PERF_ARMS_MAX 4

struct perf_arm_sample {
        uint32_t ticks;
        uint32_t round;
};

struct perf_arms {
        uint32_t n_arms;
        struct {
                struct perf_arm_sample *samples;
                size_t n, capacity;
        } arms[PERF_ARMS_MAX];
        uint32_t n_rounds;
};

struct perf_ratio {
        double value;
        double low, high; /* 95 % of what was drawn is between them */
};

void perf_arms_init(struct perf_arms *arms, uint32_t n_arms);
void perf_arms_deinit(struct perf_arms *arms);

/* A new round, with room for n_samples of each arm: adding one allocates nothing. */
void perf_arms_round(struct perf_arms *arms, size_t n_samples);

static inline void perf_arms_add(struct perf_arms *arms, uint32_t arm, uint64_t ticks)
{
        arms->arms[arm].samples[arms->arms[arm].n++] = (struct perf_arm_sample){
                .ticks = ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks,
                .round = arms->n_rounds - 1,
        };
}

/* When the last sample is there: sorts. */
void perf_arms_end(struct perf_arms *arms);

/* After the end, of all samples of an arm; 0 where there are none. In ticks. */
double perf_arms_quantile(const struct perf_arms *arms, uint32_t arm, double quantile);

/* After the end. Every round has equally many samples of both arms. */
struct perf_ratio perf_arms_ratio(const struct perf_arms *arms, uint32_t arm, uint32_t base,
                                  double quantile);

#endif
