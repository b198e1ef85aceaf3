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

/* Lines of one kind that anybody may cause as often as he likes: LANEMAP_LOG_SOME of them in a
 * minute. The first one after that says how many were left out. */
#define LANEMAP_LOG_SOME 10

struct lanemap_log_some {
        uint64_t minute;
        uint64_t n_said, n_left_out;
};

/* seconds  that have passed since any moment */
void lanemap_log_some(struct lanemap_log_some *some, uint64_t seconds, int priority,
                      const char *format, ...) LANEMAP_PRINTF(4, 5);

/* A signal that ends the process, and where it was if that is known. Safe in its handler. */
void lanemap_log_fault(int number, const void *address);

/* For struct lanemap_writer_options. */
void lanemap_log_engine(void *arg, int priority, const char *line);

#endif
