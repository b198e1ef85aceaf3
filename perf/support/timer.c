/* See timer.h. */
#include "timer.h"

#include <stddef.h>

#include "common/histogram.h"

#define OVERHEAD_SAMPLES 10001

void perf_sleep_ns(uint64_t ns)
{
        const struct timespec pause = {.tv_sec = (time_t)(ns / 1000000000),
                                       .tv_nsec = (long)(ns % 1000000000)};

        (void)nanosleep(&pause, NULL);
}

void perf_sleep_ms(unsigned ms)
{
        perf_sleep_ns((uint64_t)ms * 1000000);
}

double perf_tick_ns(void)
{
        uint64_t from_ns = perf_now_ns(), from = perf_ticks_begin(), to_ns;

        do
                to_ns = perf_now_ns();
        while (to_ns - from_ns < 50 * 1000 * 1000);

        return (double)(to_ns - from_ns) / (double)(perf_ticks_end() - from);
}

uint64_t perf_timer_overhead(void)
{
        static struct lanemap_histogram histogram;

        histogram = (struct lanemap_histogram){0};
        for (size_t i = 0; i < OVERHEAD_SAMPLES; i++) {
                uint64_t from = perf_ticks_begin();

                lanemap_histogram_record(&histogram, perf_ticks_end() - from, 1);
        }
        return lanemap_histogram_quantile(&histogram, 0.5);
}
