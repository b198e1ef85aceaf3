/* Of one number per window. */
#ifndef LANEMAP_PERF_WINDOWS_H
#define LANEMAP_PERF_WINDOWS_H

#include <stddef.h>

/* values is sorted on the way; 0 of none. */
double perf_median(double *values, size_t n);
double perf_minimum(const double *values, size_t n);
double perf_maximum(const double *values, size_t n);

#endif
