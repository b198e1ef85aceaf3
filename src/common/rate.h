/*
 * A token bucket: so many units a second on average, and at most one second's worth at once after a
 * pause. A pure function of the clock's numbers; who waits, and how, is the caller's business.
 *
 * A caller may take more than the bucket holds: it is lent, and the next caller waits for it.
 */
#ifndef LANEMAP_COMMON_RATE_H
#define LANEMAP_COMMON_RATE_H

#include "common/base.h"

struct lanemap_rate {
        uint64_t per_second; /* 0: no limit */
        uint64_t full_ns;    /* when the bucket will be full again */
};

/* Return: the wait, from now on, before more may be taken. */
static inline uint64_t lanemap_rate_wait_ns(const struct lanemap_rate *rate, uint64_t now_ns)
{
        uint64_t empty_ns = now_ns + UINT64_C(1000000000);

        return rate->per_second && rate->full_ns > empty_ns ? rate->full_ns - empty_ns : 0;
}

static inline void lanemap_rate_take(struct lanemap_rate *rate, uint64_t now_ns, uint64_t n)
{
        if (rate->per_second)
                rate->full_ns = LANEMAP_MAX(rate->full_ns, now_ns) +
                                (uint64_t)((double)n * 1e9 / (double)rate->per_second);
}

#endif
