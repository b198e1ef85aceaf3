/* What can be done to a client from anywhere: it takes effect in the round that is under way. */
#ifndef LANEMAP_DAEMON_CLIENT_STATE_H
#define LANEMAP_DAEMON_CLIENT_STATE_H

#include "daemon/daemon.h"

void lanemap_client_touch(struct lanemap_client *client); /* run, release, send in this round */
void lanemap_client_close(struct lanemap_client *client); /* freed at the end of the round */
/* It waits for no job any more; whose answer nobody hears. */
void lanemap_client_job_forget(struct lanemap_client *client);
/* No command of it runs until it is unblocked. */
void lanemap_client_block(struct lanemap_client *client, enum lanemap_blocked blocked);
void lanemap_client_unblock(struct lanemap_client *client);

#endif
