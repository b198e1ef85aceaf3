/*
 * perf/serving: what new segments and huge pages do to lookups.
 * perf/README.md says how to read it.
 */
#include <string.h>

#include "common/base.h"
#include "serving/private.h"
#include "support/command.h"
#include "support/output.h"

static const struct {
        const char *name;
        void (*measure)(const struct serving_options *options, struct perf_table *table);
} parts[] = {
        {"pages", serving_measure_pages},
        {"index", serving_measure_index},
};

struct run {
        struct serving_options options;
        struct lanemap_option_sizes threads;
        uint64_t page_mib;
        const char *csv, *only;
};

#define TO(member) LANEMAP_OPTION_TO(struct run, member)

static void options_parse(int argc, char **argv, struct run *run)
{
        static const struct lanemap_option all[] = {
                {"keys", "N", "in the index (default 1000000)", TO(options.n_keys), 10000},
                {"threads", "N[,N...]", "that look up (default 2,8)", TO(threads), 1,
                 SERVING_THREADS_MAX},
                {"seconds", "N", "a window (default 4)", TO(options.seconds)},
                {"rate", "N", "new segments a second (default 10)", TO(options.rate)},
                {"rounds", "N", "windows of each kind, at most 16 (default 5)",
                 TO(options.n_rounds), 1, SERVING_ROUNDS_MAX},
                {"pages-mib", "N", "the file of `pages` (default 1024)", TO(page_mib), 1, 1 << 20},
                {"only", "PART", "index or pages", TO(only)},
                PERF_OPTION_CSV(struct run, csv),
                PERF_OPTION_QUICK(struct run, options.quick),
                PERF_OPTION_NAME(struct run, options.name),
                PERF_OPTION_DIR(struct run, options.dir),
                {"tmpfs", "DIR", "the file of `pages` (default /dev/shm)", TO(options.tmpfs)},
        };

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), run, argc, argv);
}

/* What was not said. */
static void options_default(struct run *run)
{
        struct serving_options *options = &run->options;
        bool quick = options->quick;

        options->dir = perf_command_dir(options->dir);
        if (!options->tmpfs)
                options->tmpfs = "/dev/shm";
        if (run->threads.n == 0)
                run->threads = (struct lanemap_option_sizes){quick ? 1 : 2, {2, 8}};
        options->n_threads = run->threads.n;
        for (size_t i = 0; i < run->threads.n; i++)
                options->threads[i] = (uint32_t)run->threads.values[i];
        if (options->n_keys == 0)
                options->n_keys = quick ? 20000 : 1000000;
        if (options->seconds <= 0)
                options->seconds = quick ? 0.1 : 4;
        if (options->rate <= 0)
                options->rate = quick ? 50 : 10;
        if (options->n_rounds == 0)
                options->n_rounds = quick ? 1 : 5;
        options->page_bytes = run->page_mib << 20;
        if (options->page_bytes == 0)
                options->page_bytes = quick ? 8 << 20 : 1 << 30;
}

int main(int argc, char **argv)
{
        static struct run run;
        static struct perf_table table;
        struct perf_output output;

        options_parse(argc, argv, &run);
        options_default(&run);
        perf_output_open(&output, run.csv, NULL, 0);
        perf_table_circumstances(&table);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(parts); i++)
                if (!run.only || strcmp(run.only, parts[i].name) == 0)
                        parts[i].measure(&run.options, &table);
        if (table.n_rows == 0)
                perf_command_refuse("--only is index or pages");
        perf_output_table(&output, &table, "lanemap, serving", run.options.n_keys);
        perf_output_close(&output);
        return 0;
}
