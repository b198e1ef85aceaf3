/* See client/slowlog.h. Without memory for an entry there is none. */
#include "daemon/client/slowlog.h"

#include <stdio.h>
#include <string.h>

#include "common/alloc.h"

#define ARG_ROOM (LANEMAP_SLOWLOG_ARG_BYTES + 40) /* with "... (4294967295 more bytes)" */

static void arg_add(struct lanemap_slow *slow, uint32_t *at, const char *bytes, uint32_t n_bytes)
{
        uint32_t n = LANEMAP_MIN(n_bytes, LANEMAP_SLOWLOG_ARG_BYTES);
        char *to = slow->text + *at;

        memcpy(to, bytes, n);
        if (n < n_bytes)
                n += (uint32_t)snprintf(to + n, ARG_ROOM - n, "... (%u more bytes)", n_bytes - n);
        slow->args[slow->n_args].off = *at;
        slow->args[slow->n_args++].bytes = n;
        *at += n;
}

static void args_add(struct lanemap_slow *slow, const struct lanemap_meter_args *from)
{
        uint32_t n = from->n_args > LANEMAP_SLOWLOG_ARGS ? LANEMAP_SLOWLOG_ARGS - 1 : from->n_args;
        uint32_t at = 0;
        char more[64];

        for (uint32_t i = 0; i < n; i++) {
                if (from->secrets >> i & 1)
                        arg_add(slow, &at, "(redacted)", 10);
                else
                        arg_add(slow, &at, from->message + from->args[i].off, from->args[i].bytes);
        }
        if (n < from->n_args)
                arg_add(slow, &at, more,
                        (uint32_t)snprintf(more, sizeof(more), "... (%u more arguments)",
                                           from->n_args - n));
}

void lanemap_slowlog_add(const struct lanemap_client *client, const struct lanemap_meter_args *args,
                         uint64_t us)
{
        struct lanemap_server *server = client->server;
        struct lanemap_slow *slow =
                lanemap_alloc_zero(sizeof(*slow) + (size_t)LANEMAP_SLOWLOG_ARGS * ARG_ROOM);

        if (!slow)
                return;
        slow->id = server->slow_next_id++;
        slow->time = server->now;
        slow->us = us;
        memcpy(slow->address, client->address, sizeof(slow->address));
        memcpy(slow->name, client->name, sizeof(slow->name));
        args_add(slow, args);
        TAILQ_INSERT_HEAD(&server->slow, slow, all);
        server->n_slow++;
        lanemap_slowlog_trim(server);
}

static void slowlog_keep(struct lanemap_server *server, uint64_t n)
{
        while (server->n_slow > n) {
                struct lanemap_slow *last = TAILQ_LAST(&server->slow, lanemap_slow_list);

                TAILQ_REMOVE(&server->slow, last, all);
                lanemap_free(last);
                server->n_slow--;
        }
}

void lanemap_slowlog_trim(struct lanemap_server *server)
{
        slowlog_keep(server, server->options.slowlog_len);
}

void lanemap_slowlog_reset(struct lanemap_server *server)
{
        slowlog_keep(server, 0);
}
