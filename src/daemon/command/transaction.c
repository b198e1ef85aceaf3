/* MULTI, DISCARD, WATCH: see client/transaction.h, client/watched.h; EXEC is in command/exec.c. */
#include <errno.h>

#include "daemon/client/transaction.h"
#include "daemon/client/watched.h"
#include "daemon/command/handlers.h"
#include "daemon/command/posting.h"

void lanemap_command_multi(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        if (call->client->transaction) {
                lanemap_reply_error(reply, "ERR MULTI calls can not be nested");
                return;
        }
        call->client->transaction = lanemap_transaction_new(call->client);
        if (call->client->transaction)
                lanemap_reply_simple(reply, "OK");
        else
                lanemap_reply_error(reply, "ERR no memory");
}

void lanemap_command_discard(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        if (!call->client->transaction) {
                lanemap_reply_error(reply, "ERR DISCARD without MULTI");
                return;
        }
        lanemap_transaction_leave(call->client);
        lanemap_watched_forget(call->client);
        lanemap_reply_simple(reply, "OK");
}

/* Return: 0, -E2BIG, -ENOMEM, 1 an error was replied. */
static int keys_watch(const struct lanemap_call *call)
{
        for (uint32_t i = 1; i < call->n_args; i++) {
                size_t n_ids;
                int r;

                if (!lanemap_posting_read(call, i, true, &n_ids))
                        return 1;
                r = lanemap_watched_add(call->client, lanemap_call_bytes(call, i),
                                        call->args[i].bytes, n_ids > 0);
                if (r < 0)
                        return r;
        }
        return 0;
}

void lanemap_command_watch(const struct lanemap_call *call)
{
        struct lanemap_client *client = call->client;
        int r;

        if (client->transaction) {
                lanemap_reply_error(lanemap_client_reply(client),
                                    "ERR WATCH inside MULTI is not allowed");
                return;
        }
        for (uint32_t i = 1; i < call->n_args; i++)
                if (!lanemap_posting_key_check(call, i))
                        return;
        if (client->watched_changed) { /* EXEC will say so: nothing more has to be watched */
                lanemap_reply_simple(lanemap_client_reply(client), "OK");
                return;
        }
        r = keys_watch(call);
        if (r == 0)
                lanemap_reply_simple(lanemap_client_reply(client), "OK");
        else if (r == -E2BIG)
                lanemap_reply_error(lanemap_client_reply(client),
                                    "ERR a client watches at most %zu keys",
                                    LANEMAP_WATCHED_KEYS_MAX);
        else if (r < 0)
                lanemap_posting_fail(call, r);
}

/* In a transaction EXEC does it, whatever comes of it. */
void lanemap_command_unwatch(const struct lanemap_call *call)
{
        if (!lanemap_transaction_runs(call->client))
                lanemap_watched_forget(call->client);
        lanemap_reply_simple(lanemap_client_reply(call->client), "OK");
}
