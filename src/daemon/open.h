/* The index is opened in a thread, while clients are told that it is being loaded. */
#ifndef LANEMAP_DAEMON_OPEN_H
#define LANEMAP_DAEMON_OPEN_H

#include "daemon/daemon.h"

/*
 * Starts opening what server->options say. When it has succeeded, server->writer is there. An
 * opening that finds no room, on the disk or in /dev/shm, is tried again until there is some; for
 * any other failure the daemon stops. Return: 0, -ENOMEM.
 */
int lanemap_open_start(struct lanemap_server *server);
/* Once a second. */
void lanemap_open_cron(struct lanemap_server *server);

#endif
