/*
 * Replies of a client and the gate they pass (LP1). Nothing here sends.
 */
#ifndef LANEMAP_DAEMON_CLIENT_RELEASE_H
#define LANEMAP_DAEMON_CLIENT_RELEASE_H

#include "daemon/daemon.h"

/* How far replies may leave: asks the engine when it has to. */
void lanemap_server_gate(struct lanemap_server *server);
/* Return: whether writes may be run now (LP4): the engine takes them, and no batch is held. */
bool lanemap_server_may_write(struct lanemap_server *server);
/* The engine said that writes are worth trying again in so many nanoseconds. */
void lanemap_server_write_later(struct lanemap_server *server, uint64_t wait_ns);
/* Return: whether that time has come. */
bool lanemap_server_write_is_due(const struct lanemap_server *server);

/* A reply is whole: it waits for server->position. */
void lanemap_client_reply_end(struct lanemap_client *client);
/* A reply, or a part of it, waits for that position. */
void lanemap_client_reply_end_at(struct lanemap_client *client, uint64_t position);
/* Nobody can say whether what was asked for will survive. */
void lanemap_client_reply_unknown(struct lanemap_client *client);
/* A reply is whole that tells nothing of the data: it waits for the replies before it, only. */
void lanemap_client_reply_end_ungated(struct lanemap_client *client);

/* Release what may leave; replace what nobody can vouch for any more. */
void lanemap_client_gate(struct lanemap_client *client);

#endif
