/* Who comes in at a listener, and the texts of errors of both kinds of listeners. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "daemon/loop/listen.h"
#include "daemon/loop/log.h"

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

static void client_accept(struct lanemap_server *server, int fd, bool is_tcp)
{
        static const char full[] = "-ERR max number of clients reached\r\n";
        const char *address = is_tcp ? "127.0.0.1:0" : server->options.socket;
        char text[INET6_ADDRSTRLEN + 16];
        char peer_text[INET6_ADDRSTRLEN];
        struct sockaddr_storage peer;
        socklen_t n_peer = sizeof(peer);

        if (server->n_clients >= server->n_clients_max) {
                server->n_refused++;
                if (send(fd, full, sizeof(full) - 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                        lanemap_log(LOG_DEBUG, "a client too many did not take the refusal");
                close(fd);
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
