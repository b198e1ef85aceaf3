/* See verify/copy.h. */
#include "verify/copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "store/error.h"
#include "store/lock.h"
#include "store/name.h"

#define CHUNK_BYTES ((size_t)1 << 20)

static int directory_is_empty(int dir_fd)
{
        const struct dirent *entry;
        bool empty = true;
        DIR *dir;
        int r;

        r = lanemap_store_open_listing(dir_fd, &dir);
        if (r < 0)
                return r;
        while (empty && (entry = readdir(dir)))
                empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        closedir(dir);
        return empty ? 0 : -ENOTEMPTY;
}

/* Closes fd, or makes it *ret_dir_fd. */
static int empty_take(int fd, const char *path, int *ret_dir_fd, struct lanemap_error *error)
{
        int r = directory_is_empty(fd);

        if (r < 0) {
                close(fd);
                return lanemap_store_error(error, r, "%s: %s", path,
                                           r == -ENOTEMPTY ? "the directory is not empty"
                                                           : strerror(-r));
        }

        *ret_dir_fd = fd;
        return 0;
}

int lanemap_copy_open_empty(const char *path, int *ret_dir_fd, struct lanemap_error *error)
{
        int fd, r;

        r = lanemap_store_open_directory(path, true, &fd, error);
        return r < 0 ? r : empty_take(fd, path, ret_dir_fd, error);
}

int lanemap_copy_take_empty(int fd, const char *name, int *ret_dir_fd, struct lanemap_error *error)
{
        int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

        if (own < 0)
                return lanemap_store_error(error, -errno, "%s: %s", name, strerror(errno));

        r = lanemap_store_check_directory(own, name, error);
        if (r < 0) {
                close(own);
                return r;
        }
        return empty_take(own, name, ret_dir_fd, error);
}

int lanemap_copy_file(const struct lanemap_files *files, int from_fd, int to_dir_fd,
                      const char *name)
{
        unsigned char *buffer = lanemap_alloc(CHUNK_BYTES);
        off_t at = 0;
        int fd, r = 0, closed;

        if (!buffer)
                return -ENOMEM;
        fd = files->open(files, to_dir_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0640);
        if (fd < 0) {
                lanemap_free(buffer);
                return fd;
        }

        while (r == 0) {
                ssize_t n = pread(from_fd, buffer, CHUNK_BYTES, at);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        r = n < 0 ? -errno : 0;
                        break;
                }
                r = lanemap_files_pwrite_all(files, fd, buffer, (size_t)n, at);
                at += n;
        }
        if (r == 0)
                r = files->sync(files, fd);
        closed = files->close(files, fd);
        lanemap_free(buffer);
        return r < 0 ? r : closed;
}
