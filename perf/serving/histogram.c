/* See serving_private.h. */
#include <stdio.h>

#include "serving/private.h"
#include "support/recorder.h"

void serving_histogram_merge(struct serving_histogram *to, const struct serving_histogram *from)
{
        for (size_t i = 0; i < SERVING_BUCKETS; i++)
                to->counts[i] += from->counts[i];
        to->n += from->n;
        if (from->max > to->max)
                to->max = from->max;
}

uint64_t serving_histogram_quantile(const struct serving_histogram *histogram, double quantile)
{
        uint64_t left = (uint64_t)(quantile * (double)histogram->n);

        for (size_t i = 0; i < SERVING_BUCKETS; i++) {
                unsigned shift = i < 64 ? 0 : (unsigned)(i / 32 - 1);
                uint64_t top = ((i - (uint64_t)shift * 32) + 1) << shift;

                if (histogram->counts[i] > left)
                        return top - 1 < histogram->max ? top - 1 : histogram->max;
                left -= histogram->counts[i];
        }

        return histogram->max;
}

void serving_series_add(struct serving_series *series, const struct serving_histogram *histogram)
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
                uint64_t ticks = serving_histogram_quantile(histogram, quantiles[i]);

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
