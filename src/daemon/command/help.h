/* HELP of a command that has subcommands, from its row of the table. */
#ifndef LANEMAP_DAEMON_COMMAND_HELP_H
#define LANEMAP_DAEMON_COMMAND_HELP_H

#include "daemon/command/call.h"

/* An array of lines, as Redis has it. */
void lanemap_command_help(const struct lanemap_call *call);

/* The row of HELP in a table of subcommands. */
#define LANEMAP_COMMAND_HELP_ROW(since)                                             \
        {                                                                           \
                "help", lanemap_command_help, 2, 0, NULL, "Print this help.", since \
        }

#endif
