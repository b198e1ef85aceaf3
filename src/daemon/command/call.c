/* See command/call.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "daemon/client/transaction.h"
#include "daemon/command/call.h"

bool lanemap_call_is(const struct lanemap_call *call, uint32_t i, const char *text)
{
        return call->args[i].bytes == strlen(text) &&
               strncasecmp(lanemap_call_bytes(call, i), text, call->args[i].bytes) == 0;
}

void lanemap_command_loading(const struct lanemap_server *server, struct lanemap_reply *reply)
{
        if (server->room.is_awaited)
                lanemap_reply_error(reply, "LOADING lanemapd waits for room: %s",
                                    server->room.what.text);
        else
                lanemap_reply_error(reply, "LOADING lanemapd is loading the index");
}

struct lanemap_batch *lanemap_call_batch(const struct lanemap_call *call)
{
        if (lanemap_transaction_runs(call->client))
                return &call->client->transaction->batch;
        return &call->server->batch;
}

static void subcommand_unknown(const struct lanemap_call *call)
{
        char name[32];

        snprintf(name, sizeof(name), "%s", call->command->name);
        for (char *c = name; *c; c++)
                *c = (char)toupper((unsigned char)*c);
        lanemap_reply_error(
                lanemap_client_reply(call->client), "ERR unknown subcommand '%.*s'. Try %s HELP.",
                (int)LANEMAP_MIN(call->args[1].bytes, 128u), lanemap_call_bytes(call, 1), name);
}

void lanemap_command_subcommand_arity(const struct lanemap_call *call, const char *subcommand)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR wrong number of arguments for '%s|%s' command",
                            call->command->name, subcommand);
}

int lanemap_command_subcommand(const struct lanemap_call *call,
                               const struct lanemap_subcommand *subcommands, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                int arity = subcommands[i].arity;

                if (!lanemap_call_is(call, 1, subcommands[i].name))
                        continue;
                if (arity > 0 ? (int)call->n_args == arity : (int)call->n_args >= -arity) {
                        call->client->last_container = call->command->name;
                        call->client->last_subcommand = subcommands[i].name;
                        return (int)i;
                }
                lanemap_command_subcommand_arity(call, subcommands[i].name);
                return -1;
        }
        subcommand_unknown(call);
        return -1;
}

void lanemap_command_run_subcommand(const struct lanemap_call *call,
                                    const struct lanemap_subcommand *subcommands, size_t n)
{
        int which = lanemap_command_subcommand(call, subcommands, n);

        if (which >= 0)
                subcommands[which].run(call);
}
