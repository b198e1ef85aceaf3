/* See loop/watch.h. */
#include <errno.h>
#include <sys/epoll.h>

#include "daemon/daemon.h"

int lanemap_watch_add(struct lanemap_server *server, struct lanemap_watch *watch, uint32_t events)
{
        struct epoll_event event = {.events = events, .data.ptr = watch};

        return epoll_ctl(server->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) < 0 ? -errno : 0;
}

void lanemap_watch_change(struct lanemap_server *server, struct lanemap_watch *watch,
                          uint32_t events)
{
        struct epoll_event event = {.events = events, .data.ptr = watch};

        epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void lanemap_watch_remove(struct lanemap_server *server, struct lanemap_watch *watch)
{
        epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
}
