/* MULTI, EXEC, DISCARD, WATCH: see client/transaction.h for how EXEC works, client/watched.h. */
#include <errno.h>

#include "common/alloc.h"
#include "daemon/client/budget.h"
#include "daemon/client/meter.h"
#include "daemon/client/release.h"
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
        call->client->transaction = lanemap_alloc_zero(sizeof(*call->client->transaction));
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
        lanemap_transaction_free(call->client->transaction);
        call->client->transaction = NULL;
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

/* Return: whether its operations and replies may have the memory that they have. */
static bool transaction_fits(const struct lanemap_call *exec)
{
        return lanemap_reply_memory(&exec->client->transaction->reply) <=
                       LANEMAP_TRANSACTION_REPLY_MAX &&
               lanemap_budget_allows(exec->server, 0);
}

/* Why nothing of the transaction is applied. */
static void transaction_refuse(const struct lanemap_call *exec, struct lanemap_reply *reply, int r)
{
        if (r == -ENOMEM)
                lanemap_reply_error(reply, "ERR no memory; nothing was changed");
        else if (r == -E2BIG)
                lanemap_reply_error(
                        reply,
                        "EXECABORT Transaction discarded: it is too much for one log record, which "
                        "holds %zu operations and %zu bytes; nothing was changed",
                        LANEMAP_BATCH_OPS_MAX, LANEMAP_BATCH_LOG_BYTES_MAX);
        else if (!lanemap_budget_allows(exec->server, 0))
                lanemap_budget_refuse(exec->server, reply, "EXECABORT", 0);
        else
                lanemap_reply_error(reply,
                                    "EXECABORT the replies of the transaction take more than %zu "
                                    "bytes of memory; nothing was changed",
                                    LANEMAP_TRANSACTION_REPLY_MAX);
}

/* Runs every command: operations into the batch, other replies into transaction->reply. Return: 0;
 * or why nothing of it can be applied: -E2BIG it is too much for one log record, -EMSGSIZE for the
 * memory of clients, -ENOMEM. */
static int transaction_run(const struct lanemap_call *exec)
{
        struct lanemap_transaction *transaction = exec->client->transaction;

        lanemap_reply_init(&transaction->reply, exec->client->out.protocol);
        transaction->executing = true;
        for (size_t i = 0; i < transaction->n_commands; i++) {
                const struct lanemap_transaction_command *queued = &transaction->commands[i];
                struct lanemap_call call = {
                        .server = exec->server,
                        .client = exec->client,
                        .command = queued->command,
                        .message = transaction->bytes,
                        .args = transaction->args + queued->args_first,
                        .n_args = queued->n_args,
                };

                queued->command->run(&call);
                transaction->reply.protocol = exec->client->out.protocol;
                lanemap_budget_count(exec->client);
                if (!transaction_fits(exec))
                        transaction->failed = -EMSGSIZE;
                if (transaction->reply.failed)
                        transaction->failed = -ENOMEM;
                if (transaction->failed < 0)
                        break;
        }
        transaction->executing = false;
        return transaction->failed;
}

/* Return: 0, or what apply says: then nothing is applied. */
static int transaction_apply(const struct lanemap_call *call)
{
        struct lanemap_batch *batch = &call->client->transaction->batch;
        struct lanemap_server *server = call->server;
        uint64_t position = 0, wait_ns = 0, ticks = lanemap_meter_ticks();
        int r;

        if (batch->n_ops == 0)
                return 0;
        lanemap_batch_join(batch, 0, batch->n_ops);
        r = lanemap_writer_try_apply(server->writer, batch->ops, batch->n_ops, batch->results, NULL,
                                     &position, &wait_ns);
        if (r == -EAGAIN) {
                lanemap_server_write_later(server, wait_ns);
                return r;
        }
        lanemap_batch_applied(server, batch->ops, batch->results, r == 0 ? batch->n_ops : 0,
                              position, lanemap_meter_ticks() - ticks);
        return r;
}

/* Runs its commands, unless they ran for an EXEC whose apply had to wait, and nothing was applied
 * since then: a command may do more than reply. Return: as transaction_run(). */
static int transaction_prepare(const struct lanemap_call *exec)
{
        struct lanemap_transaction *transaction = exec->client->transaction;
        int r;

        if (transaction->is_prepared && transaction->n_applies == exec->server->n_applies)
                return 0;

        lanemap_batch_deinit(&transaction->batch);
        lanemap_reply_deinit(&transaction->reply);
        transaction->n_scans = 0;
        r = transaction_run(exec);
        transaction->is_prepared = r == 0;
        transaction->n_applies = exec->server->n_applies;
        return r;
}

static void transaction_count(const struct lanemap_call *exec)
{
        const struct lanemap_transaction *transaction = exec->client->transaction;

        exec->server->n_commands += transaction->n_commands;
        for (size_t i = 0; i < transaction->n_commands; i++)
                transaction->commands[i].command->counts->calls++;
}

/* The array of replies: what is in transaction->reply, and the answers of writes in the holes. */
static void transaction_answer(struct lanemap_transaction *transaction, struct lanemap_reply *reply)
{
        struct lanemap_reply *rest = &transaction->reply;

        lanemap_reply_array(reply, transaction->n_commands);
        for (size_t i = 0; i < transaction->batch.n_entries; i++) {
                const struct lanemap_batch_entry *entry = &transaction->batch.entries[i];

                lanemap_reply_move(reply, rest, entry->hole);
                lanemap_batch_answer(&transaction->batch, entry, reply);
        }
        lanemap_reply_move(reply, rest, lanemap_reply_stream_end(rest));
        reply->n_errors += rest->n_errors;
}

/* Memory for the whole answer, so that a transaction that was applied is answered. Return: 0,
 * -ENOMEM. */
static int transaction_answer_room(const struct lanemap_transaction *transaction,
                                   struct lanemap_reply *reply)
{
        const struct lanemap_reply *rest = &transaction->reply;
        size_t n_bytes = rest->end - rest->begin + LANEMAP_BATCH_ANSWER_BYTES_MAX +
                         transaction->batch.n_entries * LANEMAP_BATCH_ANSWER_BYTES_MAX;

        return lanemap_reply_room(reply, n_bytes, rest->n_runs) ? 0 : -ENOMEM;
}

void lanemap_command_exec(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client); /* flushes: B1, B2 */
        struct lanemap_transaction *transaction = call->client->transaction;
        int r;

        if (!transaction) {
                lanemap_reply_error(reply, "ERR EXEC without MULTI");
                return;
        }
        if (call->server->batch.helper.is_running) { /* B6 */
                call->client->run_again = true;
                return;
        }
        if (transaction->aborted) {
                lanemap_reply_error(reply,
                                    "EXECABORT Transaction discarded because of previous errors.");
        } else if (call->client->watched_changed) { /* Z1 */
                lanemap_reply_null_array(reply);
        } else if (!call->server->writer) {
                lanemap_command_loading(call->server, reply);
        } else {
                r = transaction_prepare(call);
                if (r == 0)
                        r = transaction_answer_room(transaction, reply);
                if (r < 0) {
                        transaction_refuse(call, reply, r);
                } else {
                        r = transaction_apply(call);
                        if (r == -EAGAIN) {
                                call->client->run_again = true;
                                return;
                        }
                        if (r == 0)
                                transaction_answer(transaction, reply);
                        else
                                lanemap_batch_refuse(reply, r);
                }
                transaction_count(call);
        }
        lanemap_transaction_free(transaction);
        call->client->transaction = NULL;
        lanemap_watched_forget(call->client);
}
