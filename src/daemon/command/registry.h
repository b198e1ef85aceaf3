/* Commands by name. Filled once, before the loop; the rows stay where they are. */
#ifndef LANEMAP_DAEMON_COMMAND_REGISTRY_H
#define LANEMAP_DAEMON_COMMAND_REGISTRY_H

#include "daemon/command/call.h"

/* Gives it its counts. */
void lanemap_registry_add(struct lanemap_command *command);
/* Return: the command of that name, in any case, or NULL. */
const struct lanemap_command *lanemap_registry_find(const char *name, size_t n_bytes);
/* In the order they were added; NULL after the last. */
const struct lanemap_command *lanemap_registry_at(size_t i);

#endif
