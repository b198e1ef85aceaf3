/*
 * One call of a command, and what the functions of all commands use.
 *
 * A function either writes exactly one reply to lanemap_client_reply(), or commits operations to
 * lanemap_call_batch() (then the batch writes the reply), or blocks its client. It never fails: an
 * error is a reply.
 *
 * command/table.c is the list of commands, command/registry.h finds one by name, and
 * command/dispatch.h decides whether it runs.
 */
#ifndef LANEMAP_DAEMON_COMMAND_CALL_H
#define LANEMAP_DAEMON_COMMAND_CALL_H

#include "daemon/client/batch.h"
#include "daemon/client/reply.h"
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
        struct lanemap_command_counts *counts; /* the registry's */
};

/* CONFIG RESETSTAT makes them 0. */
struct lanemap_command_counts {
        uint64_t calls, ticks; /* client/meter.h */
        uint64_t rejected;     /* not run: arity, password, memory, ... */
        uint64_t failed;       /* it replied an error when it was run (M3) */
};

LANEMAP_ALWAYS_INLINE const char *lanemap_call_bytes(const struct lanemap_call *call, uint32_t i)
{
        return call->message + call->args[i].off;
}

/* Return: whether argument i is this text, in any case. */
bool lanemap_call_is(const struct lanemap_call *call, uint32_t i, const char *text);

/* The error while the index is being opened. */
void lanemap_command_loading(const struct lanemap_server *server, struct lanemap_reply *reply);

/* Where operations go: the loop's batch, or that of the transaction being executed. */
struct lanemap_batch *lanemap_call_batch(const struct lanemap_call *call);

/* Replies "ERR wrong number of arguments for 'a|b' command". */
void lanemap_command_subcommand_arity(const struct lanemap_call *call, const char *subcommand);
/* A row of a container's table. */
struct lanemap_subcommand {
        const char *name;
        int arity; /* with both names */
        void (*run)(const struct lanemap_call *call);
        const char *summary, *words; /* for HELP; words: the arguments, or NULL */
};
/* Checks the arity too. Return: the index of the row that args[1] names, or -1 when an error was
 * replied. */
int lanemap_command_subcommand(const struct lanemap_call *call,
                               const struct lanemap_subcommand *subcommands, size_t n);
/* Runs the row that args[1] names, or replies an error. */
void lanemap_command_run_subcommand(const struct lanemap_call *call,
                                    const struct lanemap_subcommand *subcommands, size_t n);

#endif
