/*
 * Makes golden segment files: `golden_make DIRECTORY [PATH...]`, DIRECTORY being
 * tests/data/segments and each PATH one of golden.h (default: those that are not there yet). A file
 * that is there is never replaced: it proves that files of its version can be read for ever.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "data/segments/golden.h"

static bool is_wanted(const struct golden *golden, char **paths, int n_paths)
{
        for (int i = 0; i < n_paths; i++)
                if (strcmp(paths[i], golden->path) == 0)
                        return true;

        return n_paths == 0;
}

int main(int argc, char **argv)
{
        int dir_fd = argc < 2 ? -1 : open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (dir_fd < 0) {
                fprintf(stderr, "usage: golden_make DIRECTORY [PATH...]\n");
                return 2;
        }

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(goldens); i++) {
                struct lanemap_segment_written written;
                int r;

                if (!is_wanted(&goldens[i], argv + 2, argc - 2) ||
                    faccessat(dir_fd, goldens[i].path, F_OK, 0) == 0)
                        continue;

                r = golden_write(&goldens[i], dir_fd, &written);
                if (r == 0 && renameat(dir_fd, written.name, dir_fd, goldens[i].path) < 0)
                        r = -errno;
                if (r < 0) {
                        fprintf(stderr, "golden_make: %s: %s\n", goldens[i].path, strerror(-r));
                        return 1;
                }
                printf("%s\n", goldens[i].path);
        }

        close(dir_fd);
        return 0;
}
