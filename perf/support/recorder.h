/*
 * Latencies of one window, kept whole.
 *
 * Samples are stored one after another and sorted when the window is over: while measuring, a
 * sample costs one sequential store, which takes less of the cache from what is measured than the
 * scattered counters of a histogram do. Quantiles are exact.
 */
#ifndef LANEMAP_PERF_RECORDER_H
#define LANEMAP_PERF_RECORDER_H

#include <stddef.h>
#include <stdint.h>

struct perf_recorder {
        uint32_t *samples;
        size_t capacity;
        size_t n;
};

static inline void perf_recorder_add(struct perf_recorder *recorder, uint64_t ticks)
{
        if (recorder->n < recorder->capacity)
                recorder->samples[recorder->n++] =
                        ticks > UINT32_MAX ? UINT32_MAX : (uint32_t)ticks;
}

void perf_recorder_sort(struct perf_recorder *recorder);

/* After the sort; 0 without samples. quantile: 0 .. 1. */
uint32_t perf_recorder_quantile(const struct perf_recorder *recorder, double quantile);

/* Of one number per window: the median (values is sorted on the way), the smallest, the largest. */
double perf_median(double *values, size_t n);
double perf_minimum(const double *values, size_t n);
double perf_maximum(const double *values, size_t n);

#endif
