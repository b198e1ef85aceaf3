/* See crash_support.h. */
#include "crash_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

void directory_empty(const char *directory)
{
        const struct dirent *entry;
        DIR *dir = opendir(directory);

        must(dir);
        while ((entry = readdir(dir)))
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        (void)unlinkat(dirfd(dir), entry->d_name, 0);
        closedir(dir);
}

struct lanemap_writer *scratch_writer_open(const struct scratch *scratch,
                                           const struct lanemap_writer_options *options)
{
        struct lanemap_writer_options given = {0};
        struct lanemap_error error = {{0}};
        struct lanemap_writer *writer;
        int r;

        if (options)
                given = *options;
        given.size = sizeof(given);
        given.name = scratch->name;
        given.directory = scratch->directory;
        given.error = &error;
        r = lanemap_writer_open(&given, &writer);
        if (r < 0) {
                fprintf(stderr, "writer open: %s (%d): %s\n", strerror(-r), r, error.text);
                abort();
        }

        return writer;
}

uint64_t argument_u64(int argc, char **argv, const char *name, uint64_t otherwise)
{
        for (int i = 1; i + 1 < argc; i++)
                if (strcmp(argv[i], name) == 0)
                        return strtoull(argv[i + 1], NULL, 0);

        return otherwise;
}

bool argument_flag(int argc, char **argv, const char *name)
{
        for (int i = 1; i < argc; i++)
                if (strcmp(argv[i], name) == 0)
                        return true;

        return false;
}

uint64_t argument_seed(int argc, char **argv)
{
        uint64_t seed = 0;

        must(getrandom(&seed, sizeof(seed), 0) == sizeof(seed));
        seed = argument_u64(argc, argv, "--seed", seed);
        printf("seed 0x%" PRIx64 "\n", seed);
        fflush(stdout);
        return seed;
}

uint64_t now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}
