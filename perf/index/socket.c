/*
 * Adds through lanemapd's Unix socket, pipelined: `LANEMAP.ADD key id` in the Redis protocol, with
 * a bounded number of requests on their way. Requests are encoded beforehand and replies are
 * compared byte for byte, so the client costs little beside the daemon; it runs on a processor of
 * its own where there is one.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "index/private.h"
#include "support/daemon.h"

#define REQUEST_BYTES_MAX (PERF_KEY_BYTES_MAX + 64)

struct requests {
        char *bytes;
        size_t *ends; /* of each request */
        size_t n;
};

static void requests_make(struct requests *requests, enum perf_mix mix, uint64_t n_keys)
{
        char text[PERF_KEY_BYTES_MAX], id[16];
        size_t capacity = n_keys + PERF_KEY_IDS_MAX, at = 0;

        requests->n = 0;
        requests->bytes = malloc(capacity * REQUEST_BYTES_MAX);
        requests->ends = malloc(capacity * sizeof(*requests->ends));
        if (!requests->bytes || !requests->ends)
                perf_die("requests", -ENOMEM);

        for (uint64_t key = 0; requests->n < n_keys; key++) {
                struct perf_route route = perf_key_route(mix, key);
                size_t text_bytes = perf_key_text(mix, key, text);

                for (uint32_t i = 0; i < route.n_ids; i++) {
                        int id_bytes = snprintf(id, sizeof(id), "%u", perf_route_id(&route, i));

                        at += (size_t)sprintf(requests->bytes + at,
                                              "*3\r\n$4\r\nSADD\r\n$%zu\r\n%.*s\r\n$%d\r\n%s\r\n",
                                              text_bytes, (int)text_bytes, text, id_bytes, id);
                        requests->ends[requests->n++] = at;
                }
        }
}

static void requests_free(struct requests *requests)
{
        free(requests->bytes);
        free(requests->ends);
}

/* Return: how many whole replies were taken off; each must be ":1". */
static size_t replies_take(int fd, size_t *partial)
{
        static const char expected[4] = {':', '1', '\r', '\n'};
        char buffer[65536];
        ssize_t n = read(fd, buffer, sizeof(buffer));
        size_t taken = 0;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0)
                perf_die("lanemapd hung up", n < 0 ? -errno : -EPIPE);

        for (ssize_t i = 0; i < n; i++) {
                if (buffer[i] != expected[*partial]) {
                        fprintf(stderr, "index: unexpected reply: %.*s\n", (int)(n < 80 ? n : 80),
                                buffer);
                        perf_die("reply", -EPROTO);
                }
                *partial = (*partial + 1) % sizeof(expected);
                taken += *partial == 0;
        }

        return taken;
}

/* Sends as much as the window allows. */
static size_t requests_send(int fd, const struct requests *requests, size_t sent_bytes,
                            size_t n_answered, size_t pipeline)
{
        size_t last = n_answered + pipeline < requests->n ? n_answered + pipeline : requests->n;
        size_t until = requests->ends[last - 1];
        ssize_t n;

        if (sent_bytes >= until)
                return 0;

        n = send(fd, requests->bytes + sent_bytes, until - sent_bytes, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
                perf_die("send", -errno);

        return n < 0 ? 0 : (size_t)n;
}

static double pipeline_run(int fd, const struct requests *requests, size_t pipeline)
{
        size_t sent_bytes = 0, n_answered = 0, partial = 0;
        double from = perf_now();

        while (n_answered < requests->n) {
                size_t n = requests_send(fd, requests, sent_bytes, n_answered, pipeline);
                struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

                sent_bytes += n;
                if (n == 0)
                        (void)poll(&poll_fd, 1, 1000);
                n_answered += replies_take(fd, &partial);
        }

        return perf_now() - from;
}

void index_measure_socket(const struct index_options *options, uint64_t n_keys,
                          struct perf_table *table)
{
        struct requests requests;

        if (options->skip_socket || access(options->lanemapd, X_OK) < 0) {
                perf_table_note(table, "adds through the socket: not measured (%s)",
                                options->skip_socket ? "--skip-socket" : "no lanemapd");
                return;
        }

        requests_make(&requests, options->mix,
                      n_keys < options->adds_max ? n_keys : options->adds_max);
        for (uint32_t policy = 0; policy < 3; policy++) {
                struct perf_place place;
                char name[64];
                double seconds;
                pid_t pid;
                int fd, r;

                perf_place_make(options->name, options->dir, &place);
                r = perf_daemon_start(options->lanemapd, &place, index_policy_name(policy), &pid);
                if (r == 0)
                        r = perf_daemon_connect(&place, &fd);
                if (r < 0)
                        perf_die(options->lanemapd, r);
                seconds = pipeline_run(fd, &requests, options->pipeline);
                close(fd);
                perf_daemon_stop(pid, SIGTERM);
                perf_place_remove(&place);

                snprintf(name, sizeof(name), "socket_adds_%s_rate", index_policy_name(policy));
                perf_table_add(table, name, (double)requests.n / seconds, "1/s");
        }
        requests_free(&requests);
}
