/*
 * Routes into a running lanemapd: SADD over its Unix socket, pipelined.
 *
 * Commands are sent ahead of their replies, a window of them at a time, so that one fsync of the
 * writer's log acknowledges many; the window is small enough that the replies to it fit in a
 * socket's buffer, so neither side can block the other. Replies come in order: `lines` remembers
 * which line each one answers.
 */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "load/load.h"
#include "tool.h"

#define WINDOW          4096 /* commands; a power of two */
#define WINDOW_BYTES    ((size_t)1 << 20)
#define IDS_MAX         512 /* in one command */
#define LOADING_SECONDS 120

struct socket_target {
        struct lanemap_load_target target;
        redisContext *context;
        uint64_t lines[WINDOW];
        size_t first, n_pending;
        size_t n_pending_bytes;
        uint64_t n_lines_done; /* the last line that was answered */
        uint64_t refused_line; /* a line of several commands is refused once */
};

static int connection_lost(struct socket_target *socket)
{
        lanemap_tool_say(
                "the connection to the writer broke (%s); lines up to %llu are acknowledged, "
                "the ones after it may or may not be in. Loading again is harmless.",
                socket->context->errstr, (unsigned long long)socket->n_lines_done);
        return -EPIPE;
}

static int reply_take(struct socket_target *socket)
{
        uint64_t line = socket->lines[socket->first];
        redisReply *reply;

        if (redisGetReply(socket->context, (void **)&reply) != REDIS_OK)
                return connection_lost(socket);
        socket->first = (socket->first + 1) % WINDOW;
        socket->n_pending--;
        if (reply->type == REDIS_REPLY_INTEGER) {
                socket->target.n_new += (uint64_t)reply->integer;
        } else if (line != socket->refused_line) {
                socket->refused_line = line;
                lanemap_load_refuse(&socket->target, line, "the writer says: %s",
                                    reply->type == REDIS_REPLY_ERROR ? reply->str
                                                                     : "(not a number)");
        }
        socket->n_lines_done = line;
        freeReplyObject(reply);
        return 0;
}

static int replies_take(struct socket_target *socket, size_t n_left)
{
        while (socket->n_pending > n_left) {
                int r = reply_take(socket);

                if (r < 0)
                        return r;
        }
        socket->n_pending_bytes = 0;
        return 0;
}

static int command_append(struct socket_target *socket, uint64_t line, struct lanemap_slice key,
                          const uint32_t *ids, size_t n_ids)
{
        const char *words[2 + IDS_MAX] = {"SADD", key.data};
        size_t bytes[2 + IDS_MAX] = {4, key.bytes};
        char digits[IDS_MAX][12];

        for (size_t i = 0; i < n_ids; i++) {
                words[2 + i] = digits[i];
                bytes[2 + i] = (size_t)snprintf(digits[i], sizeof(digits[i]), "%u", ids[i]);
        }
        if (redisAppendCommandArgv(socket->context, (int)(2 + n_ids), words, bytes) != REDIS_OK)
                return connection_lost(socket);
        socket->lines[(socket->first + socket->n_pending++) % WINDOW] = line;
        socket->n_pending_bytes += key.bytes + 16 * n_ids + 32;
        if (socket->n_pending < WINDOW && socket->n_pending_bytes < WINDOW_BYTES)
                return 0;
        return replies_take(socket, socket->n_pending / 2);
}

static int socket_add(struct lanemap_load_target *target, uint64_t line, struct lanemap_slice key,
                      const uint32_t *ids, size_t n_ids)
{
        struct socket_target *socket = LANEMAP_CONTAINER_OF(target, struct socket_target, target);

        for (size_t at = 0; at < n_ids; at += IDS_MAX) {
                int r = command_append(socket, line, key, ids + at,
                                       LANEMAP_MIN(n_ids - at, (size_t)IDS_MAX));

                if (r < 0)
                        return r;
        }
        return 0;
}

static int socket_finish(struct lanemap_load_target *target)
{
        return replies_take(LANEMAP_CONTAINER_OF(target, struct socket_target, target), 0);
}

static void socket_close(struct lanemap_load_target *target)
{
        struct socket_target *socket = LANEMAP_CONTAINER_OF(target, struct socket_target, target);

        if (socket->context)
                redisFree(socket->context);
        free(socket);
}

/* A writer that recovers answers -LOADING; it is worth waiting for. */
static int writer_await(struct socket_target *socket)
{
        for (int i = 0;; i++) {
                redisReply *reply = redisCommand(socket->context, "PING");
                struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
                bool loading;

                if (!reply)
                        return connection_lost(socket);
                if (reply->type != REDIS_REPLY_ERROR) {
                        freeReplyObject(reply);
                        return 0;
                }
                loading = strncmp(reply->str, "LOADING", 7) == 0;
                if (!loading || i >= 10 * LOADING_SECONDS) {
                        lanemap_tool_say("the writer says: %s", reply->str);
                        freeReplyObject(reply);
                        return -EIO;
                }
                freeReplyObject(reply);
                nanosleep(&pause, NULL);
        }
}

/* Not an option: arguments are seen by everybody who can list processes. */
static int password_send(struct socket_target *socket)
{
        const char *password = getenv("LANEMAP_PASSWORD");
        redisReply *reply;
        int r = 0;

        if (!password)
                return 0;
        reply = redisCommand(socket->context, "AUTH %s", password);
        if (!reply)
                return connection_lost(socket);
        if (reply->type == REDIS_REPLY_ERROR) {
                lanemap_tool_say("the writer says: %s", reply->str);
                r = -EACCES;
        }
        freeReplyObject(reply);
        return r;
}

/*
 * By hand, since hiredis 0.14 cuts a path that is too long, and would talk to whoever listens
 * there; one of just the greatest length it does not end.
 *
 * Return: 0, or a negative errno after saying what is wrong.
 */
static int writer_connect(const char *path, int *ret_fd)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        size_t n_bytes = strlen(path);
        int fd, r;

        if (n_bytes == 0 || n_bytes >= sizeof(address.sun_path)) {
                lanemap_tool_say(
                        "--socket: a Unix socket's path has 1 to %zu bytes; '%.200s' has %zu",
                        sizeof(address.sun_path) - 1, path, n_bytes);
                return -EINVAL;
        }
        memcpy(address.sun_path, path, n_bytes);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
                r = -errno;
                lanemap_tool_say("cannot connect to the writer at '%s': %s", path, strerror(-r));
                if (fd >= 0)
                        close(fd);
                return r;
        }
        *ret_fd = fd;
        return 0;
}

int lanemap_load_socket_open(const char *path, struct lanemap_load_target **ret_target)
{
        struct socket_target *socket;
        int fd = -1, r;

        r = writer_connect(path, &fd);
        if (r < 0)
                return r;
        socket = lanemap_tool_realloc(NULL, 1, sizeof(*socket));
        *socket = (struct socket_target){
                .target = {.add = socket_add, .finish = socket_finish, .close = socket_close},
                .context = redisConnectFd(fd),
        };
        if (!socket->context) {
                close(fd);
                socket_close(&socket->target);
                lanemap_tool_say("out of memory");
                return -ENOMEM;
        }
        r = password_send(socket);
        if (r == 0)
                r = writer_await(socket);
        if (r < 0) {
                socket_close(&socket->target);
                return r;
        }

        *ret_target = &socket->target;
        return 0;
}

/* The descriptor leaves with the first of the bytes. Return: 0, -errno. */
static int bytes_send(int to, const char *bytes, size_t n_bytes, int fd)
{
        union {
                char bytes[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = {{0}};
        struct iovec first = {(void *)(uintptr_t)bytes, n_bytes};
        struct msghdr message = {.msg_iov = &first,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof(control)};
        struct cmsghdr *part = CMSG_FIRSTHDR(&message);

        part->cmsg_level = SOL_SOCKET;
        part->cmsg_type = SCM_RIGHTS;
        part->cmsg_len = CMSG_LEN(sizeof(fd));
        memcpy(CMSG_DATA(part), &fd, sizeof(fd));
        while (first.iov_len > 0) {
                ssize_t n = sendmsg(to, &message, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                first.iov_base = (char *)first.iov_base + n;
                first.iov_len -= (size_t)n;
                message.msg_control = NULL;
                message.msg_controllen = 0;
        }
        return 0;
}

static redisReply *command_send(redisContext *context, const char **words, int n_words, int fd)
{
        void *reply = NULL;
        char *bytes;
        int n, r;

        if (fd < 0)
                return redisCommandArgv(context, n_words, words, NULL);

        n = redisFormatCommandArgv(&bytes, n_words, words, NULL);
        if (n < 0)
                return NULL;
        r = bytes_send(context->fd, bytes, (size_t)n, fd);
        redisFreeCommand(bytes);
        if (r < 0) {
                errno = -r;
                return NULL;
        }
        return redisGetReply(context, &reply) == REDIS_OK ? reply : NULL;
}

/* One command and its answer, which the caller frees. Return: 0 or a negative errno after
 * saying. */
static int socket_ask(const char *path, const char **words, int n_words, int fd,
                      redisReply **ret_reply)
{
        struct lanemap_load_target *target;
        struct socket_target *socket;
        redisReply *reply;
        int r;

        r = lanemap_load_socket_open(path, &target);
        if (r < 0)
                return r;

        socket = LANEMAP_CONTAINER_OF(target, struct socket_target, target);
        reply = command_send(socket->context, words, n_words, fd);
        if (!reply) {
                lanemap_tool_say("the connection to the writer broke (%s)",
                                 socket->context->err ? socket->context->errstr : strerror(errno));
                r = -EPIPE;
        } else if (reply->type == REDIS_REPLY_ERROR) {
                lanemap_tool_say("the writer says: %s", reply->str);
                freeReplyObject(reply);
                r = -EIO;
        }
        socket_close(target);
        if (r == 0)
                *ret_reply = reply;
        return r;
}

int lanemap_load_socket_command(const char *path, const char **words, int n_words, int fd)
{
        redisReply *reply;
        int r = socket_ask(path, words, n_words, fd, &reply);

        if (r == 0)
                freeReplyObject(reply);
        return r;
}

int lanemap_load_socket_stats(const char *path,
                              void (*fn)(void *arg, const char *name, const char *text,
                                         int64_t number),
                              void *arg)
{
        const char *words[] = {"LANEMAP.STATS"};
        redisReply *reply = NULL;
        int r = socket_ask(path, words, 1, -1, &reply);

        if (r < 0)
                return r;
        for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i + 1 < reply->elements; i += 2) {
                const redisReply *name = reply->element[i], *value = reply->element[i + 1];

                if (name->type == REDIS_REPLY_STRING &&
                    (value->type == REDIS_REPLY_STRING || value->type == REDIS_REPLY_INTEGER))
                        fn(arg, name->str, value->type == REDIS_REPLY_STRING ? value->str : NULL,
                           value->integer);
        }
        freeReplyObject(reply);
        return 0;
}
