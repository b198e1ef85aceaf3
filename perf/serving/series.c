/* See private.h: the quantiles of a kind of window, round by round. */
#include <stdio.h>

#include "serving/private.h"
#include "support/windows.h"

void serving_series_add(struct serving_series *series, const struct lanemap_histogram *histogram)
{
        static double tick_ns;
        static uint64_t overhead;
        const double quantiles[] = {0.5, 0.99, 0.999, 1};
        double *to[] = {series->p50, series->p99, series->p999, series->max};

        if (tick_ns == 0) {
                tick_ns = perf_tick_ns();
                overhead = perf_timer_overhead();
        }
        for (size_t i = 0; i < 4; i++) {
                uint64_t ticks = lanemap_histogram_quantile(histogram, quantiles[i]);

                to[i][series->n] = (double)(ticks > overhead ? ticks - overhead : 0) * tick_ns;
        }
        series->n++;
}

void serving_series_report(struct serving_series *series, const char *prefix,
                           struct perf_table *table)
{
        const char *names[] = {"p50", "p99", "p999"};
        double *from[] = {series->p50, series->p99, series->p999};
        char name[56];

        for (size_t i = 0; i < 3; i++) {
                snprintf(name, sizeof(name), "%s_%s", prefix, names[i]);
                perf_table_add(table, name, perf_median(from[i], series->n), "ns");
        }
        snprintf(name, sizeof(name), "%s_max", prefix);
        perf_table_add(table, name, perf_maximum(series->max, series->n) / 1000, "us");
}
