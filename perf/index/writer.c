/*
 * The writer process of perf/index: holds the engine and does what the bench asks, one request at a
 * time. What it needs to generate keys is given back before it answers.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "index/private.h"
#include "support/engine.h"

/* Operations whose keys are made ahead of the applies that are measured. */
#define CHUNK_OPS 262144

/* How often the churn does what has become due. */
#define CHURN_PERIOD_MS 5

struct index_writer_request {
        uint32_t code;
        uint64_t a;
        uint64_t b;
};

struct server {
        const struct perf_place *place;
        enum perf_mix mix;
        struct lanemap_writer *writer;
        uint64_t position;

        struct lanemap_op *ops;
        char *texts;
        size_t ops_bytes;
        size_t texts_bytes;

        pthread_t churn;
        bool churn_stopping; /* atomic */
        uint64_t churn_keys;
        uint64_t churn_rate;
        uint64_t n_churned;  /* atomic */
        uint64_t n_rewrites; /* atomic */
};

static void apply_all(struct server *server, const struct lanemap_op *ops, size_t n_ops, bool ack)
{
        int r;

        for (size_t at = 0; at < n_ops; at += INDEX_BATCH) {
                size_t n = n_ops - at < INDEX_BATCH ? n_ops - at : INDEX_BATCH, n_applied;

                r = lanemap_writer_apply(server->writer, ops + at, n, NULL, &n_applied,
                                         &server->position);
                if (r < 0 || n_applied != n)
                        perf_die("apply", r);
                if (!ack)
                        continue;
                r = lanemap_writer_sync(server->writer, server->position);
                if (r < 0)
                        perf_die("sync", r);
        }
}

/* ---- loading ---- */

static void chunk_make(struct server *server)
{
        if (server->ops)
                return;

        server->ops_bytes = (CHUNK_OPS + PERF_KEY_IDS_MAX) * sizeof(*server->ops);
        server->texts_bytes = (size_t)CHUNK_OPS * PERF_KEY_BYTES_MAX;
        server->ops = mmap(NULL, server->ops_bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        server->texts = mmap(NULL, server->texts_bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (server->ops == MAP_FAILED || server->texts == MAP_FAILED)
                perf_die("memory for keys", -errno);
}

static void chunk_free(struct server *server)
{
        munmap(server->ops, server->ops_bytes);
        munmap(server->texts, server->texts_bytes);
        server->ops = NULL;
}

/* As many keys as fit, from *next on. Return: operations. */
static size_t chunk_fill(struct server *server, uint64_t *next, uint64_t end)
{
        char *text = server->texts;
        size_t n_ops = 0;

        while (n_ops < CHUNK_OPS && *next < end) {
                uint64_t number = (*next)++;
                struct perf_route route = perf_key_route(server->mix, number);
                size_t bytes = perf_key_text(server->mix, number, text);

                for (uint32_t i = 0; i < route.n_ids; i++)
                        server->ops[n_ops++] = (struct lanemap_op){
                                .code = LANEMAP_OP_ADD,
                                .id = perf_route_id(&route, i),
                                .key = text,
                                .key_bytes = bytes,
                        };
                text += bytes;
        }

        return n_ops;
}

static void load(struct server *server, uint64_t first, uint64_t n_keys, bool ack,
                 struct index_writer_reply *reply)
{
        uint64_t next = first;

        chunk_make(server);
        while (next < first + n_keys) {
                size_t n_ops = chunk_fill(server, &next, first + n_keys);
                double from = perf_now();

                apply_all(server, server->ops, n_ops, ack);
                reply->seconds += perf_now() - from;
                reply->n += n_ops;
        }
        chunk_free(server);
}

/* ---- churn: the oldest key goes, a new one comes ---- */

/*
 * The half of the keys that churns is replaced again and again, the other half never: a reader that
 * asks for that one knows every answer, however long it takes. Key 0 of a place is the one that was
 * loaded; the others have numbers that nobody else uses.
 */
static uint64_t churn_key(const struct server *server, uint64_t i, uint64_t n_before)
{
        uint64_t half = server->churn_keys / 2, n = i / half + n_before;

        return n == 0 ? i % half : server->churn_keys + (n - 1) * half + i % half;
}

static size_t replace_make(struct server *server, uint64_t i, struct lanemap_op *ops, char *text)
{
        uint64_t added = churn_key(server, i, 1);
        struct perf_route route = perf_key_route(server->mix, added);
        size_t n_ops = 1, bytes;

        ops[0] = (struct lanemap_op){
                .code = LANEMAP_OP_DELETE,
                .key = text,
                .key_bytes = perf_key_text(server->mix, churn_key(server, i, 0), text),
        };
        text += ops[0].key_bytes;
        bytes = perf_key_text(server->mix, added, text);
        for (uint32_t id = 0; id < route.n_ids; id++)
                ops[n_ops++] = (struct lanemap_op){
                        .code = LANEMAP_OP_ADD,
                        .id = perf_route_id(&route, id),
                        .key = text,
                        .key_bytes = bytes,
                };

        return n_ops;
}

static void *churn_main(void *arg)
{
        static struct lanemap_op ops[INDEX_BATCH + PERF_KEY_IDS_MAX + 1];
        static char texts[INDEX_BATCH * PERF_KEY_BYTES_MAX];
        struct server *server = arg;
        uint64_t i = server->n_churned, began = i;
        double from = perf_now();

        while (!__atomic_load_n(&server->churn_stopping, __ATOMIC_RELAXED)) {
                uint64_t due = began + (uint64_t)((perf_now() - from) * (double)server->churn_rate);

                while (i < due) {
                        size_t n_ops = 0, n_texts = 0;

                        for (; i < due && n_ops + 2 <= INDEX_BATCH; i++, n_texts += 2)
                                n_ops += replace_make(server, i, ops + n_ops,
                                                      texts + n_texts * PERF_KEY_BYTES_MAX);
                        apply_all(server, ops, n_ops, false);
                        __atomic_store_n(&server->n_churned, i, __ATOMIC_RELAXED);
                }
                perf_sleep_ms(CHURN_PERIOD_MS);
        }

        return NULL;
}

static void churn_start(struct server *server, void *(*main)(void *arg), uint64_t n_keys,
                        uint64_t rate)
{
        int r;

        server->churn_keys = n_keys;
        server->churn_rate = rate;
        server->churn_stopping = false;
        r = pthread_create(&server->churn, NULL, main, server);
        if (r != 0)
                perf_die("churn", r);
}

static void churn_stop(struct server *server)
{
        __atomic_store_n(&server->churn_stopping, true, __ATOMIC_RELAXED);
        pthread_join(server->churn, NULL);
}

/* ---- rewrites: a few keys of every lane change, so that a compaction rewrites them all ---- */

#define REWRITE_KEYS 2000

static void *rewrite_main(void *arg)
{
        static struct lanemap_op ops[PERF_KEY_IDS_MAX + 1];
        static char texts[2 * PERF_KEY_BYTES_MAX];
        struct server *server = arg;

        while (!__atomic_load_n(&server->churn_stopping, __ATOMIC_RELAXED)) {
                uint64_t i = server->n_churned;

                for (uint64_t end = i + REWRITE_KEYS; i < end; i++)
                        apply_all(server, ops, replace_make(server, i, ops, texts), false);
                __atomic_store_n(&server->n_churned, i, __ATOMIC_RELAXED);
                (void)perf_engine_request(server->writer, LANEMAP_REQUEST_COMPACT);
                __atomic_fetch_add(&server->n_rewrites, 1, __ATOMIC_RELAXED);
        }

        return NULL;
}

/* ---- requests ---- */

/* Polls, as a caller with nothing else to do: the wait is over within a millisecond of the truth.
 */
static void acknowledgeable_wait(struct server *server)
{
        int r = 0;

        while (lanemap_writer_acknowledgeable(server->writer, &r) < server->position) {
                if (r < 0)
                        perf_die("log", r);
                perf_sleep_ms(1);
        }
}

static void request_serve(struct server *server, const struct index_writer_request *request,
                          struct index_writer_reply *reply)
{
        double from = perf_now();
        int r = 0;

        switch (request->code) {
        case INDEX_WRITER_OPEN:
                server->writer = perf_engine_open(
                        server->place,
                        &(struct lanemap_writer_options){.appendfsync = (uint32_t)request->a});
                break;
        case INDEX_WRITER_LOAD:
        case INDEX_WRITER_LOAD_ACK:
                load(server, request->a, request->b, request->code == INDEX_WRITER_LOAD_ACK, reply);
                break;
        case INDEX_WRITER_SYNC:
                r = lanemap_writer_sync(server->writer, server->position);
                break;
        case INDEX_WRITER_ACK:
                acknowledgeable_wait(server);
                break;
        case INDEX_WRITER_COMPACT:
                (void)perf_engine_request(server->writer, LANEMAP_REQUEST_COMPACT);
                break;
        case INDEX_WRITER_CHURN_START:
                churn_start(server, churn_main, request->a, request->b);
                break;
        case INDEX_WRITER_REWRITE_START:
                churn_start(server, rewrite_main, request->a, 0);
                break;
        case INDEX_WRITER_CHURN_STOP:
        case INDEX_WRITER_REWRITE_STOP:
                churn_stop(server);
                break;
        case INDEX_WRITER_CLOSE:
                lanemap_writer_close(server->writer);
                server->writer = NULL;
                break;
        default:
                break;
        }
        if (r < 0)
                perf_die("sync", r);
        if (reply->seconds == 0)
                reply->seconds = perf_now() - from;

        if (request->code != INDEX_WRITER_LOAD && request->code != INDEX_WRITER_LOAD_ACK)
                reply->n = request->code == INDEX_WRITER_REWRITE_STOP
                                   ? __atomic_load_n(&server->n_rewrites, __ATOMIC_RELAXED)
                                   : __atomic_load_n(&server->n_churned, __ATOMIC_RELAXED);
        reply->stats.size = sizeof(reply->stats);
        if (server->writer && lanemap_writer_get_stats(server->writer, &reply->stats) < 0)
                perf_die("statistics", -EINVAL);
}

int index_writer_main(char **argv)
{
        static struct perf_place place;
        struct server server = {.place = &place, .mix = (enum perf_mix)atoi(argv[4])};
        struct index_writer_request request;
        int fd = atoi(argv[1]);

        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
        snprintf(place.name, sizeof(place.name), "%s", argv[2]);
        snprintf(place.directory, sizeof(place.directory), "%s", argv[3]);

        while (read(fd, &request, sizeof(request)) == (ssize_t)sizeof(request)) {
                struct index_writer_reply reply = {0};

                request_serve(&server, &request, &reply);
                if (write(fd, &reply, sizeof(reply)) != (ssize_t)sizeof(reply))
                        break;
                if (request.code == INDEX_WRITER_CLOSE)
                        break;
        }

        return 0;
}

/* ---- the bench's side ---- */

void index_writer_start(struct index_writer *writer, const struct perf_place *place,
                        enum perf_mix mix)
{
        char fd_text[16], mix_text[16];
        pid_t parent = getpid();
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                perf_die("socketpair", -errno);

        writer->pid = fork();
        if (writer->pid < 0)
                perf_die("fork", -errno);
        if (writer->pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent)
                        _exit(1);
                (void)fcntl(fds[1], F_SETFD, 0);
                snprintf(fd_text, sizeof(fd_text), "%d", fds[1]);
                snprintf(mix_text, sizeof(mix_text), "%d", (int)mix);
                execl("/proc/self/exe", "index-writer", fd_text, place->name, place->directory,
                      mix_text, (char *)NULL);
                _exit(1);
        }

        close(fds[1]);
        writer->fd = fds[0];
        (void)index_writer_ask(writer, INDEX_WRITER_STATS, 0, 0);
        writer->anonymous_bytes = perf_anonymous_bytes(writer->pid);
}

struct index_writer_reply index_writer_ask(struct index_writer *writer, uint32_t code, uint64_t a,
                                           uint64_t b)
{
        struct index_writer_request request = {.code = code, .a = a, .b = b};
        struct index_writer_reply reply;

        if (write(writer->fd, &request, sizeof(request)) != (ssize_t)sizeof(request) ||
            read(writer->fd, &reply, sizeof(reply)) != (ssize_t)sizeof(reply))
                perf_die("the writer process has ended", -ECHILD);

        return reply;
}

static void writer_reap(struct index_writer *writer)
{
        close(writer->fd);
        while (waitpid(writer->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        writer->pid = 0;
}

double index_writer_stop(struct index_writer *writer)
{
        double seconds = index_writer_ask(writer, INDEX_WRITER_CLOSE, 0, 0).seconds;

        writer_reap(writer);
        return seconds;
}

void index_writer_kill(struct index_writer *writer)
{
        kill(writer->pid, SIGKILL);
        writer_reap(writer);
}
