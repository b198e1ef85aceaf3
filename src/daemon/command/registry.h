/* Commands by name. Filled once, before the loop; the rows stay where they are. */
#ifndef LANEMAP_DAEMON_COMMAND_REGISTRY_H
#define LANEMAP_DAEMON_COMMAND_REGISTRY_H

#include "daemon/command/call.h"

/* Gives it and its subcommands their counts and full names. */
void lanemap_registry_add(struct lanemap_command *command);
/* Return: the command of that name, in any case, or NULL. */
const struct lanemap_command *lanemap_registry_find(const char *name, size_t n_bytes);
/* Return: the subcommand of that name, in any case, or NULL. */
const struct lanemap_command *lanemap_registry_find_in(const struct lanemap_command *container,
                                                       const char *name, size_t n_bytes);
/* Return: the command, or the subcommand, of a full name ("config|get"), in any case, or NULL. */
const struct lanemap_command *lanemap_registry_find_full(const char *name, size_t n_bytes);
/* Return: the command, or the subcommand, that a message names; the container where it has no such
 * subcommand; NULL. */
const struct lanemap_command *lanemap_registry_find_message(const char *message,
                                                            const struct lanemap_resp_arg *args,
                                                            uint32_t n_args);
/* Commands in the order they were added, each followed by its subcommands; NULL after the last. */
const struct lanemap_command *lanemap_registry_at(size_t i);

#endif
