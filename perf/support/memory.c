/* See daemon/client/memory.h. */
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "die.h"

void *perf_allocate(size_t bytes)
{
        void *block = malloc(bytes ? bytes : 1);

        if (!block)
                perf_die("memory", -ENOMEM);
        return block;
}

void *perf_map(size_t bytes)
{
        void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (block == MAP_FAILED)
                perf_die("memory", -errno);
        (void)madvise(block, bytes, MADV_NOHUGEPAGE);
        return block;
}

void perf_unmap(void *bytes, size_t n_bytes)
{
        munmap(bytes, n_bytes);
}
