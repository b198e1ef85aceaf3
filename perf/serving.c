/*
 * perf/serving: what new segments, huge pages and prefetching across levels do to lookups.
 * perf/README.md says how to read it. The program reports and never judges; its exit status says
 * only whether everything could be measured and every answer was right.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "serving_private.h"
#include "support/arguments.h"

static const char usage[] =
        "usage: serving [--keys N] [--threads N[,N...]] [--seconds N] [--rate N] [--rounds N]\n"
        "               [--segment-mib N] [--pages-mib N] [--only PART] [--csv FILE|-] [--quick]\n"
        "               [--name NAME] [--dir DIR] [--tmpfs DIR]\n"
        "\n"
        "  --keys N            in the index, and in the lane of four levels (default 1000000)\n"
        "  --threads N[,N...]  that look up (default 2,8)\n"
        "  --seconds N         a window (default 4)\n"
        "  --rate N            new segments a second (default 10)\n"
        "  --rounds N          windows of each kind, at most 16 (default 5)\n"
        "  --segment-mib N     a segment of `maps`, a power of two (default 2)\n"
        "  --pages-mib N       the file of `pages` (default 1024)\n"
        "  --only PART         index, maps, pages or levels\n"
        "  --csv FILE          also one row per measure: name,value,unit (-: only that, on "
        "stdout)\n"
        "  --quick             seconds instead of minutes; numbers of no value\n"
        "  --name NAME         the published name begins with this (default: perf-PID)\n"
        "  --dir DIR           the index is made in here (default: $TMPDIR or /tmp)\n"
        "  --tmpfs DIR         files of `maps` and `pages` (default /dev/shm)\n";

static const struct {
        const char *name;
        void (*measure)(const struct serving_options *options, struct perf_table *table);
} parts[] = {
        {"levels", serving_measure_levels},
        {"pages", serving_measure_pages},
        {"maps", serving_measure_maps},
        {"index", serving_measure_index},
};

void serving_die(const char *what, int r)
{
        fprintf(stderr, "serving: %s%s%s\n", what, r ? ": " : "",
                r ? strerror(r < 0 ? -r : r) : "");
        exit(1);
}

void serving_sleep_ns(uint64_t ns)
{
        const struct timespec pause = {.tv_sec = (time_t)(ns / 1000000000),
                                       .tv_nsec = (long)(ns % 1000000000)};

        (void)nanosleep(&pause, NULL);
}

static void fail_usage(void)
{
        fputs(usage, stderr);
        exit(2);
}

static double positive(const char *text)
{
        char *end;
        double value = strtod(text, &end);

        if (*end || !(value > 0) || value > 1e12)
                fail_usage();
        return value;
}

static const char *csv_path, *only;

static void threads_take(struct serving_options *options, const char *text)
{
        uint64_t sizes[PERF_SIZES_MAX];
        int n = perf_sizes_parse(text, 1, sizes);

        if (n < 0)
                fail_usage();
        options->n_threads = (size_t)n;
        for (int i = 0; i < n; i++) {
                if (sizes[i] > 256)
                        fail_usage();
                options->threads[i] = (uint32_t)sizes[i];
        }
}

static void option_take(struct serving_options *options, int code)
{
        switch (code) {
        case 'k':
                options->n_keys = (uint64_t)positive(optarg);
                break;
        case 't':
                threads_take(options, optarg);
                break;
        case 's':
                options->seconds = positive(optarg);
                break;
        case 'r':
                options->rate = positive(optarg);
                break;
        case 'R':
                options->n_rounds = (uint32_t)positive(optarg);
                break;
        case 'm':
                options->segment_bytes = (uint64_t)positive(optarg) << 20;
                break;
        case 'p':
                options->page_bytes = (uint64_t)positive(optarg) << 20;
                break;
        case 'n':
                options->name = optarg;
                break;
        case 'd':
                options->dir = optarg;
                break;
        case 'T':
                options->tmpfs = optarg;
                break;
        default:
                fail_usage();
        }
}

static void options_parse(int argc, char **argv, struct serving_options *options)
{
        static const struct option longs[] = {
                {"keys", required_argument, NULL, 'k'},
                {"threads", required_argument, NULL, 't'},
                {"seconds", required_argument, NULL, 's'},
                {"rate", required_argument, NULL, 'r'},
                {"rounds", required_argument, NULL, 'R'},
                {"segment-mib", required_argument, NULL, 'm'},
                {"pages-mib", required_argument, NULL, 'p'},
                {"only", required_argument, NULL, 'o'},
                {"csv", required_argument, NULL, 'c'},
                {"quick", no_argument, NULL, 'q'},
                {"name", required_argument, NULL, 'n'},
                {"dir", required_argument, NULL, 'd'},
                {"tmpfs", required_argument, NULL, 'T'},
                {"help", no_argument, NULL, 'h'},
                {0},
        };
        int code;

        while ((code = getopt_long(argc, argv, "", longs, NULL)) != -1) {
                if (code == 'h') {
                        fputs(usage, stdout);
                        exit(0);
                }
                if (code == 'q')
                        options->quick = true;
                else if (code == 'c')
                        csv_path = optarg;
                else if (code == 'o')
                        only = optarg;
                else
                        option_take(options, code);
        }
        if (optind != argc)
                fail_usage();
}

/* What was not said. */
static void options_default(struct serving_options *options)
{
        bool quick = options->quick;

        if (!options->dir)
                options->dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
        if (!options->tmpfs)
                options->tmpfs = "/dev/shm";
        if (options->n_threads == 0)
                threads_take(options, quick ? "2" : "2,8");
        if (options->n_keys == 0)
                options->n_keys = quick ? 20000 : 1000000;
        if (options->seconds <= 0)
                options->seconds = quick ? 0.1 : 4;
        if (options->rate <= 0)
                options->rate = quick ? 50 : 10;
        if (options->n_rounds == 0)
                options->n_rounds = quick ? 1 : 5;
        if (options->segment_bytes == 0)
                options->segment_bytes = quick ? 64 << 10 : 2 << 20;
        if (options->page_bytes == 0)
                options->page_bytes = quick ? 8 << 20 : 1 << 30;
        if (options->n_rounds > SERVING_ROUNDS_MAX || options->n_keys < 10000 ||
            (options->segment_bytes & (options->segment_bytes - 1)))
                fail_usage();
}

int main(int argc, char **argv)
{
        static struct serving_options options;
        static struct perf_table table;
        FILE *csv = NULL;

        options_parse(argc, argv, &options);
        options_default(&options);
        if (csv_path) {
                csv = perf_csv_open(csv_path);
                if (!csv)
                        serving_die(csv_path, -errno);
        }
        perf_table_circumstances(&table);
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
                if (!only || strcmp(only, parts[i].name) == 0)
                        parts[i].measure(&options, &table);
        if (table.n_rows == 0)
                fail_usage();
        if (csv != stdout)
                perf_table_print(&table, "lanemap, serving", NULL, 0, stdout);
        if (csv) {
                int r;

                perf_table_csv(&table, options.n_keys, csv);
                r = perf_csv_close(csv);
                if (r < 0)
                        serving_die(csv_path, r);
        }
        return 0;
}
