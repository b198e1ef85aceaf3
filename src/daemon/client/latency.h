/*
 * Events that took latency-monitor-threshold milliseconds or more, as LATENCY shows them.
 *
 *         command      one command, by itself
 *         apply        one batch of operations
 *         log          one step of writing or syncing the log, looked at once a second
 *         flush-stall  writes that stood still until a flush ended, in one second
 *
 * As in Redis an event has its last LANEMAP_LATENCY_SAMPLES samples, one a second: the highest.
 */
#ifndef LANEMAP_DAEMON_CLIENT_LATENCY_H
#define LANEMAP_DAEMON_CLIENT_LATENCY_H

#include "daemon/daemon.h"

void lanemap_latency_add(struct lanemap_server *server, const char *event, uint64_t ms);
/* What the engine's numbers say. */
void lanemap_latency_cron(struct lanemap_server *server);

#endif
