/*
 * A file layer over the real one whose calls hang, as those of a disk that does not answer.
 *
 *         struct hanging_files hanging;
 *
 *         hanging_files_init(&hanging);
 *         hanging_files_hang(&hanging, HANGING_SYNC);
 *         ... code under test, given &hanging.files ...
 *         hanging_files_wait(&hanging);          until a call hangs
 *         hanging_files_hang(&hanging, 0);       and all go on
 *
 * Thread: any.
 */
#ifndef LANEMAP_TESTS_HANGING_FILES_H
#define LANEMAP_TESTS_HANGING_FILES_H

#include <pthread.h>

#include "common/file.h"

enum hanging_call {
        HANGING_SYNC = 1 << 0,
        HANGING_ALLOCATE = 1 << 1,
        HANGING_PWRITE = 1 << 2,
};

struct hanging_files {
        struct lanemap_files files; /* what the code under test gets */
        pthread_mutex_t mutex;
        pthread_cond_t wake;
        unsigned calls;     /* enum hanging_call: those that hang */
        unsigned n_hanging; /* now */
};

void hanging_files_init(struct hanging_files *hanging);
void hanging_files_deinit(struct hanging_files *hanging);
void hanging_files_hang(struct hanging_files *hanging, unsigned calls);
void hanging_files_wait(struct hanging_files *hanging);

#endif
