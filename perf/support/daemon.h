/* lanemapd as a benchmark needs it: started, and talked to through its Unix socket. */
#ifndef LANEMAP_PERF_DAEMON_H
#define LANEMAP_PERF_DAEMON_H

#include <sys/types.h>

#include "place.h"

/* Where the socket of a place is. */
void perf_daemon_socket(const struct perf_place *place, char path[600]);

/* Starts a server, silent: argv[0] is looked for in PATH, and NULL ends argv. Return: 0 or a
 * negative errno. */
int perf_daemon_spawn(const char *const *argv, pid_t *ret_pid);

/* Starts it, silent, with that socket; it may make backups in there. Return: 0 or a negative
 * errno. */
int perf_daemon_start(const char *lanemapd, const struct perf_place *place, const char *appendfsync,
                      pid_t *ret_pid);

/* Connects, non-blocking, as soon as it answers PING, and not with -LOADING; for 60 seconds.
 * Return: 0 or a negative errno. */
int perf_daemon_connect(const struct perf_place *place, int *ret_fd);

/* Ends it by a signal and waits for that. */
void perf_daemon_stop(pid_t pid, int signal);

#endif
