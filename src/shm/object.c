/* See object.h. */
#include "shm/object.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <lanemap/lanemap.h>

bool lanemap_shm_name_is_valid(const char *name)
{
        size_t n = name ? strspn(name,
                                 "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
                        : 0;

        return n > 0 && n <= LANEMAP_NAME_BYTES_MAX && name[n] == '\0';
}

void lanemap_shm_control_name(const char *name, char *ret_object)
{
        snprintf(ret_object, LANEMAP_SHM_OBJECT_NAME_BYTES, "lanemap.%s", name);
}

void lanemap_shm_data_name(const char *name, uint64_t generation, char *ret_object)
{
        snprintf(ret_object, LANEMAP_SHM_OBJECT_NAME_BYTES, "lanemap.%s.%016" PRIx64, name,
                 generation);
}

void lanemap_shm_lock_name(const char *name, char *ret_object)
{
        snprintf(ret_object, LANEMAP_SHM_OBJECT_NAME_BYTES, "lanemap.%s.lock", name);
}

void lanemap_shm_spare_name(const char *name, char *ret_object)
{
        snprintf(ret_object, LANEMAP_SHM_OBJECT_NAME_BYTES, "lanemap.%s.spare", name);
}

int lanemap_shm_open_directory(void)
{
        int fd = open(LANEMAP_SHM_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

int lanemap_shm_open_object(int dir_fd, const char *object, struct stat *ret_st)
{
        struct stat st;
        int fd, r;

        fd = openat(dir_fd, object, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        if (fstat(fd, &st) < 0)
                r = -errno;
        else if (!S_ISREG(st.st_mode))
                r = -EBADMSG;
        else
                r = 0;
        if (r < 0) {
                close(fd);
                return r;
        }

        *ret_st = st;
        return fd;
}
