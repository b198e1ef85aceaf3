/* A connection: its bytes in, its bytes out, its end. Its commands go to server->execute(). */
#ifndef LANEMAP_DAEMON_CLIENT_LIFE_H
#define LANEMAP_DAEMON_CLIENT_LIFE_H

#include "daemon/daemon.h"

/* Owner: the server; the descriptor is the client's. */
void lanemap_client_new(struct lanemap_server *server, int fd, bool is_tcp, const char *address);
void lanemap_client_free(struct lanemap_client *client);
void lanemap_client_run(struct lanemap_client *client);   /* the commands that are here */
void lanemap_client_send(struct lanemap_client *client);  /* what may leave */
void lanemap_client_watch(struct lanemap_client *client); /* for what comes next */
void lanemap_client_cron(struct lanemap_client *client);  /* once a second */
/* Return: whether it has left so much unread that no command of it is run (LP5). It is heard of
 * again when some of it was sent. */
bool lanemap_client_is_full(const struct lanemap_client *client);

#endif
