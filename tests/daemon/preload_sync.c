/*
 * Loaded into lanemapd by LD_PRELOAD: fdatasync and fsync wait while the file $LANEMAP_TEST_HOLD
 * exists, and fail with EIO while $LANEMAP_TEST_FAIL exists. So a test decides when the log gets
 * durable.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_hooked(int fd, long call)
{
        const char *hold = getenv("LANEMAP_TEST_HOLD");
        const char *fail = getenv("LANEMAP_TEST_FAIL");

        while (hold && access(hold, F_OK) == 0)
                usleep(1000);
        if (fail && access(fail, F_OK) == 0) {
                errno = EIO;
                return -1;
        }
        return (int)syscall(call, fd);
}

int fdatasync(int fd)
{
        return sync_hooked(fd, SYS_fdatasync);
}

int fsync(int fd)
{
        return sync_hooked(fd, SYS_fsync);
}
