/* The doors: a Unix socket (listen_unix.c), and, when asked, the loopback addresses. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <netinet/in.h>

#include "daemon/loop/listen.h"
#include "daemon/loop/log.h"

/* There were no descriptors left for clients; perhaps there are now. */
static void accept_resume(struct lanemap_server *server)
{
        if (!server->accept_paused)
                return;
        server->accept_paused = false;
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(server->listeners); i++)
                if (server->listeners[i].fd >= 0)
                        lanemap_watch_add(server, &server->listeners[i], EPOLLIN);
}

static int tcp_open(struct lanemap_server *server, size_t i, struct lanemap_error *ret_error)
{
        struct sockaddr_in v4 = {.sin_family = AF_INET,
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                 .sin_port = htons((uint16_t)server->options.port)};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6,
                                  .sin6_addr = in6addr_loopback,
                                  .sin6_port = htons((uint16_t)server->options.port)};
        bool is_v6 = i == 2;
        const char *where = is_v6 ? "[::1]" : "127.0.0.1";
        int one = 1, fd, r;

        fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return is_v6 ? 0
                             : lanemap_listen_fail(ret_error, -errno,
                                                   "cannot make a TCP socket for", where);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
        if (is_v6)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
        r = bind(fd, is_v6 ? (const struct sockaddr *)&v6 : (const struct sockaddr *)&v4,
                 is_v6 ? sizeof(v6) : sizeof(v4));
        if (r < 0 || listen(fd, 4096) < 0) {
                r = -errno;
                close(fd);
                if (is_v6 && r == -EADDRNOTAVAIL)
                        return 0; /* no IPv6 here */
                return lanemap_listen_refuse(
                        ret_error, r, "cannot listen on TCP port %u of %s: %s%s",
                        server->options.port, where, strerror(-r),
                        r == -EADDRINUSE ? "; choose another one with --port" : "");
        }
        server->listeners[i] = (struct lanemap_watch){.fd = fd, .ready = lanemap_listen_ready};
        return lanemap_watch_add(server, &server->listeners[i], EPOLLIN);
}

int lanemap_listen_open(struct lanemap_server *server, struct lanemap_error *ret_error)
{
        const char *directory = server->options.directory;
        int r;

        if (mkdir(directory, 0750) < 0 && errno != EEXIST)
                return lanemap_listen_refuse(
                        ret_error, -errno, "cannot make the directory %.300s: %s", directory,
                        errno == ENOENT ? "the one above it is not there" : strerror(errno));
        r = lanemap_listen_unix_open(server, ret_error);
        if (r < 0)
                return r;
        for (size_t i = 1; server->options.port && i < 3; i++) {
                r = tcp_open(server, i, ret_error);
                if (r < 0)
                        return r;
        }
        return 0;
}

void lanemap_listen_cron(struct lanemap_server *server)
{
        accept_resume(server);
        lanemap_listen_unix_renew(server);
}

void lanemap_listen_close(struct lanemap_server *server)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(server->listeners); i++) {
                if (server->listeners[i].fd < 0)
                        continue;
                if (i == 0)
                        lanemap_listen_unix_leave(server);
                close(server->listeners[i].fd);
                server->listeners[i].fd = -1;
        }
}
