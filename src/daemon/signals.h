/*
 * Signals. None ends lanemapd without a line in its log but SIGKILL, which nobody can see.
 *
 *   SIGTERM SIGINT SIGQUIT       stop: replies leave, the index is closed; exit code 0
 *   SIGXCPU                      the same, exit code 1: the limit of processor time is reached
 *   SIGHUP                       reload (reload.h)
 *   faults (SIGSEGV, SIGABRT ..) a line that names the signal, then what the signal does by itself
 *   SIGBUS                       in a segment file: damage (verify/mapping.h), nothing ends;
 *                                elsewhere a fault like the others
 *   SIGPIPE SIGXFSZ              ignored: a call fails, and its caller sees that
 *   all others that would end    a line, and nothing else
 */
#ifndef LANEMAP_DAEMON_SIGNALS_H
#define LANEMAP_DAEMON_SIGNALS_H

#include "daemon/daemon.h"

/* First thing in the process, before any thread: from here on signals wait until the loop reads
 * them. */
void lanemap_signals_init(void);

/* Return: 0 and server->signals watched, or a negative errno. */
int lanemap_signals_open(struct lanemap_server *server);

#endif
