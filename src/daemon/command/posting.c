/* See command/posting.h. */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/ids.h"
#include "daemon/client/budget.h"
#include "daemon/client/transaction.h"
#include "daemon/command/posting.h"

bool lanemap_posting_key_check(const struct lanemap_call *call, uint32_t i)
{
        if (LANEMAP_LIKELY(call->args[i].bytes - 1 < LANEMAP_KEY_BYTES_MAX))
                return true;
        lanemap_reply_error(lanemap_client_reply(call->client), "ERR key must have 1 to %d bytes",
                            LANEMAP_KEY_BYTES_MAX);
        return false;
}

bool lanemap_posting_id_take(const struct lanemap_call *call, uint32_t i, uint32_t *ret_id)
{
        uint64_t id;

        if (LANEMAP_LIKELY(lanemap_number_parse(lanemap_call_bytes(call, i), call->args[i].bytes,
                                                LANEMAP_ID_MAX, &id) == 0)) {
                *ret_id = (uint32_t)id;
                return true;
        }
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR value is not an integer or out of range");
        return false;
}

void lanemap_posting_fail(const struct lanemap_call *call, int r)
{
        lanemap_reply_error(lanemap_client_reply(call->client), "ERR cannot read (%s)",
                            r == -EBADMSG ? "a segment file is damaged where this key is; the log "
                                            "and LANEMAP.VERIFY tell which, lanemap repair helps"
                                          : strerror(-r));
}

bool lanemap_posting_must_wait(const struct lanemap_call *call)
{
        if (lanemap_transaction_runs(call->client) || !lanemap_transaction_is_helped(call->server))
                return false;
        call->client->run_again = true;
        return true;
}

static bool ids_room(struct lanemap_server *server, size_t n_ids)
{
        uint32_t *ids;

        if (server->ids_capacity >= n_ids)
                return true;
        n_ids = LANEMAP_MAX(n_ids + n_ids / 4, (size_t)1024);
        ids = lanemap_realloc(server->ids, n_ids * sizeof(*ids));
        if (!ids)
                return false;
        server->ids = ids;
        server->ids_capacity = n_ids;
        return true;
}

bool lanemap_posting_read(const struct lanemap_call *call, uint32_t i, bool count_only,
                          size_t *ret_n_ids)
{
        struct lanemap_server *server = call->server;
        struct lanemap_client *client = call->client;
        bool replay = lanemap_transaction_replays(client);
        const char *key = lanemap_call_bytes(call, i);
        size_t room = replay ? client->transaction->batch.n_ops : 0;
        size_t n_ids = 0;
        uint64_t position = 0;
        int r;

        count_only = count_only && !replay;
        for (;;) {
                size_t capacity =
                        count_only || server->ids_capacity < room ? 0 : server->ids_capacity - room;

                /* A transaction that has read too much reads no more. */
                r = lanemap_transaction_runs(client)
                            ? lanemap_transaction_count(client->transaction, 0)
                            : 0;
                if (r == 0)
                        r = lanemap_writer_lookup(server->writer, key, call->args[i].bytes,
                                                  server->ids, capacity, &n_ids, &position);
                if (r < 0)
                        break;
                server->position = LANEMAP_MAX(server->position, position);
                if (count_only || n_ids <= capacity)
                        break;
                if (!ids_room(server, n_ids + room)) {
                        r = -ENOMEM;
                        break;
                }
        }
        if (r == 0 && !count_only && lanemap_transaction_runs(client))
                r = lanemap_transaction_count(client->transaction, n_ids);
        if (r == 0 && replay && !ids_room(server, n_ids + room))
                r = -ENOMEM;
        if (r == 0 && replay)
                r = lanemap_transaction_replay(client->transaction, key, call->args[i].bytes,
                                               server->ids, &n_ids);
        if (r < 0) {
                lanemap_posting_fail(call, r);
                return false;
        }
        *ret_n_ids = n_ids;
        return true;
}

bool lanemap_posting_read_from(const struct lanemap_call *call, uint32_t i, uint32_t from, size_t n,
                               const uint32_t **ret_ids, size_t *ret_n_ids)
{
        struct lanemap_server *server = call->server;
        uint64_t position = 0;
        size_t at, n_ids = 0;
        int r = -ENOMEM;

        if (lanemap_transaction_replays(call->client)) {
                if (!lanemap_posting_read(call, i, false, &n_ids))
                        return false;
                at = lanemap_ids_below(server->ids, n_ids, from);
                *ret_ids = server->ids + at;
                *ret_n_ids = LANEMAP_MIN(n_ids - at, n);
                return true;
        }
        if (ids_room(server, n))
                r = lanemap_writer_lookup_from(server->writer, lanemap_call_bytes(call, i),
                                               call->args[i].bytes, from, server->ids, n, &n_ids,
                                               &position);
        if (r == 0 && lanemap_transaction_runs(call->client))
                r = lanemap_transaction_count(call->client->transaction, n_ids);
        if (r < 0) {
                lanemap_posting_fail(call, r);
                return false;
        }
        server->position = LANEMAP_MAX(server->position, position);
        *ret_ids = server->ids;
        *ret_n_ids = n_ids;
        return true;
}

/* An allocator may leave a block as large as it is when half of it is wanted, so it is not asked to
 * shrink it. What is little more than needed is not copied: it may be megabytes. */
uint32_t *lanemap_posting_fit(uint32_t *ids, size_t n_ids, size_t capacity)
{
        uint32_t *fitting;

        if (n_ids > capacity / 4 * 3)
                return ids;
        fitting = lanemap_alloc(n_ids * sizeof(*fitting));
        if (!fitting)
                return ids;
        memcpy(fitting, ids, n_ids * sizeof(*fitting));
        lanemap_free(ids);
        return fitting;
}

uint32_t *lanemap_posting_take(struct lanemap_server *server, size_t n_ids)
{
        uint32_t *ids = lanemap_posting_fit(server->ids, n_ids, server->ids_capacity);

        server->ids = NULL;
        server->ids_capacity = 0;
        return ids;
}

bool lanemap_posting_may_wait(const struct lanemap_call *call, size_t n_ids)
{
        if (lanemap_transaction_runs(call->client))
                return true;
        lanemap_budget_count(call->client);
        return lanemap_budget_allows(call->server, n_ids * sizeof(*call->server->ids));
}

bool lanemap_posting_has(const uint32_t *ids, size_t n_ids, uint32_t id)
{
        size_t at = lanemap_ids_below(ids, n_ids, id);

        return at < n_ids && ids[at] == id;
}

int lanemap_posting_contains(const struct lanemap_call *call, uint32_t i, uint32_t id)
{
        struct lanemap_server *server = call->server;
        uint64_t position = 0;
        size_t n_ids;
        int r;

        if (lanemap_transaction_replays(call->client)) {
                if (!lanemap_posting_read(call, i, false, &n_ids))
                        return -1;
                return lanemap_posting_has(server->ids, n_ids, id);
        }
        r = lanemap_writer_contains(server->writer, lanemap_call_bytes(call, i),
                                    call->args[i].bytes, id, &position);
        if (r < 0) {
                lanemap_posting_fail(call, r);
                return -1;
        }
        server->position = LANEMAP_MAX(server->position, position);
        return r;
}
