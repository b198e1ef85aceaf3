/* See place.h. */
#include "place.h"

#include <dirent.h>
#include <errno.h>
#include <lanemap/writer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int perf_place_make(const char *name, const char *dir, struct perf_place *ret_place)
{
        static unsigned n;

        if (name)
                snprintf(ret_place->name, sizeof(ret_place->name), "%.40s-%u", name, n++);
        else
                snprintf(ret_place->name, sizeof(ret_place->name), "perf-%d-%u", (int)getpid(),
                         n++);
        snprintf(ret_place->directory, sizeof(ret_place->directory), "%.400s/lanemap-perf-XXXXXX",
                 dir);
        return mkdtemp(ret_place->directory) ? 0 : -errno;
}

void perf_place_remove(const struct perf_place *place)
{
        struct lanemap_error error;
        struct dirent *entry;
        char lock[128];
        DIR *dir;

        (void)lanemap_writer_unlink(place->name, &error);
        /* The engine keeps the lock of a name for ever; this name is not used again. */
        snprintf(lock, sizeof(lock), "/lanemap.%s.lock", place->name);
        (void)shm_unlink(lock);
        dir = opendir(place->directory);
        if (!dir)
                return;
        while ((entry = readdir(dir)))
                if (entry->d_name[0] != '.')
                        (void)unlinkat(dirfd(dir), entry->d_name, 0);
        closedir(dir);
        (void)rmdir(place->directory);
}

int perf_sibling_path(const char *relative, char *path, size_t path_bytes)
{
        ssize_t bytes = readlink("/proc/self/exe", path, path_bytes - 1);
        char *slash;

        if (bytes < 0)
                return -errno;

        path[bytes] = '\0';
        slash = strrchr(path, '/');
        if (!slash || (size_t)(slash + 1 - path) + strlen(relative) >= path_bytes)
                return -ENAMETOOLONG;

        memcpy(slash + 1, relative, strlen(relative) + 1);
        return 0;
}
