/* What systemd is told (Type=notify), and what it passes; nothing happens elsewhere. */
#ifndef LANEMAP_DAEMON_LOOP_NOTIFY_H
#define LANEMAP_DAEMON_LOOP_NOTIFY_H

#include "common/base.h"

void lanemap_notify(const char *format, ...) LANEMAP_PRINTF(1, 2);

/* How often WATCHDOG=1 is expected, in microseconds; 0: not at all. */
uint64_t lanemap_notify_watchdog_usec(void);

/* The descriptors that were passed to this process (LISTEN_FDS), the first of them in ret_fd.
 * Return: how many, or a negative errno. They are asked for once: the environment forgets them. */
int lanemap_notify_passed_fds(int *ret_fd);

#endif
