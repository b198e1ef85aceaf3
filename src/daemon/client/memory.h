/*
 * What the index needs of memory, and what it may have.
 *
 * M2. While the lowest limit of the control group is below what the index needs, commands that add
 *     are refused before anything is changed, with an error that names the limit, its file and the
 *     need. Removals and reads go on. When the limit is raised or the index shrinks, adding goes on
 *     by itself.
 */
#ifndef LANEMAP_DAEMON_CLIENT_MEMORY_H
#define LANEMAP_DAEMON_CLIENT_MEMORY_H

#include "daemon/daemon.h"

/* Before the index is opened. Return: false, and why, when that would end in SIGKILL: what cannot
 * be given back (private memory, and the shared memory of a predecessor and of this one) is more
 * than the limit. Segment files can be read again, so a start with too little for them is only
 * slow: it is logged. */
bool lanemap_memory_may_open(struct lanemap_server *server, struct lanemap_error *ret_why);
/* The index is open: says what it needs. */
void lanemap_memory_opened(struct lanemap_server *server);
/* Once a second. */
void lanemap_memory_cron(struct lanemap_server *server);
/* So many operations were applied: much can happen within a second. */
void lanemap_memory_applied(struct lanemap_server *server, size_t n_ops);

/* Private memory, allocated shared memory and the buffers of clients. Keeps the peak. */
uint64_t lanemap_memory_used(struct lanemap_server *server,
                             const struct lanemap_writer_stats *stats);
/* Pages that the process has in memory, those of the shared memory included. */
uint64_t lanemap_memory_rss(void);

/* What is the matter, in words. Return: false when nothing is. */
bool lanemap_memory_explain(const struct lanemap_server *server, char *text, size_t n_text);

#endif
