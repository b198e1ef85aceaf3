/* See private.h. Pipelined adds of new keys, whose hashes are uniform, into a large index. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "common/base.h"
#include "latency/private.h"
#include "support/load.h"

/* Nanoseconds that the process's first thread has run. */
static uint64_t main_thread_ns(pid_t pid)
{
        uint64_t ran = 0;
        char path[64];
        FILE *from;

        snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", (int)pid, (int)pid);
        from = fopen(path, "re");
        if (!from || fscanf(from, "%" SCNu64, &ran) != 1)
                perf_die(path, -errno);
        (void)fclose(from);
        return ran;
}

static const struct {
        const char *name, *row, *unit;
        double scale; /* 0: per add */
} counters[] = {
        {"flush_entries_written", "growth_flush_entries_per_add", "", 0},
        {"merge_entries_written", "growth_merge_entries_per_add", "", 0},
        {"n_flushes", "growth_flushes", "", 1},
        {"n_merges", "growth_merges", "", 1},
        {"n_write_stalls", "growth_write_stalls", "", 1},
        {"write_stall_ns", "growth_write_stall_time", "ms", 1e-6},
        {"n_write_delays", "growth_write_delays", "", 1},
        {"write_delay_ns", "growth_write_delay_time", "ms", 1e-6},
};

#define N_COUNTERS LANEMAP_N_ELEMENTS(counters)

static void counters_read(const struct latency_server *server, double values[N_COUNTERS])
{
        for (size_t i = 0; i < N_COUNTERS; i++)
                values[i] = (double)latency_server_stat(server, counters[i].name);
}

static void counters_rows(const struct latency_server *server, const double before[N_COUNTERS],
                          double n_adds, struct perf_table *table)
{
        double values[N_COUNTERS];

        counters_read(server, values);
        for (size_t i = 0; i < N_COUNTERS; i++) {
                double scale = counters[i].scale > 0 ? counters[i].scale : 1 / n_adds;

                perf_table_add(table, counters[i].row, (values[i] - before[i]) * scale,
                               counters[i].unit);
        }
        perf_table_add(table, "growth_entries_written_per_add",
                       (values[0] - before[0] + values[1] - before[1]) / n_adds, "");
        perf_table_add(table, "growth_last_flush_time",
                       (double)latency_server_stat(server, "last_flush_ns") * 1e-6, "ms");
        perf_table_add(table, "growth_segments_per_lane",
                       (double)latency_server_stat(server, "n_segments") /
                               (double)latency_server_stat(server, "n_lanes"),
                       "");
}

void latency_measure_growth(const struct latency_options *options, struct perf_table *table)
{
        const struct perf_load load = {options->n_growth_clients, options->n_growth_pipeline, 0};
        double n = (double)options->n_growth_adds, before[N_COUNTERS];
        static struct latency_probes probes;
        struct perf_load_result result;
        struct latency_server server;
        struct perf_requests requests;
        uint64_t cpu_from;

        latency_server_start(options, false, options->appendfsync, options->n_growth_keys, &server);
        latency_server_settle(options, &server);
        perf_requests_make(&requests, PERF_REQUEST_SADD, options->n_growth_keys,
                           options->n_growth_adds, options->n_growth_adds, 0);
        counters_read(&server, before);
        latency_probes_start(&probes, &server.place);
        cpu_from = main_thread_ns(server.pid);
        result = perf_load_run(&server.place, &load, &requests);
        perf_table_add(table, "growth_main_thread",
                       (double)(main_thread_ns(server.pid) - cpu_from) / n, "ns/add");
        perf_table_add(table, "growth_rate", n / result.seconds, "1/s");
        latency_probes_stop(&probes, "growth", table);
        /* What the adds cause is written a little later. */
        latency_server_settle(options, &server);
        counters_rows(&server, before, n, table);
        perf_requests_free(&requests);
        latency_server_stop(&server);
}
