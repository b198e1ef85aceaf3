/*
 * Shared by the subcommands of `lanemap`: options, exit codes, messages, attaching.
 *
 * Every subcommand is a struct lanemap_tool_command in a file of its own (cmd/), and a row in
 * main.c. Results go to stdout, everything said to a person to stderr, each message opening with
 * "lanemap: ".
 */
#ifndef LANEMAP_TOOLS_TOOL_H
#define LANEMAP_TOOLS_TOOL_H

#include <lanemap/lanemap.h>

#include "common/option.h"
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

#define LANEMAP_TOOL_VALUES_BYTES 256 /* the most that a subcommand's values take */

/*
 * A subcommand. Its values are zero, then what the options of program.options say; run() gets them
 * and the words that are no options, and answers the exit code.
 */
struct lanemap_tool_command {
        const char *name;
        const char *summary;
        struct lanemap_program program;
        int n_words_min, n_words_max; /* n_words_max 0: any number */
        const char *wants;            /* what it says when there are others: "wants one DIR" */
        int (*run)(const void *values, int n_words, char **words);
};

/* Parses the options and runs the command. argv[0] is its name. Return: the exit code. */
int lanemap_tool_run(const struct lanemap_tool_command *command, int argc, char **argv);

/* bus_error.c: before anything is mapped. */
void lanemap_tool_bus_error_init(void);

/* "lanemap: ...", with a newline behind it. Says at most a few hundred bytes. */
void lanemap_tool_say(const char *format, ...) LANEMAP_PRINTF(1, 2);

/* Prints where help is to be found; answers LANEMAP_TOOL_USAGE. */
int lanemap_tool_usage(const char *command);

/* Prints the help of a program; answers LANEMAP_TOOL_DONE, or FAILURE when stdout is broken. */
int lanemap_tool_help(const struct lanemap_program *program);

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
