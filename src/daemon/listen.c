/*
 * The doors: a Unix socket (0660), and, when asked, the loopback addresses.
 *
 * The Unix socket is bound before the index is opened, so that clients hear -LOADING instead of
 * nothing. A socket file without a listener is what a crash left and is replaced; one that answers
 * belongs to a living lanemapd, and we leave. On stop the file is removed only if it is still ours.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "daemon/daemon.h"
#include "daemon/log.h"

static int fail(struct lanemap_error *ret_error, int r, const char *what, const char *where)
{
        snprintf(ret_error->text, sizeof(ret_error->text), "%s %.300s: %s", what, where,
                 strerror(-r));
        return r;
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
        lanemap_client_new(server, fd, is_tcp, address);
}

static void listener_ready(struct lanemap_server *server, struct lanemap_watch *watch,
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
                        epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
                        server->accept_paused = true;
                        return;
                }
                if (errno != EINTR && errno != ECONNABORTED)
                        return;
        }
}

void lanemap_listen_resume(struct lanemap_server *server)
{
        if (!server->accept_paused)
                return;
        server->accept_paused = false;
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(server->listeners); i++)
                if (server->listeners[i].fd >= 0)
                        lanemap_server_watch(server, &server->listeners[i], EPOLLIN);
}

/* Whether somebody answers there. */
static bool socket_is_alive(const struct sockaddr_un *address)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        bool alive;

        if (fd < 0)
                return false;
        alive = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
                errno == EAGAIN;
        close(fd);
        return alive;
}

static int unix_bind(struct lanemap_server *server, int fd, const struct sockaddr_un *address)
{
        struct stat st;
        mode_t mask;
        int r;

        if (lstat(address->sun_path, &st) == 0 && S_ISSOCK(st.st_mode)) {
                if (socket_is_alive(address))
                        return -EBUSY;
                unlink(address->sun_path);
        }
        mask = umask(0117);
        r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
        umask(mask);
        if (r < 0)
                return r;
        if (lstat(address->sun_path, &st) == 0) {
                server->socket_device = st.st_dev;
                server->socket_inode = st.st_ino;
        }
        return listen(fd, 4096) < 0 ? -errno : 0;
}

static int unix_open(struct lanemap_server *server, struct lanemap_error *ret_error)
{
        const char *path = server->options.socket;
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd, r;

        if (strlen(path) >= sizeof(address.sun_path)) {
                snprintf(ret_error->text, sizeof(ret_error->text),
                         "a Unix socket's path has at most %zu bytes, and %.300s is longer: give a "
                         "shorter one with --socket",
                         sizeof(address.sun_path) - 1, path);
                return -ENAMETOOLONG;
        }
        memcpy(address.sun_path, path, strlen(path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return fail(ret_error, -errno, "cannot make the socket", path);
        r = unix_bind(server, fd, &address);
        if (r < 0) {
                close(fd);
                if (r == -EBUSY) {
                        snprintf(ret_error->text, sizeof(ret_error->text),
                                 "another server answers on %.300s: is a lanemapd for this "
                                 "directory running?",
                                 path);
                        return r;
                }
                return fail(ret_error, r, "cannot listen on", path);
        }
        server->listeners[0] = (struct lanemap_watch){.fd = fd, .ready = listener_ready};
        return lanemap_server_watch(server, &server->listeners[0], EPOLLIN);
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
                return is_v6 ? 0 : fail(ret_error, -errno, "cannot make a TCP socket for", where);
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
                return fail(ret_error, r, "cannot listen on the TCP port at", where);
        }
        server->listeners[i] = (struct lanemap_watch){.fd = fd, .ready = listener_ready};
        return lanemap_server_watch(server, &server->listeners[i], EPOLLIN);
}

int lanemap_listen_open(struct lanemap_server *server, struct lanemap_error *ret_error)
{
        const char *directory = server->options.directory;
        int r;

        if (mkdir(directory, 0750) < 0 && errno != EEXIST)
                return fail(ret_error, -errno, "cannot make the directory", directory);
        r = unix_open(server, ret_error);
        if (r < 0)
                return r;
        for (size_t i = 1; server->options.port && i < 3; i++) {
                r = tcp_open(server, i, ret_error);
                if (r < 0)
                        return r;
        }
        return 0;
}

void lanemap_listen_close(struct lanemap_server *server)
{
        struct stat st;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(server->listeners); i++) {
                if (server->listeners[i].fd < 0)
                        continue;
                if (i == 0 && lstat(server->options.socket, &st) == 0 &&
                    st.st_dev == server->socket_device && st.st_ino == server->socket_inode)
                        unlink(server->options.socket);
                close(server->listeners[i].fd);
                server->listeners[i].fd = -1;
        }
}
