/*
 * How commands read a key: arguments, and postings as their client has to see them.
 *
 * A client's own writes were applied before its command runs (B2, command/dispatch.c), and a
 * transaction sees what it is about to do.
 */
#ifndef LANEMAP_DAEMON_COMMAND_POSTING_H
#define LANEMAP_DAEMON_COMMAND_POSTING_H

#include "daemon/command/call.h"

/* Replies an error unless argument i is a key. */
bool lanemap_posting_key_check(const struct lanemap_call *call, uint32_t i);

/* Replies an error unless argument i is an id. */
bool lanemap_posting_id_take(const struct lanemap_call *call, uint32_t i, uint32_t *ret_id);

/* The error reply of a read that ended with the negative errno r. */
void lanemap_posting_fail(const struct lanemap_call *call, int r);

/* For what looks more than once, and has to see one moment. Return: true: it is put off until the
 * thread of a long apply has ended (B6). */
bool lanemap_posting_must_wait(const struct lanemap_call *call);

/*
 * The posting of argument i, in server->ids.
 *
 * count_only  the ids themselves are not needed: cheap for long postings
 * Return: false when an error was replied.
 */
bool lanemap_posting_read(const struct lanemap_call *call, uint32_t i, bool count_only,
                          size_t *ret_n_ids);

/*
 * The ids of argument i from one on, at most n, in server->ids; its cost does not depend on how
 * many there are, but in a transaction behind its writes.
 *
 * ret_ids   valid until the next read
 * Return: false when an error was replied.
 */
bool lanemap_posting_read_from(const struct lanemap_call *call, uint32_t i, uint32_t from, size_t n,
                               const uint32_t **ret_ids, size_t *ret_n_ids);

/* Memory of ids that is kept until a client has read them: not much more than n_ids need. Return:
 * where they are now. */
uint32_t *lanemap_posting_fit(uint32_t *ids, size_t n_ids, size_t capacity);

/* The ids that were just read are the caller's from now on. Owner: the caller, lanemap_free(). */
uint32_t *lanemap_posting_take(struct lanemap_server *server, size_t n_ids);

/* Return: whether there is memory for so many ids until the client has read them. EXEC looks
 * itself. */
bool lanemap_posting_may_wait(const struct lanemap_call *call, size_t n_ids);

/* Return: whether id is one of ascending ids. */
bool lanemap_posting_has(const uint32_t *ids, size_t n_ids, uint32_t id);

/* Return: 1 the key of argument i has that id, 0 not, -1 an error was replied. */
int lanemap_posting_contains(const struct lanemap_call *call, uint32_t i, uint32_t id);

#endif
