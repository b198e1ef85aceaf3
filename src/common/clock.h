/* Time as a hook. Nanoseconds of CLOCK_MONOTONIC in the real world. */
#ifndef LANEMAP_COMMON_CLOCK_H
#define LANEMAP_COMMON_CLOCK_H

#include "common/base.h"

struct lanemap_clock {
        uint64_t (*now_ns)(const struct lanemap_clock *clock);
};

extern const struct lanemap_clock lanemap_clock_monotonic;

LANEMAP_ALWAYS_INLINE uint64_t lanemap_now_ns(const struct lanemap_clock *clock)
{
        return clock->now_ns(clock);
}

#endif
