/*
 * perf/outage: what stopped readers cost the writer, and what a writer's death costs readers.
 * perf/README.md says how to read it.
 *
 * The program reports; it never judges: goals are printed beside the values, and its exit status
 * says only whether everything could be measured and every answer was right.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "outage_private.h"
#include "support/arguments.h"

static const char usage[] =
        "usage: outage [--keys N[,N...]] [--csv FILE|-] [--quick] [--skip-adds] [--skip-memory]\n"
        "              [--skip-takeover] [--readers N] [--rounds N] [--events N] [--name NAME]\n"
        "              [--dir DIR] [--lanemapd PATH]\n"
        "\n"
        "  --keys N[,N...]   sizes of the index for takeovers (default 10000,1000000)\n"
        "  --csv FILE        also one row per measure: name,value,unit (-: on stdout, and only "
        "that)\n"
        "  --quick           seconds instead of minutes; numbers of no value\n"
        "  --readers N       attached while adds are measured (default 64, at most 256)\n"
        "  --rounds N        blocks of adds of each kind (default 15, at most 64)\n"
        "  --events N        kills, restarts and flips of each size (default 9, at most 64)\n"
        "  --name NAME       published names begin with this (default: perf-PID)\n"
        "  --dir DIR         folders of the run are made in here (default: $TMPDIR or /tmp)\n"
        "  --lanemapd PATH   the daemon to measure (default: of this build)\n";

/* Issue 4, "Numbers to report". */
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
        uint64_t keys[PERF_SIZES_MAX];
        size_t n_keys;
        const char *csv;
        bool skip_adds, skip_memory, skip_takeover;
};

void outage_die(const char *what, int r)
{
        fprintf(stderr, "outage: %s%s%s\n", what, r ? ": " : "", r ? strerror(r < 0 ? -r : r) : "");
        exit(1);
}

void outage_sleep_ms(unsigned ms)
{
        const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

        (void)nanosleep(&pause, NULL);
}

static void options_parse(int argc, char **argv, struct run *run)
{
        static const struct option longs[] = {
                {"keys", required_argument, NULL, 'k'},
                {"csv", required_argument, NULL, 'c'},
                {"quick", no_argument, NULL, 'q'},
                {"skip-adds", no_argument, NULL, 'A'},
                {"skip-memory", no_argument, NULL, 'M'},
                {"skip-takeover", no_argument, NULL, 'T'},
                {"readers", required_argument, NULL, 'r'},
                {"rounds", required_argument, NULL, 'R'},
                {"events", required_argument, NULL, 'e'},
                {"name", required_argument, NULL, 'n'},
                {"dir", required_argument, NULL, 'd'},
                {"lanemapd", required_argument, NULL, 'l'},
                {"help", no_argument, NULL, 'h'},
                {0},
        };
        struct outage_options *options = &run->options;
        int code, n;

        while ((code = getopt_long(argc, argv, "", longs, NULL)) != -1) {
                switch (code) {
                case 'k':
                        n = perf_sizes_parse(optarg, 1000, run->keys);
                        if (n < 0)
                                outage_die("--keys: numbers from 1000 on, separated by commas", n);
                        run->n_keys = (size_t)n;
                        break;
                case 'c':
                        run->csv = optarg;
                        break;
                case 'q':
                        options->quick = true;
                        break;
                case 'A':
                        run->skip_adds = true;
                        break;
                case 'M':
                        run->skip_memory = true;
                        break;
                case 'T':
                        run->skip_takeover = true;
                        break;
                case 'r':
                        options->n_readers = (uint32_t)strtoul(optarg, NULL, 10);
                        break;
                case 'R':
                        options->n_rounds = (uint32_t)strtoul(optarg, NULL, 10);
                        break;
                case 'e':
                        options->n_events = (uint32_t)strtoul(optarg, NULL, 10);
                        break;
                case 'n':
                        options->name = optarg;
                        break;
                case 'd':
                        options->dir = optarg;
                        break;
                case 'l':
                        snprintf(options->lanemapd, sizeof(options->lanemapd), "%s", optarg);
                        break;
                case 'h':
                        fputs(usage, stdout);
                        exit(0);
                default:
                        fputs(usage, stderr);
                        exit(2);
                }
        }
        if (optind != argc) {
                fputs(usage, stderr);
                exit(2);
        }
}

/* What was not said. --quick: everything once or twice, with eight readers. */
static void options_default(struct run *run)
{
        struct outage_options *options = &run->options;
        int r = 0;

        if (!options->dir)
                options->dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
        if (!options->lanemapd[0])
                r = perf_sibling_path("../src/daemon/lanemapd", options->lanemapd,
                                      sizeof(options->lanemapd));
        if (r == 0)
                r = perf_sibling_path("outage-reader", options->reader, sizeof(options->reader));
        if (r < 0)
                outage_die("/proc/self/exe", r);

        if (options->n_readers == 0)
                options->n_readers = options->quick ? 8 : 64;
        if (options->n_rounds == 0)
                options->n_rounds = options->quick ? 1 : 15;
        if (options->n_events == 0)
                options->n_events = options->quick ? 2 : 9;
        if (options->n_readers > 256 || options->n_rounds > 64 || options->n_events > 64) {
                fputs(usage, stderr);
                exit(2);
        }
        options->memory_limit = options->quick ? 16 << 20 : 64 << 20;
        if (run->n_keys == 0 && options->quick) {
                run->keys[run->n_keys++] = 10000;
        } else if (run->n_keys == 0) {
                run->keys[run->n_keys++] = 10000;
                run->keys[run->n_keys++] = 1000000;
        }
}

static void table_write(FILE *csv, const struct perf_table *table, const char *title,
                        uint64_t n_keys)
{
        if (csv != stdout)
                perf_table_print(table, title, goals, sizeof(goals) / sizeof(goals[0]), stdout);
        if (csv)
                perf_table_csv(table, n_keys, csv);
}

int main(int argc, char **argv)
{
        static struct run run;
        static struct perf_table table;
        FILE *csv = NULL;
        char title[96];

        options_parse(argc, argv, &run);
        options_default(&run);
        if (run.csv) {
                csv = perf_csv_open(run.csv);
                if (!csv)
                        outage_die(run.csv, -errno);
        }

        perf_table_circumstances(&table);
        if (!run.skip_adds)
                outage_measure_adds(&run.options, &table);
        if (!run.skip_memory)
                outage_measure_memory(&run.options, &table);
        snprintf(title, sizeof(title), "lanemap with %u readers attached", run.options.n_readers);
        if (table.n_rows > 0)
                table_write(csv, &table, title, 0);

        for (size_t i = 0; i < run.n_keys && !run.skip_takeover; i++) {
                table = (struct perf_table){0};
                perf_table_circumstances(&table);
                outage_measure_takeover(&run.options, run.keys[i], &table);
                snprintf(title, sizeof(title), "lanemap, takeovers with %" PRIu64 " keys",
                         run.keys[i]);
                table_write(csv, &table, title, run.keys[i]);
        }

        if (csv) {
                int r = perf_csv_close(csv);

                if (r < 0)
                        outage_die(run.csv, r);
        }
        return 0;
}
