/*
 * Routes as Redis sets of integers: what changes them, and what looks at one of them. See
 * command/posting.h for how they are read.
 */
#include <errno.h>
#include <string.h>

#include "daemon/client/budget.h"
#include "daemon/client/transaction.h"
#include "daemon/command/handlers.h"
#include "daemon/command/posting.h"
#include "daemon/options.h"

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
                lanemap_posting_fail(call, -ENOMEM);
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

/*
 * A command of very many operations, whose arguments from `first` on are a key and ids, or keys.
 *
 * Return: false: it is none, or one that has to be done as the others.
 */
static bool ops_lend(const struct lanemap_call *call, enum lanemap_op_code code, uint32_t first,
                     size_t n_ops, enum lanemap_batch_reply reply)
{
        struct lanemap_batch *batch = &call->server->batch;
        struct lanemap_batch_lent lent = {
                .code = code, .message = call->message, .args = call->args + first};

        if (LANEMAP_LIKELY(n_ops <= LANEMAP_BATCH_OPS_LONG) ||
            lanemap_transaction_runs(call->client) || n_ops > LANEMAP_BATCH_OPS_MAX)
                return false;
        lanemap_batch_flush(call->server);
        if (batch->n_entries > 0) { /* B4 */
                call->client->run_again = true;
                return true;
        }
        return lanemap_batch_lend(call->server, call->client, &lent, n_ops, reply);
}

/* key id...: one operation per id. */
static void ids_change(const struct lanemap_call *call, enum lanemap_op_code code,
                       enum lanemap_batch_reply reply)
{
        size_t n_ops = call->n_args - 2;
        struct lanemap_op *ops;

        if (!lanemap_posting_key_check(call, 1) || ops_lend(call, code, 1, n_ops, reply))
                return;
        ops = ops_reserve(call, n_ops, 0);
        if (!ops)
                return;
        for (size_t i = 0; i < n_ops; i++) {
                uint32_t id;

                /* A reply may flush the batch, so it must be the last thing done with ops. */
                if (!lanemap_posting_id_take(call, (uint32_t)i + 2, &id))
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
                if (!lanemap_posting_key_check(call, i))
                        return;
        if (ops_lend(call, LANEMAP_OP_DELETE, 1, n_ops, LANEMAP_BATCH_CHANGED))
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

/*
 * key key id: one id goes from one key to another, both or neither (B5). Only an id that is there
 * goes, so what other commands left in the batch is applied first.
 */
void lanemap_command_smove(const struct lanemap_call *call)
{
        struct lanemap_server *server = call->server;
        struct lanemap_op *ops;
        uint32_t id;
        int has;

        if (!lanemap_posting_key_check(call, 1) || !lanemap_posting_key_check(call, 2) ||
            !lanemap_posting_id_take(call, 3, &id))
                return;
        if (!lanemap_transaction_runs(call->client) && server->batch.n_ops > 0) {
                lanemap_batch_flush(server);
                if (server->batch.n_ops > 0) { /* B4 */
                        call->client->run_again = true;
                        return;
                }
        }
        has = lanemap_posting_contains(call, 1, id);
        if (has < 0)
                return;
        if (has == 0 || (call->args[1].bytes == call->args[2].bytes &&
                         memcmp(lanemap_call_bytes(call, 1), lanemap_call_bytes(call, 2),
                                call->args[1].bytes) == 0)) {
                lanemap_reply_integer(lanemap_client_reply(call->client), has);
                return;
        }
        ops = ops_reserve(call, 2, 0);
        if (!ops)
                return;
        for (uint32_t i = 0; i < 2; i++)
                ops[i] = (struct lanemap_op){.code = i == 0 ? LANEMAP_OP_REMOVE : LANEMAP_OP_ADD,
                                             .id = id,
                                             .key = lanemap_call_bytes(call, i + 1),
                                             .key_bytes = call->args[i + 1].bytes};
        ops_commit(call, 2, LANEMAP_BATCH_FIRST_CHANGED);
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

void lanemap_command_smembers(const struct lanemap_call *call)
{
        struct lanemap_reply *reply;
        size_t n_ids;

        if (!lanemap_posting_key_check(call, 1) || !lanemap_posting_read(call, 1, false, &n_ids))
                return;
        reply = lanemap_client_reply(call->client);
        if (n_ids >= LANEMAP_IDS_RUN && !lanemap_posting_may_wait(call, n_ids)) {
                lanemap_budget_refuse(call->server, reply, "OOM",
                                      n_ids * sizeof(*call->server->ids));
                return;
        }
        lanemap_reply_set(reply, n_ids);
        if (n_ids < LANEMAP_IDS_RUN)
                lanemap_reply_ids(reply, call->server->ids, n_ids);
        else
                lanemap_reply_run(reply, '$', lanemap_posting_take(call->server, n_ids), n_ids);
}

void lanemap_command_sismember(const struct lanemap_call *call)
{
        uint32_t id;
        int has;

        if (!lanemap_posting_key_check(call, 1) || !lanemap_posting_id_take(call, 2, &id))
                return;
        has = lanemap_posting_contains(call, 1, id);
        if (has >= 0)
                lanemap_reply_integer(lanemap_client_reply(call->client), has);
}

/* Few ids of a long posting are asked for one by one. Return: false: an error was replied, or it is
 * put off. */
static bool members_read(const struct lanemap_call *call, bool *ret_one_by_one, size_t *ret_n_ids)
{
        if (!lanemap_posting_read(call, 1, true, ret_n_ids))
                return false;
        *ret_one_by_one = !lanemap_transaction_replays(call->client) &&
                          *ret_n_ids / 64 > (size_t)(call->n_args - 2);
        if (*ret_one_by_one)
                return call->n_args == 3 || !lanemap_posting_must_wait(call);
        return lanemap_posting_read(call, 1, false, ret_n_ids);
}

void lanemap_command_smismember(const struct lanemap_call *call)
{
        struct lanemap_reply *reply;
        bool one_by_one;
        size_t n_ids;
        uint32_t id;

        if (!lanemap_posting_key_check(call, 1))
                return;
        for (uint32_t i = 2; i < call->n_args; i++)
                if (!lanemap_posting_id_take(call, i, &id))
                        return;
        if (!members_read(call, &one_by_one, &n_ids))
                return;
        reply = lanemap_client_reply(call->client);
        lanemap_reply_array(reply, call->n_args - 2);
        for (uint32_t i = 2; i < call->n_args; i++) {
                int has = 0;

                if (lanemap_posting_id_take(call, i, &id))
                        has = one_by_one ? lanemap_posting_contains(call, 1, id)
                                         : lanemap_posting_has(call->server->ids, n_ids, id);
                if (has >= 0) /* else the error stands in its place */
                        lanemap_reply_integer(reply, has);
        }
}

void lanemap_command_scard(const struct lanemap_call *call)
{
        size_t n_ids;

        if (lanemap_posting_key_check(call, 1) && lanemap_posting_read(call, 1, true, &n_ids))
                lanemap_reply_integer(lanemap_client_reply(call->client), (int64_t)n_ids);
}

void lanemap_command_dbsize(const struct lanemap_call *call)
{
        struct lanemap_server *server = call->server;
        struct lanemap_batch *batch = lanemap_call_batch(call);
        uint64_t n_keys = lanemap_writer_n_keys(server->writer);

        /* It may count keys of an apply whose thread nobody has joined yet (LP1). */
        server->position = LANEMAP_MAX(server->position, lanemap_writer_position(server->writer));
        if (!lanemap_transaction_replays(call->client)) {
                lanemap_reply_integer(lanemap_client_reply(call->client), (int64_t)n_keys);
                return;
        }
        if (!lanemap_batch_reserve(batch, 0)) {
                lanemap_posting_fail(call, -ENOMEM);
                return;
        }
        ops_commit(call, 0, LANEMAP_BATCH_N_KEYS);
        batch->entries[batch->n_entries - 1].n_keys = n_keys;
}
