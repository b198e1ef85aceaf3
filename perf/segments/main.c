/*
 * perf/segments: the kinds of segments side by side, in one run. perf/README.md says how to read
 * it.
 *
 * One section with all slots, n random fingerprints of 64 bits, one random 32-bit id each: the most
 * expensive id. Every answer is compared with what it must be; a wrong one ends the run.
 */
#include "segments/private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support/command.h"
#include "support/output.h"
#include "support/pin.h"

static const struct perf_goal goals[] = {
        {"packed.bytes_per_limit", false, 1.06},
        {"packed.merge", false, 60},
        {"packed.hit_per_chase", false, 2},
        {"packed.miss_per_chase", false, 1.5},
        {"packed.batch_speedup", true, 3},
        {"recsplit.index_bits_per_key", false, 1.85},
        {"bbhash_gamma1.index_bits_per_key", false, 3.2},
        {"bbhash_gamma2.build", false, 150},
};

struct options {
        struct lanemap_option_sizes keys;
        const char *csv;
        const char *only;
        uint64_t cmph_keys_max;
        bool quick;
        bool all;
};

#define TO(member) LANEMAP_OPTION_TO(struct options, member)

static void options_parse(struct options *options, int argc, char **argv)
{
        static const struct lanemap_option all[] = {
                {"keys", "N[,N...]",
                 "sizes of a section (default 100000,1000000; with --quick 20000)", TO(keys), 1000},
                PERF_OPTION_CSV(struct options, csv),
                PERF_OPTION_QUICK(struct options, quick),
                {"all", NULL,
                 "every row at every size: above 20 million keys there are only packed and bbhash",
                 TO(all)},
                {"cmph-keys", "N",
                 "CHD and BDZ of libcmph at no more keys than that (default 10000000)",
                 TO(cmph_keys_max)},
                {"only", "NAME", "only what begins like that: packed, recsplit_leaf5, cmph",
                 TO(only)},
        };

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), options, argc, argv);
        if (options->keys.n == 0)
                options->keys = options->quick
                                        ? (struct lanemap_option_sizes){1, {20000}}
                                        : (struct lanemap_option_sizes){2, {100000, 1000000}};
}

/* The measures that choose between kinds, a line for each of them. */
static void summary_print(const struct perf_table *table, FILE *to)
{
        static const char *const measures[] = {
                "bytes_per_key",  "bytes_per_limit", "index_bits_per_key",
                "build",          "merge",           "hit_per_chase",
                "miss_per_chase", "batch_speedup",   "miss_batch_speedup",
        };
        static const char *const heads[] = {
                "bytes/key", "/limit",     "index bits", "build ns",   "merge ns",
                "hit/chase", "miss/chase", "hit batch",  "miss batch",
        };

        fprintf(to, "\n  %-16s", "");
        for (size_t m = 0; m < LANEMAP_N_ELEMENTS(heads); m++)
                fprintf(to, " %10s", heads[m]);
        for (size_t i = 0; i < table->n_rows; i++) {
                const char *dot = strchr(table->rows[i].name, '.');

                if (strcmp(dot + 1, measures[0]) != 0)
                        continue;
                fprintf(to, "\n  %-16.*s", (int)(dot - table->rows[i].name), table->rows[i].name);
                for (size_t m = 0; m < LANEMAP_N_ELEMENTS(measures); m++) {
                        char name[64];
                        double value;

                        snprintf(name, sizeof(name), "%.*s.%s", (int)(dot - table->rows[i].name),
                                 table->rows[i].name, measures[m]);
                        value = perf_table_value(table, name);
                        if (value == 0)
                                fprintf(to, " %10s", "-");
                        else
                                fprintf(to, " %10.*f", value < 20 ? 2 : 0, value);
                }
        }
        fputc('\n', to);
}

static void size_measure(const struct options *options, uint64_t n_keys, struct perf_output *output)
{
        static struct segments_run run;
        char title[64];

        segments_run_init(&run, n_keys, options->quick);
        run.all = options->all;
        run.only = options->only;
        run.cmph_keys_max = options->cmph_keys_max;
        perf_table_circumstances(&run.table);
        segments_lanemap_measure(&run);
#ifdef PERF_CMPH
        segments_cmph_measure(&run);
#else
        perf_table_note(&run.table, "built without libcmph: no rows of CHD and BDZ");
#endif

        snprintf(title, sizeof(title), "segments of %" PRIu64 " keys", n_keys);
        perf_output_table(output, &run.table, title, n_keys);
        if (output->csv != stdout)
                summary_print(&run.table, stdout);
        segments_run_deinit(&run);
}

int main(int argc, char **argv)
{
        struct options options = {.only = "", .cmph_keys_max = 10000000};
        struct perf_output output;

        options_parse(&options, argc, argv);
        perf_output_open(&output, options.csv, goals, LANEMAP_N_ELEMENTS(goals));
        (void)perf_pin_measuring();
        for (size_t i = 0; i < options.keys.n; i++)
                size_measure(&options, options.keys.values[i], &output);
        perf_output_close(&output);
        return 0;
}
