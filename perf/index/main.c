/* perf/index: the numbers of a whole index, in one run. perf/README.md says how to read them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base.h"
#include "index/private.h"
#include "support/command.h"
#include "support/output.h"

static const struct perf_goal goals[] = {
        {"hit_p50_per_chase", false, 4},
        {"memory_per_key", false, 12},
        {"churn_memory_per_key_max", false, 12},
        {"tenant_compacted_shared_and_files", false, 1 << 20},
        {"tenant_shared_and_files", false, 1 << 20},
        {"socket_adds_everysec_rate", true, 500000},
        {"restart_clean", false, 1},
        {"restart_killed", false, 1},
};

struct run {
        struct index_options options;
        struct lanemap_option_sizes keys;
        const char *csv, *timeline;
};

#define TO(member) LANEMAP_OPTION_TO(struct run, member)

static void options_parse(int argc, char **argv, struct run *run)
{
        struct index_options *options = &run->options;
        static const struct lanemap_option all[] = {
                {"keys", "N[,N...]", "sizes of the index (default 1000000; with --quick 50000)",
                 TO(keys), 1000},
                PERF_OPTION_CSV(struct run, csv),
                PERF_OPTION_QUICK(struct run, options.quick),
                {"churn", NULL, "also while a tenth of the keys is being replaced",
                 TO(options.churn)},
                {"churn-seconds", "N", "how long that tenth takes (default 10)",
                 TO(options.churn_seconds), 1},
                {"rewrite", NULL, "also while all segments are written anew, again and again",
                 TO(options.rewrite)},
                {"mix", "MIX",
                 "single: one id per key; production: UUIDs, postings up to 10,000 ids",
                 TO(options.mix), .choices = perf_mix_choices, .choices_only = true},
                PERF_OPTION_NAME(struct run, options.name),
                PERF_OPTION_DIR(struct run, options.dir),
                {"adds", "N", "keys of a measurement of add throughput (default 1000000)",
                 TO(options.adds_max), 1},
                {"pipeline", "N", "requests under way through the socket (default 1000)",
                 TO(options.pipeline), 1},
                {"skip-socket", NULL, "no adds through the socket", TO(options.skip_socket)},
                {"timeline", "FILE",
                 "with --churn: where the bytes of each memory sample were, per key", TO(timeline)},
                {"lanemapd", "PATH", "the daemon to measure (default: of this build)",
                 TO(options.lanemapd)},
        };

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), run, argc, argv);
        if (run->timeline) {
                options->timeline = fopen(run->timeline, "we");
                if (!options->timeline)
                        perf_die(run->timeline, -errno);
        }
}

/* What was not said. */
static void options_default(struct run *run)
{
        struct index_options *options = &run->options;

        options->dir = perf_command_dir(options->dir);
        options->reader = perf_sibling_path("index-reader");
        if (!options->lanemapd)
                options->lanemapd = perf_sibling_path("../src/daemon/lanemapd");
        if (run->keys.n == 0)
                run->keys = (struct lanemap_option_sizes){1, {options->quick ? 50000 : 1000000}};
}

int main(int argc, char **argv)
{
        static struct run run = {.options = {.adds_max = 1000000, .pipeline = 1000}};
        struct index_options *options = &run.options;
        struct perf_output output;

        if (argc == 5 && strcmp(argv[0], "index-writer") == 0)
                return index_writer_main(argv);

        options_parse(argc, argv, &run);
        options_default(&run);
        perf_output_open(&output, run.csv, goals, LANEMAP_N_ELEMENTS(goals));
        for (size_t i = 0; i < run.keys.n; i++) {
                static struct perf_table table;
                uint64_t n_keys = run.keys.values[i];
                char title[96];

                table = (struct perf_table){0};
                perf_table_circumstances(&table);
                index_measure(options, n_keys, &table);
                index_measure_adds(options, n_keys, &table);
                index_measure_socket(options, n_keys, &table);
                index_measure_tenant(options, &table);

                snprintf(title, sizeof(title), "%" PRIu64 " keys, mix %s", n_keys,
                         options->mix == PERF_MIX_PRODUCTION ? "production" : "single");
                perf_output_table(&output, &table, title, n_keys);
        }

        perf_output_close(&output);
        return 0;
}
