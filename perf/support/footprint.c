/* See footprint.h. */
#include "footprint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHM_DIRECTORY "/dev/shm"

uint64_t perf_anonymous_bytes(pid_t pid)
{
        unsigned long long kib = 0;
        char path[64], line[256];
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
        file = fopen(path, "re");
        if (!file)
                return 0;

        while (fgets(line, sizeof(line), file))
                if (sscanf(line, "Anonymous: %llu kB", &kib) == 1)
                        break;
        fclose(file);
        return (uint64_t)kib << 10;
}

/* How much of a file the page cache holds, whoever reads it. */
static uint64_t cached_bytes(int dir_fd, const char *name, uint64_t bytes)
{
        size_t page = (size_t)sysconf(_SC_PAGESIZE), n = (bytes + page - 1) / page, n_cached = 0;
        unsigned char *resident;
        void *mapping;
        int fd;

        if (bytes == 0)
                return 0;
        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return 0;

        mapping = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        if (mapping == MAP_FAILED)
                return 0;

        resident = malloc(n);
        if (resident && mincore(mapping, bytes, resident) == 0)
                for (size_t i = 0; i < n; i++)
                        n_cached += resident[i] & 1;
        free(resident);
        munmap(mapping, bytes);
        return n_cached * page;
}

static void shared_count(const char *entry, const struct stat *st, const char *name,
                         struct perf_footprint *footprint)
{
        char prefix[128];
        size_t bytes = (size_t)snprintf(prefix, sizeof(prefix), "lanemap.%s", name);

        if (strncmp(entry, prefix, bytes) == 0 && (entry[bytes] == '\0' || entry[bytes] == '.'))
                footprint->shared_bytes += (uint64_t)st->st_blocks * 512;
}

static void file_count(int dir_fd, const char *entry, const struct stat *st,
                       struct perf_footprint *footprint)
{
        uint64_t blocks = (uint64_t)st->st_blocks * 512;
        const char *dot = strrchr(entry, '.');

        if (dot && strcmp(dot, ".lms") == 0) {
                footprint->segment_bytes += blocks;
                footprint->cached_bytes += cached_bytes(dir_fd, entry, (uint64_t)st->st_size);
        } else if (dot && strcmp(dot, ".lml") == 0) {
                footprint->log_bytes += blocks;
                footprint->log_cached_bytes += cached_bytes(dir_fd, entry, (uint64_t)st->st_size);
        } else {
                footprint->manifest_bytes += blocks;
        }
}

int perf_footprint_take(const char *name, const char *directory, pid_t pid,
                        struct perf_footprint *ret_footprint)
{
        const char *const places[2] = {SHM_DIRECTORY, directory};
        struct perf_footprint footprint = {0};

        for (int i = 0; i < 2; i++) {
                DIR *dir = opendir(places[i]);
                struct dirent *entry;
                struct stat st;

                if (!dir)
                        return -errno;
                while ((entry = readdir(dir))) {
                        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                            !S_ISREG(st.st_mode))
                                continue;
                        if (i == 0)
                                shared_count(entry->d_name, &st, name, &footprint);
                        else
                                file_count(dirfd(dir), entry->d_name, &st, &footprint);
                }
                closedir(dir);
        }
        if (pid)
                footprint.anonymous_bytes = perf_anonymous_bytes(pid);

        *ret_footprint = footprint;
        return 0;
}
