/* Who comes in at a listener, and the texts of errors of both kinds of listeners. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "daemon/loop/listen.h"
#include "daemon/loop/log.h"

#define FDS_FOR_OURSELF ((size_t)256) /* listeners, segments, log, manifest, threads */
#define CLIENTS_MIN     ((size_t)64)  /* however few descriptors there are */

int lanemap_listen_refuse(struct lanemap_error *ret_error, int r, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
        va_end(args);
        return r;
}

int lanemap_listen_fail(struct lanemap_error *ret_error, int r, const char *what, const char *where)
{
        return lanemap_listen_refuse(ret_error, r, "%s %.300s: %s", what, where, strerror(-r));
}

/* A quarter of few. */
static size_t clients_reserved(size_t n_clients_max)
{
        return LANEMAP_MIN(LANEMAP_CLIENTS_RESERVED, n_clients_max / 4);
}

void lanemap_listen_limit(struct lanemap_server *server, size_t n_clients)
{
        struct rlimit limit;
        rlim_t wanted = n_clients + FDS_FOR_OURSELF;

        server->n_clients_max = n_clients;
        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                limit.rlim_cur = limit.rlim_max = 1024;
        if (limit.rlim_cur < wanted && limit.rlim_cur < limit.rlim_max) {
                limit.rlim_cur = LANEMAP_MIN(limit.rlim_max, wanted);
                if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                        getrlimit(RLIMIT_NOFILE, &limit);
        }
        if (limit.rlim_cur < wanted)
                server->n_clients_max = limit.rlim_cur > FDS_FOR_OURSELF + CLIENTS_MIN
                                                ? limit.rlim_cur - FDS_FOR_OURSELF
                                                : LANEMAP_MIN(n_clients, CLIENTS_MIN);
        server->n_tcp_clients_max = server->n_clients_max - clients_reserved(server->n_clients_max);
}

static void client_refuse(struct lanemap_server *server, int fd, bool is_tcp)
{
        static const char full[] = "-ERR max number of clients reached\r\n";

        server->n_refused++;
        lanemap_log_some(&server->refusals_said, server->seconds, LOG_WARNING,
                         "a connection %s is refused: there are %zu clients, %zu of them over TCP "
                         "(maxclients is %zu, of which %zu are for the Unix socket)",
                         is_tcp ? "over TCP" : "to the Unix socket", server->n_clients,
                         server->n_tcp_clients, server->n_clients_max,
                         clients_reserved(server->n_clients_max));
        if (send(fd, full, sizeof(full) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                lanemap_log(LOG_DEBUG, "a client too many did not take the refusal");
        close(fd);
}

static void client_accept(struct lanemap_server *server, int fd, bool is_tcp)
{
        const char *address = is_tcp ? "127.0.0.1:0" : server->options.socket;
        char text[INET6_ADDRSTRLEN + 16];
        char peer_text[INET6_ADDRSTRLEN];
        struct sockaddr_storage peer;
        socklen_t n_peer = sizeof(peer);

        if (server->n_clients >= server->n_clients_max ||
            (is_tcp && server->n_tcp_clients >= server->n_tcp_clients_max)) {
                client_refuse(server, fd, is_tcp);
                return;
        }
        if (is_tcp) {
                int one = 1;

                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
                if (getpeername(fd, (struct sockaddr *)&peer, &n_peer) == 0) {
                        bool v6 = peer.ss_family == AF_INET6;
                        const void *bytes =
                                v6 ? (const void *)&((struct sockaddr_in6 *)&peer)->sin6_addr
                                   : (const void *)&((struct sockaddr_in *)&peer)->sin_addr;

                        inet_ntop(peer.ss_family, bytes, peer_text, sizeof(peer_text));
                        snprintf(text, sizeof(text), v6 ? "[%s]:%u" : "%s:%u", peer_text,
                                 ntohs(((struct sockaddr_in *)&peer)->sin_port));
                        address = text;
                }
        }
        server->accepted(server, fd, is_tcp, address);
}

void lanemap_listen_ready(struct lanemap_server *server, struct lanemap_watch *watch,
                          uint32_t events)
{
        for (int i = 0; i < 64; i++) {
                int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd >= 0) {
                        client_accept(server, fd, watch != &server->listeners[0]);
                        continue;
                }
                if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                        lanemap_log(LOG_WARNING, "cannot accept a connection: %s", strerror(errno));
                        lanemap_watch_remove(server, watch);
                        server->accept_paused = true;
                        return;
                }
                if (errno != EINTR && errno != ECONNABORTED)
                        return;
        }
}
