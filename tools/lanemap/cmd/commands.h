/* The subcommands, a file each; main.c has the table. */
#ifndef LANEMAP_TOOLS_CMD_COMMANDS_H
#define LANEMAP_TOOLS_CMD_COMMANDS_H

#include "tool.h"

extern const struct lanemap_tool_command lanemap_tool_get;
extern const struct lanemap_tool_command lanemap_tool_load;
extern const struct lanemap_tool_command lanemap_tool_stat;
extern const struct lanemap_tool_command lanemap_tool_route;
extern const struct lanemap_tool_command lanemap_tool_verify;
extern const struct lanemap_tool_command lanemap_tool_repair;
extern const struct lanemap_tool_command lanemap_tool_reshard;
extern const struct lanemap_tool_command lanemap_tool_backup;
extern const struct lanemap_tool_command lanemap_tool_restore;
extern const struct lanemap_tool_command lanemap_tool_remove;
extern const struct lanemap_tool_command lanemap_tool_tenant;

#endif
