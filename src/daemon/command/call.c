/* See command/call.h. */
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

void lanemap_command_wrong_arity(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR wrong number of arguments for '%s' command",
                            call->command->full_name);
}

bool lanemap_command_takes(const struct lanemap_command *command, uint32_t n_args)
{
        int arity = command->arity;

        return arity > 0 ? (int)n_args == arity : (int)n_args >= -arity;
}

uint64_t lanemap_command_all_secret(const struct lanemap_call *call)
{
        return UINT64_MAX << (call->command->container ? 2 : 1);
}
