/* See recorder.h. */
#include "recorder.h"

#include <stdlib.h>

static int sample_order(const void *a, const void *b)
{
        uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

        return (left > right) - (left < right);
}

static int value_order(const void *a, const void *b)
{
        double left = *(const double *)a, right = *(const double *)b;

        return (left > right) - (left < right);
}

void perf_recorder_sort(struct perf_recorder *recorder)
{
        qsort(recorder->samples, recorder->n, sizeof(recorder->samples[0]), sample_order);
}

uint32_t perf_recorder_quantile(const struct perf_recorder *recorder, double quantile)
{
        size_t at = (size_t)((double)recorder->n * quantile);

        if (recorder->n == 0)
                return 0;

        return recorder->samples[at < recorder->n ? at : recorder->n - 1];
}

double perf_median(double *values, size_t n)
{
        if (n == 0)
                return 0;

        qsort(values, n, sizeof(values[0]), value_order);
        return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

double perf_minimum(const double *values, size_t n)
{
        double minimum = n ? values[0] : 0;

        for (size_t i = 1; i < n; i++)
                minimum = values[i] < minimum ? values[i] : minimum;

        return minimum;
}

double perf_maximum(const double *values, size_t n)
{
        double maximum = n ? values[0] : 0;

        for (size_t i = 1; i < n; i++)
                maximum = values[i] > maximum ? values[i] : maximum;

        return maximum;
}
