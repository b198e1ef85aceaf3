/*
 * The memory limit of the control group that this process is in: the lowest of its own and its
 * ancestors', of versions 1 and 2.
 *
 *         version 2   memory.max, memory.high
 *         version 1   memory.limit_in_bytes
 *
 * Pure but for reading files; both roots are passed in, for tests.
 */
#ifndef LANEMAP_DAEMON_LOOP_MEMORY_LIMIT_H
#define LANEMAP_DAEMON_LOOP_MEMORY_LIMIT_H

#include "common/base.h"

struct lanemap_memory_limit {
        uint64_t bytes; /* UINT64_MAX: there is none */
        char file[512]; /* that says so */
};

/*
 * proc           "/proc/self": where cgroup and mountinfo are
 * root           "": what stands before every mount point
 *
 * What cannot be read limits nothing. Cost: two files, and one or two for each level.
 */
void lanemap_memory_limit_read(const char *proc, const char *root,
                               struct lanemap_memory_limit *ret_limit);

#endif
