/* See daemon.h. */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "timer.h"

#define START_SECONDS 60

extern char **environ;

void perf_daemon_socket(const struct perf_place *place, char path[600])
{
        snprintf(path, 600, "%s/socket", place->directory);
}

int perf_daemon_spawn(const char *const *argv, pid_t *ret_pid)
{
        posix_spawn_file_actions_t actions;
        int r;

        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
        r = posix_spawnp(ret_pid, argv[0], &actions, NULL, (char **)(uintptr_t)argv, environ);
        posix_spawn_file_actions_destroy(&actions);
        return -r;
}

int perf_daemon_start(const char *lanemapd, const struct perf_place *place, const char *appendfsync,
                      pid_t *ret_pid)
{
        char path[600];
        const char *argv[] = {
                lanemapd,         "--name", place->name,     "--dir",     place->directory,
                "--socket",       path,     "--appendfsync", appendfsync, "--backup-dir",
                place->directory, NULL,
        };

        perf_daemon_socket(place, path);
        return perf_daemon_spawn(argv, ret_pid);
}

static int socket_open(const char *path, int *ret_fd)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd, r;

        if (strlen(path) >= sizeof(address.sun_path))
                return -ENAMETOOLONG;

        memcpy(address.sun_path, path, strlen(path) + 1);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
                r = -errno;
                close(fd);
                return r;
        }

        *ret_fd = fd;
        return 0;
}

static bool ping(int fd)
{
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        char reply[64];
        ssize_t n;

        if (write(fd, "PING\r\n", 6) != 6 || poll(&poll_fd, 1, 1000) != 1)
                return false;

        n = read(fd, reply, sizeof(reply));
        return n == 7 && memcmp(reply, "+PONG\r\n", 7) == 0;
}

int perf_daemon_connect(const struct perf_place *place, int *ret_fd)
{
        const struct timespec pause = {.tv_nsec = 2000000};
        double deadline = perf_now() + START_SECONDS;
        char path[600];

        perf_daemon_socket(place, path);
        do {
                int fd = -1, r = socket_open(path, &fd);

                if (r == -ENAMETOOLONG)
                        return r;
                if (r == 0 && ping(fd)) {
                        *ret_fd = fd;
                        return 0;
                }
                if (r == 0)
                        close(fd);
                (void)nanosleep(&pause, NULL);
        } while (perf_now() < deadline);

        return -ETIMEDOUT;
}

void perf_daemon_stop(pid_t pid, int signal)
{
        (void)kill(pid, signal);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
}
