/*
 * The table of commands and the way to one: look up, check, queue or run.
 *
 * The order of the checks is Redis's: unknown, number of arguments, password, loading, transaction.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command/command.h"
#include "daemon/client/memory.h"
#include "daemon/client/transaction.h"

#define W    LANEMAP_COMMAND_WRITE
#define R    LANEMAP_COMMAND_READONLY
#define F    LANEMAP_COMMAND_FAST
#define L    LANEMAP_COMMAND_LOADING
#define A    LANEMAP_COMMAND_NO_AUTH
#define NM   LANEMAP_COMMAND_NO_MULTI
#define ADM  LANEMAP_COMMAND_ADMIN
#define ONCE LANEMAP_COMMAND_AT_ONCE
#define HID  LANEMAP_COMMAND_HIDDEN
#define U    LANEMAP_COMMAND_UNGATED
#define G    LANEMAP_COMMAND_GROWS

/* clang-format off */
static const struct lanemap_command commands[] = {
        {"sadd", lanemap_command_sadd, -3, W | F | G, 1, 1, 1, "Add ids to a key."},
        {"srem", lanemap_command_srem, -3, W | F, 1, 1, 1, "Remove ids from a key."},
        {"smembers", lanemap_command_smembers, 2, R, 1, 1, 1, "All ids of a key."},
        {"sismember", lanemap_command_sismember, 3, R | F, 1, 1, 1, "Whether a key has an id."},
        {"smismember", lanemap_command_smismember, -3, R | F, 1, 1, 1, "Which of several ids a key has."},
        {"scard", lanemap_command_scard, 2, R | F, 1, 1, 1, "How many ids a key has."},
        {"del", lanemap_command_del, -2, W, 1, -1, 1, "Remove keys with all their ids."},
        {"unlink", lanemap_command_del, -2, W | F, 1, -1, 1, "Remove keys with all their ids."},
        {"exists", lanemap_command_exists, -2, R | F, 1, -1, 1, "How many of the keys exist."},
        {"type", lanemap_command_type, 2, R | F, 1, 1, 1, "set or none."},
        {"object", lanemap_command_object, -2, R, 2, 2, 1, "Details of a key."},
        {"dbsize", lanemap_command_dbsize, 1, R | F, 0, 0, 0, "How many keys there are."},
        {"flushall", lanemap_command_flushall, -1, W, 0, 0, 0, "Remove everything."},
        {"flushdb", lanemap_command_flushall, -1, W, 0, 0, 0, "Remove everything."},
        {"ping", lanemap_command_ping, -1, F | U, 0, 0, 0, "PONG."},
        {"echo", lanemap_command_echo, 2, F | L | U, 0, 0, 0, "The argument."},
        {"hello", lanemap_command_hello, -1, F | L | A | U, 0, 0, 0, "Choose the protocol version."},
        {"auth", lanemap_command_auth, -2, F | L | A | U, 0, 0, 0, "Give the password."},
        {"select", lanemap_command_select, 2, F | L | U, 0, 0, 0, "There is one database: 0."},
        {"quit", lanemap_command_quit, -1, F | L | A | ONCE | U, 0, 0, 0, "Close the connection."},
        {"reset", lanemap_command_reset, 1, F | L | A | ONCE | U, 0, 0, 0, "Reset the connection."},
        {"client", lanemap_command_client, -2, L | ADM | U, 0, 0, 0, "About connections."},
        {"multi", lanemap_command_multi, 1, F | L | ONCE | U, 0, 0, 0, "Start a transaction."},
        {"exec", lanemap_command_exec, 1, L | ONCE, 0, 0, 0, "Apply the transaction as one log record."},
        {"discard", lanemap_command_discard, 1, F | L | ONCE | U, 0, 0, 0, "Forget the transaction."},
        {"command", lanemap_command_command, -1, L | U, 0, 0, 0, "About commands."},
        {"config", lanemap_command_config, -2, L | ADM | U, 0, 0, 0, "Read settings; set appendfsync."},
        {"info", lanemap_command_info, -1, L | U, 0, 0, 0, "State and counters."},
        {"shutdown", lanemap_command_shutdown, -1, L | ADM | NM, 0, 0, 0, "Stop in good order."},
        {"time", lanemap_command_time, 1, F | L | U, 0, 0, 0, "Seconds and microseconds."},
        {"lastsave", lanemap_command_lastsave, 1, F | L | U, 0, 0, 0, "When lanemapd started: every write is saved."},
        {"wait", lanemap_command_wait, 3, 0, 0, 0, 0, "0: there are no replicas."},
        {"lanemap.add", lanemap_command_lanemap_add, 3, W | F | G, 1, 1, 1, "Add one id: changed, ids the key has now."},
        {"lanemap.rem", lanemap_command_lanemap_rem, 3, W | F, 1, 1, 1, "Remove one id: changed, ids the key has now."},
        {"lanemap.ids", lanemap_command_lanemap_ids, 1, R | NM, 0, 0, 0, "All distinct ids."},
        {"lanemap.flush", lanemap_command_lanemap_request, 1, ADM | NM, 0, 0, 0, "Bring everything into segments."},
        {"lanemap.compact", lanemap_command_lanemap_request, 1, ADM | NM, 0, 0, 0, "One segment per lane."},
        {"lanemap.flip", lanemap_command_lanemap_request, 1, ADM | NM, 0, 0, 0, "A fresh data object."},
        {"lanemap.mark", lanemap_command_lanemap_mark, -1, W | F, 0, 0, 0, "Read or set the mark of the write stream."},
        {"lanemap.stats", lanemap_command_lanemap_stats, 1, R | U, 0, 0, 0, "Names and values."},
        {"lanemap.verify", lanemap_command_lanemap_verify, 1, ADM | NM, 0, 0, 0, "Check every file; the findings."},
        {"lanemap.backup", lanemap_command_lanemap_backup, -2, ADM | NM, 0, 0, 0, "A copy in an empty directory."},
        {"lanemap.reshard", lanemap_command_lanemap_reshard, -1, R | HID, 0, 0, 0, ""},
        {"keys", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"scan", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"sscan", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"randomkey", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"dump", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"rename", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"renamenx", lanemap_command_no_keys, -1, R | HID, 0, 0, 0, ""},
        {"post", lanemap_command_cross_protocol, -1, L | A | ONCE | HID | U, 0, 0, 0, ""},
        {"host:", lanemap_command_cross_protocol, -1, L | A | ONCE | HID | U, 0, 0, 0, ""},
};
/* clang-format on */

/* Commands of Redis's other types: the answer says why they are not here. */
static const char other_type_names[] =
        "append bitcount bitfield bitop bitpos blmove blpop brpop bzpopmax bzpopmin decr decrby "
        "expire expireat expiretime geoadd geosearch get getbit getdel getex getrange getset hdel "
        "hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hscan hset hsetnx "
        "hstrlen "
        "hvals incr incrby incrbyfloat lindex linsert llen lmove lpop lpos lpush lpushx lrange "
        "lrem "
        "lset ltrim mget mset msetnx persist pexpire pexpireat pfadd pfcount pfmerge psetex pttl "
        "rpop rpoplpush rpush rpushx set setbit setex setnx setrange strlen ttl xadd xlen xrange "
        "xread xrevrange xtrim zadd zcard zcount zincrby zinter zpopmax zpopmin zrange "
        "zrangebyscore zrank zrem zrevrange zscan zscore zunion ";

static struct lanemap_command other_types[128];
static size_t n_other_types;
static char other_type_text[sizeof(other_type_names)];

#define BUCKETS        1024
#define NAME_BYTES_MAX 32
static const struct lanemap_command *buckets[BUCKETS];

static uint32_t name_hash(const char *name, size_t n_bytes)
{
        uint32_t hash = 2166136261u;

        for (size_t i = 0; i < n_bytes; i++)
                hash = (hash ^ ((unsigned char)name[i] | 0x20)) * 16777619u;
        return hash;
}

static void bucket_add(const struct lanemap_command *command)
{
        uint32_t at = name_hash(command->name, strlen(command->name)) % BUCKETS;

        while (buckets[at])
                at = (at + 1) % BUCKETS;
        buckets[at] = command;
}

void lanemap_command_init(void)
{
        char *word, *rest = other_type_text;

        if (n_other_types > 0)
                return;
        memcpy(other_type_text, other_type_names, sizeof(other_type_names));
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(commands); i++)
                bucket_add(&commands[i]);
        while ((word = strtok_r(NULL, " ", &rest)) &&
               n_other_types < LANEMAP_N_ELEMENTS(other_types)) {
                other_types[n_other_types] =
                        (struct lanemap_command){.name = word,
                                                 .run = lanemap_command_other_type,
                                                 .arity = -1,
                                                 .flags = R | HID};
                bucket_add(&other_types[n_other_types++]);
        }
}

const struct lanemap_command *lanemap_command_find(const char *name, size_t n_bytes)
{
        uint32_t at;

        if (n_bytes > NAME_BYTES_MAX)
                return NULL;
        for (at = name_hash(name, n_bytes) % BUCKETS; buckets[at]; at = (at + 1) % BUCKETS)
                if (strnlen(buckets[at]->name, NAME_BYTES_MAX) == n_bytes &&
                    strncasecmp(buckets[at]->name, name, n_bytes) == 0)
                        return buckets[at];
        return NULL;
}

const struct lanemap_command *lanemap_command_at(size_t i)
{
        if (i >= LANEMAP_N_ELEMENTS(commands))
                return NULL;
        return &commands[i];
}

bool lanemap_call_is(const struct lanemap_call *call, uint32_t i, const char *text)
{
        return call->args[i].bytes == strlen(text) &&
               strncasecmp(lanemap_call_bytes(call, i), text, call->args[i].bytes) == 0;
}

struct lanemap_batch *lanemap_call_batch(const struct lanemap_call *call)
{
        if (lanemap_transaction_runs(call->client))
                return &call->client->transaction->batch;
        return &call->server->batch;
}

void lanemap_command_subcommand_unknown(const struct lanemap_call *call)
{
        char name[32];

        snprintf(name, sizeof(name), "%s", call->command->name);
        for (char *c = name; *c; c++)
                *c = (char)toupper((unsigned char)*c);
        lanemap_reply_error(
                lanemap_client_reply(call->client), "ERR unknown subcommand '%.*s'. Try %s HELP.",
                (int)LANEMAP_MIN(call->args[1].bytes, 128u), lanemap_call_bytes(call, 1), name);
}

void lanemap_command_subcommand_arity(const struct lanemap_call *call, const char *subcommand)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR wrong number of arguments for '%s|%s' command",
                            call->command->name, subcommand);
}

int lanemap_command_subcommand(const struct lanemap_call *call,
                               const struct lanemap_subcommand *subcommands, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                int arity = subcommands[i].arity;

                if (!lanemap_call_is(call, 1, subcommands[i].name))
                        continue;
                if (arity > 0 ? (int)call->n_args == arity : (int)call->n_args >= -arity)
                        return (int)i;
                lanemap_command_subcommand_arity(call, subcommands[i].name);
                return -1;
        }
        lanemap_command_subcommand_unknown(call);
        return -1;
}

/* A command that is refused makes the transaction it was meant for fail. */
static struct lanemap_reply *refusal(const struct lanemap_call *call)
{
        if (call->client->transaction)
                call->client->transaction->aborted = true;
        return lanemap_client_reply(call->client);
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

static bool arity_fits(const struct lanemap_call *call)
{
        int arity = call->command->arity;

        return arity > 0 ? (int)call->n_args == arity : (int)call->n_args >= -arity;
}

/* An EXEC that cannot be understood ends its transaction all the same. */
static void refuse_arity(const struct lanemap_call *call)
{
        bool exec = call->command->run == lanemap_command_exec;

        lanemap_reply_error(refusal(call), "%s wrong number of arguments for '%s' command",
                            exec ? "EXECABORT Transaction discarded because of:" : "ERR",
                            call->command->name);
        if (exec) {
                lanemap_transaction_free(call->client->transaction);
                call->client->transaction = NULL;
        }
}

void lanemap_command_loading(const struct lanemap_server *server, struct lanemap_reply *reply)
{
        if (server->room.is_awaited)
                lanemap_reply_error(reply, "LOADING lanemapd waits for room: %s",
                                    server->room.what.text);
        else
                lanemap_reply_error(reply, "LOADING lanemapd is loading the index");
}

/* Return: false when the command was refused. */
static bool command_check(const struct lanemap_call *call)
{
        struct lanemap_client *client = call->client;

        if (!call->command) {
                refuse_unknown(call);
                return false;
        }
        if (LANEMAP_UNLIKELY(!arity_fits(call))) {
                refuse_arity(call);
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

static void command_queue(const struct lanemap_call *call)
{
        int r;

        r = lanemap_transaction_queue(call->client->transaction, call->command, call->message,
                                      call->args, call->n_args);
        if (r == 0)
                lanemap_reply_simple(lanemap_client_reply(call->client), "QUEUED");
        else
                lanemap_reply_error(refusal(call), "ERR the transaction is too large");
}

bool lanemap_command_writes(const struct lanemap_client *client, const char *message,
                            const struct lanemap_resp_arg *args)
{
        const struct lanemap_command *command =
                lanemap_command_find(message + args[0].off, args[0].bytes);

        if (!command)
                return false;
        if (client->transaction)
                return command->run == lanemap_command_exec;
        return command->flags & LANEMAP_COMMAND_WRITE;
}

void lanemap_command_execute(struct lanemap_client *client, const char *message,
                             const struct lanemap_resp_arg *args, uint32_t n_args)
{
        struct lanemap_call call = {
                .server = client->server,
                .client = client,
                .command = lanemap_command_find(message + args[0].off, args[0].bytes),
                .message = message,
                .args = args,
                .n_args = n_args,
        };
        bool gated = false; /* a refusal, and QUEUED, tell nothing of the data */

        client->replied = false;
        call.server->n_commands++;
        if (LANEMAP_LIKELY(command_check(&call))) {
                client->last_command = call.command->name;
                if (LANEMAP_UNLIKELY(client->transaction &&
                                     !(call.command->flags & LANEMAP_COMMAND_AT_ONCE))) {
                        command_queue(&call);
                } else {
                        call.command->run(&call);
                        gated = !(call.command->flags & LANEMAP_COMMAND_UNGATED);
                }
        }
        if (client->replied && gated)
                lanemap_client_reply_end(client);
        else if (client->replied)
                lanemap_client_reply_end_ungated(client);
        else if (call.server->batch.n_ops >= LANEMAP_BATCH_OPS_FULL)
                lanemap_batch_flush(call.server);
}
