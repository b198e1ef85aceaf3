/*
 * Fingerprints without keys: what a benchmark of one structure is fed with. Keys would only be
 * hashed, and a hundred million of them take minutes and gigabytes to make.
 */
#ifndef LANEMAP_PERF_HASHES_H
#define LANEMAP_PERF_HASHES_H

#include <stddef.h>
#include <stdint.h>

/*
 * perf_mix64() of 0 .. n - 1, sorted: distinct, since it is a bijection.
 * perf_mix64(PERF_KEYS_ABSENT + i) is never among them.
 *
 * Return: a block of malloc. Cost: three passes; twice the memory while it runs.
 */
uint64_t *perf_hashes_sorted(size_t n);

#endif
