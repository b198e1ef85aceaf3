/*
 * What the daemon says of its health: to systemd (STATUS=, WATCHDOG=1), to the log, in INFO.
 *
 * HG3. The watchdog is fed while the loop turns and no part of the writer has been at one step of
 *     its work for longer than --hang-limit. A part that is idle, slow or waits for a pace does not
 *     count.
 * HG4. STATUS= says what is the matter, also where the watchdog is still fed: within two seconds,
 *     and of a part that does not get on when it has been at one step for five.
 */
#ifndef LANEMAP_DAEMON_CLIENT_HEALTH_H
#define LANEMAP_DAEMON_CLIENT_HEALTH_H

#include "daemon/daemon.h"

/* Once a second. Stops the server when the index cannot be published any longer. */
void lanemap_health_cron(struct lanemap_server *server);

/* STATUS= is this from now on, if it is not already. */
void lanemap_health_status(struct lanemap_server *server, const char *format, ...)
        LANEMAP_PRINTF(2, 3);

/* The engine's numbers; those of an earlier second while a hanging disk keeps the engine's locks.
 * Return: whether there are any; *ret_age_ns says how old they are. */
bool lanemap_health_stats(struct lanemap_server *server, struct lanemap_writer_stats *ret_stats,
                          uint64_t *ret_age_ns);

#endif
