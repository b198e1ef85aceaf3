/*
 * perf/index: the numbers of a whole index, in one run. perf/README.md says how to read them.
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
#include <unistd.h>

#include "index_private.h"
#include "support/arguments.h"
#include "support/timer.h"

const char *const index_policies[3] = {"always", "everysec", "no"};

static const char usage[] =
        "usage: index [--keys N[,N...]] [--csv FILE|-] [--quick] [--churn] [--mix "
        "single|production]\n"
        "             [--name NAME] [--dir DIR] [--adds N] [--pipeline N] [--lanemapd PATH]\n"
        "             [--skip-socket] [--timeline FILE] [--churn-seconds N] [--rewrite]\n"
        "\n"
        "  --keys N[,N...]   sizes of the index (default 1000000; with --quick 50000)\n"
        "  --csv FILE        also one row per measure: name,value,unit (-: on stdout, and only "
        "that)\n"
        "  --quick           seconds instead of minutes; numbers of no value\n"
        "  --churn           also while a tenth of the keys is being replaced\n"
        "  --churn-seconds N how long that tenth takes (default 10)\n"
        "  --rewrite         also while all segments are written anew, again and again\n"
        "  --mix MIX         single: one id per key; production: UUIDs, postings up to 10,000 ids\n"
        "  --name NAME       published names begin with this (default: perf-PID)\n"
        "  --dir DIR         folders of the run are made in here (default: $TMPDIR or /tmp)\n"
        "  --adds N          keys of a measurement of add throughput (default 1000000)\n"
        "  --pipeline N      requests under way through the socket (default 1000)\n"
        "  --timeline FILE   with --churn: where the bytes of each memory sample were, per key\n"
        "  --lanemapd PATH   the daemon to measure (default: of this build)\n";

/* Issue 2, issue 3: "Numbers to report". */
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

void index_die(const char *what, int r)
{
        fprintf(stderr, "index: %s%s%s\n", what, r ? ": " : "", r ? strerror(r < 0 ? -r : r) : "");
        exit(1);
}

void index_sleep_ms(unsigned ms)
{
        const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

        (void)nanosleep(&pause, NULL);
}

/* ---- places ---- */

void index_place_make(const struct index_options *options, struct perf_place *ret_place)
{
        int r = perf_place_make(options->name, options->dir, ret_place);

        if (r < 0)
                index_die(options->dir, r);
}

struct index_memory index_memory_take(const struct perf_place *place,
                                      const struct index_writer *writer)
{
        struct index_memory memory = {0};
        struct perf_footprint *footprint = &memory.footprint;
        int r;

        r = perf_footprint_take(place->name, place->directory, writer->pid, footprint);
        if (r < 0)
                index_die("footprint", r);

        if (footprint->anonymous_bytes > writer->anonymous_bytes)
                memory.private_bytes = footprint->anonymous_bytes - writer->anonymous_bytes;
        memory.memory_bytes =
                footprint->shared_bytes + memory.private_bytes + footprint->cached_bytes;
        memory.disk_bytes =
                footprint->segment_bytes + footprint->log_bytes + footprint->manifest_bytes;
        return memory;
}

/* ---- options ---- */

static char *sibling_path(const char *relative)
{
        char path[1024], *copy;
        int r = perf_sibling_path(relative, path, sizeof(path));

        copy = r == 0 ? strdup(path) : NULL;
        if (!copy)
                index_die(relative, r < 0 ? r : -ENOMEM);
        return copy;
}

struct run {
        struct index_options options;
        uint64_t keys[PERF_SIZES_MAX];
        int n_keys;
        const char *csv;
};

static void options_parse(int argc, char **argv, struct run *run)
{
        static const struct option longs[] = {
                {"keys", required_argument, NULL, 'k'},
                {"csv", required_argument, NULL, 'c'},
                {"quick", no_argument, NULL, 'q'},
                {"churn", no_argument, NULL, 'u'},
                {"mix", required_argument, NULL, 'm'},
                {"name", required_argument, NULL, 'n'},
                {"dir", required_argument, NULL, 'd'},
                {"adds", required_argument, NULL, 'a'},
                {"pipeline", required_argument, NULL, 'p'},
                {"lanemapd", required_argument, NULL, 'l'},
                {"skip-socket", no_argument, NULL, 's'},
                {"timeline", required_argument, NULL, 't'},
                {"churn-seconds", required_argument, NULL, 'S'},
                {"rewrite", no_argument, NULL, 'w'},
                {"help", no_argument, NULL, 'h'},
                {0},
        };
        struct index_options *options = &run->options;
        int code;

        while ((code = getopt_long(argc, argv, "", longs, NULL)) != -1) {
                switch (code) {
                case 'k':
                        run->n_keys = perf_sizes_parse(optarg, 1000, run->keys);
                        if (run->n_keys < 0)
                                index_die("--keys: up to 8 numbers from 1000 on", -EINVAL);
                        break;
                case 'c':
                        run->csv = optarg;
                        break;
                case 'q':
                        options->quick = true;
                        break;
                case 'u':
                        options->churn = true;
                        break;
                case 'm':
                        if (perf_mix_parse(optarg, &options->mix) < 0)
                                index_die("--mix", -EINVAL);
                        break;
                case 'n':
                        options->name = optarg;
                        break;
                case 'd':
                        options->dir = optarg;
                        break;
                case 'a':
                        options->adds_max = strtoull(optarg, NULL, 10);
                        break;
                case 'p':
                        options->pipeline = strtoull(optarg, NULL, 10);
                        break;
                case 'l':
                        options->lanemapd = optarg;
                        break;
                case 's':
                        options->skip_socket = true;
                        break;
                case 'S':
                        options->churn_seconds = strtoull(optarg, NULL, 10);
                        break;
                case 'w':
                        options->rewrite = true;
                        break;
                case 't':
                        options->timeline = fopen(optarg, "we");
                        if (!options->timeline)
                                index_die(optarg, -errno);
                        break;
                case 'h':
                        fputs(usage, stdout);
                        exit(0);
                default:
                        fputs(usage, stderr);
                        exit(2);
                }
        }
        if (optind != argc || options->adds_max == 0 || options->pipeline == 0) {
                fputs(usage, stderr);
                exit(2);
        }
}

int main(int argc, char **argv)
{
        static struct run run = {.options = {.adds_max = 1000000, .pipeline = 1000}};
        struct index_options *options = &run.options;
        FILE *csv = NULL;

        if (argc == 5 && strcmp(argv[0], "index-writer") == 0)
                return index_writer_main(argv);

        options_parse(argc, argv, &run);
        if (!options->dir)
                options->dir = getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
        options->reader = sibling_path("index-reader");
        if (!options->lanemapd)
                options->lanemapd = sibling_path("../src/daemon/lanemapd");
        if (run.n_keys == 0)
                run.keys[run.n_keys++] = options->quick ? 50000 : 1000000;
        if (run.csv) {
                csv = perf_csv_open(run.csv);
                if (!csv)
                        index_die(run.csv, -errno);
        }

        for (int i = 0; i < run.n_keys; i++) {
                static struct perf_table table;
                char title[96];

                table = (struct perf_table){0};
                perf_table_circumstances(&table);
                index_measure(options, run.keys[i], &table);
                index_measure_adds(options, run.keys[i], &table);
                index_measure_socket(options, run.keys[i], &table);
                index_measure_tenant(options, &table);

                snprintf(title, sizeof(title), "%" PRIu64 " keys, mix %s", run.keys[i],
                         options->mix == PERF_MIX_PRODUCTION ? "production" : "single");
                if (csv != stdout)
                        perf_table_print(&table, title, goals, sizeof(goals) / sizeof(goals[0]),
                                         stdout);
                if (csv)
                        perf_table_csv(&table, run.keys[i], csv);
        }
        if (csv) {
                int r = perf_csv_close(csv);

                if (r < 0)
                        index_die(run.csv, r);
        }

        return 0;
}
