/*
 * lanemapd beside redis-server: how many requests a second each answers, under the same policy for
 * the log, from the same requests.
 *
 * A round of one policy: both servers start afresh and are filled with the same keys; then each
 * case (words, clients, pipeline) runs on the one and right after it on the other, who is first
 * changes from round to round. What disturbs the machine disturbs both, so a ratio is the median of
 * the rounds' ratios.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base.h"
#include "support/command.h"
#include "support/daemon.h"
#include "support/die.h"
#include "support/load.h"
#include "support/memory.h"
#include "support/output.h"
#include "support/pin.h"
#include "support/redis.h"
#include "support/timer.h"
#include "support/windows.h"

#define ROUNDS_MAX 32

enum { LANEMAPD, REDIS, N_SERVERS };

struct test_case {
        const char *policy;
        enum perf_request_kind kind;
        uint32_t n_clients, pipeline;
        uint64_t n; /* requests, at most */
};

/* clang-format off */
static const struct test_case cases[] = {
        {"everysec", PERF_REQUEST_SADD,       1,   1,   40000},
        {"everysec", PERF_REQUEST_SADD,      50,   1,   80000},
        {"everysec", PERF_REQUEST_SADD,       1,  16,  250000},
        {"everysec", PERF_REQUEST_SADD,      50,  16,  400000},
        {"everysec", PERF_REQUEST_SADD,       1, 256,  500000},
        {"everysec", PERF_REQUEST_SADD,      50, 256, 1000000},
        {"everysec", PERF_REQUEST_SISMEMBER,  1,   1,   40000},
        {"everysec", PERF_REQUEST_SISMEMBER, 50,   1,   80000},
        {"everysec", PERF_REQUEST_SMEMBERS,   1,   1,   40000},
        {"everysec", PERF_REQUEST_SMEMBERS,  50,   1,   80000},
        {"no",       PERF_REQUEST_SADD,       1,   1,   40000},
        {"no",       PERF_REQUEST_SADD,      50,   1,   80000},
        {"no",       PERF_REQUEST_SADD,       1,  16,  250000},
        {"no",       PERF_REQUEST_SADD,      50,  16,  400000},
        {"no",       PERF_REQUEST_SADD,      50, 256, 1000000},
        {"always",   PERF_REQUEST_SADD,       1,   1,    2000},
        {"always",   PERF_REQUEST_SADD,      50,   1,   20000},
        {"always",   PERF_REQUEST_SADD,       1,  16,   20000},
        {"always",   PERF_REQUEST_SADD,      50,  16,  200000},
        {"always",   PERF_REQUEST_SADD,      50, 256,  500000},
};
/* clang-format on */

#define N_CASES LANEMAP_N_ELEMENTS(cases)

/* Names are those of case_name(). */
static const struct perf_goal goals[] = {
        {"everysec_sadd_c1_p1_ratio", true, 1.3},
        {"everysec_sadd_c50_p1_ratio", true, 1.2},
        {"everysec_sadd_c1_p16_ratio", true, 2},
        {"everysec_sadd_c50_p16_ratio", true, 2},
        {"everysec_sadd_c50_p256_ratio", true, 5},
        {"everysec_sismember_c1_p1_ratio", true, 1.2},
        {"everysec_sismember_c50_p1_ratio", true, 1.2},
        {"everysec_smembers_c1_p1_ratio", true, 1.2},
        {"everysec_smembers_c50_p1_ratio", true, 1.2},
        {"no_sadd_c1_p1_ratio", true, 1.3},
        {"no_sadd_c50_p1_ratio", true, 1.2},
        {"no_sadd_c1_p16_ratio", true, 2},
        {"no_sadd_c50_p16_ratio", true, 2},
        {"no_sadd_c50_p256_ratio", true, 5},
        {"always_sadd_c1_p1_ratio", true, 1.3},
        {"always_sadd_c50_p1_ratio", true, 1.3},
        {"always_sadd_c1_p16_ratio", true, 1.3},
        {"always_sadd_c50_p16_ratio", true, 1.3},
        {"always_sadd_c50_p256_ratio", true, 1.3},
};

struct options {
        const char *csv, *name, *dir, *lanemapd, *redis_server, *only;
        uint64_t n_keys, n_rounds;
        double seconds;
        bool quick, pin;
};

/* Of one case, by round. */
struct series {
        double rates[N_SERVERS][ROUNDS_MAX];
        double cpu_ns[N_SERVERS][ROUNDS_MAX]; /* of the server, per request */
        double client_busy[ROUNDS_MAX];       /* the generator's part of a processor */
};

struct server {
        struct perf_place place;
        pid_t pid;
};

static void case_name(const struct test_case *test, char name[40])
{
        static const char *const words[] = {"sadd", "sismember", "smembers"};

        snprintf(name, 40, "%s_%s_c%u_p%u", test->policy, words[test->kind], test->n_clients,
                 test->pipeline);
}

static bool case_wanted(const struct options *options, const struct test_case *test)
{
        char name[40];

        case_name(test, name);
        return !options->only || strncmp(name, options->only, strlen(options->only)) == 0;
}

/* ---- servers ---- */

static void server_start(const struct options *options, int which, const char *policy,
                         struct server *server)
{
        int fd, r;

        perf_place_make(options->name, options->dir, &server->place);
        r = which == LANEMAPD
                    ? perf_daemon_start(options->lanemapd, &server->place, policy, &server->pid)
                    : perf_redis_start(options->redis_server, &server->place, policy, &server->pid);
        if (r < 0)
                perf_die(which == LANEMAPD ? options->lanemapd : options->redis_server, r);
        r = perf_daemon_connect(&server->place, &fd);
        if (r < 0)
                perf_die(which == LANEMAPD ? options->lanemapd : options->redis_server, r);
        close(fd);
        if (options->pin)
                (void)perf_pin_working(server->pid, 0);
}

static void server_stop(struct server *server)
{
        perf_daemon_stop(server->pid, SIGTERM);
        perf_place_remove(&server->place);
}

static double process_ns(pid_t pid)
{
        struct timespec used;
        clockid_t clock;

        if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
                perf_die("processor time of a server", -ESRCH);
        return (double)used.tv_sec * 1e9 + (double)used.tv_nsec;
}

/* ---- rounds ---- */

static void case_run(const struct options *options, const struct test_case *test,
                     const struct perf_requests *requests, struct server *servers, uint64_t round,
                     struct series *series)
{
        const struct perf_load load = {test->n_clients, test->pipeline, options->seconds};

        for (int turn = 0; turn < N_SERVERS; turn++) {
                int which = (turn + (int)round) % N_SERVERS;
                double cpu_from = process_ns(servers[which].pid);
                struct perf_load_result result =
                        perf_load_run(&servers[which].place, &load, requests);

                series->rates[which][round] = (double)result.n / result.seconds;
                series->cpu_ns[which][round] =
                        (process_ns(servers[which].pid) - cpu_from) / (double)result.n;
                if (which == LANEMAPD)
                        series->client_busy[round] = result.client_cpu_seconds / result.seconds;
        }
}

/* New keys are the next ones that no case has added. */
static void case_requests(const struct options *options, const struct test_case *test,
                          uint64_t *next_key, struct perf_requests *requests)
{
        uint64_t n = options->quick ? LANEMAP_MIN(test->n / 100, UINT64_C(2000)) : test->n;

        if (test->kind == PERF_REQUEST_SADD) {
                perf_requests_make(requests, test->kind, *next_key, n, n, 0);
                *next_key += n;
        } else {
                perf_requests_make(requests, test->kind, 0, options->n_keys, n, 1 + *next_key);
        }
}

static void policy_round(const struct options *options, const char *policy, uint64_t round,
                         const struct perf_requests *preload, const struct perf_requests *requests,
                         struct series *series)
{
        static const struct perf_load fill = {8, 256, 0};
        struct server servers[N_SERVERS];

        for (int which = 0; which < N_SERVERS; which++) {
                server_start(options, which, policy, &servers[which]);
                (void)perf_load_run(&servers[which].place, &fill, preload);
        }
        for (size_t i = 0; i < N_CASES; i++)
                if (strcmp(cases[i].policy, policy) == 0 && case_wanted(options, &cases[i]))
                        case_run(options, &cases[i], &requests[i], servers, round, &series[i]);
        for (int which = 0; which < N_SERVERS; which++)
                server_stop(&servers[which]);
}

static void policy_measure(const struct options *options, const char *policy,
                           const struct perf_requests *preload, struct series *series)
{
        struct perf_requests requests[N_CASES];
        uint64_t next_key = options->n_keys;
        bool wanted = false;

        memset(requests, 0, sizeof(requests));
        for (size_t i = 0; i < N_CASES; i++) {
                if (strcmp(cases[i].policy, policy) != 0 || !case_wanted(options, &cases[i]))
                        continue;
                case_requests(options, &cases[i], &next_key, &requests[i]);
                wanted = true;
        }
        for (uint64_t round = 0; wanted && round < options->n_rounds; round++)
                policy_round(options, policy, round, preload, requests, series);
        for (size_t i = 0; i < N_CASES; i++)
                if (requests[i].bytes)
                        perf_requests_free(&requests[i]);
}

/* ---- rows ---- */

static void row(struct perf_table *table, const char *name, const char *what, double value,
                const char *unit)
{
        char full[56];

        snprintf(full, sizeof(full), "%s_%s", name, what);
        perf_table_add(table, full, value, unit);
}

static void case_rows(const struct options *options, const struct test_case *test,
                      struct series *series, struct perf_table *table)
{
        double ratios[ROUNDS_MAX], cpu_ratios[ROUNDS_MAX];
        size_t n = options->n_rounds;
        char name[40];

        case_name(test, name);
        for (size_t i = 0; i < n; i++) {
                ratios[i] = series->rates[LANEMAPD][i] / series->rates[REDIS][i];
                cpu_ratios[i] = series->cpu_ns[REDIS][i] / series->cpu_ns[LANEMAPD][i];
        }
        row(table, name, "lanemapd", perf_median(series->rates[LANEMAPD], n), "1/s");
        row(table, name, "redis", perf_median(series->rates[REDIS], n), "1/s");
        row(table, name, "ratio", perf_median(ratios, n), "");
        row(table, name, "ratio_low", perf_minimum(ratios, n), "");
        row(table, name, "ratio_high", perf_maximum(ratios, n), "");
        row(table, name, "lanemapd_cpu", perf_median(series->cpu_ns[LANEMAPD], n), "ns");
        row(table, name, "cpu_ratio", perf_median(cpu_ratios, n), "");
        row(table, name, "client_busy", perf_median(series->client_busy, n), "");
}

static void options_parse(int argc, char **argv, struct options *options)
{
#define TO(member) LANEMAP_OPTION_TO(struct options, member)
        static const struct lanemap_option all[] = {
                {"keys", "N", "keys in both servers when a round begins (default 1000000)",
                 TO(n_keys), 1, 100000000},
                {"rounds", "N", "of each policy (default 5)", TO(n_rounds), 1, ROUNDS_MAX},
                {"seconds", "S", "no case runs longer on one server (default 2)", TO(seconds)},
                {"only", "NAME", "only cases whose names begin with it: no_sadd_c50", TO(only)},
                {"pin", NULL, "the generator on the last processor, the servers off it", TO(pin)},
                {"lanemapd", "FILE", "the daemon (default: this build's)", TO(lanemapd)},
                {"redis-server", "FILE", "what it is compared with (default: of PATH)",
                 TO(redis_server)},
                PERF_OPTION_CSV(struct options, csv),
                PERF_OPTION_QUICK(struct options, quick),
                PERF_OPTION_NAME(struct options, name),
                PERF_OPTION_DIR(struct options, dir),
        };

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), options, argc, argv);
        options->dir = perf_command_dir(options->dir);
        if (options->quick) {
                options->n_keys = 5000;
                options->n_rounds = 1;
                options->seconds = 0.2;
        }
}

int main(int argc, char **argv)
{
        static const char *const policies[] = {"everysec", "no", "always"};
        struct options options = {.n_keys = 1000000,
                                  .n_rounds = 5,
                                  .seconds = 2,
                                  .lanemapd = perf_sibling_path("../src/daemon/lanemapd"),
                                  .redis_server = "redis-server"};
        static struct series series[N_CASES];
        static struct perf_table table;
        struct perf_requests preload;
        struct perf_output output;
        char version[80];

        options_parse(argc, argv, &options);
        perf_output_open(&output, options.csv, goals, LANEMAP_N_ELEMENTS(goals));
        perf_table_circumstances(&table);
        perf_redis_version(options.redis_server, version);
        perf_table_note(&table, "%s", version);
        if (options.pin)
                (void)perf_pin_measuring();

        perf_requests_make(&preload, PERF_REQUEST_SADD, 0, options.n_keys, options.n_keys, 0);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(policies); i++)
                policy_measure(&options, policies[i], &preload, series);
        perf_requests_free(&preload);
        for (size_t i = 0; i < N_CASES; i++)
                if (case_wanted(&options, &cases[i]))
                        case_rows(&options, &cases[i], &series[i], &table);
        perf_output_table(&output, &table, "requests a second, lanemapd and redis-server",
                          options.n_keys);
        perf_output_close(&output);
        return 0;
}
