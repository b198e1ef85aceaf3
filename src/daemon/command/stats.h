/*
 * Statistics by name. Those of the engine are the members of struct lanemap_writer_stats, and what
 * is said beside them (<lanemap/writer.h>, read by stats_rows.py); those of the daemon, and where
 * INFO shows either, are rows of stats.c.
 */
#ifndef LANEMAP_DAEMON_COMMAND_STATS_H
#define LANEMAP_DAEMON_COMMAND_STATS_H

#include "daemon/daemon.h"

/* Calls fn for each of the engine. value is a decimal number below 2^63 unless is_text. */
void lanemap_stats_each(const struct lanemap_writer_stats *stats,
                        void (*fn)(void *arg, const char *name, const char *value, bool is_text),
                        void *arg);

/* Calls fn for each of a section of INFO. stats: NULL while there are none of the engine. */
void lanemap_stats_section(const char *section, const struct lanemap_server *server,
                           const struct lanemap_writer_stats *stats,
                           void (*fn)(void *arg, const char *name, const char *value, bool is_text),
                           void *arg);

/* "name: kind, unit; meaning" of those of the engine, by number. Return: false after the last. */
bool lanemap_stats_describe(size_t i, char *text, size_t n_text);

/* The daemon's own counters are 0 again. */
void lanemap_stats_reset(struct lanemap_server *server);

#endif
