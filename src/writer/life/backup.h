/*
 * Copies of an index: made by a running writer (lanemap_writer_backup()), and brought back.
 *
 *   B1  A backup is complete when its manifest is there, which is written last; without one it is
 *       no index, and nothing opens it.
 *   B2  It names no log: everything that was applied before the backup began is in its segments.
 *   B3  Restore brings back nothing that does not verify, and never writes into an index.
 */
#ifndef LANEMAP_WRITER_LIFE_BACKUP_H
#define LANEMAP_WRITER_LIFE_BACKUP_H

#include <lanemap/writer.h>

#include "common/file.h"

/*
 * Copy what a directory holds, a backup or a data directory that no writer has open, into a new
 * one.
 *
 * files          by which `to` is written
 * to             made if it does not exist, else it must be empty
 * error          may be NULL
 *
 * Return: 0. Errors: -EBADMSG `from` is damaged; -EBUSY a writer has it open; -ENOENT; -ENOTEMPTY;
 * errno of the file system.
 */
int lanemap_restore_directory(const struct lanemap_files *files, const char *from, const char *to,
                              struct lanemap_error *error);

/* Inside the room. */

/* Opens a directory that is empty, or makes it (0750). Return: 0, -ENOTEMPTY, errno. */
int lanemap_backup_open_empty(const char *path, int *ret_dir_fd, struct lanemap_error *error);
/* A descriptor of our own for one that is open, which is empty. Return: 0, -ENOTDIR, -ENOTEMPTY,
 * errno. */
int lanemap_backup_take_empty(int fd, const char *name, int *ret_dir_fd,
                              struct lanemap_error *error);
/* All bytes of fd into a new file of that name, synced. Return: 0, errno. */
int lanemap_backup_copy(const struct lanemap_files *files, int from_fd, int to_dir_fd,
                        const char *name);

#endif
