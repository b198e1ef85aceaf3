/* The outside of the engine, passed in: for tests that bend it. NULL members: the real world. */
#ifndef LANEMAP_WRITER_CORE_HOOKS_H
#define LANEMAP_WRITER_CORE_HOOKS_H

#include "common/clock.h"
#include "common/file.h"

/* The steps of the thread that warms, copies and locks files. */
enum lanemap_serve_step {
        LANEMAP_SERVE_WARM,           /* about to read some of a file */
        LANEMAP_SERVE_COPY,           /* about to make a copy */
        LANEMAP_SERVE_COPY_ALLOCATED, /* it has its space, under a temporary name */
        LANEMAP_SERVE_COPY_WRITTEN,
        LANEMAP_SERVE_COPY_CHECKED,
        LANEMAP_SERVE_COPY_RENAMED,
        LANEMAP_SERVE_COPY_PUBLISHED, /* the views name it */
        LANEMAP_SERVE_DROPPED,        /* the original's pages are given back */
        LANEMAP_SERVE_LOCK,           /* about to lock memory */
        LANEMAP_SERVE_N_STEPS,
};

struct lanemap_writer_hooks {
        const struct lanemap_files *files;
        const struct lanemap_clock *clock;
        void (*serve_step)(void *arg, uint32_t step);                       /* may block */
        int (*lock_memory)(void *arg, const void *bytes, uint64_t n_bytes); /* 0 or -errno */
        void *arg;
};

#endif
