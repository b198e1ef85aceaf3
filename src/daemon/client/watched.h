/*
 * WATCH: keys that a client wants to be unchanged when it sends EXEC.
 *
 * A key is known by its fingerprint, so what changes it under whatever name is seen. Operations are
 * looked at when they have been applied, and only while somebody watches anything.
 *
 * Z1  A client whose watched key was changed after WATCH was answered, by whomever, is told so by
 *     its EXEC, which then does nothing. It may be told too where the change came just before the
 *     answer.
 * Z2  Who watches nothing pays for one load per batch.
 */
#ifndef LANEMAP_DAEMON_CLIENT_WATCHED_H
#define LANEMAP_DAEMON_CLIENT_WATCHED_H

#include "daemon/daemon.h"

#define LANEMAP_WATCHED_KEYS_MAX ((size_t)4096) /* of one client */

/* Return: 0, -E2BIG it watches as many as it may, -ENOMEM. exists: it has ids now. */
int lanemap_watched_add(struct lanemap_client *client, const void *key, size_t key_bytes,
                        bool exists);

/* The client watches nothing any more, and nothing of it was changed. */
void lanemap_watched_forget(struct lanemap_client *client);

/* Memory of what the client watches. */
size_t lanemap_watched_bytes(const struct lanemap_client *client);

void lanemap_watched_look(struct lanemap_server *server, const struct lanemap_op *ops,
                          const struct lanemap_op_result *results, size_t n_ops);

/* The operations were applied. */
LANEMAP_ALWAYS_INLINE void lanemap_watched_applied(struct lanemap_server *server,
                                                   const struct lanemap_op *ops,
                                                   const struct lanemap_op_result *results,
                                                   size_t n_ops)
{
        if (LANEMAP_UNLIKELY(server->watched.n_keys > 0))
                lanemap_watched_look(server, ops, results, n_ops);
}

#endif
