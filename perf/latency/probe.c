/* See private.h. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency/private.h"
#include "support/keys.h"

#define PERIOD_MS 1

/* As root this thread runs before all others, so it measures the server's delay and not its own. */
static void priority_raise(void)
{
        const struct sched_param first = {.sched_priority = 1};

        (void)pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
}

/* Return: false if the connection is closed, or the reply is an error. */
static bool ask_once(const struct latency_probe *probe)
{
        char reply[64];
        size_t n = 0;

        if (send(probe->fd, probe->question, probe->n_question, MSG_NOSIGNAL) !=
            (ssize_t)probe->n_question)
                return false;
        while (n < probe->n_reply) {
                ssize_t got = recv(probe->fd, reply + n, sizeof(reply) - n, 0);

                if (got == 0 || (got < 0 && errno != EINTR) || (n == 0 && reply[0] == '-'))
                        return false;
                n += got < 0 ? 0 : (size_t)got;
        }
        return n == probe->n_reply;
}

static void *probe_main(void *arg)
{
        struct latency_probe *probe = arg;

        priority_raise();
        while (!probe->lost && !__atomic_load_n(&probe->stopping, __ATOMIC_RELAXED)) {
                uint64_t from = perf_now_ns();

                probe->lost = !ask_once(probe);
                lanemap_histogram_record(&probe->waits, perf_now_ns() - from, 1);
                perf_sleep_ms(PERIOD_MS);
        }
        return NULL;
}

static void probe_start(struct latency_probe *probe, const struct perf_place *place)
{
        int r = perf_daemon_connect(place, &probe->fd);

        if (r == 0 && fcntl(probe->fd, F_SETFL, 0) < 0)
                r = -errno;
        if (r == 0)
                r = -pthread_create(&probe->thread, NULL, probe_main, probe);
        if (r < 0)
                perf_die("a client that asks", r);
}

static void probe_stop(struct latency_probe *probe, const char *name, struct perf_table *table)
{
        char row[56];

        __atomic_store_n(&probe->stopping, true, __ATOMIC_RELAXED);
        pthread_join(probe->thread, NULL);
        close(probe->fd);
        snprintf(row, sizeof(row), "%s_%s_max", name, probe->name);
        perf_table_add(table, row, (double)probe->waits.max * 1e-6, "ms");
        snprintf(row, sizeof(row), "%s_%s_p99", name, probe->name);
        perf_table_add(table, row, (double)lanemap_histogram_quantile(&probe->waits, 0.99) * 1e-6,
                       "ms");
        if (probe->lost)
                perf_table_note(table, "%s: the client of %s got an error, or was disconnected",
                                name, probe->name);
}

void latency_probes_start(struct latency_probes *probes, const struct perf_place *place)
{
        struct latency_probe *ping = &probes->ping, *read = &probes->read;
        char key[PERF_KEY_BYTES_MAX];
        size_t key_bytes = perf_key_text(PERF_MIX_SINGLE, 0, key);

        memset(probes, 0, sizeof(*probes));
        ping->name = "ping";
        ping->n_question = (size_t)sprintf(ping->question, "PING\r\n");
        ping->n_reply = sizeof("+PONG\r\n") - 1;
        read->name = "read";
        read->n_question =
                (size_t)sprintf(read->question, "SISMEMBER %.*s 7\r\n", (int)key_bytes, key);
        read->n_reply = sizeof(":0\r\n") - 1;
        probe_start(ping, place);
        probe_start(read, place);
}

void latency_probes_stop(struct latency_probes *probes, const char *name, struct perf_table *table)
{
        probe_stop(&probes->ping, name, table);
        probe_stop(&probes->read, name, table);
}
