/* The token bucket, by table and against an independent account of what was taken when. */
#include <criterion/criterion.h>

#include "common/rate.h"
#include "support/rng.h"

TestSuite(rate, .timeout = 20);

#define SECOND UINT64_C(1000000000)

Test(rate, none_is_no_limit)
{
        struct lanemap_rate rate = {0};

        lanemap_rate_take(&rate, 5, UINT64_MAX);
        cr_expect_eq(lanemap_rate_wait_ns(&rate, 5), 0);
}

Test(rate, a_second_at_once_then_as_much_as_comes_in)
{
        struct lanemap_rate rate = {.per_second = 1000};
        uint64_t now = 77 * SECOND;

        lanemap_rate_take(&rate, now, 1000);
        cr_expect_eq(lanemap_rate_wait_ns(&rate, now), 0, "exactly the bucket");
        lanemap_rate_take(&rate, now, 500);
        cr_expect_eq(lanemap_rate_wait_ns(&rate, now), SECOND / 2, "lent");
        cr_expect_eq(lanemap_rate_wait_ns(&rate, now + SECOND / 4), SECOND / 4);
        cr_expect_eq(lanemap_rate_wait_ns(&rate, now + SECOND / 2), 0);

        /* A long pause fills it once, not more. */
        now += 100 * SECOND;
        lanemap_rate_take(&rate, now, 3000);
        cr_expect_eq(lanemap_rate_wait_ns(&rate, now), 2 * SECOND);
}

/* Whoever waits as told has, at any moment, taken no more than the rate allows, but for one
 * second's worth and the last piece; and no less than that when there is always more to take. */
Test(rate, over_any_time)
{
        const uint64_t per_second = 8 << 20;
        struct lanemap_rate rate = {.per_second = per_second};
        uint64_t start = 3 * SECOND, now = start, taken = 0, largest = 256 << 10;
        struct rng rng;

        rng_init(&rng, 31);
        for (int i = 0; i < 20000; i++) {
                uint64_t n = 1 + rng_below(&rng, largest), allowed;

                now += lanemap_rate_wait_ns(&rate, now);
                lanemap_rate_take(&rate, now, n);
                taken += n;
                allowed = (uint64_t)((double)(now - start) / 1e9 * (double)per_second);
                /* A take rounds less than a nanosecond away, which is less than a unit here. */
                cr_assert_leq(taken, allowed + per_second + largest + (uint64_t)i + 1);
                cr_assert_geq(taken + largest, allowed);
        }
        cr_expect_gt(now, start + SECOND);
}
