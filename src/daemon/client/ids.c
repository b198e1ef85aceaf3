/* See client/ids.h. */
#include <string.h>

#include "daemon/client/ids.h"
#include "daemon/client/state.h"
#include "daemon/loop/job.h"

#define IDS_PER_PIECE ((size_t)16384)

void lanemap_client_ids_begin(struct lanemap_client *client, uint32_t *ids, size_t n_ids,
                              uint64_t position)
{
        client->ids = ids;
        client->n_ids = n_ids;
        client->ids_position = position;
        client->blocked = LANEMAP_BLOCKED_IDS_GATE;
        client->server->gate_is_due = true;
        lanemap_client_touch(client);
}

static void ids_answered(struct lanemap_client *client)
{
        lanemap_writer_ids_free(client->ids);
        client->ids = NULL;
        lanemap_client_unblock(client);
}

void lanemap_client_ids_continue(struct lanemap_client *client)
{
        struct lanemap_server *server = client->server;

        if (client->blocked == LANEMAP_BLOCKED_IDS_GATE) {
                if (client->ids_position > server->acknowledged && server->log_error == 0)
                        return;
                if (client->ids_position > server->acknowledged) {
                        lanemap_reply_error(&client->out,
                                            "ERR outcome unknown: the log cannot be written (%s)",
                                            strerror(-server->log_error));
                        client->gate.released = lanemap_reply_stream_end(&client->out);
                        server->n_outcome_unknown++;
                        ids_answered(client);
                        return;
                }
                lanemap_reply_array(&client->out, client->n_ids);
                client->n_ids_sent = 0;
                client->blocked = LANEMAP_BLOCKED_IDS_SEND;
        }
        while (client->n_ids_sent < client->n_ids &&
               lanemap_reply_bytes(&client->out) < LANEMAP_OUTPUT_BYTES_SEND) {
                size_t n = LANEMAP_MIN(client->n_ids - client->n_ids_sent, IDS_PER_PIECE);

                for (size_t i = 0; i < n; i++)
                        lanemap_reply_integer(&client->out, client->ids[client->n_ids_sent + i]);
                client->n_ids_sent += n;
        }
        if (client->out.failed)
                lanemap_client_close(client);
        /* Acknowledged before the first byte: this reply waits at no gate any more. */
        client->gate.released = lanemap_reply_stream_end(&client->out);
        if (client->n_ids_sent == client->n_ids)
                ids_answered(client);
}

void lanemap_client_ids_forget(struct lanemap_client *client)
{
        if (client->job)
                client->job->client = NULL;
        client->job = NULL;
        lanemap_writer_ids_free(client->ids);
        client->ids = NULL;
}
