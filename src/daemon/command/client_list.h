/* Clients as CLIENT LIST shows them, and which of them a filter means. */
#ifndef LANEMAP_DAEMON_COMMAND_CLIENT_LIST_H
#define LANEMAP_DAEMON_COMMAND_CLIENT_LIST_H

#include "daemon/command/call.h"

#define LANEMAP_CLIENT_LINE_BYTES_MAX ((size_t)2048)

/* One line in Redis's words, with its newline. Return: its bytes. */
size_t lanemap_client_describe(const struct lanemap_client *client, char *line, size_t n_line);

/* CLIENT LIST and CLIENT KILL. */
void lanemap_client_list(const struct lanemap_call *call);
void lanemap_client_kill(const struct lanemap_call *call);

#endif
