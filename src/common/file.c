/* The real file layer. See file.h. */
#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* RLIMIT_FSIZE, or the largest file of the file system: no room, as on a full disk. */
static int room_errno(int error)
{
        return error == EFBIG ? -ENOSPC : -error;
}

static int posix_open(const struct lanemap_files *files, int dir_fd, const char *name, int flags,
                      mode_t mode)
{
        int fd = openat(dir_fd, name, flags | O_CLOEXEC | O_NOFOLLOW, mode);

        return fd < 0 ? -errno : fd;
}

/* EINTR from close leaves the descriptor closed on Linux. */
static int posix_close(const struct lanemap_files *files, int fd)
{
        return close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static ssize_t posix_pwrite(const struct lanemap_files *files, int fd, const void *bytes,
                            size_t n_bytes, off_t at)
{
        ssize_t n = pwrite(fd, bytes, n_bytes, at);

        return n < 0 ? room_errno(errno) : n;
}

static int posix_allocate(const struct lanemap_files *files, int fd, off_t at, off_t n_bytes)
{
        int r;

        do {
                r = posix_fallocate(fd, at, n_bytes);
        } while (r == EINTR);

        return room_errno(r);
}

static int posix_sync(const struct lanemap_files *files, int fd)
{
        return fdatasync(fd) < 0 ? -errno : 0;
}

static int posix_sync_directory(const struct lanemap_files *files, int dir_fd)
{
        return fsync(dir_fd) < 0 ? -errno : 0;
}

static int posix_rename(const struct lanemap_files *files, int dir_fd, const char *from,
                        const char *to)
{
        return renameat(dir_fd, from, dir_fd, to) < 0 ? -errno : 0;
}

static int posix_unlink(const struct lanemap_files *files, int dir_fd, const char *name)
{
        return unlinkat(dir_fd, name, 0) < 0 ? -errno : 0;
}

static int posix_link(const struct lanemap_files *files, int dir_fd, const char *from,
                      int to_dir_fd, const char *to)
{
        return linkat(dir_fd, from, to_dir_fd, to, 0) < 0 ? -errno : 0;
}

static int posix_make_directory(const struct lanemap_files *files, int dir_fd, const char *name,
                                mode_t mode)
{
        return mkdirat(dir_fd, name, mode) < 0 ? -errno : 0;
}

const struct lanemap_files lanemap_files_posix = {
        .open = posix_open,
        .close = posix_close,
        .pwrite = posix_pwrite,
        .allocate = posix_allocate,
        .sync = posix_sync,
        .sync_directory = posix_sync_directory,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .link = posix_link,
        .make_directory = posix_make_directory,
};

/* ---- in the name of the directory's owner ---- */

/* Of a new file only: one that was there may be a second name of a file from elsewhere. */
static void owner_give(int dir_fd, int fd)
{
        struct stat dir, st;

        if (geteuid() != 0 || fstat(dir_fd, &dir) < 0 || fstat(fd, &st) < 0)
                return;
        if (st.st_uid != dir.st_uid || st.st_gid != dir.st_gid)
                (void)!fchown(fd, dir.st_uid, dir.st_gid);
}

static int owned_open(const struct lanemap_files *files, int dir_fd, const char *name, int flags,
                      mode_t mode)
{
        int fd = posix_open(files, dir_fd, name, flags & O_CREAT ? flags | O_EXCL : flags, mode);

        if (flags & O_CREAT && fd >= 0)
                owner_give(dir_fd, fd);
        if (fd == -EEXIST && flags & O_CREAT && !(flags & O_EXCL))
                return posix_open(files, dir_fd, name, flags, mode);
        return fd;
}

static int owned_make_directory(const struct lanemap_files *files, int dir_fd, const char *name,
                                mode_t mode)
{
        int r = posix_make_directory(files, dir_fd, name, mode), fd;

        if (r < 0)
                return r;

        fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0) {
                owner_give(dir_fd, fd);
                close(fd);
        }
        return 0;
}

const struct lanemap_files lanemap_files_owned = {
        .open = owned_open,
        .close = posix_close,
        .pwrite = posix_pwrite,
        .allocate = posix_allocate,
        .sync = posix_sync,
        .sync_directory = posix_sync_directory,
        .rename = posix_rename,
        .unlink = posix_unlink,
        .link = posix_link,
        .make_directory = owned_make_directory,
};

int lanemap_files_pwrite_all(const struct lanemap_files *files, int fd, const void *bytes,
                             size_t n_bytes, off_t at)
{
        const char *p = bytes;

        while (n_bytes > 0) {
                ssize_t n = files->pwrite(files, fd, p, n_bytes, at);

                if (n == -EINTR)
                        continue;
                if (n < 0)
                        return (int)n;
                if (n == 0)
                        return -EIO;

                p += n;
                at += n;
                n_bytes -= (size_t)n;
        }

        return 0;
}
