/* See place.h. */
#include "place.h"

#include <errno.h>
#include <ftw.h>
#include <lanemap/writer.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "die.h"

void perf_place_make(const char *name, const char *dir, struct perf_place *ret_place)
{
        static unsigned n;

        if (name)
                snprintf(ret_place->name, sizeof(ret_place->name), "%.40s-%u", name, n++);
        else
                snprintf(ret_place->name, sizeof(ret_place->name), "perf-%d-%u", (int)getpid(),
                         n++);
        snprintf(ret_place->directory, sizeof(ret_place->directory), "%.400s/lanemap-perf-XXXXXX",
                 dir);
        if (!mkdtemp(ret_place->directory))
                perf_die(dir, -errno);
}

static int entry_remove(const char *path, const struct stat *status, int type, struct FTW *at)
{
        (void)remove(path);
        return 0;
}

void perf_place_remove(const struct perf_place *place)
{
        struct lanemap_error error;
        char lock[128];

        (void)lanemap_writer_unlink(place->name, &error);
        /* The engine keeps the lock of a name for ever; this name is not used again. */
        snprintf(lock, sizeof(lock), "/lanemap.%s.lock", place->name);
        (void)shm_unlink(lock);
        (void)nftw(place->directory, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

const char *perf_sibling_path(const char *relative)
{
        char path[1024], *slash, *joined;
        ssize_t bytes = readlink("/proc/self/exe", path, sizeof(path) - 1);

        if (bytes < 0)
                perf_die("/proc/self/exe", -errno);

        path[bytes] = '\0';
        slash = strrchr(path, '/');
        *slash = '\0';
        if (asprintf(&joined, "%s/%s", path, relative) < 0)
                perf_die("memory", -ENOMEM);
        return joined;
}
