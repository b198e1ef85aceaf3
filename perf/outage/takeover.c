/*
 * How long a takeover takes, and how long a reader that looks up all the time waits for an answer:
 * the writer killed (a supervisor starts the next one at once), stopped in good order and started
 * again, and a generation flip. `quiet` is the same window with nothing going on: what the machine
 * does to a reader by itself.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "outage/private.h"
#include "support/daemon.h"
#include "support/pin.h"

#define WINDOW_MS      100 /* after an event, for what follows it */
#define ANSWER_SECONDS 120

enum event {
        EVENT_QUIET,
        EVENT_KILL,
        EVENT_RESTART,
        EVENT_FLIP,
        N_EVENTS,
};

static const char *const event_names[N_EVENTS] = {"quiet", "kill", "restart", "flip"};

struct takeover {
        const struct outage_options *options;
        struct perf_place place;
        uint64_t n_keys;
        uint64_t next; /* key */
        pid_t pid;     /* of lanemapd */
        int fd;
        struct lanemap_writer *writer; /* for flips */
        struct outage_readers readers;
        double answer_ms[N_EVENTS][OUTAGE_EVENTS_MAX];
        double socket_ms[N_EVENTS][OUTAGE_EVENTS_MAX];
        double gap_ms[N_EVENTS][OUTAGE_EVENTS_MAX];
        double follow_cpu_ms[N_EVENTS][OUTAGE_EVENTS_MAX];
        double reattach_ms[OUTAGE_EVENTS_MAX * N_EVENTS];
        double reattach_cpu_ms[OUTAGE_EVENTS_MAX * N_EVENTS];
        double follow_per_reattach[N_EVENTS][OUTAGE_EVENTS_MAX];
        uint32_t n_reattaches;
};

static void daemon_start(struct takeover *takeover)
{
        int r = perf_daemon_start(takeover->options->lanemapd, &takeover->place, "everysec",
                                  &takeover->pid);

        if (r < 0)
                perf_die(takeover->options->lanemapd, r);
        (void)perf_pin_working(takeover->pid, 0);
}

static void daemon_connect(struct takeover *takeover)
{
        int r = perf_daemon_connect(&takeover->place, &takeover->fd);

        if (r < 0)
                perf_die("lanemapd does not answer", r);
}

static void replies_take(struct takeover *takeover, size_t bytes)
{
        char buffer[4096];

        while (bytes > 0) {
                struct pollfd poll_fd = {.fd = takeover->fd, .events = POLLIN};
                ssize_t n;

                (void)poll(&poll_fd, 1, 10000);
                n = read(takeover->fd, buffer, sizeof(buffer));
                if (n <= 0)
                        perf_die("lanemapd hung up", n < 0 ? -errno : -EPIPE);
                bytes -= (size_t)n < bytes ? (size_t)n : bytes;
        }
}

/* A hundredth of the keys is new, and in the log. */
static void log_fill(struct takeover *takeover)
{
        uint64_t n_adds = takeover->n_keys / 100;

        for (uint64_t i = 0; i < n_adds;) {
                char requests[64 * 2 * PERF_KEY_BYTES_MAX], text[PERF_KEY_BYTES_MAX];
                size_t at = 0, n = 0;

                for (; n < 64 && i < n_adds; n++, i++, takeover->next++) {
                        size_t bytes = perf_key_text(PERF_MIX_SINGLE, takeover->next, text);

                        /* Four bytes of reply: ":1\r\n". */
                        at += (size_t)snprintf(requests + at, sizeof(requests) - at,
                                               "*3\r\n$4\r\nSADD\r\n$%zu\r\n%.*s\r\n$1\r\n7\r\n",
                                               bytes, (int)bytes, text);
                }
                if (send(takeover->fd, requests, at, MSG_NOSIGNAL) != (ssize_t)at)
                        perf_die("send", -errno);
                replies_take(takeover, 4 * n);
        }
}

static struct outage_slot *slot_of(struct takeover *takeover)
{
        return &takeover->readers.slots[0];
}

/* Return: when another generation than `before` first answered. */
static uint64_t successor_wait(struct takeover *takeover, uint64_t before)
{
        const struct outage_slot *slot = slot_of(takeover);
        double deadline = perf_now() + ANSWER_SECONDS;

        while (__atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE) == before) {
                if (perf_now() > deadline)
                        perf_die("no generation follows", -ETIMEDOUT);
                perf_sleep_ms(1);
        }

        return __atomic_load_n(&slot->generation_ns, __ATOMIC_RELAXED);
}

/* Detaching and attaching again, when the event is over: what following it is compared with, one
 * with one. */
static void reattach_make(struct takeover *takeover, enum event event, uint32_t i)
{
        struct outage_slot *slot = slot_of(takeover);
        double deadline = perf_now() + ANSWER_SECONDS, cpu_ms;

        __atomic_store_n(&slot->reattach, 1, __ATOMIC_RELAXED);
        while (__atomic_load_n(&slot->reattach, __ATOMIC_ACQUIRE)) {
                if (perf_now() > deadline)
                        perf_die("the reader does not attach again", -ETIMEDOUT);
                perf_sleep_ms(1);
        }
        cpu_ms = (double)__atomic_load_n(&slot->reattach_cpu_ns, __ATOMIC_RELAXED) * 1e-6;
        takeover->reattach_cpu_ms[takeover->n_reattaches] = cpu_ms;
        takeover->reattach_ms[takeover->n_reattaches++] =
                (double)__atomic_load_n(&slot->reattach_ns, __ATOMIC_RELAXED) * 1e-6;
        takeover->follow_per_reattach[event][i] = takeover->follow_cpu_ms[event][i] / cpu_ms;
}

static void event_make(struct takeover *takeover, enum event event, uint32_t i)
{
        struct outage_slot *slot = slot_of(takeover);
        uint64_t generation = __atomic_load_n(&slot->generation, __ATOMIC_ACQUIRE), from_ns;

        __atomic_store_n(&slot->reset, 1, __ATOMIC_RELAXED);
        perf_sleep_ms(5);
        from_ns = perf_now_ns();
        if (event == EVENT_KILL || event == EVENT_RESTART) {
                close(takeover->fd);
                perf_daemon_stop(takeover->pid, event == EVENT_KILL ? SIGKILL : SIGTERM);
                daemon_start(takeover);
        } else if (event == EVENT_FLIP) {
                (void)perf_engine_request(takeover->writer, LANEMAP_REQUEST_FLIP);
        }
        if (event != EVENT_QUIET) {
                takeover->answer_ms[event][i] =
                        (double)(successor_wait(takeover, generation) - from_ns) * 1e-6;
                takeover->follow_cpu_ms[event][i] =
                        (double)__atomic_load_n(&slot->follow_cpu_ns, __ATOMIC_RELAXED) * 1e-6;
        }
        if (event == EVENT_KILL || event == EVENT_RESTART) {
                daemon_connect(takeover);
                takeover->socket_ms[event][i] = (double)(perf_now_ns() - from_ns) * 1e-6;
        }
        perf_sleep_ms(WINDOW_MS);
        takeover->gap_ms[event][i] =
                (double)__atomic_load_n(&slot->longest_gap_ns, __ATOMIC_RELAXED) * 1e-6;
        if (event != EVENT_QUIET)
                reattach_make(takeover, event, i);
}

static void series_add(struct takeover *takeover, enum event event, const char *what,
                       double *values, struct perf_table *table)
{
        uint32_t n = takeover->options->n_events;
        char name[64];

        snprintf(name, sizeof(name), "%s_%s_max", event_names[event], what);
        perf_table_add(table, name, perf_maximum(values, n), "ms");
        snprintf(name, sizeof(name), "%s_%s_p50", event_names[event], what);
        perf_table_add(table, name, perf_median(values, n), "ms");
}

/* Processor time: what others take of the processor meanwhile is not in it. A ratio is of one event
 * and the re-attachment after it. */
static void follow_add(struct takeover *takeover, enum event event, struct perf_table *table)
{
        uint32_t n = takeover->options->n_events;
        double *ratios = takeover->follow_per_reattach[event];
        char name[64];

        snprintf(name, sizeof(name), "%s_follow_cpu", event_names[event]);
        perf_table_add(table, name, perf_median(takeover->follow_cpu_ms[event], n), "ms");
        snprintf(name, sizeof(name), "%s_follow_cpu_per_reattach", event_names[event]);
        perf_table_add(table, name, perf_median(ratios, n), "ratio");
        snprintf(name, sizeof(name), "%s_follow_cpu_per_reattach_low", event_names[event]);
        perf_table_add(table, name, perf_minimum(ratios, n), "ratio");
        snprintf(name, sizeof(name), "%s_follow_cpu_per_reattach_high", event_names[event]);
        perf_table_add(table, name, perf_maximum(ratios, n), "ratio");
}

static void report(struct takeover *takeover, struct perf_table *table)
{
        const struct outage_slot *slot = slot_of(takeover);
        uint32_t n = takeover->n_reattaches;

        perf_table_add(table, "reattach", perf_median(takeover->reattach_ms, n), "ms");
        perf_table_add(table, "reattach_cpu", perf_median(takeover->reattach_cpu_ms, n), "ms");
        for (int event = 0; event < N_EVENTS; event++) {
                if (event != EVENT_QUIET)
                        series_add(takeover, (enum event)event, "to_answer",
                                   takeover->answer_ms[event], table);
                if (event == EVENT_KILL || event == EVENT_RESTART)
                        series_add(takeover, (enum event)event, "to_socket",
                                   takeover->socket_ms[event], table);
                series_add(takeover, (enum event)event, "reader_gap", takeover->gap_ms[event],
                           table);
                if (event != EVENT_QUIET)
                        follow_add(takeover, (enum event)event, table);
        }
        perf_table_add(table, "reader_failed_lookups", (double)slot->n_failed, "");
}

void outage_measure_takeover(const struct outage_options *options, uint64_t n_keys,
                             struct perf_table *table)
{
        const struct lanemap_writer_options writer_options = {0};
        static struct takeover takeover;
        uint32_t n = options->n_events;

        takeover = (struct takeover){.options = options, .n_keys = n_keys, .next = n_keys};
        perf_engine_index_make(options->name, options->dir, n_keys, &takeover.place);
        daemon_start(&takeover);
        daemon_connect(&takeover);
        outage_readers_init(&takeover.readers, options, &takeover.place, n_keys);
        outage_readers_start(&takeover.readers);

        for (uint32_t i = 0; i < n; i++) {
                event_make(&takeover, EVENT_QUIET, i);
                log_fill(&takeover);
                event_make(&takeover, EVENT_KILL, i);
                log_fill(&takeover);
                event_make(&takeover, EVENT_RESTART, i);
        }
        close(takeover.fd);
        perf_daemon_stop(takeover.pid, SIGTERM);

        takeover.writer = perf_engine_open(&takeover.place, &writer_options);
        (void)perf_pin_working(getpid(), 0);
        for (uint32_t i = 0; i < n; i++) {
                perf_sleep_ms(WINDOW_MS);
                event_make(&takeover, EVENT_FLIP, i);
        }
        (void)perf_pin_working(getpid(), 1);

        report(&takeover, table);
        outage_readers_deinit(&takeover.readers);
        lanemap_writer_close(takeover.writer);
        perf_place_remove(&takeover.place);
}
