/*
 * The Unix socket: one that the service manager has passed (LISTEN_FDS), or one made here.
 *
 * One made here is bound before the index is opened, so that clients hear -LOADING instead of
 * nothing. A socket file without a listener is what a crash left and is replaced; anything else
 * there is somebody's, and we leave. On stop the file is removed only if it is still ours.
 *
 * One that was passed belongs to the service manager, which keeps it over our restarts. Its clients
 * are accepted once the index is open, or waits for room and they can hear so: until then, also
 * while starts fail, they wait in its queue. It is neither made anew nor removed here; owner, group
 * and mode are its unit's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/loop/listen.h"
#include "daemon/loop/log.h"
#include "daemon/loop/notify.h"

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
                return lanemap_listen_refuse(
                        ret_error, -EEXIST,
                        "cannot listen on %.300s: there is something that is no socket; remove "
                        "it, or choose another place with --socket",
                        path);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return lanemap_listen_fail(ret_error, -errno, "cannot make the socket", path);
        r = connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
        close(fd);
        if (r == 0 || r == -EAGAIN)
                return lanemap_listen_refuse(
                        ret_error, -EBUSY,
                        "another server answers on %.300s: is a lanemapd for this directory "
                        "running?",
                        path);
        if (r != -ECONNREFUSED)
                return lanemap_listen_refuse(
                        ret_error, r,
                        "cannot listen on %.300s: there is a socket of something else (%s); "
                        "choose another place with --socket",
                        path, strerror(-r));
        return unlink(path) < 0 && errno != ENOENT
                       ? lanemap_listen_fail(ret_error, -errno, "cannot remove the dead socket",
                                             path)
                       : 0;
}

static bool file_is_ours(const struct lanemap_server *server)
{
        struct stat st;

        return lstat(server->options.socket, &st) == 0 && st.st_dev == server->socket_device &&
               st.st_ino == server->socket_inode;
}

static void file_remember(struct lanemap_server *server)
{
        struct stat st;

        server->socket_inode = 0;
        if (lstat(server->options.socket, &st) == 0) {
                server->socket_device = st.st_dev;
                server->socket_inode = st.st_ino;
        }
}

/* Nobody may connect before the file has its group and mode. */
static int file_permit(const struct lanemap_options *options, struct lanemap_error *ret_error)
{
        const char *path = options->socket;

        if (options->has_socket_group && lchown(path, (uid_t)-1, options->socket_gid) < 0)
                return lanemap_listen_refuse(
                        ret_error, -errno,
                        "cannot give the socket %.300s to group %u: %s; --socket-group names a "
                        "group that lanemapd's user is in",
                        path, options->socket_gid, strerror(errno));
        return chmod(path, options->socket_mode) < 0
                       ? lanemap_listen_fail(ret_error, -errno, "cannot set the mode of", path)
                       : 0;
}

static int unix_bind(struct lanemap_server *server, int fd, const struct sockaddr_un *address,
                     struct lanemap_error *ret_error)
{
        const char *path = address->sun_path;
        mode_t mask;
        int r;

        r = place_clear(address, ret_error);
        if (r < 0)
                return r;
        mask = umask(0777);
        r = bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0 ? -errno : 0;
        umask(mask);
        if (r < 0)
                return lanemap_listen_fail(ret_error, r, "cannot listen on", path);
        file_remember(server);
        r = file_permit(&server->options, ret_error);
        if (r == 0 && listen(fd, 4096) < 0)
                r = lanemap_listen_fail(ret_error, -errno, "cannot listen on", path);
        if (r < 0)
                unlink(path);
        return r;
}

static int unix_make(struct lanemap_server *server, struct lanemap_error *ret_error)
{
        const char *path = server->options.socket;
        const struct lanemap_watch old = server->listeners[0];
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd, r;

        if (strlen(path) >= sizeof(address.sun_path))
                return lanemap_listen_refuse(
                        ret_error, -ENAMETOOLONG,
                        "a Unix socket's path has at most %zu bytes, and %.300s is longer: give "
                        "a shorter one with --socket",
                        sizeof(address.sun_path) - 1, path);
        memcpy(address.sun_path, path, strlen(path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return lanemap_listen_fail(ret_error, -errno, "cannot make the socket", path);
        r = unix_bind(server, fd, &address, ret_error);
        if (r < 0) {
                close(fd);
                return r;
        }
        server->listeners[0] = (struct lanemap_watch){.fd = fd, .ready = lanemap_listen_ready};
        r = lanemap_watch_add(server, &server->listeners[0], EPOLLIN);
        if (r < 0) {
                close(fd);
                server->listeners[0] = old;
                server->socket_inode = 0; /* what lies there is dead */
        }
        return r;
}

static bool is_listening_unix_stream(int fd)
{
        int domain = 0, type = 0, listens = 0;
        socklen_t n = sizeof(int);

        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &n) == 0 && domain == AF_UNIX &&
               getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) == 0 && type == SOCK_STREAM &&
               getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &n) == 0 && listens;
}

/* Where clients find the passed socket; empty if it has no file. */
static void passed_path(int fd, char *ret_path, size_t n_path)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        socklen_t n = sizeof(address);

        *ret_path = 0;
        if (getsockname(fd, (struct sockaddr *)&address, &n) == 0 && address.sun_path[0])
                snprintf(ret_path, n_path, "%.*s", (int)sizeof(address.sun_path), address.sun_path);
}

static int passed_take(struct lanemap_server *server, int fd, int n_fds,
                       struct lanemap_error *ret_error)
{
        struct lanemap_options *options = &server->options;
        int flags;

        if (n_fds != 1 || !is_listening_unix_stream(fd))
                return lanemap_listen_refuse(
                        ret_error, -EINVAL,
                        "the service manager passes %d descriptors (LISTEN_FDS), and lanemapd "
                        "takes "
                        "one listening Unix stream socket: see ListenStream= in lanemapd@.socket",
                        n_fds);
        if (options->has_socket_group || options->has_socket_mode)
                return lanemap_listen_refuse(
                        ret_error, -EINVAL,
                        "--socket-group and --socket-mode are for a socket that lanemapd makes, "
                        "and "
                        "this one is the service manager's: set SocketGroup= and SocketMode= in "
                        "its unit");
        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return lanemap_listen_fail(ret_error, -errno, "cannot use", "the passed socket");
        passed_path(fd, options->socket, sizeof(options->socket));
        file_remember(server);
        server->socket_is_passed = true;
        server->listeners[0] = (struct lanemap_watch){.fd = fd, .ready = lanemap_listen_ready};
        return 0;
}

int lanemap_listen_serve(struct lanemap_server *server)
{
        if (!server->socket_is_passed || server->socket_is_served)
                return 0;
        server->socket_is_served = true;
        return lanemap_watch_add(server, &server->listeners[0], EPOLLIN);
}

int lanemap_listen_unix_open(struct lanemap_server *server, struct lanemap_error *ret_error)
{
        int fd, n_fds;

        n_fds = lanemap_notify_passed_fds(&fd);
        if (n_fds < 0)
                return lanemap_listen_fail(ret_error, n_fds, "cannot take",
                                           "what LISTEN_FDS names");
        return n_fds > 0 ? passed_take(server, fd, n_fds, ret_error) : unix_make(server, ret_error);
}

static void passed_check(struct lanemap_server *server)
{
        bool is_lost = *server->options.socket && !file_is_ours(server);

        if (is_lost && !server->socket_is_lost)
                lanemap_log(LOG_ERR,
                            "the socket's file %s is gone, and clients do not find it: restart the "
                            "unit that passed it (systemctl restart lanemapd@%s.socket)",
                            server->options.socket, server->options.name);
        server->socket_is_lost = is_lost;
}

/* A socket whose file was removed, by a cleaner of directories or by another lanemapd that started
 * at the same moment, is one that nobody finds: another is made. */
void lanemap_listen_unix_renew(struct lanemap_server *server)
{
        const struct lanemap_watch old = server->listeners[0];
        struct lanemap_error error = {0};

        if (old.fd < 0)
                return;
        if (server->socket_is_passed) {
                passed_check(server);
                return;
        }
        if (file_is_ours(server)) {
                server->socket_is_lost = false;
                return;
        }
        if (unix_make(server, &error) < 0) {
                if (!server->socket_is_lost)
                        lanemap_log(LOG_ERR, "the socket's file is gone, and %s", error.text);
                server->socket_is_lost = true;
                return;
        }
        close(old.fd);
        lanemap_log(LOG_WARNING, "the socket's file %s was gone: there is a new one",
                    server->options.socket);
}

void lanemap_listen_unix_leave(const struct lanemap_server *server)
{
        if (!server->socket_is_passed && file_is_ours(server))
                unlink(server->options.socket);
}
