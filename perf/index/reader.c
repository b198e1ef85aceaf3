/*
 * index-reader: the measuring process of perf/index. It attaches by name with the library that
 * programs use (liblanemap.so), looks keys up, and prints rows on stdout: `row NAME VALUE UNIT`.
 *
 * Keys lie in memory one behind the other and are used in that order, so only the index misses the
 * cache. Kinds of window take turns in rounds, the pointer chase among them: what disturbs the
 * machine for a while disturbs all kinds. Each answer is checked; a wrong one ends the run.
 */
#include <errno.h>
#include <inttypes.h>
#include <lanemap/lanemap.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base.h"
#include "support/chase.h"
#include "support/command.h"
#include "support/die.h"
#include "support/keys.h"
#include "support/pin.h"
#include "common/histogram.h"
#include "support/windows.h"
#include "support/timer.h"

#define BATCH      32
#define ROUNDS_MAX 101
#define ATTACHES   21

struct query {
        const char *text;
        uint32_t text_bytes;
        uint32_t n_ids; /* 0: absent */
        uint32_t first;
        uint32_t stride;
};

enum window {
        WINDOW_CHASE,
        WINDOW_HIT,
        WINDOW_MISS,
        WINDOW_HIT_MEAN,
        WINDOW_MISS_MEAN,
        WINDOW_HIT_BATCH,
        WINDOW_MISS_BATCH,
        N_WINDOWS,
};

/* One number per round. */
struct series {
        double mean[ROUNDS_MAX];
        double p50[ROUNDS_MAX];
        double p99[ROUNDS_MAX];
        double p999[ROUNDS_MAX];
};

struct bench {
        const char *name;
        const char *prefix;
        uint64_t first;
        uint64_t n_keys;
        enum perf_mix mix;
        uint64_t n_queries;
        uint64_t n_window;
        uint64_t n_rounds;
        uint64_t chase_bytes;

        struct lanemap_reader *reader;
        struct query *queries[2]; /* misses, hits */
        char *texts[2];
        size_t at[2];
        uint32_t ids[BATCH * 64 + PERF_KEY_IDS_MAX];
        struct lanemap_histogram histogram; /* of the window at hand, in ticks */
        struct perf_chase chase;
        double tick_ns;
        double overhead_ns;
        struct series series[N_WINDOWS];
};

static void row(const struct bench *bench, const char *name, double value, const char *unit)
{
        printf("row %s%s %.9g %s\n", bench->prefix, name, value, unit);
}

static void queries_make(struct bench *bench, bool hits)
{
        struct query *queries = malloc(bench->n_queries * sizeof(*queries));
        char *texts = malloc(bench->n_queries * PERF_KEY_BYTES_MAX + 1024), *text = texts;

        if (!queries || !texts)
                perf_die("queries", ENOMEM);

        for (size_t i = 0; i < bench->n_queries; i++) {
                uint64_t number = bench->first + perf_mix64(2 * i + hits + 1) % bench->n_keys;
                struct perf_route route = perf_key_route(bench->mix, number);

                if (!hits)
                        number += PERF_KEYS_ABSENT;
                queries[i] = (struct query){
                        .text = text,
                        .text_bytes = (uint32_t)perf_key_text(bench->mix, number, text),
                        .n_ids = hits ? route.n_ids : 0,
                        .first = route.first,
                        .stride = route.stride,
                };
                text += queries[i].text_bytes;
        }

        bench->queries[hits] = queries;
        bench->texts[hits] = texts;
}

static inline const struct query *query_next(struct bench *bench, bool hits)
{
        const struct query *query = &bench->queries[hits][bench->at[hits]];

        if (++bench->at[hits] == bench->n_queries)
                bench->at[hits] = 0;

        /* Texts follow one another: the key is in the cache when its turn comes. */
        __builtin_prefetch(query->text + 512);
        return query;
}

static inline void answer_check(const struct query *query, int r, const uint32_t *ids, size_t n_ids)
{
        bool right = r == 0 && n_ids == query->n_ids;

        if (right && n_ids > 0)
                right = ids[0] == query->first &&
                        ids[n_ids - 1] == query->first + (uint32_t)(n_ids - 1) * query->stride;
        if (__builtin_expect(right, 1))
                return;

        fprintf(stderr, "index-reader: wrong answer for %.*s: r %d, %zu ids, expected %u\n",
                (int)query->text_bytes, query->text, r, n_ids, query->n_ids);
        exit(1);
}

static double quantile_ns(const struct bench *bench, double quantile)
{
        uint64_t ticks = lanemap_histogram_quantile(&bench->histogram, quantile);

        return (double)ticks * bench->tick_ns - bench->overhead_ns;
}

static void window_latency(struct bench *bench, bool hits, struct series *series, size_t round)
{
        struct lanemap_histogram *histogram = &bench->histogram;

        *histogram = (struct lanemap_histogram){0};
        for (size_t i = 0; i < bench->n_window; i++) {
                const struct query *query = query_next(bench, hits);
                uint64_t from = perf_ticks_begin();
                size_t n_ids = 0;
                int r;

                r = lanemap_reader_lookup(bench->reader, query->text, query->text_bytes, bench->ids,
                                          PERF_KEY_IDS_MAX, &n_ids);
                lanemap_histogram_record(histogram, perf_ticks_end() - from, 1);
                answer_check(query, r, bench->ids, n_ids);
        }

        series->p50[round] = quantile_ns(bench, 0.5);
        series->p99[round] = quantile_ns(bench, 0.99);
        series->p999[round] = quantile_ns(bench, 0.999);
}

static void window_mean(struct bench *bench, bool hits, struct series *series, size_t round)
{
        uint64_t from = perf_thread_ns();

        for (size_t i = 0; i < bench->n_window; i++) {
                const struct query *query = query_next(bench, hits);
                size_t n_ids = 0;
                int r;

                r = lanemap_reader_lookup(bench->reader, query->text, query->text_bytes, bench->ids,
                                          PERF_KEY_IDS_MAX, &n_ids);
                answer_check(query, r, bench->ids, n_ids);
        }

        series->mean[round] = (double)(perf_thread_ns() - from) / (double)bench->n_window;
}

static void window_batch(struct bench *bench, bool hits, struct series *series, size_t round)
{
        size_t n_batches = bench->n_window / BATCH;
        uint64_t from = perf_thread_ns();

        for (size_t b = 0; b < n_batches; b++) {
                const struct query *queries[BATCH];
                struct lanemap_key keys[BATCH];
                struct lanemap_span spans[BATCH];
                int r;

                for (size_t i = 0; i < BATCH; i++) {
                        queries[i] = query_next(bench, hits);
                        keys[i] = (struct lanemap_key){queries[i]->text, queries[i]->text_bytes};
                }
                r = lanemap_reader_lookup_batch(bench->reader, keys, BATCH, bench->ids,
                                                sizeof(bench->ids) / sizeof(bench->ids[0]), spans);
                /* Ids that do not fit (two of the longest postings in one batch) are not an error.
                 */
                for (size_t i = 0; i < BATCH; i++)
                        if (r == 0 || spans[i].offset != LANEMAP_SPAN_UNWRITTEN)
                                answer_check(queries[i], r < 0 ? r : 0,
                                             bench->ids + spans[i].offset, spans[i].n_ids);
        }

        series->mean[round] = (double)(perf_thread_ns() - from) / (double)(n_batches * BATCH);
}

static void round_run(struct bench *bench, size_t round)
{
        struct series *series = bench->series;

        bench->overhead_ns = (double)perf_timer_overhead() * bench->tick_ns;
        series[WINDOW_CHASE].mean[round] = perf_chase_run(&bench->chase, bench->n_window);
        window_latency(bench, true, &series[WINDOW_HIT], round);
        window_latency(bench, false, &series[WINDOW_MISS], round);
        window_mean(bench, true, &series[WINDOW_HIT_MEAN], round);
        window_mean(bench, false, &series[WINDOW_MISS_MEAN], round);
        window_batch(bench, true, &series[WINDOW_HIT_BATCH], round);
        window_batch(bench, false, &series[WINDOW_MISS_BATCH], round);
}

static void ratio_row(struct bench *bench, const char *name, const double *values)
{
        double ratios[ROUNDS_MAX];

        for (size_t i = 0; i < bench->n_rounds; i++)
                ratios[i] = values[i] / bench->series[WINDOW_CHASE].mean[i];
        row(bench, name, perf_median(ratios, bench->n_rounds), "ratio");
}

/* The median of the windows, and the smallest: what the machine does when nobody disturbs it. */
static void series_row(struct bench *bench, const char *name, double *values)
{
        char name_min[64];

        snprintf(name_min, sizeof(name_min), "%s_min", name);
        row(bench, name_min, perf_minimum(values, bench->n_rounds), "ns");
        row(bench, name, perf_median(values, bench->n_rounds), "ns");
}

static void report(struct bench *bench)
{
        struct series *series = bench->series;

        row(bench, "timer_overhead", bench->overhead_ns, "ns");
        ratio_row(bench, "hit_p50_per_chase", series[WINDOW_HIT].p50);
        ratio_row(bench, "miss_p50_per_chase", series[WINDOW_MISS].p50);
        ratio_row(bench, "hit_mean_per_chase", series[WINDOW_HIT_MEAN].mean);
        ratio_row(bench, "miss_mean_per_chase", series[WINDOW_MISS_MEAN].mean);
        series_row(bench, "chase", series[WINDOW_CHASE].mean);
        series_row(bench, "hit_p50", series[WINDOW_HIT].p50);
        series_row(bench, "hit_p99", series[WINDOW_HIT].p99);
        series_row(bench, "hit_p999", series[WINDOW_HIT].p999);
        series_row(bench, "hit_mean", series[WINDOW_HIT_MEAN].mean);
        series_row(bench, "miss_p50", series[WINDOW_MISS].p50);
        series_row(bench, "miss_p99", series[WINDOW_MISS].p99);
        series_row(bench, "miss_p999", series[WINDOW_MISS].p999);
        series_row(bench, "miss_mean", series[WINDOW_MISS_MEAN].mean);
        series_row(bench, "hit_batch32", series[WINDOW_HIT_BATCH].mean);
        series_row(bench, "miss_batch32", series[WINDOW_MISS_BATCH].mean);
        row(bench, "hit_batch32_rate",
            1e9 / perf_median(series[WINDOW_HIT_BATCH].mean, bench->n_rounds), "1/s");
        row(bench, "miss_batch32_rate",
            1e9 / perf_median(series[WINDOW_MISS_BATCH].mean, bench->n_rounds), "1/s");
}

static double attach_once(struct bench *bench)
{
        struct lanemap_error error = {0};
        struct lanemap_reader_options options = {.size = sizeof(options), .error = &error};
        uint64_t from;
        int r;

        lanemap_reader_detach(bench->reader);
        bench->reader = NULL;
        from = perf_now_ns();
        r = lanemap_reader_attach(bench->name, &options, &bench->reader);
        if (r < 0)
                perf_die(error.text, r);

        return (double)(perf_now_ns() - from) * 1e-3;
}

static void attach_measure(struct bench *bench)
{
        double times[ATTACHES];

        row(bench, "attach_first", attach_once(bench), "us");
        for (size_t i = 0; i < ATTACHES; i++)
                times[i] = attach_once(bench);
        row(bench, "attach", perf_median(times, ATTACHES), "us");
}

#define TO(member) LANEMAP_OPTION_TO(struct bench, member)

static void options_parse(int argc, char **argv, struct bench *bench)
{
        static const struct lanemap_option all[] = {
                {"name", "NAME", "of the index", TO(name)},
                {"prefix", "TEXT", "of the rows' names", TO(prefix)},
                {"first", "N", "key", TO(first)},
                {"keys", "N", "from there on", TO(n_keys), 1},
                {"mix", "MIX", "single or production", TO(mix), .choices = perf_mix_choices,
                 .choices_only = true},
                {"queries", "N", "made beforehand", TO(n_queries), 1},
                {"window", "N", "lookups of a window", TO(n_window), BATCH},
                {"rounds", "N", "windows of each kind", TO(n_rounds), 1, ROUNDS_MAX},
                {"chase-bytes", "N", "of the chase", TO(chase_bytes)},
        };

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), bench, argc, argv);
        if (!bench->name || bench->n_keys == 0)
                perf_command_refuse("perf/index starts this program");
}

int main(int argc, char **argv)
{
        static struct bench bench = {
                .prefix = "",
                .n_queries = 1000000,
                .n_window = 200000,
                .n_rounds = 9,
                .chase_bytes = 1 << 20,
        };

        options_parse(argc, argv, &bench);
        (void)perf_pin_measuring();
        bench.tick_ns = perf_tick_ns();
        attach_measure(&bench);

        queries_make(&bench, false);
        queries_make(&bench, true);
        perf_chase_init(&bench.chase, bench.chase_bytes, 1);

        (void)perf_chase_run(&bench.chase, bench.chase_bytes / 64);
        window_mean(&bench, true, &bench.series[WINDOW_HIT_MEAN], 0);
        for (size_t round = 0; round < bench.n_rounds; round++)
                round_run(&bench, round);
        report(&bench);

        perf_chase_deinit(&bench.chase);
        lanemap_reader_detach(bench.reader);
        return 0;
}
