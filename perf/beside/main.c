/*
 * perf/beside: how long another client of lanemapd waits, for a PING and for a read, beside a client
 * that adds and beside long commands; and what the adds cost in flushes and merges.
 *
 * A probe is a thread with a connection of its own: it asks, waits for the answer, and pauses a few
 * milliseconds. Up to 16,384 adds of one client are on their way.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base.h"
#include "common/order.h"
#include "support/command.h"
#include "support/daemon.h"
#include "support/die.h"
#include "support/keys.h"
#include "support/output.h"
#include "support/timer.h"

#define PIPELINE       256   /* adds that are sent at once */
#define WINDOW         16384 /* that are on their way */
#define REQUEST_BYTES  (PERF_KEY_BYTES_MAX + 64)
#define PROBES_MAX     (1U << 20)
#define PROBE_PAUSE_NS 2000000
#define TEXT_BYTES_MAX 65536

static const struct perf_goal goals[] = {
        {"adds_ping_max", false, 10e-3},       {"adds_read_max", false, 10e-3},
        {"entries_written_per_add", false, 7}, {"compact_ping_max", false, 20e-3},
        {"backup_ping_max", false, 20e-3},     {"ids_ping_max", false, 20e-3},
        {"verify_ping_max", false, 20e-3},     {"flushall_ping_max", false, 20e-3},
};

struct run {
        struct lanemap_option_sizes keys;
        uint64_t n_adds;
        const char *csv, *name, *dir, *lanemapd, *appendfsync;
        bool quick, skip_commands;
        struct perf_place place;
        char first_key[PERF_KEY_BYTES_MAX + 1];
};

/* ---- a connection that waits for its answers ---- */

static int connection_open(const struct run *run)
{
        int fd, r = perf_daemon_connect(&run->place, &fd);

        if (r < 0)
                perf_die("connect", r);
        return fd;
}

static size_t connection_read(int fd, char *bytes, size_t n_bytes)
{
        struct pollfd ready = {.fd = fd, .events = POLLIN};

        for (;;) {
                ssize_t n = read(fd, bytes, n_bytes);

                if (n > 0)
                        return (size_t)n;
                if (n == 0)
                        perf_die("lanemapd hung up", -EPIPE);
                if (errno != EAGAIN && errno != EINTR)
                        perf_die("read", -errno);
                (void)poll(&ready, 1, -1);
        }
}

static void connection_write(int fd, const char *bytes, size_t n_bytes)
{
        struct pollfd ready = {.fd = fd, .events = POLLOUT};

        while (n_bytes > 0) {
                ssize_t n = write(fd, bytes, n_bytes);

                if (n < 0 && errno != EAGAIN && errno != EINTR)
                        perf_die("write", -errno);
                if (n <= 0) {
                        (void)poll(&ready, 1, -1);
                        continue;
                }
                bytes += n;
                n_bytes -= (size_t)n;
        }
}

/* One answer of one line, or a bulk string, which is terminated. */
static char *ask(int fd, const char *question, char text[TEXT_BYTES_MAX])
{
        size_t n = 0, wanted;
        char *end;

        connection_write(fd, question, strlen(question));
        do {
                n += connection_read(fd, text + n, TEXT_BYTES_MAX - 1 - n);
                text[n] = 0;
                end = strstr(text, "\r\n");
                wanted = end ? (size_t)(end + 2 - text) : SIZE_MAX;
                if (end && text[0] == '$')
                        wanted += strtoul(text + 1, NULL, 10) + 2;
        } while (n < wanted);
        if (text[0] == '-') {
                fprintf(stderr, "%s%s", question, text);
                perf_die("an error was answered", -EPROTO);
        }
        return text;
}

/* A number of INFO. */
static double info(int fd, const char *name)
{
        static char text[TEXT_BYTES_MAX];
        char field[64];
        const char *at;

        snprintf(field, sizeof(field), "\n%s:", name);
        at = strstr(ask(fd, "INFO lanemap\r\n", text), field);
        if (!at)
                perf_die(name, -ENOENT);
        return strtod(at + strlen(field), NULL);
}

/* ---- adds ---- */

struct adds {
        char bytes[PIPELINE * REQUEST_BYTES];
        size_t begin, end;  /* of what is not sent yet */
        size_t reply_bytes; /* of replies of 4 bytes each */
        uint64_t next;      /* key */
        uint64_t n_asked;
};

static void adds_encode(struct adds *adds, size_t n)
{
        adds->begin = adds->end = 0;
        for (size_t i = 0; i < n; i++, adds->next++) {
                char key[PERF_KEY_BYTES_MAX], id[16];
                struct perf_route route = perf_key_route(PERF_MIX_SINGLE, adds->next);
                size_t key_bytes = perf_key_text(PERF_MIX_SINGLE, adds->next, key);
                int id_bytes = snprintf(id, sizeof(id), "%u", route.first);

                adds->end += (size_t)sprintf(adds->bytes + adds->end,
                                             "*3\r\n$4\r\nSADD\r\n$%zu\r\n%.*s\r\n$%d\r\n%s\r\n",
                                             key_bytes, (int)key_bytes, key, id_bytes, id);
        }
        adds->n_asked += n;
}

static bool adds_send(int fd, struct adds *adds)
{
        ssize_t n = write(fd, adds->bytes + adds->begin, adds->end - adds->begin);

        if (n < 0 && errno != EAGAIN && errno != EINTR)
                perf_die("write", -errno);
        adds->begin += n > 0 ? (size_t)n : 0;
        return n > 0;
}

static bool adds_receive(int fd, struct adds *adds)
{
        static const char expected[4] = {':', '1', '\r', '\n'};
        char replies[65536];
        ssize_t n = read(fd, replies, sizeof(replies));

        if (n == 0)
                perf_die("lanemapd hung up", -EPIPE);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
                perf_die("read", -errno);
        for (ssize_t i = 0; i < n; i++)
                if (replies[i] != expected[adds->reply_bytes++ % 4]) {
                        fprintf(stderr, "%.*s\n", (int)LANEMAP_MIN(n - i, (ssize_t)200),
                                replies + i);
                        perf_die("an add was not answered with 1", -EPROTO);
                }
        return n > 0;
}

static void adds_run(int fd, uint64_t first, uint64_t n_keys)
{
        static struct adds adds;

        adds = (struct adds){.next = first};
        while (adds.reply_bytes < 4 * n_keys) {
                struct pollfd ready = {.fd = fd, .events = POLLIN};
                bool moved = false;

                if (adds.begin == adds.end && adds.n_asked < n_keys &&
                    adds.n_asked - adds.reply_bytes / 4 < WINDOW)
                        adds_encode(&adds,
                                    (size_t)LANEMAP_MIN((uint64_t)PIPELINE, n_keys - adds.n_asked));
                if (adds.begin < adds.end) {
                        moved = adds_send(fd, &adds);
                        ready.events |= POLLOUT;
                }
                moved |= adds_receive(fd, &adds);
                if (!moved)
                        (void)poll(&ready, 1, -1);
        }
}

/* ---- probes ---- */

struct probe {
        const struct run *run;
        const char *name;
        char question[128];
        pthread_t thread;
        bool stopping; /* atomic */
        double *seconds;
        size_t n;
};

static void *probe_main(void *arg)
{
        const struct timespec pause = {.tv_nsec = PROBE_PAUSE_NS};
        struct probe *probe = arg;
        int fd = connection_open(probe->run);
        char text[512];

        do {
                double from = perf_now();

                connection_write(fd, probe->question, strlen(probe->question));
                (void)connection_read(fd, text, sizeof(text));
                probe->seconds[probe->n++] = perf_now() - from;
                (void)nanosleep(&pause, NULL);
        } while (!lanemap_load_relaxed(&probe->stopping) && probe->n < PROBES_MAX);
        close(fd);
        return NULL;
}

static void probe_start(struct probe *probe)
{
        int r;

        probe->n = 0;
        probe->seconds = malloc(PROBES_MAX * sizeof(*probe->seconds));
        if (!probe->seconds)
                perf_die("probe", -ENOMEM);
        lanemap_store_relaxed(&probe->stopping, false);
        r = pthread_create(&probe->thread, NULL, probe_main, probe);
        if (r != 0)
                perf_die("probe", -r);
}

static int seconds_order(const void *a, const void *b)
{
        double left = *(const double *)a, right = *(const double *)b;

        return (left > right) - (left < right);
}

static void probe_stop(struct probe *probe, const char *beside, struct perf_table *table)
{
        char name[56];

        lanemap_store_relaxed(&probe->stopping, true);
        pthread_join(probe->thread, NULL);
        qsort(probe->seconds, probe->n, sizeof(*probe->seconds), seconds_order);
        snprintf(name, sizeof(name), "%s_%s_p50", beside, probe->name);
        perf_table_add(table, name, probe->seconds[probe->n / 2], "s");
        snprintf(name, sizeof(name), "%s_%s_p99", beside, probe->name);
        perf_table_add(table, name, probe->seconds[probe->n - 1 - probe->n / 100], "s");
        snprintf(name, sizeof(name), "%s_%s_max", beside, probe->name);
        perf_table_add(table, name, probe->seconds[probe->n - 1], "s");
        free(probe->seconds);
}

static void probes_start(const struct run *run, struct probe probes[2])
{
        probes[0] = (struct probe){.run = run, .name = "ping", .question = "PING\r\n"};
        probes[1] = (struct probe){.run = run, .name = "read"};
        snprintf(probes[1].question, sizeof(probes[1].question), "SMEMBERS %s\r\n", run->first_key);
        probe_start(&probes[0]);
        probe_start(&probes[1]);
}

static void probes_stop(struct probe probes[2], const char *beside, struct perf_table *table)
{
        probe_stop(&probes[0], beside, table);
        probe_stop(&probes[1], beside, table);
}

/* ---- the measurements ---- */

static const char *const counters[] = {
        "flush_entries_written", "merge_entries_written", "n_flushes",      "n_merges",
        "n_write_stalls",        "write_stall_ns",        "n_write_delays", "write_delay_ns",
};

static void adds_measure(const struct run *run, int fd, uint64_t n_keys, struct perf_table *table)
{
        double before[LANEMAP_N_ELEMENTS(counters)], more[LANEMAP_N_ELEMENTS(counters)], from;
        struct probe probes[2];

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(counters); i++)
                before[i] = info(fd, counters[i]);
        probes_start(run, probes);
        from = perf_now();
        adds_run(fd, n_keys, run->n_adds);
        perf_table_add(table, "adds_rate", (double)run->n_adds / (perf_now() - from), "1/s");
        probes_stop(probes, "adds", table);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(counters); i++)
                more[i] = info(fd, counters[i]) - before[i];
        perf_table_add(table, "entries_written_per_add", (more[0] + more[1]) / (double)run->n_adds,
                       "");
        perf_table_add(table, "flush_entries_per_add", more[0] / (double)run->n_adds, "");
        perf_table_add(table, "merge_entries_per_add", more[1] / (double)run->n_adds, "");
        perf_table_add(table, "flushes", more[2], "");
        perf_table_add(table, "merges", more[3], "");
        perf_table_add(table, "write_stalls", more[4], "");
        perf_table_add(table, "write_stall_time", more[5] / 1e9, "s");
        perf_table_add(table, "write_delays", more[6], "");
        perf_table_add(table, "write_delay_time", more[7] / 1e9, "s");
        perf_table_add(table, "last_flush_time", info(fd, "last_flush_ns") / 1e9, "s");
        perf_table_add(table, "segments_per_lane", info(fd, "n_segments") / info(fd, "n_lanes"),
                       "");
        perf_table_add(table, "segment_bytes_per_key",
                       info(fd, "segment_bytes") / info(fd, "n_keys"), "B");
}

static void command_measure(const struct run *run, int fd, const char *name, const char *question,
                            struct perf_table *table)
{
        static char text[TEXT_BYTES_MAX];
        struct probe probes[2];
        double from;
        char row[56];

        probes_start(run, probes);
        from = perf_now();
        (void)ask(fd, question, text);
        snprintf(row, sizeof(row), "%s_time", name);
        perf_table_add(table, row, perf_now() - from, "s");
        /* IDS goes on after its first line. */
        while (strcmp(name, "ids") == 0) {
                struct pollfd ready = {.fd = fd, .events = POLLIN};

                if (poll(&ready, 1, 500) != 1)
                        break;
                (void)connection_read(fd, text, sizeof(text));
        }
        probes_stop(probes, name, table);
}

static void commands_measure(const struct run *run, int fd, struct perf_table *table)
{
        char backup[700];

        snprintf(backup, sizeof(backup), "LANEMAP.BACKUP %s/backup\r\n", run->place.directory);
        command_measure(run, fd, "compact", "LANEMAP.COMPACT\r\n", table);
        command_measure(run, fd, "backup", backup, table);
        command_measure(run, fd, "verify", "LANEMAP.VERIFY\r\n", table);
        command_measure(run, fd, "dbsize", "DBSIZE\r\n", table);
        command_measure(run, fd, "info", "INFO\r\n", table);
        command_measure(run, fd, "ids", "LANEMAP.IDS\r\n", table);
        close(fd);
        fd = connection_open(run);
        command_measure(run, fd, "flushall", "FLUSHALL\r\n", table);
        close(fd);
}

static void measure(struct run *run, uint64_t n_keys, struct perf_table *table)
{
        pid_t pid;
        double from;
        int r, fd;

        perf_place_make(run->name, run->dir, &run->place);
        r = perf_daemon_start(run->lanemapd, &run->place, run->appendfsync, &pid);
        if (r < 0)
                perf_die(run->lanemapd, r);
        fd = connection_open(run);
        from = perf_now();
        run->first_key[perf_key_text(PERF_MIX_SINGLE, 0, run->first_key)] = 0;
        adds_run(fd, 0, n_keys);
        perf_table_add(table, "load_rate", (double)n_keys / (perf_now() - from), "1/s");
        adds_measure(run, fd, n_keys, table);
        if (run->skip_commands)
                close(fd);
        else
                commands_measure(run, fd, table);
        perf_daemon_stop(pid, SIGTERM);
        perf_place_remove(&run->place);
}

#define TO(member) LANEMAP_OPTION_TO(struct run, member)

int main(int argc, char **argv)
{
        static struct run run = {.appendfsync = "everysec"};
        static const struct lanemap_option all[] = {
                {"keys", "N[,N...]", "keys before the adds (default 10000000)", TO(keys), 1000},
                {"adds", "N", "keys added beside the probes (default 6000000)", TO(n_adds), 1},
                {"appendfsync", "POLICY", "of lanemapd (default everysec)", TO(appendfsync)},
                {"skip-commands", NULL, "no COMPACT, BACKUP, IDS, ...", TO(skip_commands)},
                PERF_OPTION_CSV(struct run, csv),
                PERF_OPTION_QUICK(struct run, quick),
                PERF_OPTION_NAME(struct run, name),
                PERF_OPTION_DIR(struct run, dir),
                {"lanemapd", "PATH", "the daemon to measure (default: of this build)",
                 TO(lanemapd)},
        };
        struct perf_output output;

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), &run, argc, argv);
        run.dir = perf_command_dir(run.dir);
        if (!run.lanemapd)
                run.lanemapd = perf_sibling_path("../src/daemon/lanemapd");
        if (run.n_adds == 0)
                run.n_adds = run.quick ? 20000 : 6000000;
        if (run.keys.n == 0)
                run.keys = (struct lanemap_option_sizes){1, {run.quick ? 50000 : 10000000}};
        perf_output_open(&output, run.csv, goals, LANEMAP_N_ELEMENTS(goals));
        for (size_t i = 0; i < run.keys.n; i++) {
                static struct perf_table table;
                char title[96];

                table = (struct perf_table){0};
                perf_table_circumstances(&table);
                measure(&run, run.keys.values[i], &table);
                snprintf(title, sizeof(title), "lanemapd, %" PRIu64 " keys and %" PRIu64 " adds",
                         run.keys.values[i], run.n_adds);
                perf_output_table(&output, &table, title, run.keys.values[i]);
        }
        perf_output_close(&output);
        return 0;
}
