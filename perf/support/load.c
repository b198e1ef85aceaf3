/* See load.h. */
#include "load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon.h"
#include "die.h"
#include "keys.h"
#include "memory.h"
#include "timer.h"

#define REQUEST_BYTES_MAX (PERF_KEY_BYTES_MAX + 64)
#define REPLY_BYTES_MAX   32
#define ID_BYTES          7
#define RECEIVE_BYTES     65536

/* ---- requests ---- */

static uint32_t key_id(uint64_t key)
{
        return 1000000 + (uint32_t)(perf_mix64(key) % 9000000);
}

static size_t request_write(char *to, enum perf_request_kind kind, uint64_t key)
{
        static const char *const words[] = {"$4\r\nSADD", "$9\r\nSISMEMBER", "$8\r\nSMEMBERS"};
        char text[PERF_KEY_BYTES_MAX];
        size_t text_bytes = perf_key_text(PERF_MIX_SINGLE, key, text);
        int n = sprintf(to, "*%d\r\n%s\r\n$%zu\r\n%.*s\r\n", kind == PERF_REQUEST_SMEMBERS ? 2 : 3,
                        words[kind], text_bytes, (int)text_bytes, text);

        if (kind != PERF_REQUEST_SMEMBERS)
                n += sprintf(to + n, "$%d\r\n%u\r\n", ID_BYTES, key_id(key));
        return (size_t)n;
}

static size_t reply_write(char *to, enum perf_request_kind kind, uint64_t key)
{
        char reply[REPLY_BYTES_MAX];
        int n = kind == PERF_REQUEST_SMEMBERS
                        ? sprintf(reply, "*1\r\n$%d\r\n%u\r\n", ID_BYTES, key_id(key))
                        : sprintf(reply, ":1\r\n");

        memcpy(to, reply, (size_t)n);
        return (size_t)n;
}

void perf_requests_make(struct perf_requests *requests, enum perf_request_kind kind, uint64_t first,
                        uint64_t n_keys, uint64_t n, uint64_t random)
{
        size_t at = 0, replies_at = 0;

        *requests = (struct perf_requests){
                .bytes = perf_allocate(n * REQUEST_BYTES_MAX),
                .ends = perf_allocate((n + 1) * sizeof(*requests->ends)),
                .replies = perf_allocate(n * REPLY_BYTES_MAX),
                .n = n,
        };
        *requests->ends++ = 0;
        for (uint64_t i = 0; i < n; i++) {
                uint64_t key = first + (random ? perf_mix64(random + i) : i) % n_keys;

                at += request_write(requests->bytes + at, kind, key);
                requests->ends[i] = at;
                requests->reply_bytes = reply_write(requests->replies + replies_at, kind, key);
                replies_at += requests->reply_bytes;
        }
}

void perf_requests_free(struct perf_requests *requests)
{
        free(requests->bytes);
        free(requests->ends - 1);
        free(requests->replies);
}

/* ---- clients ---- */

struct client {
        int fd;
        size_t n_received; /* bytes of the replies to the batch under way */
        size_t at, n;      /* the batch: requests at .. at + n - 1; n 0: none */
};

struct run {
        const struct perf_load *load;
        const struct perf_requests *requests;
        struct client clients[PERF_LOAD_CLIENTS_MAX];
        size_t next; /* the first request that no client has taken */
        size_t n_busy, n_answered;
        double deadline; /* no batch is begun after it; 0: none */
};

/* Whether there is another one. */
static bool batch_send(struct run *run, struct client *client)
{
        const struct perf_requests *requests = run->requests;
        size_t left = requests->n - run->next, sent, until;

        client->n = left < run->load->pipeline ? left : run->load->pipeline;
        if (client->n == 0 || (run->deadline > 0 && perf_now() > run->deadline)) {
                client->n = 0;
                return false;
        }

        client->at = run->next;
        client->n_received = 0;
        run->next += client->n;
        sent = requests->ends[(ssize_t)client->at - 1];
        until = requests->ends[client->at + client->n - 1];
        while (sent < until) {
                ssize_t n = send(client->fd, requests->bytes + sent, until - sent, MSG_NOSIGNAL);

                if (n < 0 && errno != EINTR)
                        perf_die("send", -errno);
                sent += n < 0 ? 0 : (size_t)n;
        }
        return true;
}

static void reply_refuse(const char *got, size_t n)
{
        fprintf(stderr, "%s: unexpected reply: %.*s\n", program_invocation_short_name,
                (int)(n < 80 ? n : 80), got);
        perf_die("reply", -EPROTO);
}

/* Whether all replies to the client's batch are there. */
static bool batch_receive(struct run *run, struct client *client, int flags)
{
        static char buffer[RECEIVE_BYTES];
        size_t reply_bytes = run->requests->reply_bytes, left;
        const char *expected;
        ssize_t n;

        left = client->n * reply_bytes - client->n_received;
        n = recv(client->fd, buffer, left < sizeof(buffer) ? left : sizeof(buffer), flags);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return false;
        if (n <= 0)
                perf_die("the server hung up", n < 0 ? -errno : -EPIPE);

        expected = run->requests->replies + client->at * reply_bytes + client->n_received;
        if (memcmp(buffer, expected, (size_t)n) != 0)
                reply_refuse(buffer, (size_t)n);
        client->n_received += (size_t)n;
        return client->n_received == client->n * reply_bytes;
}

static void run_one(struct run *run)
{
        struct client *client = &run->clients[0];

        while (batch_send(run, client)) {
                while (!batch_receive(run, client, 0))
                        ;
                run->n_answered += client->n;
        }
}

static void run_some(struct run *run, int epoll_fd)
{
        struct epoll_event events[PERF_LOAD_CLIENTS_MAX];

        for (uint32_t i = 0; i < run->load->n_clients; i++)
                run->n_busy += batch_send(run, &run->clients[i]);
        while (run->n_busy > 0) {
                int n = epoll_wait(epoll_fd, events, PERF_LOAD_CLIENTS_MAX, -1);

                if (n < 0 && errno != EINTR)
                        perf_die("epoll_wait", -errno);
                for (int i = 0; i < n; i++) {
                        struct client *client = events[i].data.ptr;

                        if (!batch_receive(run, client, MSG_DONTWAIT))
                                continue;
                        run->n_answered += client->n;
                        run->n_busy -= !batch_send(run, client);
                }
        }
}

static void clients_connect(struct run *run, const struct perf_place *place, int epoll_fd)
{
        for (uint32_t i = 0; i < run->load->n_clients; i++) {
                struct client *client = &run->clients[i];
                struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
                int r = perf_daemon_connect(place, &client->fd);

                if (r < 0)
                        perf_die("connect", r);
                if (fcntl(client->fd, F_SETFL, 0) < 0 ||
                    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0)
                        perf_die("epoll", -errno);
        }
}

struct perf_load_result perf_load_run(const struct perf_place *place, const struct perf_load *load,
                                      const struct perf_requests *requests)
{
        struct run *run = calloc(1, sizeof(*run));
        int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        struct perf_load_result result;
        uint64_t cpu_from;
        double from;

        if (!run || epoll_fd < 0 || load->n_clients > PERF_LOAD_CLIENTS_MAX)
                perf_die("clients", run ? -errno : -ENOMEM);
        run->load = load;
        run->requests = requests;
        clients_connect(run, place, epoll_fd);

        cpu_from = perf_thread_ns();
        from = perf_now();
        run->deadline = load->seconds_max > 0 ? from + load->seconds_max : 0;
        if (load->n_clients == 1)
                run_one(run);
        else
                run_some(run, epoll_fd);
        result = (struct perf_load_result){
                .n = run->n_answered,
                .seconds = perf_now() - from,
                .client_cpu_seconds = (double)(perf_thread_ns() - cpu_from) * 1e-9,
        };

        for (uint32_t i = 0; i < load->n_clients; i++)
                close(run->clients[i].fd);
        close(epoll_fd);
        free(run);
        return result;
}
