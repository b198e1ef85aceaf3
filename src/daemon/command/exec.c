/*
 * EXEC: see client/transaction.h for what it guarantees, and for the phases of a transaction.
 *
 * exec_go_on() does one slice, of a few milliseconds at most: the first one when the command comes,
 * and the next ones once a round of the loop, while the client is blocked.
 */
#include <errno.h>

#include "common/clock.h"
#include "daemon/client/budget.h"
#include "daemon/client/meter.h"
#include "daemon/client/release.h"
#include "daemon/client/state.h"
#include "daemon/client/transaction.h"
#include "daemon/client/watched.h"
#include "daemon/command/handlers.h"

#define SLICE_STEPS      ((size_t)4096) /* commands, or their answers */
#define SLICE_OPERATIONS ((size_t)16384)
#define SLICE_NS         (UINT64_C(2) * 1000 * 1000)
#define SLICE_LOOK       16 /* at the clock after so many short steps */

/* An answer of more is written in slices. */
#define ANSWER_BYTES_LONG ((size_t)64 << 10)
/* No more of it is written while so much waits for its client: EX4. It has room for more than twice
 * as much, so that what was sent makes room for the rest without memory (EX2). */
#define ANSWER_BYTES_WAIT ((size_t)896 << 10)
#define ANSWER_BYTES_ROOM (2 * (ANSWER_BYTES_WAIT + LANEMAP_REPLY_MOVE_BYTES))

struct slice {
        uint64_t end_ns;
        size_t n;
};

static struct slice slice_begin(void)
{
        return (struct slice){.end_ns = lanemap_now_ns(&lanemap_clock_monotonic) + SLICE_NS};
}

static bool slice_is_over(struct slice *slice, bool may_be_long)
{
        slice->n++;
        return slice->n >= SLICE_STEPS ||
               ((may_be_long || slice->n % SLICE_LOOK == 0) &&
                lanemap_now_ns(&lanemap_clock_monotonic) >= slice->end_ns);
}

/* ---- running its commands ---- */

/* Return: whether its operations and replies may have the memory that they have. */
static bool transaction_fits(const struct lanemap_transaction *transaction)
{
        lanemap_budget_count(transaction->client);
        return lanemap_reply_memory(&transaction->reply) <= LANEMAP_TRANSACTION_REPLY_MAX &&
               lanemap_budget_allows(transaction->server, 0);
}

/* Why nothing of the transaction is applied. */
static void transaction_refuse(struct lanemap_server *server, struct lanemap_reply *reply, int r)
{
        if (r == -ENOMEM)
                lanemap_reply_error(reply, "ERR no memory; nothing was changed");
        else if (r == -E2BIG)
                lanemap_reply_error(
                        reply,
                        "EXECABORT Transaction discarded: it is too much for one log record, which "
                        "holds %zu operations and %zu bytes; nothing was changed",
                        LANEMAP_BATCH_OPS_MAX, LANEMAP_BATCH_LOG_BYTES_MAX);
        else if (!lanemap_budget_allows(server, 0))
                lanemap_budget_refuse(server, reply, "EXECABORT", 0);
        else
                lanemap_reply_error(reply,
                                    "EXECABORT the replies of the transaction take more than %zu "
                                    "bytes of memory; nothing was changed",
                                    LANEMAP_TRANSACTION_REPLY_MAX);
}

static void command_run(struct lanemap_transaction *transaction,
                        const struct lanemap_transaction_command *queued)
{
        struct lanemap_client *client = transaction->client;
        struct lanemap_call call = {
                .server = transaction->server,
                .client = client,
                .command = queued->command,
                .message = (const char *)queued,
                .args = queued->args,
                .n_args = queued->n_args,
        };

        transaction->executing = true;
        queued->command->run(&call);
        transaction->executing = false;
        transaction->reply.protocol = client->out.protocol;
        if (++transaction->n_run > transaction->n_counted) { /* once, also when it runs anew */
                transaction->n_counted++;
                transaction->server->n_commands++;
                queued->command->counts->calls++;
                queued->command->counts->covered++; /* not timed by itself (M5) */
        }
}

/* Operations go into the batch, other replies into transaction->reply. Return: 0, 1 there are more
 * commands; or why nothing of it can be applied: -E2BIG it is too much for one log record,
 * -EMSGSIZE for the memory of clients, -ENOMEM. */
static int commands_run(struct lanemap_transaction *transaction, struct slice *slice)
{
        const struct lanemap_transaction_command *queued;

        while ((queued = lanemap_transaction_next(&transaction->next))) {
                bool may_be_long = !(queued->command->flags & LANEMAP_COMMAND_FAST) ||
                                   queued->n_args > LANEMAP_METER_MANY_ARGS;

                command_run(transaction, queued);
                if (!transaction_fits(transaction))
                        transaction->failed = -EMSGSIZE;
                if (transaction->reply.failed)
                        transaction->failed = -ENOMEM;
                if (transaction->failed < 0)
                        return transaction->failed;
                if (slice_is_over(slice, may_be_long))
                        return 1;
        }
        return 0;
}

/* All of it, as of this moment. */
static void transaction_restart(struct lanemap_transaction *transaction)
{
        lanemap_batch_deinit(&transaction->batch);
        lanemap_reply_deinit(&transaction->reply);
        lanemap_reply_init(&transaction->reply, transaction->client->out.protocol);
        lanemap_batch_room(&transaction->batch, transaction->n_ops_max, transaction->n_writes);
        transaction->next = lanemap_transaction_first(transaction);
        transaction->n_run = transaction->n_joined = 0;
        transaction->n_scans = 0;
        transaction->n_applies = transaction->server->n_applies;
}

/* Memory for the whole answer, or for as much of it as waits for its client at a time: EX2. Return:
 * 0, -ENOMEM. */
static int transaction_answer_room(const struct lanemap_transaction *transaction)
{
        const struct lanemap_reply *rest = &transaction->reply;
        size_t n_bytes = rest->end - rest->begin + LANEMAP_BATCH_ANSWER_BYTES_MAX +
                         transaction->batch.n_entries * LANEMAP_BATCH_ANSWER_BYTES_MAX;

        n_bytes = LANEMAP_MIN(n_bytes, ANSWER_BYTES_ROOM);
        return lanemap_reply_room(&transaction->client->out, n_bytes, rest->n_runs) ? 0 : -ENOMEM;
}

/* Return: whether its client was answered. */
static bool transaction_run(struct lanemap_transaction *transaction, struct slice *slice)
{
        struct lanemap_client *client = transaction->client;
        struct lanemap_batch *batch = &transaction->batch;
        size_t n_joined = transaction->n_joined;
        int r;

        if (transaction->n_applies != transaction->server->n_applies) {
                if (client->watched_changed) { /* Z1 */
                        lanemap_reply_null_array(&client->out);
                        return true;
                }
                transaction_restart(transaction);
                n_joined = 0;
        }
        r = commands_run(transaction, slice);
        lanemap_batch_join(batch, n_joined, batch->n_ops - n_joined);
        transaction->n_joined = LANEMAP_MAX(batch->n_ops, (size_t)1) - 1; /* it ends there */
        if (r == 0)
                r = transaction_answer_room(transaction);
        if (r < 0) {
                transaction_refuse(transaction->server, &client->out, r);
                return true;
        }
        if (r == 0)
                transaction->phase = LANEMAP_TRANSACTION_WAITS;
        return false;
}

/* ---- the apply ---- */

/* All of it was applied, or nothing. Return: whether its client was answered. */
static bool transaction_applied(struct lanemap_transaction *transaction, int r)
{
        transaction->phase = LANEMAP_TRANSACTION_APPLIED;
        transaction->position = transaction->server->position;
        if (r < 0 && transaction->client)
                lanemap_batch_refuse(&transaction->client->out, r);
        return r < 0;
}

/* Its turn: the engine takes it, or a thread, or it waits. Return: whether its client was
 * answered. */
static bool transaction_apply(struct lanemap_transaction *transaction)
{
        struct lanemap_server *server = transaction->server;
        struct lanemap_batch *batch = &transaction->batch;
        uint64_t position = 0, wait_ns = 0, ticks = lanemap_meter_ticks();
        bool is_long = batch->n_ops > LANEMAP_BATCH_OPS_LONG;
        int r;

        if (batch->n_ops == 0)
                return transaction_applied(transaction, 0);
        if (server->batch.held_keys) { /* B4 */
                server->executing = NULL;
                return false;
        }
        if (is_long && server->batch.n_entries > 0) { /* they are applied in this round: EX1 */
                transaction->phase = LANEMAP_TRANSACTION_RUNS;
                return false;
        }
        if (is_long && lanemap_batch_help(server, batch)) {
                transaction->phase = LANEMAP_TRANSACTION_APPLIES;
                return false;
        }
        r = lanemap_writer_try_apply(server->writer, batch->ops, batch->n_ops, batch->results, NULL,
                                     &position, &wait_ns);
        if (r == -EAGAIN) { /* EX3 */
                lanemap_server_write_later(server, wait_ns);
                server->executing = NULL;
                return false;
        }
        lanemap_batch_count(server, r == 0 ? batch->n_ops : 0, position,
                            lanemap_meter_ticks() - ticks);
        return transaction_applied(transaction, r);
}

static bool transaction_help_end(struct lanemap_transaction *transaction)
{
        struct lanemap_batch *batch = &transaction->batch;
        uint64_t position;
        size_t n_applied;
        int r;

        if (lanemap_batch_helper_works(&batch->helper))
                return false;
        r = lanemap_batch_help_end(batch, &n_applied, &position);
        transaction->ticks += batch->helper.ticks;
        lanemap_batch_count(transaction->server, n_applied, position, batch->helper.ticks);
        return transaction_applied(transaction, r);
}

/* Return: whether all of them know. */
static bool watchers_tell(struct lanemap_transaction *transaction, struct slice *slice)
{
        struct lanemap_batch *batch = &transaction->batch;

        while (transaction->n_looked_at < batch->n_ops) {
                size_t from = transaction->n_looked_at;
                size_t n = LANEMAP_MIN(batch->n_ops - from, SLICE_OPERATIONS);

                lanemap_watched_applied(transaction->server, batch->ops + from,
                                        batch->results + from, n);
                transaction->n_looked_at += n;
                if (slice_is_over(slice, true))
                        break;
        }
        return transaction->n_looked_at == batch->n_ops;
}

/* ---- the answer ---- */

static bool answer_is_full(const struct lanemap_transaction *transaction)
{
        return lanemap_reply_bytes(&transaction->client->out) > ANSWER_BYTES_WAIT;
}

static bool answer_is_long(const struct lanemap_transaction *transaction)
{
        const struct lanemap_reply *rest = &transaction->reply;

        return rest->end - rest->begin + transaction->batch.n_entries * sizeof(":1\r\n") +
                       rest->n_runs * sizeof(*rest->runs) >
               ANSWER_BYTES_LONG;
}

/*
 * The array of replies: what is in transaction->reply, and the answers of writes in the holes.
 *
 * slice   NULL: all of it
 * Return: whether that was the end.
 */
static bool answer_write(struct lanemap_transaction *transaction, struct slice *slice)
{
        struct lanemap_reply *rest = &transaction->reply, *reply = &transaction->client->out;
        struct lanemap_batch *batch = &transaction->batch;

        if (!transaction->answer_is_begun)
                lanemap_reply_array(reply, transaction->n_commands);
        transaction->answer_is_begun = true;
        for (;;) {
                bool writes = transaction->n_answered < batch->n_entries;
                uint64_t through = writes ? batch->entries[transaction->n_answered].hole
                                          : lanemap_reply_stream_end(rest);

                if (slice && (slice_is_over(slice, false) || answer_is_full(transaction)))
                        return false;
                if (lanemap_reply_move_some(reply, rest, through))
                        continue;
                if (!writes)
                        break;
                lanemap_batch_answer(batch, &batch->entries[transaction->n_answered++], reply);
        }
        reply->n_errors += rest->n_errors;
        return true;
}

/* Return: whether its client was answered, or is not there. */
static bool transaction_answer(struct lanemap_transaction *transaction)
{
        if (!transaction->client)
                return true;
        if (!answer_is_long(transaction))
                return answer_write(transaction, NULL);
        transaction->phase = LANEMAP_TRANSACTION_ANSWERS;
        transaction->server->executing = NULL;
        return false;
}

/* ---- all of it ---- */

/* Return: whether its client was answered, or is not there. */
static bool exec_go_on(struct lanemap_transaction *transaction)
{
        struct slice slice = slice_begin();

        if (transaction->phase == LANEMAP_TRANSACTION_RUNS && transaction_run(transaction, &slice))
                return true;
        if (transaction->phase == LANEMAP_TRANSACTION_WAITS && transaction_apply(transaction))
                return true;
        if (transaction->phase == LANEMAP_TRANSACTION_APPLIES && transaction_help_end(transaction))
                return true;
        return transaction->phase == LANEMAP_TRANSACTION_APPLIED &&
               watchers_tell(transaction, &slice) && transaction_answer(transaction);
}

static void exec_end(struct lanemap_transaction *transaction)
{
        struct lanemap_client *client = transaction->client;

        lanemap_transaction_free(transaction);
        if (!client)
                return;
        client->transaction = NULL;
        lanemap_watched_forget(client);
}

/* Of one whose client was blocked. position: what the end of its answer waits for. */
static void exec_end_later(struct lanemap_transaction *transaction, uint64_t position)
{
        struct lanemap_client *client = transaction->client;
        uint64_t ticks = transaction->ticks;

        lanemap_meter_count(transaction->server, transaction->exec->counts, 1, ticks);
        if (client && lanemap_meter_is_slow(client->server, ticks))
                lanemap_meter_slow(
                        client, "command",
                        &(struct lanemap_meter_args){.message = transaction->exec->name,
                                                     .args = (struct lanemap_resp_arg[]){{0, 4}},
                                                     .n_args = 1},
                        ticks);
        exec_end(transaction);
        if (!client)
                return;
        lanemap_client_reply_end_at(client, position);
        lanemap_client_unblock(client);
}

/* Return: whether it need not be begun. */
static bool exec_refuse(const struct lanemap_call *call, struct lanemap_reply *reply)
{
        if (call->client->transaction->aborted)
                lanemap_reply_error(reply,
                                    "EXECABORT Transaction discarded because of previous errors.");
        else if (call->client->watched_changed) /* Z1 */
                lanemap_reply_null_array(reply);
        else if (!call->server->writer)
                lanemap_command_loading(call->server, reply);
        else
                return false;
        return true;
}

void lanemap_command_exec(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client); /* flushes: B1, B2 */
        struct lanemap_transaction *transaction = call->client->transaction;
        struct lanemap_server *server = call->server;
        uint64_t ticks = lanemap_meter_ticks();

        if (!transaction) {
                lanemap_reply_error(reply, "ERR EXEC without MULTI");
                return;
        }
        if (transaction->n_commands > SLICE_STEPS) /* or else it runs anew when they are applied */
                lanemap_batch_flush(server);
        if (server->executing || lanemap_transaction_is_helped(server)) { /* EX1, B6 */
                call->client->run_again = true;
                return;
        }
        if (exec_refuse(call, reply)) {
                exec_end(transaction);
                return;
        }
        transaction->exec = call->command;
        transaction->round_ns = server->round_ns;
        transaction->phase = LANEMAP_TRANSACTION_RUNS;
        TAILQ_INSERT_TAIL(&server->execs, transaction, of_server);
        server->executing = transaction;
        transaction_restart(transaction);
        if (exec_go_on(transaction)) {
                exec_end(transaction);
                return;
        }
        transaction->ticks += lanemap_meter_ticks() - ticks;
        call->client->replied = false;
        lanemap_client_block(call->client, LANEMAP_BLOCKED_EXEC);
}

/* Its client is one of those who are parked, and the first of them (LP4); or it is not. */
static void transaction_park(struct lanemap_transaction *transaction, bool waits)
{
        struct lanemap_client *client = transaction->client;

        client->server->n_parked += (size_t)waits - (size_t)client->write_waits;
        client->write_waits = waits;
}

/* The first that waits for its turn, when there is one. */
static struct lanemap_transaction *exec_next(struct lanemap_server *server)
{
        struct lanemap_transaction *transaction;

        TAILQ_FOREACH(transaction, &server->execs, of_server)
        if (transaction->phase == LANEMAP_TRANSACTION_WAITS)
                break;
        if (!transaction)
                return NULL;
        transaction_park(transaction, true);
        if (server->batch.helper.is_running || !lanemap_server_may_write(server))
                return NULL;
        transaction_park(transaction, false);
        transaction->phase = LANEMAP_TRANSACTION_RUNS; /* its end, or all of it anew */
        server->executing = transaction;
        return transaction;
}

void lanemap_command_exec_go_on(struct lanemap_server *server)
{
        struct lanemap_transaction *transaction = server->executing;
        uint64_t ticks = lanemap_meter_ticks();
        bool is_done;

        if (LANEMAP_LIKELY(TAILQ_EMPTY(&server->execs)))
                return;
        if (!transaction)
                transaction = exec_next(server);
        if (!transaction || server->batch.helper.is_running ||
            transaction->round_ns == server->round_ns) /* it had its slice */
                return;
        is_done = exec_go_on(transaction);
        ticks = lanemap_meter_ticks() - ticks;
        transaction->ticks += ticks;
        if (is_done)
                exec_end_later(transaction, server->position);
}

static bool answer_may_go_on(const struct lanemap_transaction *transaction)
{
        const struct lanemap_server *server = transaction->server;

        return transaction->phase == LANEMAP_TRANSACTION_ANSWERS &&
               !transaction->client->close_now && !answer_is_full(transaction) &&
               (transaction->position <= server->acknowledged || server->log_error < 0);
}

/* Return: whether that was the end. */
static bool answer_go_on(struct lanemap_transaction *transaction, struct slice *slice)
{
        struct lanemap_client *client = transaction->client;
        uint64_t ticks = lanemap_meter_ticks();
        bool is_done;

        lanemap_client_gate(client);
        if (!transaction->answer_is_begun &&
            transaction->position > transaction->server->acknowledged) {
                lanemap_client_reply_unknown(client);
                return true;
        }
        is_done = answer_write(transaction, slice);
        lanemap_client_reply_end_at(client, transaction->position);
        transaction->ticks += lanemap_meter_ticks() - ticks;
        return is_done;
}

void lanemap_command_exec_answer(struct lanemap_server *server)
{
        struct lanemap_transaction *transaction, *next, *last;
        struct slice slice;

        if (LANEMAP_LIKELY(TAILQ_EMPTY(&server->execs)))
                return;
        slice = slice_begin();
        last = TAILQ_LAST(&server->execs, lanemap_transaction_list);
        for (transaction = TAILQ_FIRST(&server->execs); transaction; transaction = next) {
                next = transaction == last ? NULL : TAILQ_NEXT(transaction, of_server);
                if (!answer_may_go_on(transaction))
                        continue;
                if (answer_go_on(transaction, &slice)) {
                        exec_end_later(transaction, 0);
                        continue;
                }
                TAILQ_REMOVE(&server->execs, transaction, of_server); /* the next one's turn */
                TAILQ_INSERT_TAIL(&server->execs, transaction, of_server);
        }
}

enum lanemap_exec_state lanemap_command_exec_state(const struct lanemap_server *server)
{
        const struct lanemap_transaction *transaction = server->executing;
        enum lanemap_exec_state state = LANEMAP_EXEC_SLEEPS;

        if (transaction && !lanemap_transaction_is_helped(server))
                return LANEMAP_EXEC_IS_DUE;
        TAILQ_FOREACH(transaction, &server->execs, of_server)
        {
                if (answer_may_go_on(transaction))
                        return LANEMAP_EXEC_IS_DUE;
                if (transaction->phase == LANEMAP_TRANSACTION_WAITS)
                        state = LANEMAP_EXEC_WAITS;
        }
        return state;
}
