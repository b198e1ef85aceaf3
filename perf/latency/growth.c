/* See private.h. Pipelined adds of new keys, whose hashes are uniform, into a large index. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

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

void latency_measure_growth(const struct latency_options *options, struct perf_table *table)
{
        static const char *const counters[] = {"flush_entries_written", "merge_entries_written",
                                               "n_write_stalls", "write_stall_ns"};
        const struct perf_load load = {options->n_growth_clients, options->n_growth_pipeline, 0};
        double n = (double)options->n_growth_adds, values[4];
        static struct latency_ping ping;
        struct perf_load_result result;
        struct latency_server server;
        struct perf_requests requests;
        uint64_t cpu_from;

        latency_server_start(options, false, options->appendfsync, options->n_growth_keys, &server);
        latency_server_settle(options, &server);
        perf_requests_make(&requests, PERF_REQUEST_SADD, options->n_growth_keys,
                           options->n_growth_adds, options->n_growth_adds, 0);
        for (int i = 0; i < 4; i++)
                values[i] = (double)latency_server_stat(&server, counters[i]);
        latency_ping_start(&ping, &server.place);
        cpu_from = main_thread_ns(server.pid);
        result = perf_load_run(&server.place, &load, &requests);
        perf_table_add(table, "growth_main_thread",
                       (double)(main_thread_ns(server.pid) - cpu_from) / n, "ns/add");
        perf_table_add(table, "growth_rate", n / result.seconds, "1/s");
        latency_ping_stop(&ping, "growth", table);
        /* What the adds cause is written a little later. */
        latency_server_settle(options, &server);
        for (int i = 0; i < 4; i++)
                values[i] = (double)latency_server_stat(&server, counters[i]) - values[i];
        perf_table_add(table, "growth_entries_written_per_add", (values[0] + values[1]) / n, "");
        perf_table_add(table, "growth_write_stalls", values[2], "");
        perf_table_add(table, "growth_write_stall_time", values[3] * 1e-6, "ms");
        perf_requests_free(&requests);
        latency_server_stop(&server);
}
