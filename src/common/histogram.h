/*
 * A log-linear histogram: values below 128 have a counter each, then every power of two has 128
 * equal steps. So a quantile is at most 0.8 % above the truth, at any scale, in 58 KiB and without
 * allocation. Recording is a store to one of the few lines that the values at hand share.
 *
 * Values are what the caller counts: nanoseconds, ticks. Thread: one. All zero is an empty one.
 */
#ifndef LANEMAP_COMMON_HISTOGRAM_H
#define LANEMAP_COMMON_HISTOGRAM_H

#include "common/base.h"

#define LANEMAP_HISTOGRAM_STEP_BITS 7
#define LANEMAP_HISTOGRAM_STEPS     (1u << LANEMAP_HISTOGRAM_STEP_BITS)
#define LANEMAP_HISTOGRAM_BUCKETS   ((64 - LANEMAP_HISTOGRAM_STEP_BITS + 1) * LANEMAP_HISTOGRAM_STEPS)

struct lanemap_histogram {
        uint64_t counts[LANEMAP_HISTOGRAM_BUCKETS];
        uint64_t n;
        uint64_t sum;
        uint64_t max;
};

/* Row 0 holds 0 .. STEPS - 1; row r holds STEPS << (r - 1) .. (STEPS << r) - 1 in STEPS steps. */
static inline size_t lanemap_histogram_bucket(uint64_t value)
{
        unsigned row;

        if (value < LANEMAP_HISTOGRAM_STEPS)
                return (size_t)value;

        row = 64 - (unsigned)__builtin_clzll(value) - LANEMAP_HISTOGRAM_STEP_BITS;
        return (size_t)row * LANEMAP_HISTOGRAM_STEPS +
               (size_t)((value >> (row - 1)) - LANEMAP_HISTOGRAM_STEPS);
}

/* The largest value of a bucket. */
static inline uint64_t lanemap_histogram_top(size_t bucket)
{
        uint64_t row = bucket / LANEMAP_HISTOGRAM_STEPS, step = bucket % LANEMAP_HISTOGRAM_STEPS;

        return row == 0 ? step : ((LANEMAP_HISTOGRAM_STEPS + step + 1) << (row - 1)) - 1;
}

/* `times` observations of a value. */
static inline void lanemap_histogram_record(struct lanemap_histogram *histogram, uint64_t value,
                                            uint64_t times)
{
        histogram->counts[lanemap_histogram_bucket(value)] += times;
        histogram->n += times;
        histogram->sum += value * times;
        histogram->max = LANEMAP_MAX(histogram->max, value);
}

static inline void lanemap_histogram_merge(struct lanemap_histogram *to,
                                           const struct lanemap_histogram *from)
{
        for (size_t i = 0; i < LANEMAP_HISTOGRAM_BUCKETS; i++)
                to->counts[i] += from->counts[i];
        to->n += from->n;
        to->sum += from->sum;
        to->max = LANEMAP_MAX(to->max, from->max);
}

/*
 * The smallest value that at least `quantile` (0 .. 1) of the observations do not exceed, to the
 * upper end of its step; 0 without observations.
 */
static inline uint64_t lanemap_histogram_quantile(const struct lanemap_histogram *histogram,
                                                  double quantile)
{
        double wanted = quantile * (double)histogram->n;
        uint64_t rank = (uint64_t)wanted, seen = 0;

        rank += (double)rank < wanted;
        rank = LANEMAP_MIN(LANEMAP_MAX(rank, 1), histogram->n);
        for (size_t i = 0; i < LANEMAP_HISTOGRAM_BUCKETS && rank > 0; i++) {
                seen += histogram->counts[i];
                if (seen >= rank)
                        return LANEMAP_MIN(lanemap_histogram_top(i), histogram->max);
        }

        return histogram->max;
}

#endif
