/* See lock.h. */
#include "common/lock.h"

#include <time.h>

#include "common/clock.h"

#define LOOK_NS (1000 * 1000)

bool lanemap_lock_within(pthread_mutex_t *mutex, uint64_t wait_ns)
{
        uint64_t since_ns;

        if (wait_ns == LANEMAP_LOCK_FOR_EVER)
                return pthread_mutex_lock(mutex) == 0;

        since_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        while (pthread_mutex_trylock(mutex) != 0) {
                const struct timespec pause = {.tv_nsec = LOOK_NS};

                if (lanemap_now_ns(&lanemap_clock_monotonic) - since_ns >= wait_ns)
                        return false;
                (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        }

        return true;
}
