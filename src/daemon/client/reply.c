/* See client/reply.h. */
#include "daemon/client/reply.h"
#include "daemon/client/transaction.h"

struct lanemap_reply *lanemap_client_reply(struct lanemap_client *client)
{
        if (lanemap_transaction_runs(client))
                return &client->transaction->reply;
        if (client->n_batched > 0)
                lanemap_batch_flush(client->server);
        if (LANEMAP_UNLIKELY(client->n_batched > 0)) { /* B1: after the replies of what is held */
                client->run_again = true;
                client->server->discarded.is_discarded = true;
                return &client->server->discarded;
        }
        client->replied = true;
        return &client->out;
}
