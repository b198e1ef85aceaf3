/*
 * Loaded into lanemapd by LD_PRELOAD: fdatasync and fsync wait while the file $LANEMAP_TEST_HOLD
 * exists, and make that name with ".waits" behind it; they fail with EIO while $LANEMAP_TEST_FAIL
 * exists. So a test decides when the log gets durable.
 *
 * posix_fallocate of many bytes waits while $LANEMAP_TEST_HOLD_ROOM exists, and makes that name
 * with ".waits" behind it: an apply of very many operations stands in its midst.
 *
 * epoll_wait of the first thread, the loop, waits before it looks while $LANEMAP_TEST_HOLD_LOOP
 * exists, and makes that name with ".waits" behind it: other threads go on alone. When that file
 * is gone, it becomes the one with ".again" behind its name, where there is one: so it goes on for
 * one round, and waits again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* While the file exists that is named by the environment. */
static void wait_while_held(const char *variable)
{
        const char *hold = getenv(variable);
        char waits[4096];

        if (!hold || access(hold, F_OK) != 0)
                return;
        snprintf(waits, sizeof(waits), "%s.waits", hold);
        close(open(waits, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        while (access(hold, F_OK) == 0)
                usleep(1000);
        snprintf(waits, sizeof(waits), "%s.again", hold);
        (void)rename(waits, hold);
}

static int sync_hooked(int fd, long call)
{
        const char *fail = getenv("LANEMAP_TEST_FAIL");

        wait_while_held("LANEMAP_TEST_HOLD");
        if (fail && access(fail, F_OK) == 0) {
                errno = EIO;
                return -1;
        }
        return (int)syscall(call, fd);
}

#define ROOM_BYTES (2 << 20)

int posix_fallocate(int fd, off_t from, off_t n_bytes)
{
        if (n_bytes >= ROOM_BYTES)
                wait_while_held("LANEMAP_TEST_HOLD_ROOM");
        return fallocate(fd, 0, from, n_bytes) < 0 ? errno : 0;
}

int epoll_wait(int fd, struct epoll_event *events, int n_events, int timeout)
{
        if (gettid() == getpid())
                wait_while_held("LANEMAP_TEST_HOLD_LOOP");
        return (int)syscall(SYS_epoll_pwait, fd, events, n_events, timeout, NULL, 0);
}

int fdatasync(int fd)
{
        return sync_hooked(fd, SYS_fdatasync);
}

int fsync(int fd)
{
        return sync_hooked(fd, SYS_fsync);
}
