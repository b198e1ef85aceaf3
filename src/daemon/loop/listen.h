/* The doors of the daemon. Every connection goes to server->accepted(). */
#ifndef LANEMAP_DAEMON_LOOP_LISTEN_H
#define LANEMAP_DAEMON_LOOP_LISTEN_H

#include "daemon/daemon.h"

/* Return: 0, or a negative errno; ret_error says what is wrong and what to do. */
int lanemap_listen_open(struct lanemap_server *server, struct lanemap_error *ret_error);
/* The index is open, or opening it takes long: clients of a socket that was passed may come. */
int lanemap_listen_serve(struct lanemap_server *server);
/* Accept so many clients from now on, or as many as descriptors allow. */
void lanemap_listen_limit(struct lanemap_server *server, size_t n_clients);
void lanemap_listen_close(struct lanemap_server *server);
void lanemap_listen_cron(struct lanemap_server *server); /* once a second */

/* ---- between the files of this ---- */

/* The text of an error. Return: r. */
int lanemap_listen_refuse(struct lanemap_error *ret_error, int r, const char *format, ...)
        LANEMAP_PRINTF(3, 4);
/* "WHAT WHERE: " and the meaning of r. Return: r. */
int lanemap_listen_fail(struct lanemap_error *ret_error, int r, const char *what,
                        const char *where);

/* Accepts who waits at a listener. */
void lanemap_listen_ready(struct lanemap_server *server, struct lanemap_watch *watch,
                          uint32_t events);

/* Takes the socket that was passed, or makes one. */
int lanemap_listen_unix_open(struct lanemap_server *server, struct lanemap_error *ret_error);
void lanemap_listen_unix_renew(struct lanemap_server *server); /* once a second */
/* The listener is about to be closed. */
void lanemap_listen_unix_leave(const struct lanemap_server *server);

#endif
