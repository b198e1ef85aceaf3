/* See client/meter.h. */
#include "daemon/client/meter.h"

#include <assert.h>
#include <string.h>

#include "daemon/client/latency.h"
#include "daemon/client/slowlog.h"

void lanemap_meter_init(struct lanemap_server *server)
{
        server->meter.first_ticks = lanemap_meter_ticks();
        server->meter.first_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        server->meter.limit_ticks = 0; /* asks slow() each time, until cron knows better */
}

uint64_t lanemap_meter_ns(const struct lanemap_server *server, uint64_t ticks)
{
        double all_ticks = (double)(lanemap_meter_ticks() - server->meter.first_ticks);
        double all_ns = (double)(lanemap_now_ns(&lanemap_clock_monotonic) - server->meter.first_ns);

        return all_ticks > 0 ? (uint64_t)((double)ticks * all_ns / all_ticks) : 0;
}

static uint64_t slowlog_limit_ns(const struct lanemap_server *server)
{
        uint64_t limit_us = server->options.slowlog_us;

        return limit_us >= UINT64_MAX / 1000 ? UINT64_MAX : limit_us * 1000;
}

static uint64_t latency_limit_ns(const struct lanemap_server *server)
{
        uint64_t limit_ms = server->options.latency_ms;

        return limit_ms == 0 ? UINT64_MAX : limit_ms * 1000000;
}

void lanemap_meter_slow(struct lanemap_client *client, const char *event,
                        const struct lanemap_meter_args *args, uint64_t ticks)
{
        struct lanemap_server *server = client->server;
        uint64_t ns = lanemap_meter_ns(server, ticks);

        if (ns >= slowlog_limit_ns(server))
                lanemap_slowlog_add(client, args, ns / 1000);
        if (ns >= latency_limit_ns(server))
                lanemap_latency_add(server, event, ns / 1000000);
}

/* ---- histograms (M5) ---- */

#define LOG2_STEPS 4
#define LOG2_FIRST 10 /* below 2^this the steps have one width */
#define FIRST_NS   (UINT64_C(1) << LOG2_FIRST)

static_assert(1 << LOG2_STEPS == LANEMAP_METER_STEPS, "steps of a power of two");
static_assert(LANEMAP_METER_POWERS * LANEMAP_METER_STEPS == LANEMAP_METER_BUCKETS, "all powers");

static size_t bucket_of(uint64_t ns)
{
        unsigned log2;
        size_t bucket;

        if (ns < FIRST_NS)
                return (size_t)(ns >> (LOG2_FIRST - LOG2_STEPS));
        log2 = 63 - (unsigned)__builtin_clzll(ns);
        bucket = (size_t)(log2 - LOG2_FIRST + 1) * LANEMAP_METER_STEPS +
                 (size_t)(ns >> (log2 - LOG2_STEPS) & (LANEMAP_METER_STEPS - 1));
        return LANEMAP_MIN(bucket, LANEMAP_METER_BUCKETS - 1);
}

/* Return: the longest time that is counted in it. */
static uint64_t bucket_ns(size_t bucket)
{
        size_t power = bucket / LANEMAP_METER_STEPS, step = bucket % LANEMAP_METER_STEPS;
        unsigned shift = LOG2_FIRST - LOG2_STEPS;

        if (power == 0)
                return ((uint64_t)(step + 1) << shift) - 1;
        return ((uint64_t)(LANEMAP_METER_STEPS + step + 1) << (shift + power - 1)) - 1;
}

void lanemap_meter_count(const struct lanemap_server *server, struct lanemap_meter_counts *counts,
                         uint64_t n_calls, uint64_t ticks)
{
        uint64_t ns = server->meter.ns_per_tick > 0
                              ? (uint64_t)((double)ticks * server->meter.ns_per_tick)
                              : lanemap_meter_ns(server, ticks);

        counts->ticks += n_calls * ticks;
        counts->covered += n_calls;
        counts->histogram[bucket_of(ns)] += n_calls;
}

/* Most commands are never called: their pages stay untouched. */
void lanemap_meter_reset(struct lanemap_meter_counts *counts)
{
        if (counts->calls > 0 || counts->rejected > 0)
                memset(counts, 0, sizeof(*counts));
}

uint64_t lanemap_meter_total(const struct lanemap_meter_counts *counts)
{
        uint64_t sum = 0;

        for (size_t i = 0; i < LANEMAP_METER_BUCKETS; i++)
                sum += counts->histogram[i];
        return sum;
}

uint64_t lanemap_meter_percentile(const struct lanemap_meter_counts *counts, double percent)
{
        uint64_t sum = 0, total = lanemap_meter_total(counts);
        double wanted = (double)total * percent / 100;
        size_t i;

        for (i = 0; i < LANEMAP_METER_BUCKETS - 1; i++) {
                sum += counts->histogram[i];
                if (sum > 0 && (double)sum >= wanted)
                        break;
        }
        return bucket_ns(i);
}

void lanemap_meter_powers(const struct lanemap_meter_counts *counts,
                          uint64_t ret_below[LANEMAP_METER_POWERS])
{
        uint64_t sum = 0;

        for (size_t i = 0; i < LANEMAP_METER_BUCKETS; i++) {
                sum += counts->histogram[i];
                ret_below[i / LANEMAP_METER_STEPS] = sum;
        }
}

void lanemap_meter_cron(struct lanemap_server *server)
{
        uint64_t limit_ns = LANEMAP_MIN(slowlog_limit_ns(server), latency_limit_ns(server));
        double ns = (double)lanemap_meter_ns(server, UINT64_C(1) << 32);

        server->meter.ns_per_tick = ns / (double)(UINT64_C(1) << 32);
        server->meter.limit_ticks =
                limit_ns == UINT64_MAX || ns <= 0
                        ? UINT64_MAX
                        : (uint64_t)((double)limit_ns / ns * (double)(UINT64_C(1) << 32) * 0.99);
        lanemap_slowlog_trim(server);
        lanemap_latency_cron(server);
}
