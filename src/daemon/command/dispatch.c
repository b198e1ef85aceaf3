/* See command/dispatch.h. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/probes.h"
#include "daemon/client/memory.h"
#include "daemon/client/meter.h"
#include "daemon/client/release.h"
#include "daemon/client/transaction.h"
#include "daemon/client/watched.h"
#include "daemon/command/dispatch.h"
#include "daemon/command/handlers.h"
#include "daemon/command/registry.h"

/* A command that is refused makes the transaction it was meant for fail. One that is put off is
 * refused when it is run again. */
static struct lanemap_reply *refusal(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        if (call->client->transaction)
                call->client->transaction->aborted = true;
        if (call->command)
                call->command->counts->rejected += !call->client->run_again;
        return reply;
}

static void refuse_unknown(const struct lanemap_call *call)
{
        char args[300];
        int n = 0;

        args[0] = 0;
        for (uint32_t i = 1; i < call->n_args && n < 128; i++)
                n += snprintf(args + n, sizeof(args) - (size_t)n, "'%.*s' ",
                              (int)LANEMAP_MIN(call->args[i].bytes, (uint32_t)(128 - n)),
                              lanemap_call_bytes(call, i));
        lanemap_reply_error(
                refusal(call), "ERR unknown command '%.*s', with args beginning with: %s",
                (int)LANEMAP_MIN(call->args[0].bytes, 128u), lanemap_call_bytes(call, 0), args);
}

static void refuse_unknown_subcommand(const struct lanemap_call *call)
{
        char name[32];
        size_t n = strnlen(call->command->name, sizeof(name) - 1);

        for (size_t i = 0; i < n; i++)
                name[i] = (char)toupper((unsigned char)call->command->name[i]);
        name[n] = 0;
        lanemap_reply_error(refusal(call), "ERR unknown subcommand '%.*s'. Try %s HELP.",
                            (int)LANEMAP_MIN(call->args[1].bytes, 128u),
                            lanemap_call_bytes(call, 1), name);
}

/* An EXEC that cannot be understood ends its transaction all the same. */
static void refuse_arity(const struct lanemap_call *call)
{
        bool exec = call->command->run == lanemap_command_exec;

        lanemap_reply_error(refusal(call), "%s wrong number of arguments for '%s' command",
                            exec ? "EXECABORT Transaction discarded because of:" : "ERR",
                            call->command->full_name);
        if (exec) {
                lanemap_transaction_leave(call->client);
                lanemap_watched_forget(call->client);
        }
}

/* A message of a million arguments may be about a million keys, but not about the server (LP3). */
static bool has_too_many_arguments(const struct lanemap_call *call)
{
        const uint32_t limited = LANEMAP_COMMAND_UNGATED | LANEMAP_COMMAND_NO_AUTH;

        return LANEMAP_UNLIKELY(call->n_args > LANEMAP_COMMAND_ARGS_MAX) &&
               (call->command->flags & limited) && !(call->command->flags & LANEMAP_COMMAND_HIDDEN);
}

/* Return: false when the command was refused. */
static bool command_check(const struct lanemap_call *call)
{
        struct lanemap_client *client = call->client;

        if (!call->command) {
                refuse_unknown(call);
                return false;
        }
        if (LANEMAP_UNLIKELY(call->command->subcommands && call->n_args > 1)) {
                refuse_unknown_subcommand(call);
                return false;
        }
        if (LANEMAP_UNLIKELY(!lanemap_command_takes(call->command, call->n_args))) {
                refuse_arity(call);
                return false;
        }
        if (has_too_many_arguments(call)) {
                lanemap_reply_error(refusal(call),
                                    "ERR too many arguments for '%s' command: it takes at most %u",
                                    call->command->full_name, LANEMAP_COMMAND_ARGS_MAX);
                return false;
        }
        if (LANEMAP_UNLIKELY(!client->authenticated &&
                             !(call->command->flags & LANEMAP_COMMAND_NO_AUTH))) {
                lanemap_reply_error(refusal(call), "NOAUTH Authentication required.");
                return false;
        }
        if (LANEMAP_UNLIKELY(!call->server->writer &&
                             !(call->command->flags & LANEMAP_COMMAND_LOADING))) {
                lanemap_command_loading(call->server, refusal(call));
                return false;
        }
        if (LANEMAP_UNLIKELY(call->server->memory.is_short &&
                             (call->command->flags & LANEMAP_COMMAND_GROWS))) {
                char text[768];

                (void)lanemap_memory_explain(call->server, text, sizeof(text));
                lanemap_reply_error(refusal(call), "OOM %s", text);
                return false;
        }
        if (LANEMAP_UNLIKELY(client->transaction &&
                             (call->command->flags & LANEMAP_COMMAND_NO_MULTI))) {
                lanemap_reply_error(refusal(call), "ERR Command not allowed inside a transaction");
                return false;
        }
        return true;
}

/* At most: one for each key, or for each argument after one key. */
static size_t call_n_ops_max(const struct lanemap_call *call)
{
        uint32_t n_before = call->command->keys[0].last < 0 ? 1 : 2;

        if (!(call->command->flags & LANEMAP_COMMAND_WRITE))
                return 0;
        return call->n_args > n_before ? call->n_args - n_before : 1;
}

static void command_queue(const struct lanemap_call *call)
{
        int r;

        r = lanemap_transaction_queue(call->client->transaction, call->command, call->message,
                                      call->args, call->n_args, call_n_ops_max(call));
        call->client->transaction->writes |= call->command->flags & LANEMAP_COMMAND_WRITE;
        if (r == 0)
                lanemap_reply_simple(lanemap_client_reply(call->client), "QUEUED");
        else
                lanemap_reply_error(refusal(call), "ERR the transaction is too large");
}

static bool call_writes(const struct lanemap_call *call)
{
        if (call->client->transaction)
                return call->command->run == lanemap_command_exec &&
                       call->client->transaction->writes;
        return call->command->flags & LANEMAP_COMMAND_WRITE;
}

/* Return: true if it is a write that has to wait (LP4). Asked for the first of a batch. */
static bool write_has_to_wait(const struct lanemap_call *call)
{
        const struct lanemap_batch *batch = &call->server->batch;

        return (batch->n_entries == 0 || batch->held_keys) && call_writes(call) &&
               !lanemap_server_may_write(call->server);
}

/* B1, B2: a command that does not write comes after the writes of its client. Return: false: they
 * are held. */
static bool writes_before(const struct lanemap_call *call)
{
        struct lanemap_client *client = call->client;

        if (LANEMAP_LIKELY(client->n_batched == 0) ||
            (call->command && (call->command->flags & LANEMAP_COMMAND_WRITE) &&
             !client->transaction))
                return true;

        lanemap_batch_flush(call->server);
        return client->n_batched == 0;
}

/* What it replied so far is not sent. */
static void command_put_off(struct lanemap_client *client)
{
        client->run_again = client->replied = false;
        client->server->n_commands--;
        client->server->discarded.failed = false;
        lanemap_reply_deinit(&client->server->discarded);
}

static void command_is_slow(const struct lanemap_call *call, uint64_t ticks)
{
        const struct lanemap_command *command = call->command;

        lanemap_meter_slow(call->client, "command",
                           &(struct lanemap_meter_args){
                                   .message = call->message,
                                   .args = call->args,
                                   .n_args = call->n_args,
                                   .secrets = command->secrets ? command->secrets(call) : 0},
                           ticks);
}

/* M3, M4, M5. What is put off is no call. */
static void command_run(const struct lanemap_call *call)
{
        const struct lanemap_command *command = call->command;
        struct lanemap_meter_counts *counts = command->counts;
        bool may_be_long =
                !(command->flags & LANEMAP_COMMAND_FAST) || call->n_args > LANEMAP_METER_MANY_ARGS;
        uint64_t ticks;

        if (LANEMAP_LIKELY(!may_be_long && !lanemap_meter_is_due(counts))) {
                command->run(call);
        } else {
                ticks = lanemap_meter_ticks();
                command->run(call);
                ticks = lanemap_meter_ticks() - ticks;
                if (!call->client->run_again && call->client->blocked != LANEMAP_BLOCKED_EXEC) {
                        lanemap_meter_count(call->server, counts,
                                            may_be_long ? 1 : counts->calls + 1 - counts->covered,
                                            ticks);
                        if (lanemap_meter_is_slow(call->server, ticks))
                                command_is_slow(call, ticks);
                }
        }
        counts->calls += !call->client->run_again;
        counts->failed += call->client->out.n_errors > 0;
}

bool lanemap_command_execute(struct lanemap_client *client, const char *message,
                             const struct lanemap_resp_arg *args, uint32_t n_args)
{
        struct lanemap_call call = {
                .server = client->server,
                .client = client,
                .command = lanemap_registry_find_message(message, args, n_args),
                .message = message,
                .args = args,
                .n_args = n_args,
        };
        bool gated = false; /* a refusal, and QUEUED, tell nothing of the data */

        if (LANEMAP_UNLIKELY(!writes_before(&call)))
                return false;
        client->replied = false;
        call.server->n_commands++;
        if (LANEMAP_LIKELY(command_check(&call))) {
                if (LANEMAP_UNLIKELY(write_has_to_wait(&call))) {
                        call.server->n_commands--;
                        return false;
                }
                client->last_command = call.command->full_name;
                if (LANEMAP_UNLIKELY(client->transaction &&
                                     !(call.command->flags & LANEMAP_COMMAND_AT_ONCE))) {
                        command_queue(&call);
                } else {
                        LANEMAP_PROBE(command__start, client->id, call.command->full_name, n_args,
                                      call_writes(&call));
                        command_run(&call);
                        LANEMAP_PROBE(command__done, client->id, call.command->full_name,
                                      client->run_again);
                        gated = !(call.command->flags & LANEMAP_COMMAND_UNGATED);
                }
        }
        if (LANEMAP_UNLIKELY(client->run_again)) {
                command_put_off(client);
                return false;
        }
        if (client->replied && gated)
                lanemap_client_reply_end(client);
        else if (client->replied)
                lanemap_client_reply_end_ungated(client);
        else if (call.server->batch.n_ops >= LANEMAP_BATCH_OPS_FULL)
                lanemap_batch_flush(call.server);
        return true;
}
