/* The engine's counters by name: one list for LANEMAP.STATS and INFO. */
#ifndef LANEMAP_DAEMON_COMMAND_STATS_H
#define LANEMAP_DAEMON_COMMAND_STATS_H

#include <lanemap/writer.h>

#include "common/base.h"

/* Calls fn for each. value is a decimal number below 2^63 unless is_text. */
void lanemap_stats_each(const struct lanemap_writer_stats *stats,
                        void (*fn)(void *arg, const char *name, const char *value, bool is_text),
                        void *arg);

#endif
