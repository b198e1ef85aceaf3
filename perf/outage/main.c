/*
 * perf/outage: what stopped readers cost the writer, and what a writer's death costs readers.
 * perf/README.md says how to read it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "common/base.h"
#include "outage/private.h"
#include "support/command.h"
#include "support/output.h"

static const struct perf_goal goals[] = {
        {"add_engine_no_stopped_p99_ratio", false, 1.2},
        {"add_engine_always_stopped_p99_ratio", false, 1.2},
        {"add_socket_no_stopped_p99_ratio", false, 1.2},
        {"add_socket_everysec_stopped_p99_ratio", false, 1.2},
        {"add_socket_always_stopped_p99_ratio", false, 1.2},
        {"memory_pinned_per_limit", false, 1},
        {"kill_follow_cpu_per_reattach", false, 1},
        {"restart_follow_cpu_per_reattach", false, 1},
        {"flip_follow_cpu_per_reattach", false, 1},
        {"reader_failed_lookups", false, 0},
};

struct run {
        struct outage_options options;
        struct lanemap_option_sizes keys;
        const char *csv;
        bool skip_adds, skip_memory, skip_takeover;
};

#define TO(member) LANEMAP_OPTION_TO(struct run, member)

static void options_parse(int argc, char **argv, struct run *run)
{
        static const struct lanemap_option all[] = {
                {"keys", "N[,N...]", "sizes of the index for takeovers (default 10000,1000000)",
                 TO(keys), 1000},
                PERF_OPTION_CSV(struct run, csv),
                PERF_OPTION_QUICK(struct run, options.quick),
                {"skip-adds", NULL, "no latencies of adds", TO(skip_adds)},
                {"skip-memory", NULL, "no memory", TO(skip_memory)},
                {"skip-takeover", NULL, "no takeovers", TO(skip_takeover)},
                {"readers", "N", "attached while adds are measured (default 64)",
                 TO(options.n_readers), 1, OUTAGE_READERS_MAX},
                {"seconds", "N", "of adds through each path (default 8)", TO(options.seconds)},
                {"rounds", "N", "so often the readers go round the three indexes (default 1)",
                 TO(options.n_rounds), 1, OUTAGE_ROUNDS_MAX},
                {"only", "PATH", "adds: only what begins like that: engine, socket_always",
                 TO(options.only)},
                {"events", "N", "kills, restarts and flips of each size (default 9)",
                 TO(options.n_events), 1, OUTAGE_EVENTS_MAX},
                PERF_OPTION_NAME(struct run, options.name),
                PERF_OPTION_DIR(struct run, options.dir),
                {"lanemapd", "PATH", "the daemon to measure (default: of this build)",
                 TO(options.lanemapd)},
        };

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), run, argc, argv);
}

/* What was not said. --quick: everything once or twice, with four readers. */
static void options_default(struct run *run)
{
        struct outage_options *options = &run->options;
        bool quick = options->quick;

        options->dir = perf_command_dir(options->dir);
        options->reader = perf_sibling_path("outage-reader");
        if (!options->lanemapd)
                options->lanemapd = perf_sibling_path("../src/daemon/lanemapd");
        if (options->n_readers == 0)
                options->n_readers = quick ? 4 : 64;
        if (options->n_rounds == 0)
                options->n_rounds = 1;
        if (options->seconds <= 0)
                options->seconds = quick ? 0.2 : 8;
        if (options->n_events == 0)
                options->n_events = quick ? 2 : 9;
        options->memory_limit = quick ? 16 << 20 : 64 << 20;
        if (run->keys.n == 0)
                run->keys = quick ? (struct lanemap_option_sizes){1, {10000}}
                                  : (struct lanemap_option_sizes){2, {10000, 1000000}};
}

int main(int argc, char **argv)
{
        static struct run run = {.options = {.only = ""}};
        static struct perf_table table;
        struct perf_output output;
        char title[96];

        options_parse(argc, argv, &run);
        options_default(&run);
        perf_output_open(&output, run.csv, goals, LANEMAP_N_ELEMENTS(goals));

        perf_table_circumstances(&table);
        if (!run.skip_adds)
                outage_measure_adds(&run.options, &table);
        if (!run.skip_memory)
                outage_measure_memory(&run.options, &table);
        snprintf(title, sizeof(title), "lanemap with %u readers attached", run.options.n_readers);
        if (table.n_rows > 0)
                perf_output_table(&output, &table, title, 0);

        for (size_t i = 0; i < run.keys.n && !run.skip_takeover; i++) {
                uint64_t n_keys = run.keys.values[i];

                table = (struct perf_table){0};
                perf_table_circumstances(&table);
                outage_measure_takeover(&run.options, n_keys, &table);
                snprintf(title, sizeof(title), "lanemap, takeovers with %" PRIu64 " keys", n_keys);
                perf_output_table(&output, &table, title, n_keys);
        }

        perf_output_close(&output);
        return 0;
}
