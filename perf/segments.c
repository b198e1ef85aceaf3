/*
 * perf/segments: the kinds of segments side by side, in one run. perf/README.md says how to read
 * it.
 *
 * One section with all slots, n random fingerprints of 64 bits, one random 32-bit id each: the most
 * expensive id. Every answer is compared with what it must be; a wrong one ends the run.
 */
#include "segments_private.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/arguments.h"
#include "support/pin.h"

#define CMPH_KEYS_MAX 10000000

static const char usage[] =
        "usage: segments [--keys N[,N...]] [--csv FILE|-] [--quick] [--all] [--cmph-keys N]\n"
        "                [--only NAME]\n"
        "\n"
        "  --keys N[,N...]   sizes of a section (default 100000,1000000; with --quick 20000)\n"
        "  --csv FILE        also one row per measure: name,value,unit (-: on stdout, and only "
        "that)\n"
        "  --quick           seconds instead of minutes; numbers of no value\n"
        "  --all             also recsplit at more than 20 million keys\n"
        "  --cmph-keys N     CHD and BDZ of libcmph at no more keys than that (default 10000000)\n"
        "  --only NAME       only what begins like that: packed, recsplit_leaf5, cmph\n";

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
        uint64_t keys[PERF_SIZES_MAX];
        int n_keys;
        const char *csv;
        const char *only;
        uint64_t cmph_keys_max;
        bool quick;
        bool all;
};

static void options_parse(struct options *options, int argc, char **argv)
{
        static const struct option longs[] = {
                {"keys", required_argument, NULL, 'k'},
                {"csv", required_argument, NULL, 'c'},
                {"quick", no_argument, NULL, 'q'},
                {"all", no_argument, NULL, 'a'},
                {"cmph-keys", required_argument, NULL, 'm'},
                {"only", required_argument, NULL, 'o'},
                {"help", no_argument, NULL, 'h'},
                {NULL, 0, NULL, 0},
        };
        int option;

        while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
                switch (option) {
                case 'k':
                        options->n_keys = perf_sizes_parse(optarg, 1000, options->keys);
                        if (options->n_keys < 0)
                                segments_die("--keys: up to 8 numbers from 1000 on", -EINVAL);
                        break;
                case 'c':
                        options->csv = optarg;
                        break;
                case 'q':
                        options->quick = true;
                        break;
                case 'a':
                        options->all = true;
                        break;
                case 'm':
                        options->cmph_keys_max = strtoull(optarg, NULL, 10);
                        break;
                case 'o':
                        options->only = optarg;
                        break;
                case 'h':
                        fputs(usage, stdout);
                        exit(0);
                default:
                        fputs(usage, stderr);
                        exit(2);
                }
        }
        if (optind < argc) {
                fputs(usage, stderr);
                exit(2);
        }
        if (options->n_keys == 0)
                options->n_keys = perf_sizes_parse(options->quick ? "20000" : "100000,1000000", 1,
                                                   options->keys);
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

static void size_measure(const struct options *options, uint64_t n_keys, FILE *csv)
{
        static struct segments_run run;
        char title[64];

        segments_run_init(&run, n_keys, options->quick);
        run.all = options->all;
        run.only = options->only ? options->only : "";
        run.cmph_keys_max = options->cmph_keys_max;
        perf_table_circumstances(&run.table);
        segments_lanemap_measure(&run);
#ifdef PERF_CMPH
        segments_cmph_measure(&run);
#else
        perf_table_note(&run.table, "built without libcmph: no rows of CHD and BDZ");
#endif

        snprintf(title, sizeof(title), "segments of %" PRIu64 " keys", n_keys);
        if (csv != stdout) {
                perf_table_print(&run.table, title, goals, LANEMAP_N_ELEMENTS(goals), stdout);
                summary_print(&run.table, stdout);
        }
        if (csv)
                perf_table_csv(&run.table, n_keys, csv);
        segments_run_deinit(&run);
}

int main(int argc, char **argv)
{
        struct options options = {.cmph_keys_max = CMPH_KEYS_MAX};
        FILE *csv = NULL;

        options_parse(&options, argc, argv);
        if (options.csv) {
                csv = perf_csv_open(options.csv);
                if (!csv)
                        segments_die(options.csv, -errno);
        }

        (void)perf_pin_measuring();
        for (int i = 0; i < options.n_keys; i++)
                size_measure(&options, options.keys[i], csv);
        if (csv) {
                int r = perf_csv_close(csv);

                if (r < 0)
                        segments_die(options.csv, r);
        }

        return 0;
}
