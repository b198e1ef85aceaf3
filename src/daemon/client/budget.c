/* See client/budget.h. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "daemon/client/budget.h"
#include "daemon/client/state.h"
#include "daemon/client/transaction.h"
#include "daemon/client/watched.h"
#include "daemon/loop/log.h"
#include "daemon/resp/write.h"

/* What a client may have in any case: it has just been accepted, or sends short commands. */
#define SHARE_BYTES_MIN ((uint64_t)64 << 10)
/* A percentage of little memory is not less than this. */
#define PERCENT_BYTES_MIN ((uint64_t)16 << 20)

uint64_t lanemap_budget_transaction_bytes(const struct lanemap_client *client)
{
        const struct lanemap_transaction *transaction = client->transaction;
        const struct lanemap_batch *batch;

        if (LANEMAP_LIKELY(!transaction))
                return 0;
        batch = &transaction->batch;
        return sizeof(*transaction) + transaction->queue_bytes +
               batch->ops_capacity * (sizeof(*batch->ops) + sizeof(*batch->results)) +
               batch->entries_capacity * sizeof(*batch->entries) +
               lanemap_reply_memory(&transaction->reply);
}

uint64_t lanemap_budget_arguments_bytes(const struct lanemap_client *client)
{
        const struct lanemap_resp_parser *parser = &client->parser;

        if (parser->args == parser->first_args)
                return 0;
        return parser->args_capacity * sizeof(*parser->args);
}

static uint64_t client_bytes(const struct lanemap_client *client)
{
        return sizeof(*client) + client->query_capacity + lanemap_reply_memory(&client->out) +
               client->gate.capacity * sizeof(*client->gate.marks) + lanemap_watched_bytes(client) +
               lanemap_budget_arguments_bytes(client) + lanemap_budget_transaction_bytes(client);
}

static void client_set_bytes(struct lanemap_client *client, uint64_t n_bytes)
{
        struct lanemap_server *server = client->server;

        server->clients_bytes += n_bytes - client->memory_bytes;
        client->memory_bytes = n_bytes;
        server->clients_bytes_peak = LANEMAP_MAX(server->clients_bytes_peak, server->clients_bytes);
}

void lanemap_budget_count(struct lanemap_client *client)
{
        if (!client->close_now) /* counted off already */
                client_set_bytes(client, client_bytes(client));
}

void lanemap_budget_forget(struct lanemap_client *client)
{
        client_set_bytes(client, 0);
}

void lanemap_budget_trim(struct lanemap_client *client)
{
        if (client->n_batched > 0) /* B3 */
                return;
        if (client->blocked != LANEMAP_BLOCKED_EXEC) /* room for its answer: EX2 */
                lanemap_reply_trim(&client->out);
        if (client->parsed_bytes == 0)
                lanemap_resp_parser_trim(&client->parser);
        if (client->query_begin == client->query_end && client->query_capacity > 0) {
                lanemap_free(client->query);
                client->query = NULL;
                client->query_begin = client->query_end = client->query_capacity = 0;
                client->read_bytes = LANEMAP_READ_BYTES;
        }
        lanemap_budget_count(client);
}

bool lanemap_budget_allows(const struct lanemap_server *server, uint64_t n_bytes)
{
        return server->clients_bytes + n_bytes <= server->clients_bytes_max;
}

/* It has more than its share, of which clients without the password have none. */
static bool client_is_large(const struct lanemap_client *client)
{
        const struct lanemap_server *server = client->server;
        uint64_t share = server->clients_bytes_max / 4 / LANEMAP_MAX(server->n_clients, (size_t)1);

        return !client->authenticated || client->memory_bytes > LANEMAP_MAX(share, SHARE_BYTES_MIN);
}

bool lanemap_budget_holds(const struct lanemap_client *client)
{
        return LANEMAP_UNLIKELY(!lanemap_budget_allows(client->server, 0)) &&
               client_is_large(client);
}

void lanemap_budget_refuse(struct lanemap_server *server, struct lanemap_reply *reply,
                           const char *code, uint64_t n_bytes)
{
        server->clients_refused = true;
        lanemap_reply_error(reply,
                            "%s this would bring the memory of all clients to %" PRIu64
                            " bytes, and maxmemory-clients is %" PRIu64
                            "; nothing was changed, retry when replies were read",
                            code, server->clients_bytes + n_bytes, server->clients_bytes_max);
}

/* The largest; if only_idle is true, of those that have more than their share and have done nothing
 * for a second. */
static struct lanemap_client *client_largest(const struct lanemap_server *server, bool only_idle)
{
        struct lanemap_client *client, *largest = NULL;

        TAILQ_FOREACH(client, &server->clients, all)
        {
                if (client->close_now || (only_idle && (client->moved + 1 >= server->seconds ||
                                                        !client_is_large(client))))
                        continue;
                if (!largest || client->memory_bytes > largest->memory_bytes)
                        largest = client;
        }
        return largest;
}

static void client_evict(struct lanemap_client *client)
{
        struct lanemap_server *server = client->server;

        lanemap_log(LOG_WARNING,
                    "client %" PRIu64 " at %s, name '%s': it has %" PRIu64 " of the %" PRIu64
                    " bytes that all clients have, %" PRIu64
                    " of replies wait for it: closed (maxmemory-clients is %" PRIu64 ")",
                    client->id, client->address, client->name, client->memory_bytes,
                    server->clients_bytes, lanemap_reply_bytes(&client->out),
                    server->clients_bytes_max);
        server->n_evicted++;
        lanemap_budget_forget(client);
        lanemap_client_close(client);
}

/* Once a second at most. */
static void buffers_trim(struct lanemap_server *server)
{
        struct lanemap_client *client;

        if (server->clients_trimmed == server->seconds)
                return;
        server->clients_trimmed = server->seconds;
        TAILQ_FOREACH(client, &server->clients, all)
        if (client_is_large(client))
                lanemap_budget_trim(client);
}

static void budget_relieve(struct lanemap_server *server, bool only_idle, uint64_t limit)
{
        while (server->clients_bytes > limit) {
                struct lanemap_client *client = client_largest(server, only_idle);

                if (!client)
                        return;
                client_evict(client);
        }
}

void lanemap_budget_round(struct lanemap_server *server)
{
        struct lanemap_client *client;
        uint64_t limit = server->clients_bytes_max;

        if (LANEMAP_UNLIKELY(server->clients_bytes > limit))
                buffers_trim(server);
        if (limit < UINT64_MAX - limit / 4)
                budget_relieve(server, false, limit + limit / 4);
        if (!server->clients_held || server->clients_bytes > limit)
                return;
        server->clients_held = false;
        TAILQ_FOREACH(client, &server->clients, all)
        {
                if (client->is_held)
                        lanemap_client_touch(client);
                client->is_held = false;
        }
}

/* Of what this process may have: of the limit of its control group, or of the machine's. */
static uint64_t memory_all(const struct lanemap_server *server)
{
        long n_pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
        uint64_t bytes = n_pages > 0 && page > 0 ? (uint64_t)n_pages * (uint64_t)page : UINT64_MAX;

        return LANEMAP_MIN(bytes, server->memory.limit.bytes);
}

static uint64_t limit_bytes(const struct lanemap_server *server)
{
        const char *text = server->options.maxmemory_clients;
        size_t n = strlen(text);
        uint64_t number = 0;

        if (n > 0 && text[n - 1] == '%' && lanemap_number_parse(text, n - 1, 100, &number) == 0) {
                number = memory_all(server) / 100 * number;
                return number ? LANEMAP_MAX(number, PERCENT_BYTES_MIN) : UINT64_MAX;
        }
        if (lanemap_number_parse(text, n, UINT64_MAX, &number) < 0 || number == 0)
                return UINT64_MAX;
        return number;
}

void lanemap_budget_cron(struct lanemap_server *server)
{
        uint64_t limit;

        server->clients_bytes_max = limit_bytes(server);
        server->clients_bytes_limit =
                server->clients_bytes_max == UINT64_MAX ? 0 : server->clients_bytes_max;
        limit = server->clients_bytes_max;
        if (server->clients_refused)
                limit -= limit / 4;
        budget_relieve(server, true, limit);
        server->clients_refused &= server->clients_bytes > limit;
}
