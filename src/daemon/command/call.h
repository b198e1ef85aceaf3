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
        LANEMAP_COMMAND_AT_ONCE = 1 << 7,    /* within a transaction: run, do not queue */
        LANEMAP_COMMAND_HIDDEN = 1 << 8,     /* only there to say why it is not there */
        LANEMAP_COMMAND_GROWS = 1 << 10,     /* refused while there is less memory than is needed */
        LANEMAP_COMMAND_UNGATED = 1 << 9,    /* its reply does not wait until the log is durable */
        LANEMAP_COMMAND_DANGEROUS = 1 << 11, /* in the category of that name */
        LANEMAP_COMMAND_KEYSPACE = 1 << 12,  /* the same */
        LANEMAP_COMMAND_CONNECTION = 1 << 13, /* the same */
};

/* Commands that are not about the data (UNGATED, NO_AUTH) take no more arguments. */
#define LANEMAP_COMMAND_ARGS_MAX ((uint32_t)1024)

struct lanemap_call {
        struct lanemap_server *server;
        struct lanemap_client *client;
        const struct lanemap_command *command;
        const char *message; /* arguments are offsets into this */
        const struct lanemap_resp_arg *args;
        uint32_t n_args; /* with the command's name */
};

/* Arguments that are keys: those from `first` to `last` (negative: so many before the end), every
 * step-th. is_numbered: `first` says how many keys are after it. */
struct lanemap_command_keys {
        uint8_t first;
        int8_t last;
        uint8_t step;
        bool is_numbered;
        const char *access; /* in the words of Redis's key specifications: "RW insert" */
};

enum lanemap_command_group {
        LANEMAP_GROUP_GENERIC,
        LANEMAP_GROUP_SET,
        LANEMAP_GROUP_CONNECTION,
        LANEMAP_GROUP_SERVER,
        LANEMAP_GROUP_TRANSACTIONS,
        LANEMAP_GROUP_LANEMAP,
};

/* A command, or a subcommand. What COMMAND, HELP and the dispatcher know of it is here. */
struct lanemap_command {
        const char *name; /* lower case */
        void (*run)(const struct lanemap_call *call);
        int arity;           /* with the name, or both names; negative: at least that many */
        uint32_t flags;      /* of a subcommand: besides its container's */
        const char *words;   /* its arguments (command/words.h); NULL: none */
        const char *summary; /* a sentence */
        const char *since;   /* the version of Redis that had it first; lanemap's own: of lanemap */
        const char *complexity;           /* NULL: O(1) */
        enum lanemap_command_group group; /* of a subcommand: its container's */
        struct lanemap_command_keys keys[2];
        struct lanemap_command *subcommands;
        size_t n_subcommands;
        /* Return: bit i: argument i is secret, and is not shown to others. NULL: none is. */
        uint64_t (*secrets)(const struct lanemap_call *call);

        /* The registry's. */
        const char *full_name; /* "container|subcommand" */
        const struct lanemap_command *container;
        struct lanemap_meter_counts *counts;
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
void lanemap_command_wrong_arity(const struct lanemap_call *call);

/* For command->secrets: all arguments but the name, or both names. */
uint64_t lanemap_command_all_secret(const struct lanemap_call *call);

/* Return: whether a command takes so many arguments, its name among them. */
bool lanemap_command_takes(const struct lanemap_command *command, uint32_t n_args);

#endif
