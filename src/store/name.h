/* Names of files in the data directory, and listings of it. Write side, inside the library. */
#ifndef LANEMAP_STORE_NAME_H
#define LANEMAP_STORE_NAME_H

#include <dirent.h>

#include "common/base.h"

/* Exactly n_digits lower-case hex digits at `text`. */
bool lanemap_store_hex_parse(const char *text, size_t n_digits, uint64_t *ret_value);

/* `log-<16 hex digits>.lml`, exactly. */
bool lanemap_store_log_name_parse(const char *name, uint64_t *ret_number);

/* A stream of its own over the directory; closedir() it. Return: 0 or a negative errno. */
int lanemap_store_open_listing(int dir_fd, DIR **ret_dir);

#endif
