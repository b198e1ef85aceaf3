/*
 * Adds through lanemapd's Unix socket, pipelined: `LANEMAP.ADD key id` in the Redis protocol, with
 * a bounded number of requests on their way. Requests are encoded beforehand and replies are
 * compared byte for byte, so the client costs little beside the daemon; it runs on a processor of
 * its own where there is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "index_private.h"
#include "support/timer.h"

#define REQUEST_BYTES_MAX (PERF_KEY_BYTES_MAX + 64)
#define START_SECONDS     20

extern char **environ;

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
                index_die("requests", -ENOMEM);

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

static int socket_open(const char *path)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd;

        if (strlen(path) >= sizeof(address.sun_path))
                index_die("the path of the socket is too long: use a shorter --dir", -ENAMETOOLONG);

        memcpy(address.sun_path, path, strlen(path) + 1);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                index_die("socket", -errno);
        if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
                close(fd);
                return -errno;
        }

        return fd;
}

static bool ping(int fd)
{
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        char reply[64];
        ssize_t n;

        if (write(fd, "PING\r\n", 6) != 6 || poll(&poll_fd, 1, 1000) != 1)
                return false;

        n = read(fd, reply, sizeof(reply));
        return n == 7 && memcmp(reply, "+PONG\r\n", 7) == 0;
}

/* Until it answers, and not with -LOADING. */
static int connect_wait(const char *path)
{
        double deadline = perf_now() + START_SECONDS;

        do {
                int fd = socket_open(path);

                if (fd >= 0 && ping(fd))
                        return fd;
                if (fd >= 0)
                        close(fd);
                index_sleep_ms(5);
        } while (perf_now() < deadline);

        index_die("lanemapd does not answer", -ETIMEDOUT);
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
                index_die("lanemapd hung up", n < 0 ? -errno : -EPIPE);

        for (ssize_t i = 0; i < n; i++) {
                if (buffer[i] != expected[*partial]) {
                        fprintf(stderr, "index: unexpected reply: %.*s\n", (int)(n < 80 ? n : 80),
                                buffer);
                        index_die("reply", -EPROTO);
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
                index_die("send", -errno);

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

static pid_t daemon_start(const struct index_options *options, const struct index_place *place,
                          const char *path, const char *policy)
{
        const char *argv[] = {
                options->lanemapd, "--name", place->name,     "--dir", place->directory,
                "--socket",        path,     "--appendfsync", policy,  NULL,
        };
        posix_spawn_file_actions_t actions;
        pid_t pid;
        int r;

        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        r = posix_spawn(&pid, options->lanemapd, &actions, NULL, (char **)(uintptr_t)argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        if (r != 0)
                index_die(options->lanemapd, r);

        return pid;
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
                struct index_place place;
                char path[600], name[64];
                double seconds;
                pid_t pid;
                int fd;

                index_place_make(options, &place);
                snprintf(path, sizeof(path), "%s/socket", place.directory);
                pid = daemon_start(options, &place, path, index_policies[policy]);
                fd = connect_wait(path);
                seconds = pipeline_run(fd, &requests, options->pipeline);
                close(fd);
                kill(pid, SIGTERM);
                (void)waitpid(pid, NULL, 0);
                index_place_remove(&place);

                snprintf(name, sizeof(name), "socket_adds_%s_rate", index_policies[policy]);
                perf_table_add(table, name, (double)requests.n / seconds, "1/s");
        }
        requests_free(&requests);
}
