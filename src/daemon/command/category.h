/* Categories of commands, as Redis's ACL has them: from a command's flags and group. */
#ifndef LANEMAP_DAEMON_COMMAND_CATEGORY_H
#define LANEMAP_DAEMON_COMMAND_CATEGORY_H

#include "daemon/command/call.h"

/* Return: a bit for each category that the command belongs to. */
uint32_t lanemap_category_of(const struct lanemap_command *command);
/* Return: false: there is none of that name, in any case. */
bool lanemap_category_find(const char *name, size_t n_bytes, uint32_t *ret_category);

/* Set of names ("@read") of a command's. */
void lanemap_category_reply(struct lanemap_reply *reply, const struct lanemap_command *command);
/* Array of the names of all. */
void lanemap_category_reply_all(struct lanemap_reply *reply);
/* Array of the full names of the commands that belong to one. */
void lanemap_category_reply_members(struct lanemap_reply *reply, uint32_t category);

#endif
