/*
 * The latency of an add while 64 readers are attached: none, stopped in the midst of a lookup, and
 * running. Blocks of the three take turns, in another order each round, so that what disturbs the
 * machine disturbs all; a ratio is taken within one round.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "outage_private.h"
#include "support/daemon.h"
#include "support/pin.h"

#define ROUNDS_MAX 64
#define SETTLE_MS  10

enum company {
        COMPANY_NONE,
        COMPANY_STOPPED,
        COMPANY_RUNNING,
        N_COMPANIES,
};

static const char *const company_names[N_COMPANIES] = {"none", "stopped", "running"};

/* One way to add: through the engine (no lanemapd), or through the socket. */
struct path {
        const char *name;
        const char *policy; /* NULL: the engine */
        uint32_t engine_policy;
        uint32_t n_adds; /* of a block */
};

static const struct path paths[] = {
        {"engine_no", NULL, LANEMAP_APPENDFSYNC_NO, 20000},
        {"engine_always", NULL, LANEMAP_APPENDFSYNC_ALWAYS, 400},
        {"socket_no", "no", 0, 10000},
        {"socket_everysec", "everysec", 0, 10000},
        {"socket_always", "always", 0, 400},
};

struct adds {
        const struct path *path;
        struct lanemap_writer *writer;
        int fd;
        uint64_t next; /* key */
        double tick_ns;
        struct perf_recorder recorder;
        double p50[N_COMPANIES][ROUNDS_MAX];
        double p99[N_COMPANIES][ROUNDS_MAX];
};

static void engine_add(struct adds *adds, const char *text, size_t bytes, uint32_t id)
{
        const struct lanemap_op op = {
                .code = LANEMAP_OP_ADD, .id = id, .key = text, .key_bytes = bytes};
        uint64_t position;
        int r;

        r = lanemap_writer_apply(adds->writer, &op, 1, NULL, NULL, &position);
        if (r == 0 && adds->path->engine_policy == LANEMAP_APPENDFSYNC_ALWAYS)
                r = lanemap_writer_sync(adds->writer, position);
        if (r < 0)
                perf_die("apply", r);
}

static void socket_add(struct adds *adds, const char *request, size_t bytes)
{
        char reply[64];
        ssize_t n;

        if (send(adds->fd, request, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
                perf_die("send", -errno);
        do {
                struct pollfd poll_fd = {.fd = adds->fd, .events = POLLIN};

                (void)poll(&poll_fd, 1, 10000);
                n = read(adds->fd, reply, sizeof(reply));
        } while (n < 0 && errno == EINTR);
        if (n != 4 || memcmp(reply, ":1\r\n", 4) != 0)
                perf_die("an unexpected reply to SADD", n < 0 ? -errno : -EPROTO);
}

static void block_run(struct adds *adds, enum company company, uint32_t round)
{
        struct perf_recorder *recorder = &adds->recorder;
        /* Running readers want every processor: a block would take minutes. */
        uint32_t n = adds->path->n_adds / (company == COMPANY_RUNNING ? 10 : 1);

        recorder->n = 0;
        for (uint32_t i = 0; i < n; i++, adds->next++) {
                char text[PERF_KEY_BYTES_MAX], request[2 * PERF_KEY_BYTES_MAX];
                size_t bytes = perf_key_text(PERF_MIX_SINGLE, adds->next, text);
                uint32_t id = perf_key_route(PERF_MIX_SINGLE, adds->next).first;
                char id_text[16];
                int id_bytes = snprintf(id_text, sizeof(id_text), "%u", id);
                int request_bytes = snprintf(request, sizeof(request),
                                             "*3\r\n$4\r\nSADD\r\n$%zu\r\n%.*s\r\n$%d\r\n%s\r\n",
                                             bytes, (int)bytes, text, id_bytes, id_text);
                uint64_t from = perf_ticks_begin();

                if (adds->writer)
                        engine_add(adds, text, bytes, id);
                else
                        socket_add(adds, request, (size_t)request_bytes);
                perf_recorder_add(recorder, perf_ticks_end() - from);
        }

        perf_recorder_sort(recorder);
        adds->p50[company][round] = perf_recorder_quantile(recorder, 0.5) * adds->tick_ns * 1e-3;
        adds->p99[company][round] = perf_recorder_quantile(recorder, 0.99) * adds->tick_ns * 1e-3;
}

static void company_run(struct adds *adds, struct outage_readers *readers, enum company company,
                        uint32_t round)
{
        if (company != COMPANY_NONE)
                outage_readers_start(readers, readers->options->n_readers, false);
        if (company == COMPANY_STOPPED)
                outage_readers_stop(readers);
        /* What ending and starting so many processes leaves behind is not what is measured. */
        perf_sleep_ms(SETTLE_MS);
        block_run(adds, company, round);
        outage_readers_kill(readers);
}

static void report(struct adds *adds, uint32_t n_rounds, struct perf_table *table)
{
        double ratios[N_COMPANIES][ROUNDS_MAX];
        char name[64];

        for (int c = COMPANY_STOPPED; c < N_COMPANIES; c++)
                for (uint32_t i = 0; i < n_rounds; i++)
                        ratios[c][i] = adds->p99[c][i] / adds->p99[COMPANY_NONE][i];
        for (int c = 0; c < N_COMPANIES; c++) {
                snprintf(name, sizeof(name), "add_%s_%s_p50", adds->path->name, company_names[c]);
                perf_table_add(table, name, perf_median(adds->p50[c], n_rounds), "us");
                snprintf(name, sizeof(name), "add_%s_%s_p99", adds->path->name, company_names[c]);
                perf_table_add(table, name, perf_median(adds->p99[c], n_rounds), "us");
        }
        for (int c = COMPANY_STOPPED; c < N_COMPANIES; c++) {
                snprintf(name, sizeof(name), "add_%s_%s_p99_ratio", adds->path->name,
                         company_names[c]);
                perf_table_add(table, name, perf_median(ratios[c], n_rounds), "ratio");
        }
}

static void path_measure(const struct outage_options *options, const struct path *path,
                         struct perf_table *table)
{
        const struct lanemap_writer_options writer_options = {.appendfsync = path->engine_policy};
        const uint64_t n_keys = options->quick ? 2000 : 100000;
        struct path sized = *path;
        struct adds adds = {.path = &sized, .fd = -1, .next = n_keys, .tick_ns = perf_tick_ns()};
        struct outage_readers readers;
        struct perf_place place;
        pid_t pid = 0;
        int r = 0;

        if (options->quick)
                sized.n_adds = path->n_adds / 10;
        perf_engine_index_make(options->name, options->dir, n_keys, &place);
        if (path->policy) {
                r = perf_daemon_start(options->lanemapd, &place, path->policy, &pid);
                if (r == 0)
                        r = perf_daemon_connect(&place, &adds.fd);
        } else {
                adds.writer = perf_engine_open(&place, &writer_options);
        }
        adds.recorder.capacity = sized.n_adds;
        adds.recorder.samples = calloc(sized.n_adds, sizeof(uint32_t));
        if (r < 0 || !adds.recorder.samples)
                perf_die(options->lanemapd, r);

        outage_readers_init(&readers, options, &place, n_keys);
        for (uint32_t round = 0; round < options->n_rounds; round++)
                for (uint32_t i = 0; i < N_COMPANIES; i++)
                        company_run(&adds, &readers, (enum company)((i + round) % N_COMPANIES),
                                    round);
        outage_readers_deinit(&readers);
        report(&adds, options->n_rounds, table);

        free(adds.recorder.samples);
        lanemap_writer_close(adds.writer);
        if (pid) {
                close(adds.fd);
                perf_daemon_stop(pid, SIGTERM);
        }
        perf_place_remove(&place);
}

void outage_measure_adds(const struct outage_options *options, struct perf_table *table)
{
        for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
                path_measure(options, &paths[i], table);
}
