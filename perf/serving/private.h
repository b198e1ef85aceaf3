/* What the parts of perf/serving share. */
#ifndef LANEMAP_PERF_SERVING_PRIVATE_H
#define LANEMAP_PERF_SERVING_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/histogram.h"
#include "support/command.h"
#include "support/die.h"
#include "support/table.h"
#include "support/timer.h"

#define SERVING_THREADS_MAX 256

struct serving_options {
        bool quick;
        const char *name; /* NULL: perf-PID */
        const char *dir;
        const char *tmpfs;
        uint64_t n_keys;
        uint32_t threads[LANEMAP_OPTION_SIZES_MAX];
        size_t n_threads;
        double seconds; /* of a window */
        double rate;    /* new segments a second */
        uint32_t n_rounds;
        uint64_t page_bytes;
};

/* What is measured in one kind of window: p50, p99, p99.9 and max of each round. */
#define SERVING_ROUNDS_MAX 16
struct serving_series {
        double p50[SERVING_ROUNDS_MAX], p99[SERVING_ROUNDS_MAX], p999[SERVING_ROUNDS_MAX],
                max[SERVING_ROUNDS_MAX];
        uint32_t n;
};
/* histogram: in ticks. */
void serving_series_add(struct serving_series *series, const struct lanemap_histogram *histogram);
/* Rows PREFIX_p50, _p99, _p999, _max: medians of the rounds; the largest. */
void serving_series_report(struct serving_series *series, const char *prefix,
                           struct perf_table *table);

void serving_measure_index(const struct serving_options *options, struct perf_table *table);
void serving_measure_pages(const struct serving_options *options, struct perf_table *table);

#endif
