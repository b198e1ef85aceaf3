/* The clock of this process: the age of heartbeats, and the time that slow paths took. */
#include "reader/private.h"

#include <time.h>

uint64_t lanemap_reader_now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}
