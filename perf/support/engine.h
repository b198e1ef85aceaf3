/* The engine as a benchmark needs it: what fails ends the program. */
#ifndef LANEMAP_PERF_ENGINE_H
#define LANEMAP_PERF_ENGINE_H

#include <lanemap/writer.h>

#include "place.h"

/* options: their size, name, directory and error are filled in here. */
struct lanemap_writer *perf_engine_open(const struct perf_place *place,
                                        const struct lanemap_writer_options *options);

/* Adds or removes (code) keys first .. first + n_keys - 1 of mix `single`, each with its id. */
void perf_engine_apply(struct lanemap_writer *writer, uint32_t code, uint64_t first,
                       uint64_t n_keys);

/* A new index of keys 0 .. n_keys - 1, compacted and closed. */
void perf_engine_index_make(const char *name, const char *dir, uint64_t n_keys,
                            struct perf_place *ret_place);

/* Requested, and waited for. Return: 0, -EBUSY (a flip that is refused). */
int perf_engine_request(struct lanemap_writer *writer, uint32_t request);

#endif
