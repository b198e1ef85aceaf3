/*
 * What lanemapd says on stderr: one line, one write(2), from any thread. Under systemd a line
 * starts with its priority in the journal's notation, otherwise with the time.
 */
#ifndef LANEMAP_DAEMON_LOOP_LOG_H
#define LANEMAP_DAEMON_LOOP_LOG_H

#include <syslog.h>

#include "common/base.h"

void lanemap_log_init(int loglevel);
int lanemap_log_level(void);
void lanemap_log(int priority, const char *format, ...) LANEMAP_PRINTF(2, 3);

/* A signal that ends the process, and where it was if that is known. Safe in its handler. */
void lanemap_log_fault(int number, const void *address);

/* For struct lanemap_writer_options. */
void lanemap_log_engine(void *arg, int priority, const char *line);

#endif
