/* See name.h. */
#include "store/name.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool lanemap_store_hex_parse(const char *text, size_t n_digits, uint64_t *ret_value)
{
        uint64_t value = 0;

        for (size_t i = 0; i < n_digits; i++) {
                char c = text[i];

                if (c >= '0' && c <= '9')
                        value = value << 4 | (uint64_t)(c - '0');
                else if (c >= 'a' && c <= 'f')
                        value = value << 4 | (uint64_t)(c - 'a' + 10);
                else
                        return false;
        }

        *ret_value = value;
        return true;
}

bool lanemap_store_log_name_parse(const char *name, uint64_t *ret_number)
{
        return strlen(name) == 4 + 16 + 4 && memcmp(name, "log-", 4) == 0 &&
               strcmp(name + 20, ".lml") == 0 && lanemap_store_hex_parse(name + 4, 16, ret_number);
}

int lanemap_store_open_listing(int dir_fd, DIR **ret_dir)
{
        int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir;

        if (fd < 0)
                return -errno;

        dir = fdopendir(fd);
        if (!dir) {
                int r = -errno;

                close(fd);
                return r;
        }

        *ret_dir = dir;
        return 0;
}
