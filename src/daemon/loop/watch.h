/* Descriptors that the loop waits for, and whom it calls when one is ready. */
#ifndef LANEMAP_DAEMON_LOOP_WATCH_H
#define LANEMAP_DAEMON_LOOP_WATCH_H

#include "common/base.h"

struct lanemap_server;

/* epoll gives back the address of this. Owner: whoever has the descriptor. */
struct lanemap_watch {
        int fd;
        void (*ready)(struct lanemap_server *server, struct lanemap_watch *watch, uint32_t events);
};

/* events: EPOLLIN and so on. Return: 0, -errno. */
int lanemap_watch_add(struct lanemap_server *server, struct lanemap_watch *watch, uint32_t events);
/* The same watch, other events. */
void lanemap_watch_change(struct lanemap_server *server, struct lanemap_watch *watch,
                          uint32_t events);
void lanemap_watch_remove(struct lanemap_server *server, struct lanemap_watch *watch);

#endif
