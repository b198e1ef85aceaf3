/* See windows.h. */
#include "windows.h"

#include <stdlib.h>

static int value_order(const void *a, const void *b)
{
        double left = *(const double *)a, right = *(const double *)b;

        return (left > right) - (left < right);
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
