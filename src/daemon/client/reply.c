/*
 * Replies of a client and the gate they pass (S1, B1). The commands write replies; nothing here
 * sends.
 */
#include <string.h>

#include "common/alloc.h"
#include "daemon/command/command.h"
#include "daemon/loop/job.h"
#include "daemon/loop/log.h"
#include "daemon/client/transaction.h"

struct lanemap_reply *lanemap_client_reply(struct lanemap_client *client)
{
        if (lanemap_transaction_runs(client))
                return &client->transaction->reply;
        if (client->n_batched > 0)
                lanemap_batch_flush(client->server);
        client->replied = true;
        return &client->out;
}

static void errors_count(struct lanemap_client *client)
{
        client->server->n_errors += client->out.n_errors;
        client->out.n_errors = 0;
}

static void reply_end_at(struct lanemap_client *client, uint64_t position)
{
        struct lanemap_server *server = client->server;
        int r;

        errors_count(client);
        r = lanemap_gate_push(&client->gate, lanemap_reply_stream_end(&client->out), position,
                              server->acknowledged);
        if (r < 0 || client->out.failed) {
                lanemap_log(LOG_WARNING, "client %llu: no memory for its replies, closing",
                            (unsigned long long)client->id);
                lanemap_client_close(client);
        }
        lanemap_client_touch(client);
}

void lanemap_client_reply_end(struct lanemap_client *client)
{
        reply_end_at(client, client->server->position);
}

void lanemap_client_reply_end_ungated(struct lanemap_client *client)
{
        reply_end_at(client, 0);
}

/* Everything that waits is replaced by errors, which wait for nothing. */
static void client_outcome_unknown(struct lanemap_client *client)
{
        struct lanemap_server *server = client->server;
        uint64_t n_replies = lanemap_gate_drop(&client->gate);

        lanemap_reply_cut(&client->out, client->gate.released);
        for (uint64_t i = 0; i < n_replies; i++)
                lanemap_reply_error(&client->out,
                                    "ERR outcome unknown: the log cannot be written (%s); the "
                                    "operation may or may not survive",
                                    strerror(-server->log_error));
        client->gate.released = lanemap_reply_stream_end(&client->out);
        server->n_outcome_unknown += n_replies;
}

void lanemap_client_gate(struct lanemap_client *client)
{
        struct lanemap_server *server = client->server;

        if (!lanemap_gate_is_open(&client->gate)) {
                lanemap_gate_release(&client->gate, server->acknowledged);
                if (!lanemap_gate_is_open(&client->gate) && server->log_error < 0)
                        client_outcome_unknown(client);
        }
        if (client->blocked == LANEMAP_BLOCKED_IDS_GATE ||
            client->blocked == LANEMAP_BLOCKED_IDS_SEND)
                lanemap_job_ids_continue(client);
        errors_count(client); /* those that came in the place of replies */
}

void lanemap_client_block(struct lanemap_client *client, enum lanemap_blocked blocked)
{
        if (client->blocked == LANEMAP_BLOCKED_NOT)
                client->server->n_blocked++;
        client->blocked = blocked;
}

void lanemap_client_unblock(struct lanemap_client *client)
{
        if (client->blocked == LANEMAP_BLOCKED_NOT)
                return;
        client->server->n_blocked--;
        client->blocked = LANEMAP_BLOCKED_NOT;
        lanemap_client_touch(client);
}
