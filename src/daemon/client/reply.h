/* Where commands write their replies. */
#ifndef LANEMAP_DAEMON_CLIENT_REPLY_H
#define LANEMAP_DAEMON_CLIENT_REPLY_H

#include "daemon/daemon.h"

/* Where the reply of the command at hand goes. Flushes the batch first if it holds writes of this
 * client (B1). */
struct lanemap_reply *lanemap_client_reply(struct lanemap_client *client);

#endif
