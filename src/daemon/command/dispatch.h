/*
 * The way from a message to its command: look up, check, queue or run.
 *
 * The order of the checks is Redis's: unknown, number of arguments, password, loading, transaction.
 */
#ifndef LANEMAP_DAEMON_COMMAND_DISPATCH_H
#define LANEMAP_DAEMON_COMMAND_DISPATCH_H

#include "daemon/daemon.h"

/* For server->execute. Return: false: it has to wait, and is to be run again later (LP4). */
bool lanemap_command_execute(struct lanemap_client *client, const char *message,
                             const struct lanemap_resp_arg *args, uint32_t n_args);

#endif
