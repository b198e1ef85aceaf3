/*
 * WAIT and WAITAOF.
 *
 * WAITAOF waits until everything that was applied before it is durable, whatever the fsync policy:
 * the sync is asked for, and the engine's event ends the wait. A client that waits is in
 * server->durable_waits, and is looked at once a round.
 */
#include "common/clock.h"
#include "daemon/client/release.h"
#include "daemon/client/state.h"
#include "daemon/client/transaction.h"
#include "daemon/command/handlers.h"

#define NS_PER_MS UINT64_C(1000000)

/* Return: false after an error was replied. */
static bool timeout_take(const struct lanemap_call *call, uint32_t i, uint64_t *ret_ms)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        const char *text = lanemap_call_bytes(call, i);
        size_t n = call->args[i].bytes;
        bool negative = n > 1 && text[0] == '-';

        if (lanemap_number_parse(text + negative, n - negative, INT64_MAX / NS_PER_MS, ret_ms) <
            0) {
                lanemap_reply_error(reply, "ERR timeout is not an integer or out of range");
                return false;
        }
        if (negative && *ret_ms > 0) {
                lanemap_reply_error(reply, "ERR timeout is negative");
                return false;
        }
        return true;
}

/* Return: false after an error was replied. */
static bool count_take(const struct lanemap_call *call, uint32_t i, uint64_t max, const char *error,
                       uint64_t *ret_count)
{
        if (lanemap_number_parse(lanemap_call_bytes(call, i), call->args[i].bytes, max,
                                 ret_count) == 0)
                return true;
        lanemap_reply_error(lanemap_client_reply(call->client), "ERR %s", error);
        return false;
}

void lanemap_command_wait(const struct lanemap_call *call)
{
        uint64_t n_replicas, timeout_ms;

        if (count_take(call, 1, INT64_MAX, "value is not an integer or out of range",
                       &n_replicas) &&
            timeout_take(call, 2, &timeout_ms))
                lanemap_reply_integer(lanemap_client_reply(call->client), 0);
}

static bool position_is_durable(const struct lanemap_server *server, uint64_t position)
{
        return lanemap_writer_durable(server->writer, NULL) >= position;
}

static void wait_reply(struct lanemap_reply *reply, bool is_durable)
{
        lanemap_reply_array(reply, 2);
        lanemap_reply_integer(reply, is_durable);
        lanemap_reply_integer(reply, 0);
}

void lanemap_command_waitaof(const struct lanemap_call *call)
{
        struct lanemap_client *client = call->client;
        struct lanemap_server *server = call->server;
        struct lanemap_reply *reply = lanemap_client_reply(client);
        uint64_t n_local, n_replicas, timeout_ms;
        bool is_durable;

        if (!count_take(call, 1, 1, "value is out of range, must be between 0 and 1", &n_local) ||
            !count_take(call, 2, INT64_MAX, "value is out of range, must be positive",
                        &n_replicas) ||
            !timeout_take(call, 3, &timeout_ms))
                return;

        is_durable = position_is_durable(server, server->position);
        if ((is_durable >= n_local && n_replicas == 0) || lanemap_transaction_runs(client)) {
                wait_reply(reply, is_durable);
                return;
        }
        client->ticket = server->position;
        client->wait_replicas = n_replicas > 0;
        client->wait_until_ns =
                timeout_ms ? lanemap_now_ns(&lanemap_clock_monotonic) + timeout_ms * NS_PER_MS
                           : UINT64_MAX;
        client->replied = false; /* the end of the wait replies */
        lanemap_client_block(client, LANEMAP_BLOCKED_DURABLE);
        TAILQ_INSERT_TAIL(&server->durable_waits, client, waits);
        (void)lanemap_writer_sync_start(server->writer, client->ticket);
}

void lanemap_command_wait_end(struct lanemap_client *client, bool is_error)
{
        if (is_error)
                lanemap_reply_error(&client->out, "UNBLOCKED client unblocked via CLIENT UNBLOCK");
        else
                wait_reply(&client->out, position_is_durable(client->server, client->ticket));
        lanemap_client_unblock(client);
        lanemap_client_reply_end_ungated(client);
}

void lanemap_command_waits_end(struct lanemap_server *server)
{
        uint64_t now_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        struct lanemap_client *client, *next;

        for (client = TAILQ_FIRST(&server->durable_waits); client; client = next) {
                next = TAILQ_NEXT(client, waits);
                if (now_ns >= client->wait_until_ns ||
                    (client->wait_replicas && client->half_closed) || /* it may be gone */
                    (!client->wait_replicas && position_is_durable(server, client->ticket)))
                        lanemap_command_wait_end(client, false);
        }
}

uint64_t lanemap_command_waits_ms(const struct lanemap_server *server)
{
        const struct lanemap_client *client;
        uint64_t until_ns = UINT64_MAX, now_ns;

        if (TAILQ_EMPTY(&server->durable_waits))
                return UINT64_MAX;
        TAILQ_FOREACH(client, &server->durable_waits, waits)
        until_ns = LANEMAP_MIN(until_ns, client->wait_until_ns);
        now_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        return until_ns <= now_ns ? 0 : (until_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
}
