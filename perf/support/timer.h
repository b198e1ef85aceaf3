/*
 * A clock fine enough for one lookup.
 *
 * On x86 it is the time stamp counter between fences: nothing of the measured call starts before
 * the first reading or ends after the second. Elsewhere it is clock_gettime(), in nanoseconds. A
 * reading costs time itself: perf_timer_overhead() says how much, and whoever reports subtracts it.
 */
#ifndef LANEMAP_PERF_TIMER_H
#define LANEMAP_PERF_TIMER_H

#include <stdint.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static inline uint64_t perf_now_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* What the calling thread has had of a processor: for loops that others may interrupt. */
static inline uint64_t perf_thread_ns(void)
{
        struct timespec now;

        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline double perf_now(void)
{
        return (double)perf_now_ns() * 1e-9;
}

static inline uint64_t perf_ticks_begin(void)
{
#if defined(__x86_64__)
        uint64_t ticks;

        _mm_lfence();
        ticks = __rdtsc();
        _mm_lfence();
        return ticks;
#else
        return perf_now_ns();
#endif
}

static inline uint64_t perf_ticks_end(void)
{
#if defined(__x86_64__)
        unsigned aux;
        uint64_t ticks = __rdtscp(&aux);

        _mm_lfence();
        return ticks;
#else
        return perf_now_ns();
#endif
}

/* The calling thread sleeps. */
void perf_sleep_ns(uint64_t ns);
void perf_sleep_ms(unsigned ms);

/* Nanoseconds of one tick, measured against CLOCK_MONOTONIC for 50 ms. */
double perf_tick_ns(void);

/* The median of 10,001 measurements of nothing, in ticks. */
uint64_t perf_timer_overhead(void);

#endif
