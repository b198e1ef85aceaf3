/*
 * The file layer: every call by which the write side changes a directory, passed in.
 *
 * Tests put a layer of their own here: one that makes the n-th call fail, or one that records the
 * calls so that every legal state after a crash can be rebuilt. Reading a file is not hooked,
 * except opening it.
 *
 * Every function answers 0 (or a count, or a descriptor) or a negative errno; -ENOSPC also where a
 * file would be larger than RLIMIT_FSIZE or its file system allows (the program ignores SIGXFSZ).
 * Reserved room stays reserved: nothing sets a file's length, since an ftruncate even to the
 * present length drops blocks that are reserved past it. Names are relative to dir_fd. Thread: any.
 * A layer's own state is its own business.
 */
#ifndef LANEMAP_COMMON_FILE_H
#define LANEMAP_COMMON_FILE_H

#include <sys/types.h>

#include "common/base.h"

struct lanemap_files {
        /* flags as for openat(2); O_CLOEXEC and O_NOFOLLOW are added */
        int (*open)(const struct lanemap_files *files, int dir_fd, const char *name, int flags,
                    mode_t mode);
        int (*close)(const struct lanemap_files *files, int fd);
        /* May write less than asked for: answers the count. */
        ssize_t (*pwrite)(const struct lanemap_files *files, int fd, const void *bytes,
                          size_t n_bytes, off_t at);
        int (*allocate)(const struct lanemap_files *files, int fd, off_t at, off_t n_bytes);
        int (*sync)(const struct lanemap_files *files, int fd);               /* fdatasync */
        int (*sync_directory)(const struct lanemap_files *files, int dir_fd); /* fsync */
        int (*rename)(const struct lanemap_files *files, int dir_fd, const char *from,
                      const char *to);
        int (*unlink)(const struct lanemap_files *files, int dir_fd, const char *name);
        /* A second name for a file, in the same directory or in another one. */
        int (*link)(const struct lanemap_files *files, int dir_fd, const char *from, int to_dir_fd,
                    const char *to);
        /* -EEXIST: something of that name is there */
        int (*make_directory)(const struct lanemap_files *files, int dir_fd, const char *name,
                              mode_t mode);
};

extern const struct lanemap_files lanemap_files_posix;

/* The same for root: new files get the owner and the group of the directory that they are in, where
 * the kernel lets it. The directory may change its owner under a running writer. */
extern const struct lanemap_files lanemap_files_owned;

/* Writes all of it. Return: 0 or a negative errno; after a failure some prefix may have been
 * written. */
int lanemap_files_pwrite_all(const struct lanemap_files *files, int fd, const void *bytes,
                             size_t n_bytes, off_t at);

#endif
