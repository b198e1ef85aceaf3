/*
 * The doors: a Unix socket (0660), and, when asked, the loopback addresses.
 *
 * The Unix socket is bound before the index is opened, so that clients hear -LOADING instead of
 * nothing. A socket file without a listener is what a crash left and is replaced; anything else
 * there is somebody's, and we leave. On stop the file is removed only if it is still ours.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
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

static int refuse(struct lanemap_error *ret_error, int r, const char *format, ...)
        LANEMAP_PRINTF(3, 4);

static int refuse(struct lanemap_error *ret_error, int r, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
        va_end(args);
        return r;
}

static int fail(struct lanemap_error *ret_error, int r, const char *what, const char *where)
{
        return refuse(ret_error, r, "%s %.300s: %s", what, where, strerror(-r));
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

/* There were no descriptors left for clients; perhaps there are now. */
static void accept_resume(struct lanemap_server *server)
{
        if (!server->accept_paused)
                return;
        server->accept_paused = false;
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(server->listeners); i++)
                if (server->listeners[i].fd >= 0)
                        lanemap_server_watch(server, &server->listeners[i], EPOLLIN);
}

/*
 * Makes sure that nothing lies at the address. Only what a crash left is removed: a socket that
 * nobody listens on. Whatever else is there belongs to somebody.
 */
static int place_clear(const struct sockaddr_un *address, struct lanemap_error *ret_error)
{
        const char *path = address->sun_path;
        struct stat st;
        int fd, r;

        if (lstat(path, &st) < 0)
                return 0;
        if (!S_ISSOCK(st.st_mode))
                return refuse(
                        ret_error, -EEXIST,
                        "cannot listen on %.300s: there is something that is no socket; remove "
                        "it, or choose another place with --socket",
                        path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return fail(ret_error, -errno, "cannot make the socket", path);
        r = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
        close(fd);
        if (r == 0 || r == -EAGAIN)
                return refuse(ret_error, -EBUSY,
                              "another server answers on %.300s: is a lanemapd for this directory "
                              "running?",
                              path);
        if (r != -ECONNREFUSED)
                return refuse(ret_error, r,
                              "cannot listen on %.300s: there is a socket of something else (%s); "
                              "choose another place with --socket",
                              path, strerror(-r));
        return unlink(path) < 0 && errno != ENOENT
                       ? fail(ret_error, -errno, "cannot remove the dead socket", path)
                       : 0;
}

static int unix_bind(struct lanemap_server *server, int fd, const struct sockaddr_un *address,
                     struct lanemap_error *ret_error)
{
        const char *path = address->sun_path;
        struct stat st;
        mode_t mask;
        int r;

        r = place_clear(address, ret_error);
        if (r < 0)
                return r;
        mask = umask(0117);
        r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
        umask(mask);
        if (r < 0)
                return fail(ret_error, r, "cannot listen on", path);
        if (lstat(path, &st) == 0) {
                server->socket_device = st.st_dev;
                server->socket_inode = st.st_ino;
        }
        return listen(fd, 4096) < 0 ? fail(ret_error, -errno, "cannot listen on", path) : 0;
}

static int unix_open(struct lanemap_server *server, struct lanemap_error *ret_error)
{
        const char *path = server->options.socket;
        const struct lanemap_watch old = server->listeners[0];
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd, r;

        if (strlen(path) >= sizeof(address.sun_path))
                return refuse(
                        ret_error, -ENAMETOOLONG,
                        "a Unix socket's path has at most %zu bytes, and %.300s is longer: give "
                        "a shorter one with --socket",
                        sizeof(address.sun_path) - 1, path);
        memcpy(address.sun_path, path, strlen(path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return fail(ret_error, -errno, "cannot make the socket", path);
        r = unix_bind(server, fd, &address, ret_error);
        if (r < 0) {
                close(fd);
                return r;
        }
        server->listeners[0] = (struct lanemap_watch){.fd = fd, .ready = listener_ready};
        r = lanemap_server_watch(server, &server->listeners[0], EPOLLIN);
        if (r < 0) {
                close(fd);
                server->listeners[0] = old;
                server->socket_inode = 0; /* what lies there is dead */
        }
        return r;
}

/* A socket whose file was removed, by a cleaner of directories or by another lanemapd that started at
 * the same moment, is one that nobody finds: another is made. */
static void unix_renew(struct lanemap_server *server)
{
        const struct lanemap_watch old = server->listeners[0];
        struct lanemap_error error = {0};
        struct stat st;

        if (old.fd < 0 ||
            (lstat(server->options.socket, &st) == 0 && st.st_dev == server->socket_device &&
             st.st_ino == server->socket_inode)) {
                server->socket_is_lost = false;
                return;
        }
        if (unix_open(server, &error) < 0) {
                if (!server->socket_is_lost)
                        lanemap_log(LOG_ERR, "the socket's file is gone, and %s", error.text);
                server->socket_is_lost = true;
                return;
        }
        close(old.fd);
        lanemap_log(LOG_WARNING, "the socket's file %s was gone: there is a new one",
                    server->options.socket);
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
                return refuse(ret_error, r, "cannot listen on TCP port %u of %s: %s%s",
                              server->options.port, where, strerror(-r),
                              r == -EADDRINUSE ? "; choose another one with --port" : "");
        }
        server->listeners[i] = (struct lanemap_watch){.fd = fd, .ready = listener_ready};
        return lanemap_server_watch(server, &server->listeners[i], EPOLLIN);
}

int lanemap_listen_open(struct lanemap_server *server, struct lanemap_error *ret_error)
{
        const char *directory = server->options.directory;
        int r;

        if (mkdir(directory, 0750) < 0 && errno != EEXIST)
                return refuse(ret_error, -errno, "cannot make the directory %.300s: %s", directory,
                              errno == ENOENT ? "the one above it is not there" : strerror(errno));
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

void lanemap_listen_cron(struct lanemap_server *server)
{
        accept_resume(server);
        unix_renew(server);
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
