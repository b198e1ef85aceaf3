/*
 * The data directory: finding it, and owning it.
 *
 * The lock is an open-file-description lock on a file that only the removal of the index unlinks,
 * by one who holds it; a lock that turns out to be on a file without its name is let go and taken
 * anew. The kernel gives it up when the process dies, and pids (which repeat, and differ between
 * containers) play no part. A forked child closes its copies of the descriptor at once, since a
 * lock lives as long as any copy of it does.
 */
#ifndef LANEMAP_STORE_LOCK_H
#define LANEMAP_STORE_LOCK_H

#include <lanemap/lanemap.h>

#include "common/file.h"

#define LANEMAP_STORE_LOCK_NAME "lock"

/*
 * Open a data directory; with `create`, make it (0750, one level) if it does not exist.
 *
 * Return: 0 and a close-on-exec descriptor. Errors: -ENOENT, -ENOTDIR, -EACCES, ...; -EOPNOTSUPP
 * the directory is on a network or user-space file system, where neither the lock nor the sync can
 * be relied on.
 */
int lanemap_store_open_directory(const char *path, bool create, int *ret_dir_fd,
                                 struct lanemap_error *error);

/* The same of one that is open; path is what it is called in the error. Return: 0, -EOPNOTSUPP. */
int lanemap_store_check_directory(int fd, const char *path, struct lanemap_error *error);

/*
 * Take the write lock on a 0600 file of that name, which is created if need be. Does not wait.
 * Also used for the lock of a published name, in /dev/shm.
 *
 * Return: 0 and the descriptor that holds it; give it up with lanemap_store_unlock().
 * Errors: -EBUSY somebody else holds it; -EPERM the file there is another user's; errno of the file
 * layer.
 */
int lanemap_store_lock(const struct lanemap_files *files, int dir_fd, const char *name,
                       int *ret_lock_fd, struct lanemap_error *error);

/*
 * Take the lock on a file that is there, whoever made it: to remove it.
 *
 * Return: 0, as above. Errors: -ENOENT there is none; -EBUSY; errno of the file layer.
 */
int lanemap_store_lock_found(const struct lanemap_files *files, int dir_fd, const char *name,
                             int *ret_lock_fd);

/* A negative lock_fd is fine. */
void lanemap_store_unlock(const struct lanemap_files *files, int lock_fd);

#endif
