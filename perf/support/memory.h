/* Memory of a benchmark; where there is none, the program ends. */
#ifndef LANEMAP_PERF_MEMORY_H
#define LANEMAP_PERF_MEMORY_H

#include <stddef.h>

/* A block of malloc. */
void *perf_allocate(size_t bytes);

/* Zeros in pages of 4 KiB, as the page cache of a file has, however much there is. */
void *perf_map(size_t bytes);
void perf_unmap(void *bytes, size_t n_bytes);

#endif
