/* The daemon as a whole. */
#ifndef LANEMAP_DAEMON_SERVER_H
#define LANEMAP_DAEMON_SERVER_H

#include "daemon/options.h"

/* Serves until it is asked to stop. Return: the exit code of the process. */
int lanemap_server_run(const struct lanemap_options *options);

#endif
