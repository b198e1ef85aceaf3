/* HELP of a command that has subcommands, from their table. */
#ifndef LANEMAP_DAEMON_COMMAND_HELP_H
#define LANEMAP_DAEMON_COMMAND_HELP_H

#include "daemon/command/call.h"

/* An array of lines, as Redis has it. */
void lanemap_command_help(const struct lanemap_call *call,
                          const struct lanemap_subcommand *subcommands, size_t n);

#endif
