/* The table of commands: name, function, arity, flags, keys, summary. */
#ifndef LANEMAP_DAEMON_COMMAND_TABLE_H
#define LANEMAP_DAEMON_COMMAND_TABLE_H

/* Every command can be found from now on. */
void lanemap_command_table_init(void);

#endif
