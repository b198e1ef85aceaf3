/* See segments_private.h: one size, and the measuring that is the same for every row. */
#include "segments/private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/chase.h"
#include "support/hashes.h"
#include "support/keys.h"
#include "support/windows.h"

#define ROUNDS_MAX 21

volatile uint64_t segments_zero;

void segments_run_init(struct segments_run *run, uint64_t n_keys, bool quick)
{
        *run = (struct segments_run){
                .n_keys = n_keys,
                .n_rounds = quick ? 3 : ROUNDS_MAX,
                .n_lookups = quick ? 5000 : 40000,
                .hashes = perf_hashes_sorted(n_keys),
        };
        run->hits = perf_allocate(run->n_lookups * sizeof(*run->hits));
        run->misses = perf_allocate(run->n_lookups * sizeof(*run->misses));
        for (size_t i = 0; i < run->n_lookups; i++) {
                run->hits[i] = perf_mix64(perf_mix64(i + 77) % n_keys);
                run->misses[i] = perf_mix64(PERF_KEYS_ABSENT + i);
        }
}

void segments_run_deinit(struct segments_run *run)
{
        free(run->hashes);
        free(run->hits);
        free(run->misses);
}

bool segments_wanted(const struct segments_run *run, const char *subject)
{
        return strncmp(subject, run->only, strlen(run->only)) == 0;
}

void segments_row(struct segments_run *run, const char *subject, const char *what, double value,
                  const char *unit)
{
        char name[56];

        snprintf(name, sizeof(name), "%s.%s", subject, what);
        perf_table_add(&run->table, name, value, unit);
}

/* Ratios are taken within a round. */
static void lookups_measure(struct segments_run *run, const struct segments_subject *subject)
{
        static const char *const names[] = {"hit", "miss", "hit_batch32", "miss_batch32"};
        double ns[4][ROUNDS_MAX], ratios[4][ROUNDS_MAX], speedups[2][ROUNDS_MAX],
                chases[ROUNDS_MAX];
        struct perf_chase chase;
        size_t n = run->n_lookups;

        perf_chase_init(&chase, subject->n_bytes, 3);
        for (uint32_t i = 0; i < run->n_rounds; i++) {
                chases[i] = perf_chase_run(&chase, n);
                ns[0][i] = subject->singles(subject->structure, run->hits, n, true);
                ns[1][i] = subject->singles(subject->structure, run->misses, n, false);
                ns[2][i] = subject->batches(subject->structure, run->hits, n, true);
                ns[3][i] = subject->batches(subject->structure, run->misses, n, false);
                for (int k = 0; k < 4; k++)
                        ratios[k][i] = ns[k][i] / chases[i];
                for (int k = 0; k < 2; k++)
                        speedups[k][i] = ns[k][i] / ns[k + 2][i];
        }
        perf_chase_deinit(&chase);

        segments_row(run, subject->name, "chase", perf_median(chases, run->n_rounds), "ns");
        segments_row(run, subject->name, "chase_min", perf_minimum(chases, run->n_rounds), "ns");
        for (int k = 0; k < 4; k++) {
                char name[40], name_min[40];

                snprintf(name, sizeof(name), "%s_per_chase", names[k]);
                snprintf(name_min, sizeof(name_min), "%s_min", names[k]);
                segments_row(run, subject->name, names[k], perf_median(ns[k], run->n_rounds), "ns");
                segments_row(run, subject->name, name_min, perf_minimum(ns[k], run->n_rounds),
                             "ns");
                segments_row(run, subject->name, name, perf_median(ratios[k], run->n_rounds),
                             "ratio");
        }
        segments_row(run, subject->name, "batch_speedup", perf_median(speedups[0], run->n_rounds),
                     "ratio");
        segments_row(run, subject->name, "miss_batch_speedup",
                     perf_median(speedups[1], run->n_rounds), "ratio");
}

void segments_subject_measure(struct segments_run *run, const struct segments_subject *subject)
{
        double n = (double)run->n_keys, limit = (64 - log2(n) + 1.4427 + 32) / 8;
        double per_key = (double)subject->n_bytes / n;

        segments_row(run, subject->name, "bytes_per_key", per_key, "bytes");
        segments_row(run, subject->name, "bytes_per_limit", per_key / limit, "ratio");
        segments_row(run, subject->name, "index_bits_per_key", subject->index_bytes * 8 / n,
                     "bits");
        lookups_measure(run, subject);
}
