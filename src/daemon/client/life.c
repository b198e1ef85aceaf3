/*
 * See client/life.h, and daemon.h for what a round does.
 *
 * The query buffer is moved or grown only by client_read(), once a round at most, before the
 * client's commands run; the round ends with a flush (B3).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "daemon/client/batch.h"
#include "daemon/client/budget.h"
#include "daemon/client/life.h"
#include "daemon/client/release.h"
#include "daemon/client/reply.h"
#include "daemon/client/state.h"
#include "daemon/client/transaction.h"
#include "daemon/client/watched.h"
#include "daemon/loop/log.h"

/* After each so many commands of a client it is looked whether the round has lasted so long. */
#define TURN_COMMANDS 64
#define ROUND_NS_MAX  (UINT64_C(500) * 1000)

static void client_ready(struct lanemap_server *server, struct lanemap_watch *watch,
                         uint32_t events);

void lanemap_client_new(struct lanemap_server *server, int fd, bool is_tcp, const char *address)
{
        struct lanemap_client *client = lanemap_alloc_zero(sizeof(*client));

        if (!client) {
                close(fd);
                return;
        }
        client->watch.fd = fd;
        client->watch.ready = client_ready;
        client->server = server;
        client->passed_fd = -1;
        client->id = server->next_client_id++;
        client->is_tcp = is_tcp;
        client->read_bytes = LANEMAP_READ_BYTES;
        client->authenticated = !*server->options.password;
        client->created = client->last_active = server->now;
        client->last_command = "NULL";
        snprintf(client->address, sizeof(client->address), is_tcp ? "%s" : "%s:0", address);
        lanemap_resp_parser_init(&client->parser);
        client->parser.restricted = !client->authenticated;
        lanemap_reply_init(&client->out, 2);
        client->events = EPOLLIN;
        if (lanemap_watch_add(server, &client->watch, client->events) < 0) {
                lanemap_resp_parser_deinit(&client->parser);
                lanemap_free(client);
                close(fd);
                return;
        }
        client->moved = client->unauthenticated_since = server->seconds;
        lanemap_budget_count(client);
        TAILQ_INSERT_TAIL(&server->clients, client, all);
        server->n_clients++;
        server->n_tcp_clients += is_tcp;
        server->n_connections++;
        server->n_clients_peak = LANEMAP_MAX(server->n_clients_peak, server->n_clients);
}

/* LP4: its next command is a write that has to wait. Clients run in the order of the list, so one
 * that has had its turn goes to the end of it. */
static void client_park(struct lanemap_client *client)
{
        struct lanemap_server *server = client->server;

        if (client->write_waits)
                return;
        client->write_waits = true;
        server->n_parked++;
        if (client->is_touched) {
                TAILQ_REMOVE(&server->touched, client, touched);
                TAILQ_INSERT_TAIL(&server->touched, client, touched);
        }
        lanemap_client_touch(client);
}

static void client_unpark(struct lanemap_client *client)
{
        client->server->n_parked -= client->write_waits;
        client->write_waits = false;
}

void lanemap_client_free(struct lanemap_client *client)
{
        struct lanemap_server *server = client->server;

        lanemap_client_unblock(client);
        client_unpark(client);
        if (client->n_batched > 0)
                lanemap_batch_forget(&server->batch, client);
        lanemap_watched_forget(client);
        lanemap_budget_forget(client);
        if (client->is_touched)
                TAILQ_REMOVE(&server->touched, client, touched);
        TAILQ_REMOVE(&server->clients, client, all);
        server->n_clients--;
        server->n_tcp_clients -= client->is_tcp;
        lanemap_client_job_forget(client);
        close(client->watch.fd);
        if (client->passed_fd >= 0)
                close(client->passed_fd);
        lanemap_resp_parser_deinit(&client->parser);
        lanemap_reply_deinit(&client->out);
        lanemap_gate_deinit(&client->gate);
        lanemap_transaction_leave(client);
        lanemap_free(client->query);
        lanemap_free(client);
}

static size_t query_live(const struct lanemap_client *client)
{
        return client->query_end - client->query_begin;
}

static void client_close_unauthenticated(struct lanemap_client *client, const char *why)
{
        struct lanemap_server *server = client->server;

        server->n_closed_unauthenticated++;
        lanemap_log_some(&server->unauthenticated_said, server->seconds, LOG_WARNING,
                         "client %" PRIu64 " at %s: %s, and it has not given the password: closed",
                         client->id, client->address, why);
        lanemap_client_close(client);
}

/* Room for some more input. Return: false when the client has to be closed. */
static bool query_room(struct lanemap_client *client)
{
        size_t live = query_live(client);
        size_t capacity;
        char *query;

        if (!client->authenticated && live >= LANEMAP_UNAUTHENTICATED_BYTES) {
                client_close_unauthenticated(client, "it sent a message of 16 KiB");
                return false;
        }
        if (live > LANEMAP_QUERY_BYTES_MAX) {
                lanemap_log(LOG_WARNING,
                            "client %" PRIu64 ": one message has more than %zu bytes, "
                            "closing",
                            client->id, LANEMAP_QUERY_BYTES_MAX);
                return false;
        }
        if (client->query_capacity - client->query_end >= client->read_bytes)
                return true;
        if (client->query_begin > 0) {
                memmove(client->query, client->query + client->query_begin, live);
                client->query_begin = 0;
                client->query_end = live;
        }
        if (client->query_capacity - live >= client->read_bytes)
                return true;
        capacity = LANEMAP_MAX(2 * client->query_capacity, live + client->read_bytes);
        query = lanemap_realloc(client->query, capacity);
        if (!query)
                return false;
        client->query = query;
        client->query_capacity = capacity;
        return true;
}

/* One is kept, the last: LANEMAP.BACKUP takes it. */
static void descriptors_take(struct lanemap_client *client, struct msghdr *message)
{
        for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part;
             part = CMSG_NXTHDR(message, part)) {
                size_t n_bytes = part->cmsg_len - CMSG_LEN(0);
                int fd;

                if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t at = 0; at + sizeof(fd) <= n_bytes; at += sizeof(fd)) {
                        memcpy(&fd, CMSG_DATA(part) + at, sizeof(fd));
                        if (client->passed_fd >= 0)
                                close(client->passed_fd);
                        client->passed_fd = fd;
                }
        }
}

/* Descriptors that there is no room for the kernel closes. */
static ssize_t client_receive(struct lanemap_client *client)
{
        union {
                char bytes[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control;
        struct iovec bytes = {client->query + client->query_end,
                              client->query_capacity - client->query_end};
        struct msghdr message = {.msg_iov = &bytes,
                                 .msg_iovlen = 1,
                                 .msg_control = control.bytes,
                                 .msg_controllen = sizeof(control)};
        ssize_t n;

        if (!client->authenticated)
                bytes.iov_len = LANEMAP_MIN(bytes.iov_len,
                                            LANEMAP_UNAUTHENTICATED_BYTES - query_live(client));
        if (client->is_tcp)
                return recv(client->watch.fd, bytes.iov_base, bytes.iov_len, MSG_DONTWAIT);

        n = recvmsg(client->watch.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (n >= 0 && message.msg_controllen > 0)
                descriptors_take(client, &message);
        return n;
}

static void client_read(struct lanemap_client *client)
{
        ssize_t n;

        lanemap_check(client->n_batched == 0 ||
                      (client->server->batch.held_keys &&
                       !client->server->batch.lent.message)); /* B3, B4, B7 */
        if (client->query_begin == client->query_end)
                client->query_begin = client->query_end = 0;
        if (!query_room(client)) {
                lanemap_client_close(client);
                return;
        }
        n = client_receive(client);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return;
        if (n < 0) {
                lanemap_client_close(client);
                return;
        }
        if (n == 0) { /* what it asked for is still answered: it may have closed one half only */
                client->half_closed = client->close_after = true;
                return;
        }
        client->query_end += (size_t)n;
        client->server->bytes_in += (size_t)n;
        client->last_active = client->server->now;
        client->moved = client->server->seconds;
        client->has_input = true;
        if ((size_t)n >= client->read_bytes && client->read_bytes < LANEMAP_READ_BYTES_MAX)
                client->read_bytes *= 2;
}

/* The protocol is broken: say so, then close. */
static void client_protocol_error(struct lanemap_client *client, int r)
{
        struct lanemap_reply *reply;

        if (r != -EBADMSG) {
                lanemap_client_close(client);
                return;
        }
        lanemap_transaction_leave(client);
        reply = lanemap_client_reply(client);
        if (client->run_again) { /* its writes are held: the same bytes are met again after them */
                client->run_again = false;
                return;
        }
        lanemap_reply_error(reply, "ERR Protocol error: %s", client->parser.error);
        lanemap_client_reply_end(client);
        client->close_after = true;
        client->query_begin = client->query_end;
}

/* Many replies are ready in the midst of a round: let those go that may. */
static void client_relieve(struct lanemap_client *client)
{
        if (client->n_batched > 0)
                lanemap_batch_flush(client->server);
        lanemap_server_gate(client->server);
        lanemap_client_gate(client);
        lanemap_client_send(client);
        client->relieved = lanemap_reply_stream_end(&client->out);
}

/* So much waits, and so much more than at the last attempt to send it. */
static bool output_is_due(const struct lanemap_client *client)
{
        return lanemap_reply_bytes(&client->out) > LANEMAP_OUTPUT_BYTES_SEND &&
               lanemap_reply_stream_end(&client->out) - client->relieved >
                       LANEMAP_OUTPUT_BYTES_SEND;
}

bool lanemap_client_is_full(const struct lanemap_client *client)
{
        return lanemap_reply_bytes(&client->out) >
               (client->authenticated ? LANEMAP_OUTPUT_BYTES_PAUSE : LANEMAP_UNAUTHENTICATED_BYTES);
}

static bool client_may_run(const struct lanemap_client *client)
{
        if (client->n_batched > 0 && client->server->batch.held_keys) /* B4 */
                return false;
        if (client->write_waits && !lanemap_server_may_write(client->server))
                return false;
        return client->has_input && !client->blocked && !client->close_after &&
               !client->close_now && !client->server->stopping && !lanemap_client_is_full(client) &&
               !lanemap_budget_holds(client);
}

/* Whoever asks for much leaves the others their turn (LP3): a round ends after so many bytes of
 * replies, or after some commands when it has lasted long enough, and the next one goes on. */
struct turn {
        uint64_t stream_begin;
        uint32_t n_commands;
};

static bool turn_is_over(const struct lanemap_client *client, struct turn *turn)
{
        if (lanemap_reply_stream_end(&client->out) - turn->stream_begin > LANEMAP_OUTPUT_BYTES_TURN)
                return true;
        return turn->n_commands++ % TURN_COMMANDS == TURN_COMMANDS - 1 &&
               lanemap_now_ns(&lanemap_clock_monotonic) - client->server->round_ns > ROUND_NS_MAX;
}

/* A message is understood once, also when its command has to wait: parsing takes the quotes away.
 * Return: as lanemap_resp_parse(). */
static int message_parse(struct lanemap_client *client, char *message)
{
        if (client->parsed_bytes > 0)
                return LANEMAP_RESP_COMMAND;
        return lanemap_resp_parse(&client->parser, message, client->query_end - client->query_begin,
                                  &client->parsed_bytes);
}

/* Return: false when the command has to wait. */
static bool message_run(struct lanemap_client *client, const char *message)
{
        struct lanemap_resp_parser *parser = &client->parser;
        size_t n_bytes = client->parsed_bytes;

        client->query_begin += n_bytes;
        client->parsed_bytes = 0;
        if (parser->n_args == 0 || LANEMAP_LIKELY(client->server->execute(
                                           client, message, parser->args, parser->n_args))) {
                client_unpark(client);
                return true;
        }
        client->query_begin -= n_bytes;
        client->parsed_bytes = n_bytes;
        return false;
}

static void client_run(struct lanemap_client *client)
{
        struct turn turn = {.stream_begin = lanemap_reply_stream_end(&client->out)};

        while (client_may_run(client) && !turn_is_over(client, &turn)) {
                char *message = client->query + client->query_begin;
                int r;

                if (LANEMAP_UNLIKELY(output_is_due(client))) {
                        client_relieve(client);
                        continue;
                }
                r = message_parse(client, message);
                if (r == LANEMAP_RESP_MORE) {
                        client->has_input = false;
                } else if (r < 0) {
                        client_protocol_error(client, r);
                } else if (!message_run(client, message)) {
                        client_park(client);
                        return;
                }
        }
}

void lanemap_client_run(struct lanemap_client *client)
{
        client_run(client);
        lanemap_budget_count(client);
}

/* Since when it takes nothing of what may leave. */
static void client_note_unread(struct lanemap_client *client, bool took_some)
{
        if (client->gate.released == client->out.stream)
                client->unread_since = 0;
        else if (took_some || client->unread_since == 0)
                client->unread_since = client->server->seconds;
}

void lanemap_client_send(struct lanemap_client *client)
{
        uint64_t stream_begin = client->out.stream;

        while (client->gate.released > client->out.stream && !client->close_now &&
               client->out.stream - stream_begin < LANEMAP_SEND_BYTES_TURN) {
                uint64_t n_released = client->gate.released - client->out.stream;
                const char *bytes;
                size_t n_bytes = lanemap_reply_next(&client->out, &bytes);
                ssize_t n = -1;

                if (n_bytes > 0)
                        n = send(client->watch.fd, bytes, LANEMAP_MIN(n_bytes, n_released),
                                 MSG_DONTWAIT | MSG_NOSIGNAL);
                if (n < 0 && n_bytes > 0 && errno == EINTR)
                        continue;
                if (n < 0 && n_bytes > 0 && errno == EAGAIN)
                        break;
                if (n < 0) {
                        lanemap_client_close(client);
                        return;
                }
                lanemap_reply_sent(&client->out, (size_t)n);
                client->server->bytes_out += (size_t)n;
                client->last_active = client->server->now;
                client->moved = client->server->seconds;
        }
        lanemap_budget_count(client);
        client_note_unread(client, client->out.stream > stream_begin);
        if (client->close_after && !client->blocked && client->n_batched == 0 &&
            lanemap_reply_bytes(&client->out) == 0)
                client->close_now = true;
}

/* What epoll has to tell us about this client from now on. */
void lanemap_client_watch(struct lanemap_client *client)
{
        bool is_held = lanemap_budget_holds(client);
        bool paused = client->blocked || client->close_after || client->has_input || is_held ||
                      client->server->stopping;
        uint32_t events = !paused ? EPOLLIN : client->half_closed ? 0 : EPOLLRDHUP;

        client->is_held = is_held;
        client->server->clients_held |= is_held;
        if (client->gate.released > client->out.stream)
                events |= EPOLLOUT;
        if (events == client->events)
                return;
        client->events = events;
        lanemap_watch_change(client->server, &client->watch, events);
}

static void client_ready(struct lanemap_server *server, struct lanemap_watch *watch,
                         uint32_t events)
{
        struct lanemap_client *client = (struct lanemap_client *)watch;

        if (events & EPOLLIN) {
                if (!lanemap_budget_holds(client))
                        client_read(client);
                if (client->server->n_parked == 0) /* or after those who are parked */
                        lanemap_client_run(client);
        } else if (events & (EPOLLERR | EPOLLHUP)) {
                lanemap_client_close(client);
        } else if (events & EPOLLRDHUP) {
                client->half_closed = true; /* it may still read; the end is met when reading */
        }
        lanemap_client_touch(client);
}

/* Everybody who may be asked why is named: the client, and the option. */
static void client_close_unread(struct lanemap_client *client)
{
        struct lanemap_server *server = client->server;

        lanemap_log(LOG_WARNING,
                    "client %" PRIu64 " at %s, name '%s': it has read nothing for %" PRIu64
                    " seconds, and %" PRIu64
                    " bytes of replies wait for it: closed (timeout-output is %" PRIu64 ")",
                    client->id, client->address, client->name,
                    server->seconds - client->unread_since, lanemap_reply_bytes(&client->out),
                    server->options.timeout_output);
        server->n_closed_unread++;
        lanemap_client_close(client);
}

/* One that waits for an answer is not idle. */
static void client_close_idle(struct lanemap_client *client, time_t idle)
{
        uint64_t limit = client->server->options.timeout;

        if (limit == 0 || idle < 0 || (uint64_t)idle <= limit || client->blocked ||
            client->write_waits || client->n_batched > 0 || lanemap_reply_bytes(&client->out) > 0)
                return;
        lanemap_log(LOG_INFO,
                    "client %" PRIu64 " at %s: it has done nothing for %lld seconds: closed",
                    client->id, client->address, (long long)idle);
        lanemap_client_close(client);
}

void lanemap_client_cron(struct lanemap_client *client)
{
        time_t idle = client->server->now - client->last_active;
        uint64_t limit = client->server->options.timeout_output;
        uint64_t limit_auth = client->server->options.timeout_auth;

        if (limit_auth > 0 && !client->authenticated &&
            client->server->seconds - client->unauthenticated_since > limit_auth)
                client_close_unauthenticated(client, "it is here for longer than timeout-auth");
        if (limit > 0 && client->unread_since > 0 &&
            client->server->seconds - client->unread_since >= limit)
                client_close_unread(client);
        client_close_idle(client, idle);
        if (idle < 2)
                return;
        lanemap_budget_trim(client);
}
