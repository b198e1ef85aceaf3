/* See private.h. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "latency/private.h"
#include "support/load.h"
#include "support/redis.h"

#define FILL_KEYS   1000000 /* whose requests are in memory at once */
#define STATS_BYTES 16384

static void server_fill(const struct latency_server *server, uint64_t n_keys)
{
        static const struct perf_load load = {8, 256, 0};
        struct perf_requests requests;

        for (uint64_t at = 0; at < n_keys; at += FILL_KEYS) {
                uint64_t n = n_keys - at < FILL_KEYS ? n_keys - at : FILL_KEYS;

                perf_requests_make(&requests, PERF_REQUEST_SADD, at, n, n, 0);
                (void)perf_load_run(&server->place, &load, &requests);
                perf_requests_free(&requests);
        }
}

/* The daemon's first thread, not those that it starts: they do not inherit it. */
static void server_raise(const struct latency_server *server)
{
        const struct sched_param first = {.sched_priority = 1};

        if (sched_setscheduler(server->pid, SCHED_FIFO | SCHED_RESET_ON_FORK, &first) < 0)
                perf_die("--first", -errno);
}

void latency_server_start(const struct latency_options *options, bool redis,
                          const char *appendfsync, uint64_t n_keys, struct latency_server *server)
{
        const char *program = redis ? options->redis_server : options->lanemapd;
        int r;

        perf_place_make(options->name, options->dir, &server->place);
        r = redis ? perf_redis_start(program, &server->place, appendfsync, &server->pid)
                  : perf_daemon_start(program, &server->place, appendfsync, &server->pid);
        if (r == 0)
                r = perf_daemon_connect(&server->place, &server->fd);
        if (r == 0 && fcntl(server->fd, F_SETFL, 0) < 0)
                r = -errno;
        if (r < 0)
                perf_die(program, r);
        server_fill(server, n_keys);
        if (options->first && !redis)
                server_raise(server);
}

void latency_server_stop(struct latency_server *server)
{
        close(server->fd);
        perf_daemon_stop(server->pid, SIGTERM);
        perf_place_remove(&server->place);
}

/* The reply is an array of names and values; PING's reply ends it. */
static void stats_read(const struct latency_server *server, char *text)
{
        size_t n = 0;

        if (send(server->fd, "LANEMAP.STATS\r\nPING\r\n", 21, MSG_NOSIGNAL) != 21)
                perf_die("LANEMAP.STATS", -errno);
        while (n < 7 || memcmp(text + n - 7, "+PONG\r\n", 7) != 0) {
                ssize_t got = recv(server->fd, text + n, STATS_BYTES - 1 - n, 0);

                if (got <= 0 && errno != EINTR)
                        perf_die("LANEMAP.STATS", got < 0 ? -errno : -EPIPE);
                n += got < 0 ? 0 : (size_t)got;
        }
        text[n] = '\0';
}

uint64_t latency_server_stat(const struct latency_server *server, const char *name)
{
        char *text = malloc(STATS_BYTES), wanted[80], *at;
        uint64_t value;

        if (!text)
                perf_die("LANEMAP.STATS", -ENOMEM);
        stats_read(server, text);
        snprintf(wanted, sizeof(wanted), "\r\n%s\r\n:", name);
        at = strstr(text, wanted);
        if (!at)
                perf_die(name, -ENOENT);
        value = strtoull(at + strlen(wanted), NULL, 10);
        free(text);
        return value;
}

void latency_server_settle(const struct latency_options *options,
                           const struct latency_server *server)
{
        uint64_t written = latency_server_stat(server, "segment_bytes_written"), before;

        do {
                before = written;
                perf_sleep_ms(options->settle_ms);
                written = latency_server_stat(server, "segment_bytes_written");
        } while (written != before);
}
