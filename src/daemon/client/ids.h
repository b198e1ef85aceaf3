/*
 * All ids of the index as one reply (LANEMAP.IDS): it waits for the gate as a whole, then leaves
 * piece by piece as the client takes it, so a million ids need their array, not their text.
 */
#ifndef LANEMAP_DAEMON_CLIENT_IDS_H
#define LANEMAP_DAEMON_CLIENT_IDS_H

#include "daemon/daemon.h"

/* The ids have been gathered, and are now the client's, which is blocked. They may hold anything
 * through `position`. */
void lanemap_client_ids_begin(struct lanemap_client *client, uint32_t *ids, size_t n_ids,
                              uint64_t position);
/* Goes on after the gate has moved or replies have been sent. */
void lanemap_client_ids_continue(struct lanemap_client *client);
/* The client waits for no job and no ids any more. */
void lanemap_client_ids_forget(struct lanemap_client *client);

#endif
