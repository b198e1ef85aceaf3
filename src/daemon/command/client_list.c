/* See command/client_list.h. The fields, their order and the errors are those of Redis 7.2. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "daemon/client/budget.h"
#include "daemon/client/state.h"
#include "daemon/client/transaction.h"
#include "daemon/command/client_list.h"

static void local_address_format(const struct lanemap_client *client,
                                 char text[static LANEMAP_CLIENT_ADDRESS_BYTES])
{
        union {
                struct sockaddr any;
                struct sockaddr_in v4;
                struct sockaddr_in6 v6;
        } address;
        socklen_t n_bytes = sizeof(address);
        char host[INET6_ADDRSTRLEN] = "";

        if (!client->is_tcp) {
                memcpy(text, client->address, LANEMAP_CLIENT_ADDRESS_BYTES);
                return;
        }
        if (getsockname(client->watch.fd, &address.any, &n_bytes) < 0)
                address.any.sa_family = AF_UNSPEC;
        if (address.any.sa_family == AF_INET &&
            inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof(host)))
                snprintf(text, LANEMAP_CLIENT_ADDRESS_BYTES, "%s:%u", host,
                         ntohs(address.v4.sin_port));
        else if (address.any.sa_family == AF_INET6 &&
                 inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof(host)))
                snprintf(text, LANEMAP_CLIENT_ADDRESS_BYTES, "[%s]:%u", host,
                         ntohs(address.v6.sin6_port));
        else
                snprintf(text, LANEMAP_CLIENT_ADDRESS_BYTES, "?:0");
}

static void flags_format(const struct lanemap_client *client, char text[8])
{
        size_t n = 0;

        if (client->transaction)
                text[n++] = 'x';
        if (client->blocked)
                text[n++] = 'b';
        if (client->close_after)
                text[n++] = 'c';
        if (client->close_now)
                text[n++] = 'A';
        if (!client->is_tcp)
                text[n++] = 'U';
        if (n == 0)
                text[n++] = 'N';
        text[n] = 0;
}

size_t lanemap_client_describe(const struct lanemap_client *client, char *line, size_t n_line)
{
        char local[LANEMAP_CLIENT_ADDRESS_BYTES], flags[8];
        const struct lanemap_reply *out = &client->out;
        int n;

        local_address_format(client, local);
        flags_format(client, flags);
        n = snprintf(
                line, n_line,
                "id=%" PRIu64 " addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=0 "
                "sub=0 psub=0 ssub=0 multi=%d qbuf=%zu qbuf-free=%zu argv-mem=%" PRIu64
                " multi-mem=%" PRIu64 " rbs=%zu rbp=%zu obl=%zu oll=%zu omem=%" PRIu64
                " tot-mem=%" PRIu64
                " events=%s%s cmd=%s user=%s redir=-1 resp=%u lib-name=%s lib-ver=%s\n",
                client->id, client->address, local, client->watch.fd, client->name,
                (long long)(client->server->now - client->created),
                (long long)(client->server->now - client->last_active), flags,
                client->transaction ? (int)client->transaction->n_commands : -1,
                client->query_end - client->query_begin, client->query_capacity - client->query_end,
                lanemap_budget_arguments_bytes(client), lanemap_budget_transaction_bytes(client),
                out->capacity, out->capacity, out->end - out->begin, out->n_runs,
                lanemap_reply_memory(out), client->memory_bytes,
                client->events & EPOLLIN ? "r" : "", client->events & EPOLLOUT ? "w" : "",
                client->last_command, client->authenticated ? "default" : "(unauthenticated)",
                out->protocol, client->lib_name, client->lib_ver);
        return n < 0 ? 0 : LANEMAP_MIN((size_t)n, n_line - 1);
}

/* ---- filters ---- */

/* What argument i calls a type. All are normal here. Return: false after an error was replied. */
static bool type_take(const struct lanemap_call *call, uint32_t i, bool *ret_normal)
{
        static const char *const names[] = {"normal", "master", "replica", "slave", "pubsub"};

        for (size_t n = 0; n < LANEMAP_N_ELEMENTS(names); n++) {
                if (!lanemap_call_is(call, i, names[n]))
                        continue;
                *ret_normal = n == 0;
                return true;
        }
        lanemap_reply_error(lanemap_client_reply(call->client), "ERR Unknown client type '%.*s'",
                            (int)LANEMAP_MIN(call->args[i].bytes, 128u),
                            lanemap_call_bytes(call, i));
        return false;
}

static bool number_take(const struct lanemap_call *call, uint32_t i, uint64_t *ret_number)
{
        return lanemap_number_parse(lanemap_call_bytes(call, i), call->args[i].bytes, INT64_MAX,
                                    ret_number) == 0;
}

/* One client that CLIENT LIST ID asks for. */
struct asked {
        uint64_t id;
        uint32_t i; /* of the argument */
        const struct lanemap_client *client;
};

static int asked_by_id(const void *a, const void *b)
{
        const struct asked *one = a, *other = b;

        return (one->id > other->id) - (one->id < other->id);
}

static int asked_by_argument(const void *a, const void *b)
{
        const struct asked *one = a, *other = b;

        return (one->i > other->i) - (one->i < other->i);
}

/* Finds the client of each. Clients are listed by their ids. */
static void asked_find(const struct lanemap_call *call, struct asked *asked, size_t n)
{
        const struct lanemap_client *client = TAILQ_FIRST(&call->server->clients);

        qsort(asked, n, sizeof(*asked), asked_by_id);
        for (size_t i = 0; i < n; i++) {
                while (client && client->id < asked[i].id)
                        client = TAILQ_NEXT(client, all);
                if (client && client->id == asked[i].id)
                        asked[i].client = client;
        }
        qsort(asked, n, sizeof(*asked), asked_by_argument);
}

static void client_add(struct lanemap_reply *text, const struct lanemap_client *client)
{
        char line[LANEMAP_CLIENT_LINE_BYTES_MAX];

        lanemap_reply_raw(text, line, lanemap_client_describe(client, line, sizeof(line)));
}

/* CLIENT LIST ID: in the order of the ids, each as often as it is asked for. Return: false after an
 * error was replied. */
static bool list_by_id(const struct lanemap_call *call, struct lanemap_reply *text)
{
        struct asked asked[LANEMAP_COMMAND_ARGS_MAX];
        uint32_t n = call->n_args - 3;

        for (uint32_t i = 0; i < n; i++) {
                asked[i] = (struct asked){.i = i};
                if (number_take(call, 3 + i, &asked[i].id))
                        continue;
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR Invalid client ID");
                return false;
        }
        asked_find(call, asked, n);
        for (uint32_t i = 0; i < n; i++)
                if (asked[i].client)
                        client_add(text, asked[i].client);
        return true;
}

/* Of one type, or all. Return: false after an error was replied. */
static bool list_by_type(const struct lanemap_call *call, struct lanemap_reply *text)
{
        const struct lanemap_client *client;
        bool normal = true;

        if (call->n_args == 4 && !type_take(call, 3, &normal))
                return false;
        TAILQ_FOREACH(client, &call->server->clients, all)
        if (normal)
                client_add(text, client);
        return true;
}

void lanemap_client_list(const struct lanemap_call *call)
{
        struct lanemap_reply text;
        bool done;

        lanemap_reply_init(&text, 2);
        if (call->n_args == 2 || (call->n_args == 4 && lanemap_call_is(call, 2, "type"))) {
                done = list_by_type(call, &text);
        } else if (call->n_args >= 4 && lanemap_call_is(call, 2, "id")) {
                done = list_by_id(call, &text);
        } else {
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR syntax error");
                done = false;
        }
        if (done && text.failed)
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR no memory");
        else if (done)
                lanemap_reply_verbatim(lanemap_client_reply(call->client), text.bytes, text.end);
        lanemap_reply_deinit(&text);
}

/* ---- CLIENT KILL ---- */

struct filter {
        uint64_t id;             /* 0: any */
        uint64_t age_seconds;    /* at least */
        uint32_t address, local; /* the argument; 0: any */
        bool none;               /* a type or a user that nobody has */
        bool skip_me;
};

static bool text_is(const struct lanemap_call *call, uint32_t i, const char *text)
{
        return call->args[i].bytes == strlen(text) &&
               memcmp(lanemap_call_bytes(call, i), text, call->args[i].bytes) == 0;
}

static bool filter_error(const struct lanemap_call *call, const char *text)
{
        lanemap_reply_error(lanemap_client_reply(call->client), "ERR %s", text);
        return false;
}

/* One pair, of which i is the name. Return: false after an error was replied. */
static bool filter_take(const struct lanemap_call *call, uint32_t i, struct filter *filter)
{
        bool normal = true;

        if (i + 1 >= call->n_args)
                return filter_error(call, "syntax error");
        if (lanemap_call_is(call, i, "id")) {
                if (!number_take(call, i + 1, &filter->id) || filter->id == 0)
                        return filter_error(call, "client-id should be greater than 0");
        } else if (lanemap_call_is(call, i, "maxage")) {
                if (!number_take(call, i + 1, &filter->age_seconds) || filter->age_seconds == 0)
                        return filter_error(call, "maxage should be greater than 0");
        } else if (lanemap_call_is(call, i, "type")) {
                if (!type_take(call, i + 1, &normal))
                        return false;
                filter->none |= !normal;
        } else if (lanemap_call_is(call, i, "user")) {
                if (!text_is(call, i + 1, "default")) {
                        lanemap_reply_error(lanemap_client_reply(call->client),
                                            "ERR No such user '%.*s'",
                                            (int)LANEMAP_MIN(call->args[i + 1].bytes, 128u),
                                            lanemap_call_bytes(call, i + 1));
                        return false;
                }
        } else if (lanemap_call_is(call, i, "addr")) {
                filter->address = i + 1;
        } else if (lanemap_call_is(call, i, "laddr")) {
                filter->local = i + 1;
        } else if (lanemap_call_is(call, i, "skipme") && lanemap_call_is(call, i + 1, "yes")) {
                filter->skip_me = true;
        } else if (lanemap_call_is(call, i, "skipme") && lanemap_call_is(call, i + 1, "no")) {
                filter->skip_me = false;
        } else {
                return filter_error(call, "syntax error");
        }
        return true;
}

static bool filter_fits(const struct lanemap_call *call, const struct filter *filter,
                        const struct lanemap_client *client)
{
        char text[LANEMAP_CLIENT_ADDRESS_BYTES];

        if (client->close_now || filter->none || (filter->id && client->id != filter->id) ||
            (filter->skip_me && client == call->client) ||
            (uint64_t)(client->server->now - client->created) < filter->age_seconds)
                return false;
        if (filter->address && !text_is(call, filter->address, client->address))
                return false;
        if (filter->local) {
                local_address_format(client, text);
                if (!text_is(call, filter->local, text))
                        return false;
        }
        return true;
}

/* Whoever ends its own connection has the reply before. */
static uint64_t clients_close(const struct lanemap_call *call, const struct filter *filter)
{
        struct lanemap_client *client;
        uint64_t n = 0;

        TAILQ_FOREACH(client, &call->server->clients, all)
        {
                if (!filter_fits(call, filter, client))
                        continue;
                if (client == call->client)
                        client->close_after = true;
                else
                        lanemap_client_close(client);
                n++;
        }
        return n;
}

void lanemap_client_kill(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        struct filter filter = {.skip_me = true};
        uint64_t n;

        if (call->n_args == 3) { /* the old form */
                filter = (struct filter){.address = 2};
                if (clients_close(call, &filter) > 0)
                        lanemap_reply_simple(reply, "OK");
                else
                        lanemap_reply_error(reply, "ERR No such client");
                return;
        }
        for (uint32_t i = 2; i < call->n_args; i += 2)
                if (!filter_take(call, i, &filter))
                        return;
        n = clients_close(call, &filter);
        lanemap_reply_integer(reply, (int64_t)n);
}
