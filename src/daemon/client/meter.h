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
 */
#ifndef LANEMAP_DAEMON_CLIENT_METER_H
#define LANEMAP_DAEMON_CLIENT_METER_H

#include "common/clock.h"
#include "daemon/daemon.h"

#define LANEMAP_METER_SAMPLE    ((uint64_t)64)
#define LANEMAP_METER_MANY_ARGS ((uint32_t)16)

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

/* What took so many ticks has ended. name: for LATENCY. args: for the slow log. */
void lanemap_meter_slow(struct lanemap_client *client, const char *event, const char *message,
                        const struct lanemap_resp_arg *args, uint32_t n_args, uint64_t ticks);

/* Most things are not slow. */
LANEMAP_ALWAYS_INLINE bool lanemap_meter_is_slow(const struct lanemap_server *server,
                                                 uint64_t ticks)
{
        return LANEMAP_UNLIKELY(ticks >= server->meter.limit_ticks);
}

/* Once a second, and when an option has changed: from how many ticks on something is slow. */
void lanemap_meter_cron(struct lanemap_server *server);

#endif
