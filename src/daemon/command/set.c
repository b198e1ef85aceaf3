/*
 * Routes as Redis sets of integers: keys, ids, and what Redis says about them.
 *
 * Reads go through posting_read(), which is where a client's own writes come first (B2) and where a
 * transaction sees what it is about to do.
 */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "daemon/client/budget.h"
#include "daemon/client/transaction.h"
#include "daemon/command/handlers.h"
#include "daemon/options.h"

/* Replies an error unless argument i is a key. */
static bool key_check(const struct lanemap_call *call, uint32_t i)
{
        if (LANEMAP_LIKELY(call->args[i].bytes - 1 < LANEMAP_KEY_BYTES_MAX))
                return true;
        lanemap_reply_error(lanemap_client_reply(call->client), "ERR key must have 1 to %d bytes",
                            LANEMAP_KEY_BYTES_MAX);
        return false;
}

/* Replies an error unless argument i is an id. */
static bool id_take(const struct lanemap_call *call, uint32_t i, uint32_t *ret_id)
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

static void fail(const struct lanemap_call *call, int r)
{
        lanemap_reply_error(lanemap_client_reply(call->client), "ERR cannot read (%s)",
                            r == -EBADMSG ? "a segment file is damaged where this key is; the log "
                                            "and LANEMAP.VERIFY tell which, lanemap repair helps"
                                          : strerror(-r));
}

/*
 * Room for operations of one command. A transaction's all go into one record of the log, and so do
 * one command's; what other commands left in the loop's batch can go first.
 */
static struct lanemap_op *ops_reserve(const struct lanemap_call *call, size_t n_ops,
                                      size_t mark_bytes)
{
        struct lanemap_batch *batch = lanemap_call_batch(call);
        size_t log_bytes = n_ops * LANEMAP_BATCH_OP_LOG_BYTES + mark_bytes;
        struct lanemap_op *ops;

        if (!lanemap_transaction_runs(call->client) && batch->n_ops + n_ops > LANEMAP_BATCH_OPS_MAX)
                lanemap_batch_flush(call->server);
        if (LANEMAP_UNLIKELY(batch->held_keys)) { /* B4 */
                call->client->run_again = true;
                return NULL;
        }
        if (batch->n_ops + n_ops > LANEMAP_BATCH_OPS_MAX ||
            batch->log_bytes + log_bytes > LANEMAP_BATCH_LOG_BYTES_MAX) {
                if (lanemap_transaction_runs(call->client))
                        call->client->transaction->failed = -E2BIG;
                lanemap_reply_error(lanemap_client_reply(call->client),
                                    "ERR too much for one log record, which holds %zu operations; "
                                    "nothing was changed",
                                    LANEMAP_BATCH_OPS_MAX);
                return NULL;
        }
        ops = lanemap_batch_reserve(batch, n_ops);
        if (!ops && lanemap_transaction_runs(call->client))
                call->client->transaction->failed = -ENOMEM;
        if (!ops)
                fail(call, -ENOMEM);
        return ops;
}

static void ops_commit(const struct lanemap_call *call, size_t n_ops,
                       enum lanemap_batch_reply reply)
{
        struct lanemap_batch *batch = lanemap_call_batch(call);

        lanemap_batch_commit(batch, call->client, n_ops, reply);
        if (lanemap_transaction_runs(call->client))
                batch->entries[batch->n_entries - 1].hole =
                        lanemap_reply_stream_end(&call->client->transaction->reply);
        else
                call->client->n_batched++;
}

/* key id...: one operation per id. */
static void ids_change(const struct lanemap_call *call, enum lanemap_op_code code,
                       enum lanemap_batch_reply reply)
{
        size_t n_ops = call->n_args - 2;
        struct lanemap_op *ops;

        if (!key_check(call, 1))
                return;
        ops = ops_reserve(call, n_ops, 0);
        if (!ops)
                return;
        for (size_t i = 0; i < n_ops; i++) {
                uint32_t id;

                /* A reply may flush the batch, so it must be the last thing done with ops. */
                if (!id_take(call, (uint32_t)i + 2, &id))
                        return;
                ops[i] = (struct lanemap_op){.code = code,
                                             .id = id,
                                             .key = lanemap_call_bytes(call, 1),
                                             .key_bytes = call->args[1].bytes};
        }
        ops_commit(call, n_ops, reply);
}

void lanemap_command_sadd(const struct lanemap_call *call)
{
        ids_change(call, LANEMAP_OP_ADD, LANEMAP_BATCH_CHANGED);
}

void lanemap_command_srem(const struct lanemap_call *call)
{
        ids_change(call, LANEMAP_OP_REMOVE, LANEMAP_BATCH_CHANGED);
}

void lanemap_command_lanemap_add(const struct lanemap_call *call)
{
        ids_change(call, LANEMAP_OP_ADD, LANEMAP_BATCH_CHANGED_HAS);
}

void lanemap_command_lanemap_rem(const struct lanemap_call *call)
{
        ids_change(call, LANEMAP_OP_REMOVE, LANEMAP_BATCH_CHANGED_HAS);
}

void lanemap_command_del(const struct lanemap_call *call)
{
        size_t n_ops = call->n_args - 1;
        struct lanemap_op *ops;

        for (uint32_t i = 1; i < call->n_args; i++)
                if (!key_check(call, i))
                        return;
        ops = ops_reserve(call, n_ops, 0);
        if (!ops)
                return;
        for (uint32_t i = 0; i < n_ops; i++)
                ops[i] = (struct lanemap_op){.code = LANEMAP_OP_DELETE,
                                             .key = lanemap_call_bytes(call, i + 1),
                                             .key_bytes = call->args[i + 1].bytes};
        ops_commit(call, n_ops, LANEMAP_BATCH_CHANGED);
}

void lanemap_command_flushall(const struct lanemap_call *call)
{
        struct lanemap_op *ops;

        if (call->n_args > 2 || (call->n_args == 2 && !lanemap_call_is(call, 1, "async") &&
                                 !lanemap_call_is(call, 1, "sync"))) {
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR syntax error");
                return;
        }
        ops = ops_reserve(call, 1, 0);
        if (!ops)
                return;
        ops[0] = (struct lanemap_op){.code = LANEMAP_OP_CLEAR};
        ops_commit(call, 1, LANEMAP_BATCH_OK);
}

void lanemap_command_lanemap_mark(const struct lanemap_call *call)
{
        char mark[LANEMAP_MARK_BYTES_MAX];
        struct lanemap_reply *reply;
        struct lanemap_op *ops;
        uint64_t position;
        size_t n_bytes;

        if (call->n_args == 2 && call->args[1].bytes <= LANEMAP_MARK_BYTES_MAX) {
                ops = ops_reserve(call, 1, call->args[1].bytes);
                if (!ops)
                        return;
                ops[0] = (struct lanemap_op){.code = LANEMAP_OP_MARK,
                                             .key = lanemap_call_bytes(call, 1),
                                             .key_bytes = call->args[1].bytes};
                ops_commit(call, 1, LANEMAP_BATCH_OK);
                return;
        }
        reply = lanemap_client_reply(call->client);
        if (call->n_args > 1) {
                lanemap_reply_error(reply, call->n_args == 2
                                                   ? "ERR mark must have at most 255 bytes"
                                                   : "ERR wrong number of arguments for "
                                                     "'lanemap.mark' command");
                return;
        }
        if (lanemap_transaction_runs(call->client)) {
                lanemap_reply_error(reply, "ERR Command not allowed inside a transaction");
                return;
        }
        lanemap_writer_mark(call->server->writer, mark, &n_bytes, &position);
        lanemap_reply_array(reply, 2);
        if (n_bytes > 0)
                lanemap_reply_bulk(reply, mark, n_bytes);
        else
                lanemap_reply_null(reply);
        lanemap_reply_integer(reply, (int64_t)position);
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

/*
 * The posting of argument i, as this client has to see it, in server->ids.
 *
 * count_only  the ids themselves are not needed: cheap for long postings
 * Return: false when an error was replied.
 */
static bool posting_read(const struct lanemap_call *call, uint32_t i, bool count_only,
                         size_t *ret_n_ids)
{
        struct lanemap_server *server = call->server;
        struct lanemap_client *client = call->client;
        bool replay = lanemap_transaction_runs(client) && client->transaction->batch.n_ops > 0;
        const char *key = lanemap_call_bytes(call, i);
        size_t room = replay ? client->transaction->batch.n_ops : 0;
        size_t n_ids = 0;
        uint64_t position = 0;
        int r;

        if (client->n_batched > 0)
                lanemap_batch_flush(server);
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
                fail(call, r);
                return false;
        }
        *ret_n_ids = n_ids;
        return true;
}

/* The ids that were just read are the caller's from now on. Owner: the caller, lanemap_free(). */
static uint32_t *ids_take(struct lanemap_server *server, size_t n_ids)
{
        uint32_t *ids = lanemap_realloc(server->ids, n_ids * sizeof(*ids));

        if (!ids) /* it need not shrink */
                ids = server->ids;
        server->ids = NULL;
        server->ids_capacity = 0;
        return ids;
}

/* Return: whether there is memory for so many ids until the client has read them. EXEC looks itself. */
static bool ids_may_wait(const struct lanemap_call *call, size_t n_ids)
{
        if (lanemap_transaction_runs(call->client))
                return true;
        lanemap_budget_count(call->client);
        return lanemap_budget_allows(call->server, n_ids * sizeof(*call->server->ids));
}

void lanemap_command_smembers(const struct lanemap_call *call)
{
        struct lanemap_reply *reply;
        size_t n_ids;

        if (!key_check(call, 1) || !posting_read(call, 1, false, &n_ids))
                return;
        reply = lanemap_client_reply(call->client);
        if (n_ids >= LANEMAP_IDS_RUN && !ids_may_wait(call, n_ids)) {
                lanemap_budget_refuse(call->server, reply, "OOM",
                                      n_ids * sizeof(*call->server->ids));
                return;
        }
        lanemap_reply_set(reply, n_ids);
        if (n_ids < LANEMAP_IDS_RUN)
                lanemap_reply_ids(reply, call->server->ids, n_ids);
        else
                lanemap_reply_run(reply, '$', ids_take(call->server, n_ids), n_ids);
}

static bool ids_have(const uint32_t *ids, size_t n_ids, uint32_t id)
{
        size_t low = 0;

        while (low < n_ids) {
                size_t middle = low + (n_ids - low) / 2;

                if (ids[middle] == id)
                        return true;
                if (ids[middle] < id)
                        low = middle + 1;
                else
                        n_ids = middle;
        }
        return false;
}

/* Return: 1 the key has that id, 0 not, -1 an error was replied. */
static int pair_read(const struct lanemap_call *call, uint32_t id)
{
        struct lanemap_server *server = call->server;
        uint64_t position = 0;
        size_t n_ids;
        int r;

        if (lanemap_transaction_runs(call->client)) {
                if (!posting_read(call, 1, false, &n_ids))
                        return -1;
                return ids_have(server->ids, n_ids, id);
        }
        if (call->client->n_batched > 0)
                lanemap_batch_flush(server);
        r = lanemap_writer_contains(server->writer, lanemap_call_bytes(call, 1),
                                    call->args[1].bytes, id, &position);
        if (r < 0) {
                fail(call, r);
                return -1;
        }
        server->position = LANEMAP_MAX(server->position, position);
        return r;
}

void lanemap_command_sismember(const struct lanemap_call *call)
{
        uint32_t id;
        int has;

        if (!key_check(call, 1) || !id_take(call, 2, &id))
                return;
        has = pair_read(call, id);
        if (has >= 0)
                lanemap_reply_integer(lanemap_client_reply(call->client), has);
}

void lanemap_command_smismember(const struct lanemap_call *call)
{
        struct lanemap_reply *reply;
        size_t n_ids = 0;
        uint32_t id;

        if (!key_check(call, 1))
                return;
        for (uint32_t i = 2; i < call->n_args; i++)
                if (!id_take(call, i, &id))
                        return;
        if (!posting_read(call, 1, false, &n_ids))
                return;
        reply = lanemap_client_reply(call->client);
        lanemap_reply_array(reply, call->n_args - 2);
        for (uint32_t i = 2; i < call->n_args; i++)
                if (id_take(call, i, &id))
                        lanemap_reply_integer(reply, ids_have(call->server->ids, n_ids, id));
}

void lanemap_command_scard(const struct lanemap_call *call)
{
        size_t n_ids;

        if (key_check(call, 1) && posting_read(call, 1, true, &n_ids))
                lanemap_reply_integer(lanemap_client_reply(call->client), (int64_t)n_ids);
}

void lanemap_command_exists(const struct lanemap_call *call)
{
        int64_t n_keys = 0;
        size_t n_ids;

        for (uint32_t i = 1; i < call->n_args; i++)
                if (!key_check(call, i))
                        return;
        for (uint32_t i = 1; i < call->n_args; i++) {
                if (!posting_read(call, i, true, &n_ids))
                        return;
                n_keys += n_ids > 0;
        }
        lanemap_reply_integer(lanemap_client_reply(call->client), n_keys);
}

void lanemap_command_type(const struct lanemap_call *call)
{
        size_t n_ids;

        if (key_check(call, 1) && posting_read(call, 1, true, &n_ids))
                lanemap_reply_simple(lanemap_client_reply(call->client), n_ids ? "set" : "none");
}

void lanemap_command_object(const struct lanemap_call *call)
{
        static const struct lanemap_subcommand subcommands[] = {
                {"encoding", 3}, {"refcount", 3}, {"idletime", 3}, {"freq", 3}, {"help", 2},
        };
        int which = lanemap_command_subcommand(call, subcommands, LANEMAP_N_ELEMENTS(subcommands));
        struct lanemap_reply *reply;
        size_t n_ids;

        if (which < 0)
                return;
        if (which == 4) {
                reply = lanemap_client_reply(call->client);
                lanemap_reply_array(reply, 1);
                lanemap_reply_simple(reply, "OBJECT ENCODING|REFCOUNT|IDLETIME|FREQ <key>");
                return;
        }
        if (!key_check(call, 2) || !posting_read(call, 2, true, &n_ids))
                return;
        reply = lanemap_client_reply(call->client);
        if (n_ids == 0)
                lanemap_reply_null(reply);
        else if (which == 0)
                lanemap_reply_text(reply, "intset");
        else if (which == 3)
                lanemap_reply_error(reply, "ERR An LFU maxmemory policy is not selected, access "
                                           "frequency not tracked.");
        else
                lanemap_reply_integer(reply, which == 1);
}

void lanemap_command_dbsize(const struct lanemap_call *call)
{
        struct lanemap_batch *batch = lanemap_call_batch(call);
        uint64_t n_keys = lanemap_writer_n_keys(call->server->writer);

        if (!lanemap_transaction_runs(call->client) || batch->n_ops == 0) {
                lanemap_reply_integer(lanemap_client_reply(call->client), (int64_t)n_keys);
                return;
        }
        if (!lanemap_batch_reserve(batch, 0)) {
                fail(call, -ENOMEM);
                return;
        }
        ops_commit(call, 0, LANEMAP_BATCH_N_KEYS);
        batch->entries[batch->n_entries - 1].n_keys = n_keys;
}
