/* What systemd is told (Type=notify); nothing happens elsewhere. */
#ifndef LANEMAP_DAEMON_NOTIFY_H
#define LANEMAP_DAEMON_NOTIFY_H

#include "common/base.h"

void lanemap_notify(const char *format, ...) LANEMAP_PRINTF(1, 2);

/* How often WATCHDOG=1 is expected, in microseconds; 0: not at all. */
uint64_t lanemap_notify_watchdog_usec(void);

#endif
