/* One lane of several levels, and who looks up in it. */
#ifndef LANEMAP_PERF_SERVING_LEVELS_PRIVATE_H
#define LANEMAP_PERF_SERVING_LEVELS_PRIVATE_H

#include "lane/read.h"

struct serving_lane {
        struct lanemap_lane_source source; /* the view is at its beginning */
        uint64_t zero;                     /* which the compiler does not know */
};

/* Return: the sum of the ids. n: a multiple of 32. */
uint64_t serving_levels_on(const struct serving_lane *lane, const uint64_t *hashes, size_t n,
                           bool batch);
uint64_t serving_levels_off(const struct serving_lane *lane, const uint64_t *hashes, size_t n,
                            bool batch);

#endif
