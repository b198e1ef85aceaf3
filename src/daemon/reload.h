/*
 * SIGHUP: the options are read again, from the command line, the options file and the password's
 * file.
 *
 * What can change while the index is served does: the rows of options.c with a change(), and the
 * password, which counts for connections that are made from now on. For the others a line says that
 * they need a restart. If anything is wrong with the options nothing changes, and a line says what.
 */
#ifndef LANEMAP_DAEMON_RELOAD_H
#define LANEMAP_DAEMON_RELOAD_H

#include "daemon/daemon.h"

/* While the index is being opened: as soon as it is. */
void lanemap_reload(struct lanemap_server *server);

/* The index is open: a reload that was asked for is made. */
void lanemap_reload_serve(struct lanemap_server *server);

#endif
