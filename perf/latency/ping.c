/* See private.h. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency/private.h"

#define PERIOD_MS 1

/* As root this thread runs before all others, so it measures the server's delay and not its own. */
static void priority_raise(void)
{
        const struct sched_param first = {.sched_priority = 1};

        (void)pthread_setschedparam(pthread_self(), SCHED_FIFO, &first);
}

static bool ping_once(int fd)
{
        char reply[16];
        size_t n = 0;

        if (send(fd, "PING\r\n", 6, MSG_NOSIGNAL) != 6)
                return false;
        while (n < 7) {
                ssize_t got = recv(fd, reply + n, sizeof(reply) - n, 0);

                if (got <= 0 && errno != EINTR)
                        return false;
                n += got < 0 ? 0 : (size_t)got;
        }
        return memcmp(reply, "+PONG\r\n", 7) == 0;
}

static void *ping_main(void *arg)
{
        struct latency_ping *ping = arg;

        priority_raise();
        while (!ping->lost && !__atomic_load_n(&ping->stopping, __ATOMIC_RELAXED)) {
                uint64_t from = perf_now_ns();

                ping->lost = !ping_once(ping->fd);
                lanemap_histogram_record(&ping->waits, perf_now_ns() - from, 1);
                perf_sleep_ms(PERIOD_MS);
        }
        return NULL;
}

void latency_ping_start(struct latency_ping *ping, const struct perf_place *place)
{
        int r;

        memset(ping, 0, sizeof(*ping));
        r = perf_daemon_connect(place, &ping->fd);
        if (r == 0 && fcntl(ping->fd, F_SETFL, 0) < 0)
                r = -errno;
        if (r == 0)
                r = -pthread_create(&ping->thread, NULL, ping_main, ping);
        if (r < 0)
                perf_die("the client that sends PING", r);
}

void latency_ping_stop(struct latency_ping *ping, const char *name, struct perf_table *table)
{
        char row[56];

        __atomic_store_n(&ping->stopping, true, __ATOMIC_RELAXED);
        pthread_join(ping->thread, NULL);
        close(ping->fd);
        snprintf(row, sizeof(row), "%s_ping_max", name);
        perf_table_add(table, row, (double)ping->waits.max * 1e-6, "ms");
        snprintf(row, sizeof(row), "%s_ping_p99", name);
        perf_table_add(table, row, (double)lanemap_histogram_quantile(&ping->waits, 0.99) * 1e-6,
                       "ms");
        if (ping->lost)
                perf_table_note(table, "%s: the client that sends PING was disconnected", name);
}
