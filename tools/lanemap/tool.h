/*
 * What the subcommands of `lanemap` share: exit codes, messages, attaching.
 *
 * Every subcommand is a function in a file of its own that gets its argument vector and answers the
 * exit code. Results go to stdout, everything said to a person to stderr, each message opening with
 * "lanemap: ".
 */
#ifndef LANEMAP_TOOLS_TOOL_H
#define LANEMAP_TOOLS_TOOL_H

#include <lanemap/lanemap.h>

#include "text.h"

enum lanemap_tool_exit {
        LANEMAP_TOOL_DONE = 0,
        LANEMAP_TOOL_FAILURE = 1,   /* said on stderr */
        LANEMAP_TOOL_USAGE = 2,     /* unknown option, missing argument */
        LANEMAP_TOOL_NOT_FOUND = 3, /* get: none of the keys is there */
        LANEMAP_TOOL_BAD_LINES = 4, /* load, route: some lines were refused, the others are done */
        LANEMAP_TOOL_DAMAGED = 5,   /* verify: not what was written */
        LANEMAP_TOOL_LOSS = 6,      /* repair: done, and something was lost */
};

int lanemap_tool_get(int argc, char **argv);
int lanemap_tool_load(int argc, char **argv);
int lanemap_tool_stat(int argc, char **argv);
int lanemap_tool_route(int argc, char **argv);
int lanemap_tool_verify(int argc, char **argv);
int lanemap_tool_repair(int argc, char **argv);
int lanemap_tool_reshard(int argc, char **argv);
int lanemap_tool_backup(int argc, char **argv);
int lanemap_tool_restore(int argc, char **argv);
int lanemap_tool_remove(int argc, char **argv);
int lanemap_tool_tenant(int argc, char **argv);

/* bus_error.c: before anything is mapped. */
void lanemap_tool_bus_error_init(void);

/* "lanemap: ...", with a newline behind it. Says at most a few hundred bytes. */
void lanemap_tool_say(const char *format, ...) LANEMAP_PRINTF(1, 2);

/* Prints where help is to be found; answers LANEMAP_TOOL_USAGE. */
int lanemap_tool_usage(const char *command);

/* Prints the help text; answers LANEMAP_TOOL_DONE, or FAILURE when stdout is broken. */
int lanemap_tool_help(const char *text);

/* Flushes stdout. Return: 0, or a negative errno after saying so. */
int lanemap_tool_flush(void);

/* A decimal number, nothing before or behind it. Return: whether it is one and at most max. */
bool lanemap_tool_number(struct lanemap_slice text, uint64_t max, uint64_t *ret_number);

/* As 8-4-4-4-12 hexadecimal digits. */
void lanemap_tool_uuid_format(const unsigned char *uuid, char room[37]);

/* "12.3 MiB" */
void lanemap_tool_bytes_format(uint64_t bytes, char *room, size_t room_bytes);

/* What a negative errno from the library means to a person. */
const char *lanemap_tool_strerror(int error);

/* If r is a refusal, and something in the directory is another user's: whose it is, what to do. */
void lanemap_tool_owner_say(const char *directory, int r);

/* Return: 0, or a negative errno after saying what is wrong and what to do. */
int lanemap_tool_attach(const char *name, uint64_t timeout_ns, struct lanemap_reader **ret_reader);

#endif
