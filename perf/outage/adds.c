/*
 * The latency of an add while readers are attached.
 *
 * Three equal indexes, each with a writer of its own. Readers attach to one of them and are stopped
 * in the midst of lookups; nobody reads the other two. Adds go to the three by turns, a slice of
 * some at a time, forwards and backwards (A B C, C B A), in each of the six orders:
 *
 *   stopped   the index that the stopped readers hold
 *   none      one that nobody holds
 *   control   the other one that nobody holds: against `none` it shows what is only noise
 *
 * Attached and not, rather than stopped and continued: running readers take the processors, and
 * starting or ending 64 processes between slices would leave its mark on what is measured. With two
 * indexes the arms are milliseconds apart, so a slow moment of the disk hits all of them. What is
 * peculiar to one index falls out: after a phase the readers are moved to the next one, until each
 * index had each role equally often.
 *
 *   alone     phases in which there is no reader process at all, on all three indexes: what `none`
 *             is without 64 stopped processes on the machine
 *   running   at the end of a phase the readers go on, and a slice is measured beside them
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base.h"
#include "common/histogram.h"
#include "outage/private.h"
#include "support/arms.h"
#include "support/daemon.h"
#include "support/memory.h"
#include "support/pin.h"

#define N_SIDES   3
#define SETTLE_MS 10
/* Each index is held twice, is each of the other roles once per partner, and two are `alone`. */
#define N_PHASES 8

enum role { ROLE_NONE, ROLE_CONTROL, ROLE_STOPPED, N_ROLES };
static const char *const role_names[N_ROLES] = {"none", "control", "stopped"};

/* One way to add: through the engine (no lanemapd), or through the socket. */
struct path {
        const char *name;
        const char *policy; /* NULL: the engine */
        uint32_t engine_policy;
        uint32_t n_adds; /* of a slice */
        uint32_t n_warm; /* before them: the caches are another index's; not counted */
};

static const struct path paths[] = {
        {"engine_no", NULL, LANEMAP_APPENDFSYNC_NO, 1000, 100},
        {"engine_always", NULL, LANEMAP_APPENDFSYNC_ALWAYS, 1, 0},
        {"socket_no", "no", 0, 100, 10},
        {"socket_everysec", "everysec", 0, 100, 10},
        {"socket_always", "always", 0, 1, 0},
};

/* An index, and who writes it. */
struct side {
        struct perf_place place;
        struct lanemap_writer *writer;
        pid_t pid; /* of lanemapd */
        int fd;
        uint64_t next; /* key */
};

struct adds {
        const struct outage_options *options;
        const struct path *path;
        uint64_t n_keys;
        struct side sides[N_SIDES];
        struct perf_arms arms;  /* by role */
        struct perf_arms alone; /* one */
        struct lanemap_histogram *running;
        double tick_us;
};

/* ---- one add ---- */

static void engine_add(const struct path *path, struct side *side, const char *text, size_t bytes,
                       uint32_t id)
{
        const struct lanemap_op op = {
                .code = LANEMAP_OP_ADD, .id = id, .key = text, .key_bytes = bytes};
        uint64_t position;
        int r;

        r = lanemap_writer_apply(side->writer, &op, 1, NULL, NULL, &position);
        if (r == 0 && path->engine_policy == LANEMAP_APPENDFSYNC_ALWAYS)
                r = lanemap_writer_sync(side->writer, position);
        if (r < 0)
                perf_die("apply", r);
}

static void socket_add(struct side *side, const char *request, size_t bytes)
{
        char reply[64];
        ssize_t n;

        if (send(side->fd, request, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
                perf_die("send", -errno);
        do {
                struct pollfd poll_fd = {.fd = side->fd, .events = POLLIN};

                (void)poll(&poll_fd, 1, 10000);
                n = read(side->fd, reply, sizeof(reply));
        } while (n < 0 && errno == EINTR);
        if (n != 4 || memcmp(reply, ":1\r\n", 4) != 0)
                perf_die("an unexpected reply to SADD", n < 0 ? -errno : -EPROTO);
}

/* Return: ticks. */
static uint64_t add(const struct path *path, struct side *side)
{
        char text[PERF_KEY_BYTES_MAX], request[2 * PERF_KEY_BYTES_MAX], id_text[16];
        size_t bytes = perf_key_text(PERF_MIX_SINGLE, side->next, text);
        uint32_t id = perf_key_route(PERF_MIX_SINGLE, side->next).first;
        int id_bytes = snprintf(id_text, sizeof(id_text), "%u", id);
        int request_bytes = snprintf(request, sizeof(request),
                                     "*3\r\n$4\r\nSADD\r\n$%zu\r\n%.*s\r\n$%d\r\n%s\r\n", bytes,
                                     (int)bytes, text, id_bytes, id_text);
        uint64_t from;

        side->next++;
        from = perf_ticks_begin();
        if (side->writer)
                engine_add(path, side, text, bytes, id);
        else
                socket_add(side, request, (size_t)request_bytes);
        return perf_ticks_end() - from;
}

/* ---- slices, rounds, phases ---- */

static void slice_run(const struct path *path, struct side *side, struct perf_arms *arms,
                      uint32_t arm)
{
        for (uint32_t i = 0; i < path->n_warm; i++)
                (void)add(path, side);
        for (uint32_t i = 0; i < path->n_adds; i++)
                perf_arms_add(arms, arm, add(path, side));
}

/* Slices of the three, forwards and backwards, in each of the six orders. roles: NULL: alone. */
static void round_run(struct adds *adds, const enum role *roles)
{
        static const uint8_t orders[6][N_SIDES] = {{0, 1, 2}, {1, 2, 0}, {2, 0, 1},
                                                   {0, 2, 1}, {2, 1, 0}, {1, 0, 2}};
        struct perf_arms *arms = roles ? &adds->arms : &adds->alone;

        perf_arms_round(arms, 2 * 6 * (roles ? 1 : N_SIDES) * (size_t)adds->path->n_adds);
        for (uint32_t turn = 0; turn < 6; turn++)
                for (uint32_t i = 0; i < 2 * N_SIDES; i++) {
                        uint32_t at = i < N_SIDES ? i : 2 * N_SIDES - 1 - i;
                        uint32_t side = orders[turn][at];

                        slice_run(adds->path, &adds->sides[side], arms, roles ? roles[side] : 0);
                }
}

static void running_run(struct adds *adds, struct outage_readers *readers, struct side *side,
                        double seconds)
{
        double deadline;

        outage_readers_continue(readers);
        perf_sleep_ms(SETTLE_MS);
        deadline = perf_now() + seconds;
        do
                lanemap_histogram_record(adds->running, add(adds->path, side), 1);
        while (perf_now() < deadline);
}

static void rounds_run(struct adds *adds, const enum role *roles, double seconds)
{
        double deadline;

        /* What starting and ending so many processes leaves behind is not what is measured. */
        perf_sleep_ms(SETTLE_MS);
        deadline = perf_now() + seconds;
        do
                round_run(adds, roles);
        while (perf_now() < deadline);
}

/* Of four phases, three have readers, each at another index, and one has none. What is left for the
 * other two indexes changes every four. */
static void phase_run(struct adds *adds, uint32_t phase, double seconds)
{
        const struct outage_options *options = adds->options;
        uint32_t held = phase % 4, none = (held + 1 + phase / 4 % 2) % N_SIDES;
        struct outage_readers readers;
        enum role roles[N_SIDES];

        if (held == N_SIDES) {
                rounds_run(adds, NULL, seconds);
                return;
        }

        for (uint32_t i = 0; i < N_SIDES; i++)
                roles[i] = i == held ? ROLE_STOPPED : i == none ? ROLE_NONE : ROLE_CONTROL;
        outage_readers_init(&readers, options, &adds->sides[held].place, adds->n_keys);
        outage_readers_start_stopped(&readers, options->n_readers);
        rounds_run(adds, roles, seconds);
        running_run(adds, &readers, &adds->sides[held], seconds / 8);
        outage_readers_deinit(&readers);
}

/* ---- one path ---- */

static void ratio_rows(const struct adds *adds, enum role role, struct perf_table *table)
{
        struct perf_ratio ratio = perf_arms_ratio(&adds->arms, role, ROLE_NONE, 0.99);
        const struct {
                const char *end;
                double value;
        } rows[] = {{"", ratio.value}, {"_low", ratio.low}, {"_high", ratio.high}};
        char name[64];

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                snprintf(name, sizeof(name), "add_%s_%s_p99_ratio%s", adds->path->name,
                         role_names[role], rows[i].end);
                perf_table_add(table, name, rows[i].value, "ratio");
        }
}

/* p50, p99: in ticks. */
static void quantile_rows(const struct adds *adds, const char *role, double p50, double p99,
                          struct perf_table *table)
{
        char name[64];

        snprintf(name, sizeof(name), "add_%s_%s_p50", adds->path->name, role);
        perf_table_add(table, name, p50 * adds->tick_us, "us");
        snprintf(name, sizeof(name), "add_%s_%s_p99", adds->path->name, role);
        perf_table_add(table, name, p99 * adds->tick_us, "us");
}

static void arm_rows(const struct adds *adds, const char *role, const struct perf_arms *arms,
                     uint32_t arm, struct perf_table *table)
{
        quantile_rows(adds, role, perf_arms_quantile(arms, arm, 0.5),
                      perf_arms_quantile(arms, arm, 0.99), table);
}

static void report(struct adds *adds, struct perf_table *table)
{
        double running_p99, none_p99;
        char name[64];

        perf_arms_end(&adds->arms);
        perf_arms_end(&adds->alone);
        for (uint32_t role = 0; role < N_ROLES; role++)
                arm_rows(adds, role_names[role], &adds->arms, role, table);
        arm_rows(adds, "alone", &adds->alone, 0, table);
        none_p99 = perf_arms_quantile(&adds->arms, ROLE_NONE, 0.99);
        running_p99 = (double)lanemap_histogram_quantile(adds->running, 0.99);
        quantile_rows(adds, "running", (double)lanemap_histogram_quantile(adds->running, 0.5),
                      running_p99, table);
        ratio_rows(adds, ROLE_STOPPED, table);
        ratio_rows(adds, ROLE_CONTROL, table);
        snprintf(name, sizeof(name), "add_%s_running_p99_ratio", adds->path->name);
        perf_table_add(table, name, running_p99 / none_p99, "ratio");
        snprintf(name, sizeof(name), "add_%s_samples", adds->path->name);
        perf_table_add(table, name, (double)adds->arms.arms[ROLE_NONE].n, "");
}

static void side_open(struct adds *adds, struct side *side)
{
        const struct outage_options *options = adds->options;
        const struct lanemap_writer_options writer_options = {.appendfsync =
                                                                      adds->path->engine_policy};
        int r;

        *side = (struct side){.fd = -1, .next = adds->n_keys};
        perf_engine_index_make(options->name, options->dir, adds->n_keys, &side->place);
        if (!adds->path->policy) {
                side->writer = perf_engine_open(&side->place, &writer_options);
                return;
        }

        r = perf_daemon_start(options->lanemapd, &side->place, adds->path->policy, &side->pid);
        if (r == 0)
                r = perf_daemon_connect(&side->place, &side->fd);
        if (r < 0)
                perf_die(options->lanemapd, r);
}

static void side_close(struct side *side)
{
        lanemap_writer_close(side->writer);
        if (side->pid) {
                close(side->fd);
                perf_daemon_stop(side->pid, SIGTERM);
        }
        perf_place_remove(&side->place);
}

/* Three daemons on the same processors, who adds on another: where the scheduler happens to put one
 * of them would look like a difference between the arms. Engines have the thread that adds in
 * common, and their sync threads do better where the scheduler wakes them. */
static void sides_pin(const struct adds *adds)
{
        if (!adds->path->policy)
                return;

        for (uint32_t i = 0; i < N_SIDES; i++)
                (void)perf_pin_working(adds->sides[i].pid, 0);
        (void)perf_pin_measuring();
}

static void path_measure(const struct outage_options *options, const struct path *path,
                         struct perf_table *table)
{
        struct path sized = *path;
        struct adds adds = {
                .options = options,
                .path = &sized,
                .n_keys = options->quick ? 2000 : 100000,
                .running = perf_map(sizeof(*adds.running)),
                .tick_us = perf_tick_ns() * 1e-3,
        };
        uint32_t n_phases = options->n_rounds * N_PHASES;

        if (options->quick)
                sized.n_adds = LANEMAP_MIN(path->n_adds, 10);
        perf_arms_init(&adds.arms, N_ROLES);
        perf_arms_init(&adds.alone, 1);
        for (uint32_t i = 0; i < N_SIDES; i++)
                side_open(&adds, &adds.sides[i]);
        sides_pin(&adds);
        for (uint32_t phase = 0; phase < n_phases; phase++)
                phase_run(&adds, phase, options->seconds / n_phases);
        (void)perf_pin_working(getpid(), 1);
        report(&adds, table);

        for (uint32_t i = 0; i < N_SIDES; i++)
                side_close(&adds.sides[i]);
        perf_arms_deinit(&adds.arms);
        perf_arms_deinit(&adds.alone);
        perf_unmap(adds.running, sizeof(*adds.running));
}

void outage_measure_adds(const struct outage_options *options, struct perf_table *table)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(paths); i++)
                if (strncmp(paths[i].name, options->only, strlen(options->only)) == 0)
                        path_measure(options, &paths[i], table);
}
