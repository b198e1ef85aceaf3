/*
 * Loaded by LD_PRELOAD: reading the bytes of the files whose path contains $LANEMAP_TEST_EIO_FILE
 * fails with EIO, as for a media error, where the read touches [$LANEMAP_TEST_EIO_FROM, _TO).
 */
#undef _FILE_OFFSET_BITS /* both names are defined here */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int touches(int fd, size_t n_bytes, off_t at)
{
        const char *file = getenv("LANEMAP_TEST_EIO_FILE"), *from = getenv("LANEMAP_TEST_EIO_FROM"),
                   *to = getenv("LANEMAP_TEST_EIO_TO");
        char link[64], path[4096];
        ssize_t n;

        if (!file || !from || !to)
                return 0;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof(path) - 1);
        if (n < 0)
                return 0;
        path[n] = '\0';
        return strstr(path, file) && at < atoll(to) && at + (off_t)n_bytes > atoll(from);
}

ssize_t pread(int fd, void *bytes, size_t n_bytes, off_t at)
{
        if (touches(fd, n_bytes, at)) {
                errno = EIO;
                return -1;
        }
        return syscall(SYS_pread64, fd, bytes, n_bytes, at);
}

ssize_t pread64(int fd, void *bytes, size_t n_bytes, off_t at)
{
        return pread(fd, bytes, n_bytes, at);
}
