/*
 * The physical limit that a lookup is compared with: loads of which each needs the one before.
 *
 * One pointer per cache line, all lines of `bytes` in one random cycle, in private memory with
 * pages of 4 KiB (as the page cache of a segment file has). The mean of a step is the latency of a
 * cache miss, and of a TLB miss, over that many bytes.
 */
#ifndef LANEMAP_PERF_CHASE_H
#define LANEMAP_PERF_CHASE_H

#include <stddef.h>
#include <stdint.h>

struct perf_chase {
        void *lines;
        size_t bytes;
        void *at;
};

/* bytes is rounded up to 4 KiB. */
void perf_chase_init(struct perf_chase *chase, size_t bytes, uint64_t seed);
void perf_chase_deinit(struct perf_chase *chase);

/* Mean nanoseconds of n_steps, from where the last call stopped. */
double perf_chase_run(struct perf_chase *chase, size_t n_steps);

#endif
