/* redis-server as a benchmark needs it: beside lanemapd, with an append-only file and no
 * snapshots. */
#ifndef LANEMAP_PERF_REDIS_H
#define LANEMAP_PERF_REDIS_H

#include <sys/types.h>

#include "place.h"

/*
 * Starts it, silent, in the folder of the place; its socket is where perf_daemon_connect() looks.
 * It appends to its log with that policy, makes no snapshot, and never rewrites the log.
 *
 * Return: 0 or a negative errno: -ENOENT there is no such program.
 */
int perf_redis_start(const char *redis_server, const struct perf_place *place,
                     const char *appendfsync, pid_t *ret_pid);

/* The first line of `redis-server --version`, at most 79 bytes; empty if it cannot be had. */
void perf_redis_version(const char *redis_server, char version[80]);

#endif
