/* See clock.h. */
#include "common/clock.h"

#include <time.h>

static uint64_t monotonic_now_ns(const struct lanemap_clock *clock)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

const struct lanemap_clock lanemap_clock_monotonic = {.now_ns = monotonic_now_ns};
