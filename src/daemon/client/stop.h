/* The end of the daemon, in good order. */
#ifndef LANEMAP_DAEMON_CLIENT_STOP_H
#define LANEMAP_DAEMON_CLIENT_STOP_H

#include "daemon/daemon.h"

/* Nobody is let in and no command runs any more; the loop ends when every client has its replies,
 * or does not take them in time. */
void lanemap_server_stop(struct lanemap_server *server);

#endif
