/* See chase.h. */
#include "chase.h"

#include <stdlib.h>

#include "keys.h"
#include "memory.h"
#include "timer.h"

#define LINE_BYTES 64

static void **line_at(const struct perf_chase *chase, size_t line)
{
        return (void **)((char *)chase->lines + line * LINE_BYTES);
}

void perf_chase_init(struct perf_chase *chase, size_t bytes, uint64_t seed)
{
        size_t n;
        uint32_t *order;

        *chase = (struct perf_chase){.bytes = (bytes + 4095) & ~(size_t)4095};
        if (chase->bytes == 0)
                chase->bytes = 4096;
        n = chase->bytes / LINE_BYTES;
        order = perf_allocate(n * sizeof(*order));
        chase->lines = perf_map(chase->bytes);

        for (size_t i = 0; i < n; i++) {
                size_t j = perf_mix64(seed + i) % (i + 1);

                order[i] = order[j];
                order[j] = (uint32_t)i;
        }
        for (size_t i = 0; i < n; i++)
                *line_at(chase, order[i]) = line_at(chase, order[(i + 1) % n]);

        chase->at = line_at(chase, order[0]);
        free(order);
}

void perf_chase_deinit(struct perf_chase *chase)
{
        perf_unmap(chase->lines, chase->bytes);
}

double perf_chase_run(struct perf_chase *chase, size_t n_steps)
{
        uint64_t from = perf_thread_ns();
        void *at = chase->at;

        for (size_t i = 0; i < n_steps; i++) {
                at = *(void **)at;
                __asm__ volatile("" : "+r"(at)); /* a step is not to be computed ahead */
        }

        chase->at = at;
        return (double)(perf_thread_ns() - from) / (double)n_steps;
}
