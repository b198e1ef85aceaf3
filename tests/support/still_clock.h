/* A clock that a test moves. Thread: any. */
#ifndef LANEMAP_TESTS_SUPPORT_STILL_CLOCK_H
#define LANEMAP_TESTS_SUPPORT_STILL_CLOCK_H

#include "common/clock.h"
#include "common/order.h"

struct still_clock {
        struct lanemap_clock clock;
        uint64_t now_ns; /* atomic */
};

static inline uint64_t still_clock_now_ns(const struct lanemap_clock *clock)
{
        return lanemap_load_relaxed(&((const struct still_clock *)clock)->now_ns);
}

static inline void still_clock_init(struct still_clock *still, uint64_t now_ns)
{
        *still = (struct still_clock){{still_clock_now_ns}, now_ns};
}

static inline void still_clock_advance(struct still_clock *still, uint64_t ns)
{
        lanemap_store_relaxed(&still->now_ns, lanemap_load_relaxed(&still->now_ns) + ns);
}

#endif
