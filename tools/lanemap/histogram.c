/* See histogram.h. */
#include "histogram.h"

#include <math.h>

#define STEP_BITS LANEMAP_TOOL_HISTOGRAM_STEP_BITS
#define STEPS     (UINT64_C(1) << STEP_BITS)

/* Row 0 holds 0 .. STEPS-1; row r holds STEPS << (r - 1) .. (STEPS << r) - 1 in STEPS steps. */
static size_t bucket_of(uint64_t ns)
{
        unsigned row;

        if (ns < STEPS)
                return (size_t)ns;
        row = 64 - (unsigned)__builtin_clzll(ns) - STEP_BITS;
        return (size_t)row * STEPS + (size_t)((ns >> (row - 1)) - STEPS);
}

/* The largest duration that falls into the bucket. */
static uint64_t bucket_top(size_t bucket)
{
        uint64_t row = bucket / STEPS, step = bucket % STEPS;

        if (row == 0)
                return step;
        return ((STEPS + step + 1) << (row - 1)) - 1;
}

void lanemap_tool_histogram_record(struct lanemap_tool_histogram *histogram, uint64_t ns,
                                   uint64_t times)
{
        histogram->counts[bucket_of(ns)] += times;
        histogram->n += times;
        histogram->sum_ns += ns * times;
        histogram->max_ns = LANEMAP_MAX(histogram->max_ns, ns);
}

uint64_t lanemap_tool_histogram_quantile(const struct lanemap_tool_histogram *histogram,
                                         double quantile)
{
        uint64_t rank = (uint64_t)ceil(quantile * (double)histogram->n);
        uint64_t seen = 0;

        if (histogram->n == 0)
                return 0;
        rank = LANEMAP_MIN(LANEMAP_MAX(rank, 1), histogram->n);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(histogram->counts); i++) {
                seen += histogram->counts[i];
                if (seen >= rank)
                        return LANEMAP_MIN(bucket_top(i), histogram->max_ns);
        }
        return histogram->max_ns;
}
