/* Quantiles of the log-linear histogram, at every scale and at both ends. */
#include "common/histogram.h"

#include <criterion/criterion.h>

TestSuite(histogram, .timeout = 60);

Test(histogram, quantiles_are_close_at_every_scale)
{
        for (uint64_t scale = 1; scale < UINT64_C(1) << 50; scale *= 7) {
                static struct lanemap_histogram histogram;
                double p50, p99;

                histogram = (struct lanemap_histogram){0};
                for (uint64_t i = 1; i <= 1000; i++)
                        lanemap_histogram_record(&histogram, i * scale, 1);
                p50 = (double)lanemap_histogram_quantile(&histogram, 0.5);
                p99 = (double)lanemap_histogram_quantile(&histogram, 0.99);
                cr_expect(p50 >= 500.0 * (double)scale && p50 <= 500.0 * 1.008 * (double)scale);
                cr_expect(p99 >= 990.0 * (double)scale && p99 <= 990.0 * 1.008 * (double)scale);
                cr_expect_eq(lanemap_histogram_quantile(&histogram, 1), 1000 * scale);
        }
}

Test(histogram, quantiles_at_the_edges)
{
        static struct lanemap_histogram histogram;

        cr_expect_eq(lanemap_histogram_quantile(&histogram, 0.5), 0);
        lanemap_histogram_record(&histogram, UINT64_MAX, 1);
        cr_expect_eq(lanemap_histogram_quantile(&histogram, 0), UINT64_MAX);
        lanemap_histogram_record(&histogram, 0, 9);
        cr_expect_eq(lanemap_histogram_quantile(&histogram, 0.9), 0);
        cr_expect_eq(lanemap_histogram_quantile(&histogram, 0.91), UINT64_MAX);
}

/* A value is in the bucket whose top is the next one at or above it, and steps leave no gap. */
Test(histogram, buckets_follow_one_another)
{
        for (size_t i = 0; i < LANEMAP_HISTOGRAM_BUCKETS; i++) {
                uint64_t top = lanemap_histogram_top(i);

                cr_assert_eq(lanemap_histogram_bucket(top), i);
                if (i + 1 < LANEMAP_HISTOGRAM_BUCKETS)
                        cr_assert_eq(lanemap_histogram_bucket(top + 1), i + 1);
        }
        cr_expect_eq(lanemap_histogram_top(LANEMAP_HISTOGRAM_BUCKETS - 1), UINT64_MAX);
}

Test(histogram, merged_is_as_if_recorded_in_one)
{
        static struct lanemap_histogram parts[2], whole;

        for (uint64_t i = 0; i < 3000; i++) {
                lanemap_histogram_record(&parts[i % 2], i * i, 1 + i % 3);
                lanemap_histogram_record(&whole, i * i, 1 + i % 3);
        }
        lanemap_histogram_merge(&parts[0], &parts[1]);
        cr_expect_arr_eq(&parts[0], &whole, sizeof(whole));
}
