/*
 * How long commands take, and how often they are called.
 *
 * Reading the clock for each command would cost a tenth of a pipelined one. So commands that may
 * take long (not FAST, or of many arguments), and each apply of a batch, are timed with the
 * processor's counter; of the others one in LANEMAP_METER_SAMPLE, which stands for all.
 *
 * M3  Every call that was run is counted once, those within EXEC too. An error is counted as failed
 *     when the command itself replied it: not when its batch refused a write, not within EXEC, and
 *     not when a job, a request or WAITAOF ended with it.
 * M4  What may take long is timed each time, so that the slow log and LATENCY miss nothing of it.
 * M5  A histogram takes the same memory however many calls it has. It has each call that was run
 *     once, but for those within EXEC, and for the last ones of a command of which one in
 *     LANEMAP_METER_SAMPLE is timed: a timed one stands for itself and those before it.
 */
#ifndef LANEMAP_DAEMON_CLIENT_METER_H
#define LANEMAP_DAEMON_CLIENT_METER_H

#include "common/clock.h"
#include "daemon/daemon.h"

#define LANEMAP_METER_SAMPLE    ((uint64_t)64)
#define LANEMAP_METER_MANY_ARGS ((uint32_t)16)
#define LANEMAP_METER_APPLY     "lanemap.apply" /* applies of batches, among commands */

/* A counter that rises evenly; its unit is found out by comparing it with the clock. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_meter_ticks(void)
{
#if defined(__x86_64__)
        return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
        uint64_t ticks;

        __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
        return ticks;
#else
        return lanemap_now_ns(&lanemap_clock_monotonic);
#endif
}

/* From now on ticks can be converted; more exactly the longer ago it is. */
void lanemap_meter_init(struct lanemap_server *server);
uint64_t lanemap_meter_ns(const struct lanemap_server *server, uint64_t ticks);

/* What was called, for the slow log. */
struct lanemap_meter_args {
        const char *message; /* arguments are offsets into this */
        const struct lanemap_resp_arg *args;
        uint32_t n_args;
        uint64_t secrets; /* bit i: argument i */
};

/* What took so many ticks has ended. event: for LATENCY. */
void lanemap_meter_slow(struct lanemap_client *client, const char *event,
                        const struct lanemap_meter_args *args, uint64_t ticks);

/* n_calls took so many ticks each. calls is the caller's. */
void lanemap_meter_count(const struct lanemap_server *server, struct lanemap_meter_counts *counts,
                         uint64_t n_calls, uint64_t ticks);
void lanemap_meter_reset(struct lanemap_meter_counts *counts);

/* Return: whether the next call of a short command is to be timed (M5). */
LANEMAP_ALWAYS_INLINE bool lanemap_meter_is_due(const struct lanemap_meter_counts *counts)
{
        return counts->calls - counts->covered >= LANEMAP_METER_SAMPLE - 1 || counts->covered == 0;
}

/* Return: the sum of the histogram. */
uint64_t lanemap_meter_total(const struct lanemap_meter_counts *counts);
/* Return: nanoseconds that `percent` of the calls in the histogram took at most, to a sixteenth. */
uint64_t lanemap_meter_percentile(const struct lanemap_meter_counts *counts, double percent);
/* ret_below[power]: how many calls of the histogram took less than 1024 << power nanoseconds; the
 * last one has all. */
#define LANEMAP_METER_POWERS 25
void lanemap_meter_powers(const struct lanemap_meter_counts *counts,
                          uint64_t ret_below[LANEMAP_METER_POWERS]);

/* Most things are not slow. */
LANEMAP_ALWAYS_INLINE bool lanemap_meter_is_slow(const struct lanemap_server *server,
                                                 uint64_t ticks)
{
        return LANEMAP_UNLIKELY(ticks >= server->meter.limit_ticks);
}

/* Once a second, and when an option has changed: from how many ticks on something is slow. */
void lanemap_meter_cron(struct lanemap_server *server);

#endif
