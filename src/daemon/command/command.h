/*
 * Commands: a table of names, and one function each.
 *
 * A function either writes exactly one reply to lanemap_client_reply(), or commits operations to
 * lanemap_command_batch() (then the batch writes the reply), or blocks its client. It never fails:
 * what goes wrong is a reply.
 */
#ifndef LANEMAP_DAEMON_COMMAND_COMMAND_H
#define LANEMAP_DAEMON_COMMAND_COMMAND_H

#include "daemon/daemon.h"

enum {
        LANEMAP_COMMAND_WRITE = 1 << 0,
        LANEMAP_COMMAND_READONLY = 1 << 1,
        LANEMAP_COMMAND_FAST = 1 << 2,
        LANEMAP_COMMAND_LOADING = 1 << 3,  /* answered while the index is being opened */
        LANEMAP_COMMAND_NO_AUTH = 1 << 4,  /* answered before the password */
        LANEMAP_COMMAND_NO_MULTI = 1 << 5, /* not within a transaction */
        LANEMAP_COMMAND_ADMIN = 1 << 6,
        LANEMAP_COMMAND_AT_ONCE = 1 << 7, /* within a transaction: run, do not queue */
        LANEMAP_COMMAND_HIDDEN = 1 << 8,  /* only there to say why it is not there */
        LANEMAP_COMMAND_GROWS = 1 << 10,  /* refused while there is less memory than is needed */
        LANEMAP_COMMAND_UNGATED = 1 << 9, /* its reply does not wait until the log is durable */
};

struct lanemap_call {
        struct lanemap_server *server;
        struct lanemap_client *client;
        const struct lanemap_command *command;
        const char *message; /* arguments are offsets into this */
        const struct lanemap_resp_arg *args;
        uint32_t n_args; /* with the command's name */
};

struct lanemap_command {
        const char *name; /* lower case */
        void (*run)(const struct lanemap_call *call);
        int arity; /* with the name; negative: at least that many */
        uint32_t flags;
        int8_t first_key, last_key, key_step;
        const char *summary;
};

LANEMAP_ALWAYS_INLINE const char *lanemap_call_bytes(const struct lanemap_call *call, uint32_t i)
{
        return call->message + call->args[i].off;
}

/* Whether argument i is this text, in any case. */
bool lanemap_call_is(const struct lanemap_call *call, uint32_t i, const char *text);

/* Where operations go: the loop's batch, or that of the transaction being executed. */
struct lanemap_batch *lanemap_call_batch(const struct lanemap_call *call);

/* command/table.c */
void lanemap_command_init(void);
const struct lanemap_command *lanemap_command_find(const char *name, size_t n_bytes);
const struct lanemap_command *lanemap_command_at(size_t i); /* NULL behind the last */
/* Looks the command up, checks, queues or runs it. args[0] is its name. */
void lanemap_command_execute(struct lanemap_client *client, const char *message,
                             const struct lanemap_resp_arg *args, uint32_t n_args);
/* The error while the index is being opened. */
void lanemap_command_loading(const struct lanemap_server *server, struct lanemap_reply *reply);
/* Whether this is a command that applies something. */
bool lanemap_command_writes(const struct lanemap_client *client, const char *message,
                            const struct lanemap_resp_arg *args);
/* "ERR unknown subcommand ..." and "ERR wrong number of arguments for 'a|b' command" */
void lanemap_command_subcommand_unknown(const struct lanemap_call *call);
void lanemap_command_subcommand_arity(const struct lanemap_call *call, const char *subcommand);
/* The names of a container: checks the arity too. Return: the index of the row that args[1] names,
 * or -1 when an error was replied. */
struct lanemap_subcommand {
        const char *name;
        int arity; /* with both names */
};
int lanemap_command_subcommand(const struct lanemap_call *call,
                               const struct lanemap_subcommand *subcommands, size_t n);

/* command/set.c */
void lanemap_command_sadd(const struct lanemap_call *call);
void lanemap_command_srem(const struct lanemap_call *call);
void lanemap_command_smembers(const struct lanemap_call *call);
void lanemap_command_sismember(const struct lanemap_call *call);
void lanemap_command_smismember(const struct lanemap_call *call);
void lanemap_command_scard(const struct lanemap_call *call);
void lanemap_command_del(const struct lanemap_call *call);
void lanemap_command_exists(const struct lanemap_call *call);
void lanemap_command_type(const struct lanemap_call *call);
void lanemap_command_object(const struct lanemap_call *call);
void lanemap_command_dbsize(const struct lanemap_call *call);
void lanemap_command_flushall(const struct lanemap_call *call);
/* Replies an error unless argument i is a key. */
bool lanemap_command_key(const struct lanemap_call *call, uint32_t i);
/* Replies an error unless argument i is an id. */
bool lanemap_command_id(const struct lanemap_call *call, uint32_t i, uint32_t *ret_id);

/* command/connection.c */
void lanemap_command_ping(const struct lanemap_call *call);
void lanemap_command_echo(const struct lanemap_call *call);
void lanemap_command_hello(const struct lanemap_call *call);
void lanemap_command_auth(const struct lanemap_call *call);
void lanemap_command_select(const struct lanemap_call *call);
void lanemap_command_quit(const struct lanemap_call *call);
void lanemap_command_reset(const struct lanemap_call *call);
void lanemap_command_cross_protocol(const struct lanemap_call *call);

/* command/client.c */
void lanemap_command_client(const struct lanemap_call *call);
bool lanemap_command_client_name(const struct lanemap_call *call, uint32_t i);

/* command/transaction.c */
void lanemap_command_multi(const struct lanemap_call *call);
void lanemap_command_exec(const struct lanemap_call *call);
void lanemap_command_discard(const struct lanemap_call *call);

/* command/server.c */
void lanemap_command_command(const struct lanemap_call *call);
void lanemap_command_config(const struct lanemap_call *call);
void lanemap_command_shutdown(const struct lanemap_call *call);
void lanemap_command_time(const struct lanemap_call *call);
void lanemap_command_lastsave(const struct lanemap_call *call);
void lanemap_command_wait(const struct lanemap_call *call);
void lanemap_command_no_keys(const struct lanemap_call *call);
void lanemap_command_other_type(const struct lanemap_call *call);

/* command/info.c */
void lanemap_command_info(const struct lanemap_call *call);

/* command/lanemap.c */
void lanemap_command_lanemap_add(const struct lanemap_call *call);
void lanemap_command_lanemap_rem(const struct lanemap_call *call);
void lanemap_command_lanemap_ids(const struct lanemap_call *call);
void lanemap_command_lanemap_verify(const struct lanemap_call *call);
void lanemap_command_lanemap_backup(const struct lanemap_call *call);
void lanemap_command_lanemap_request(const struct lanemap_call *call);
void lanemap_command_lanemap_mark(const struct lanemap_call *call);
void lanemap_command_lanemap_stats(const struct lanemap_call *call);
void lanemap_command_lanemap_reshard(const struct lanemap_call *call);
/* Replies to clients whose request has ended. */
void lanemap_command_requests_ended(struct lanemap_server *server);

#endif
