/*
 * Copies of an index: made by a running writer (lanemap_writer_backup()), and brought back
 * (directory/restore.h). Here is what both are made of.
 *
 *   BK1  A backup is complete when its manifest is there, which is written last; without one it is
 *       no index, and nothing opens it.
 *   BK2  It names no log: everything that was applied before the backup began is in its segments.
 *   BK3  Restore brings back nothing that does not verify, and never writes into an index.
 */
#ifndef LANEMAP_VERIFY_COPY_H
#define LANEMAP_VERIFY_COPY_H

#include <lanemap/writer.h>

#include "common/file.h"

/* Opens a directory that is empty, or makes it (0750). error: may be NULL. Return: 0. Errors:
 * -ENOTEMPTY, errno. */
int lanemap_copy_open_empty(const char *path, int *ret_dir_fd, struct lanemap_error *error);

/* A descriptor of our own for one that is open, which is empty. Return: 0. Errors: -ENOTDIR,
 * -ENOTEMPTY, errno. */
int lanemap_copy_take_empty(int fd, const char *name, int *ret_dir_fd, struct lanemap_error *error);

/* All bytes of from_fd into a new file of that name, synced. Return: 0. Errors: errno. */
int lanemap_copy_file(const struct lanemap_files *files, int from_fd, int to_dir_fd,
                      const char *name);

#endif
