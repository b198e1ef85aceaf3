/*
 * What an index costs, as the kernel counts it: nothing here asks lanemap.
 *
 * Memory is the sum of three disjoint parts: blocks of the shared objects (tmpfs pages), private
 * anonymous memory of the writer process beyond what it had before it opened the index, and page
 * cache that the segment files occupy. What a reader process has of its own is not in it.
 */
#ifndef LANEMAP_PERF_FOOTPRINT_H
#define LANEMAP_PERF_FOOTPRINT_H

#include <stdint.h>
#include <sys/types.h>

struct perf_footprint {
        uint64_t shared_bytes;     /* blocks of /dev/shm/lanemap.NAME and lanemap.NAME.* */
        uint64_t anonymous_bytes;  /* of the writer process */
        uint64_t cached_bytes;     /* page cache of the segment files */
        uint64_t segment_bytes;    /* blocks on disk */
        uint64_t log_bytes;        /* the same */
        uint64_t log_cached_bytes; /* page cache of the log: given back by the kernel at will */
        uint64_t manifest_bytes;   /* the same as segment_bytes: the manifest and whatever else */
};

/* pid 0: no process. Return: 0 or a negative errno. */
int perf_footprint_take(const char *name, const char *directory, pid_t pid,
                        struct perf_footprint *ret_footprint);

/* "Anonymous" of /proc/PID/smaps_rollup; 0 when it cannot be read. */
uint64_t perf_anonymous_bytes(pid_t pid);

#endif
