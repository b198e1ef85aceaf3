/* CLIENT and its subcommands. */
#include <stdio.h>
#include <string.h>

#include "daemon/client/transaction.h"
#include "daemon/command/handlers.h"

/* Replies an error unless argument i may be a client's name. */
bool lanemap_command_client_name(const struct lanemap_call *call, uint32_t i)
{
        const char *name = lanemap_call_bytes(call, i);

        for (uint32_t c = 0; c < call->args[i].bytes; c++) {
                if (name[c] < '!' || name[c] > '~') {
                        lanemap_reply_error(lanemap_client_reply(call->client),
                                            "ERR Client names cannot contain spaces, newlines or "
                                            "special characters.");
                        return false;
                }
        }
        if (call->args[i].bytes < sizeof(call->client->name))
                return true;
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR Client names have at most %zu bytes",
                            sizeof(call->client->name) - 1);
        return false;
}

static size_t client_describe(const struct lanemap_client *client, char *line, size_t n_line)
{
        int n;

        n = snprintf(
                line, n_line,
                "id=%llu addr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=0 sub=0 psub=0 "
                "multi=%d qbuf=%zu qbuf-free=%zu obl=%llu cmd=%s user=default resp=%u\n",
                (unsigned long long)client->id, client->address, client->watch.fd, client->name,
                (long long)(client->server->now - client->created),
                (long long)(client->server->now - client->last_active), client->is_tcp ? "N" : "U",
                client->transaction ? (int)client->transaction->n_commands : -1,
                client->query_end - client->query_begin, client->query_capacity - client->query_end,
                (unsigned long long)lanemap_reply_bytes(&client->out), client->last_command,
                client->out.protocol);
        return n < 0 ? 0 : LANEMAP_MIN((size_t)n, n_line - 1);
}

static void client_list(const struct lanemap_call *call)
{
        const struct lanemap_client *client;
        struct lanemap_reply text;
        char line[768];

        lanemap_reply_init(&text, 2);
        TAILQ_FOREACH(client, &call->server->clients, all)
        lanemap_reply_raw(&text, line, client_describe(client, line, sizeof(line)));
        if (text.failed)
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR no memory");
        else
                lanemap_reply_verbatim(lanemap_client_reply(call->client), text.bytes, text.end);
        lanemap_reply_deinit(&text);
}

enum {
        CLIENT_ID,
        CLIENT_GETNAME,
        CLIENT_SETNAME,
        CLIENT_SETINFO,
        CLIENT_LIST,
        CLIENT_INFO,
        CLIENT_NO_EVICT,
        CLIENT_NO_TOUCH,
        CLIENT_HELP,
};

static const struct lanemap_subcommand client_subcommands[] = {
        [CLIENT_ID] = {"id", 2},
        [CLIENT_GETNAME] = {"getname", 2},
        [CLIENT_SETNAME] = {"setname", 3},
        [CLIENT_SETINFO] = {"setinfo", 4},
        [CLIENT_LIST] = {"list", -2},
        [CLIENT_INFO] = {"info", 2},
        [CLIENT_NO_EVICT] = {"no-evict", 3},
        [CLIENT_NO_TOUCH] = {"no-touch", 3},
        [CLIENT_HELP] = {"help", 2},
};

static void client_set_name(const struct lanemap_call *call)
{
        struct lanemap_client *client = call->client;

        if (!lanemap_command_client_name(call, 2))
                return;
        memcpy(client->name, lanemap_call_bytes(call, 2), call->args[2].bytes);
        client->name[call->args[2].bytes] = 0;
        lanemap_reply_simple(lanemap_client_reply(client), "OK");
}

void lanemap_command_client(const struct lanemap_call *call)
{
        struct lanemap_client *client = call->client;
        int which = lanemap_command_subcommand(call, client_subcommands,
                                               LANEMAP_N_ELEMENTS(client_subcommands));
        struct lanemap_reply *reply;
        char line[768];

        if (which < 0)
                return;
        reply = lanemap_client_reply(client);
        switch (which) {
        case CLIENT_ID:
                lanemap_reply_integer(reply, (int64_t)client->id);
                break;
        case CLIENT_GETNAME:
                if (*client->name)
                        lanemap_reply_text(reply, client->name);
                else
                        lanemap_reply_null(reply);
                break;
        case CLIENT_SETNAME:
                client_set_name(call);
                break;
        case CLIENT_LIST:
                client_list(call);
                break;
        case CLIENT_INFO:
                lanemap_reply_verbatim(reply, line, client_describe(client, line, sizeof(line)));
                break;
        case CLIENT_NO_EVICT:
        case CLIENT_NO_TOUCH:
                if (lanemap_call_is(call, 2, "on") || lanemap_call_is(call, 2, "off"))
                        lanemap_reply_simple(reply, "OK");
                else
                        lanemap_reply_error(reply, "ERR syntax error");
                break;
        case CLIENT_SETINFO:
                lanemap_reply_simple(reply, "OK");
                break;
        case CLIENT_HELP:
                lanemap_reply_array(reply, 1);
                lanemap_reply_simple(reply, "CLIENT ID|GETNAME|SETNAME|SETINFO|LIST|INFO|NO-EVICT|"
                                            "NO-TOUCH");
                break;
        }
}
