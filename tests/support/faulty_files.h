/*
 * A file layer that fails on purpose, and that remembers what a power cut would leave.
 *
 *         struct faulty_files faulty;
 *
 *         faulty_files_init(&faulty, dir_fd);
 *         faulty.fail_at = 7;                      the 7th call fails with faulty.error (-EIO)
 *         faulty.n_failing = UINT64_MAX;           and every later one: the process is dead
 *         ... code under test, given &faulty.files ...
 *         faulty_files_cut_power(&faulty, true, 1); the directory as a crash may leave it
 *         faulty_files_deinit(&faulty);
 *
 * Works on the real directory dir_fd, and on small files: each sync copies the whole file. What
 * it can cut: bytes that were not synced, and names that were created, renamed or removed since the
 * last directory sync. (Every legal mixture of those is the business of tests/crash.)
 *
 * Thread: any; one mutex.
 */
#ifndef LANEMAP_TESTS_FAULTY_FILES_H
#define LANEMAP_TESTS_FAULTY_FILES_H

#include <pthread.h>
#include <sys/stat.h>

#include "common/file.h"

enum faulty_call {
        FAULTY_OPEN = 1 << 0, /* only those that may create a file are counted */
        FAULTY_CLOSE = 1 << 1,
        FAULTY_PWRITE = 1 << 2,
        FAULTY_ALLOCATE = 1 << 3,
        FAULTY_SYNC = 1 << 4,
        FAULTY_SYNC_DIRECTORY = 1 << 5,
        FAULTY_RENAME = 1 << 6,
        FAULTY_UNLINK = 1 << 7,
        FAULTY_ALL = (1 << 8) - 1,
};

struct faulty_inode;
struct faulty_name;

struct faulty_files {
        struct lanemap_files files; /* what the code under test gets */

        /* Set these at any time. */
        unsigned calls;         /* which calls are counted, enum faulty_call; FAULTY_ALL */
        uint64_t fail_at;       /* number of the counted call that fails, from 1; 0: none */
        uint64_t n_failing;     /* how many counted calls fail from there on; 1 */
        int error;              /* with what; -EIO */
        size_t write_bytes_max; /* a pwrite writes no more than this; 0: no limit */
        size_t torn_bytes;      /* a failing pwrite has written that many bytes all the same */
        bool disk_full;         /* nothing may grow: allocate, and a pwrite past the end, -ENOSPC */

        uint64_t n_calls;  /* counted so far */
        uint64_t n_failed; /* of them */

        pthread_mutex_t mutex;
        int dir_fd;
        struct faulty_inode *inodes;
        struct faulty_name *names; /* as of the last directory sync */
};

/* What is in the directory now is taken for durable. */
void faulty_files_init(struct faulty_files *faulty, int dir_fd);
void faulty_files_deinit(struct faulty_files *faulty);

/*
 * Throw away what was not synced. With lose_names, names are as of the last directory sync; else
 * every rename, creation and removal has reached the disk. Of the writes (and changes of length)
 * that were not synced, each one has reached the disk or not by the throw of a coin that `seed`
 * names; seed 0: none has. Close all descriptors first.
 */
void faulty_files_cut_power(struct faulty_files *faulty, bool lose_names, uint64_t seed);

#endif
