/* See client/release.h. */
#include <string.h>

#include "common/clock.h"
#include "common/probes.h"
#include "daemon/client/release.h"
#include "daemon/client/state.h"
#include "daemon/loop/log.h"

void lanemap_server_gate(struct lanemap_server *server)
{
        int error = 0;

        if (!server->writer)
                return;
        if (!server->gate_is_due && server->position <= server->acknowledged)
                return;
        server->acknowledged = lanemap_writer_acknowledgeable(server->writer, &error);
        if (error != server->log_error) {
                if (error < 0)
                        lanemap_log(LOG_ERR, "the log cannot be written: %s", strerror(-error));
                else
                        lanemap_log(LOG_NOTICE, "the log can be written again");
        }
        server->log_error = error;
        server->gate_is_due = false;
}

void lanemap_server_write_later(struct lanemap_server *server, uint64_t wait_ns)
{
        server->write_retry_ns = lanemap_now_ns(&lanemap_clock_monotonic) + wait_ns;
}

bool lanemap_server_write_is_due(const struct lanemap_server *server)
{
        return server->write_retry_ns == 0 ||
               lanemap_now_ns(&lanemap_clock_monotonic) >= server->write_retry_ns;
}

/* Asked once for each batch; a batch is no larger. */
bool lanemap_server_may_write(struct lanemap_server *server)
{
        uint64_t wait_ns;

        if (!server->writer)
                return true;
        if (server->executing || server->batch.held_keys || !lanemap_server_write_is_due(server))
                return false;
        server->write_retry_ns = 0;
        if (lanemap_writer_apply_is_ready(server->writer, LANEMAP_BATCH_LOG_BYTES_MAX, &wait_ns))
                return true;
        lanemap_server_write_later(server, wait_ns);
        return false;
}

static void errors_count(struct lanemap_client *client)
{
        client->server->n_errors += client->out.n_errors;
        client->out.n_errors = 0;
}

/* before: gate.released as it was. */
static void release_note(const struct lanemap_client *client, uint64_t before)
{
        if (client->gate.released != before)
                LANEMAP_PROBE(reply__release, client->id, client->server->acknowledged);
}

void lanemap_client_reply_end_at(struct lanemap_client *client, uint64_t position)
{
        struct lanemap_server *server = client->server;
        uint64_t released = client->gate.released;
        int r;

        errors_count(client);
        r = lanemap_gate_push(&client->gate, lanemap_reply_stream_end(&client->out), position,
                              server->acknowledged);
        release_note(client, released);
        if (r < 0 || client->out.failed) {
                lanemap_log(LOG_WARNING, "client %llu: no memory for its replies, closing",
                            (unsigned long long)client->id);
                lanemap_client_close(client);
        }
        lanemap_client_touch(client);
}

void lanemap_client_reply_end(struct lanemap_client *client)
{
        lanemap_client_reply_end_at(client, client->server->position);
}

void lanemap_client_reply_end_ungated(struct lanemap_client *client)
{
        lanemap_client_reply_end_at(client, 0);
}

void lanemap_client_reply_unknown(struct lanemap_client *client)
{
        struct lanemap_server *server = client->server;

        lanemap_reply_error(&client->out,
                            "ERR outcome unknown: the log cannot be written (%s); the operation "
                            "may or may not survive",
                            strerror(-server->log_error));
        server->n_outcome_unknown++;
}

/* Everything that waits is replaced by errors, which wait for nothing. */
static void client_outcome_unknown(struct lanemap_client *client)
{
        uint64_t n_replies = lanemap_gate_drop(&client->gate);

        lanemap_reply_cut(&client->out, client->gate.released);
        for (uint64_t i = 0; i < n_replies; i++)
                lanemap_client_reply_unknown(client);
        client->gate.released = lanemap_reply_stream_end(&client->out);
}

void lanemap_client_gate(struct lanemap_client *client)
{
        struct lanemap_server *server = client->server;
        uint64_t released = client->gate.released;

        if (!lanemap_gate_is_open(&client->gate)) {
                lanemap_gate_release(&client->gate, server->acknowledged);
                release_note(client, released);
                if (!lanemap_gate_is_open(&client->gate) && server->log_error < 0)
                        client_outcome_unknown(client);
        }
        errors_count(client); /* those that came in the place of replies */
}
