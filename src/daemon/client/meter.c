/* See client/meter.h. */
#include "daemon/client/meter.h"

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

void lanemap_meter_slow(struct lanemap_client *client, const char *event, const char *message,
                        const struct lanemap_resp_arg *args, uint32_t n_args, uint64_t ticks)
{
        struct lanemap_server *server = client->server;
        uint64_t ns = lanemap_meter_ns(server, ticks);

        if (ns >= slowlog_limit_ns(server))
                lanemap_slowlog_add(client, message, args, n_args, ns / 1000);
        if (ns >= latency_limit_ns(server))
                lanemap_latency_add(server, event, ns / 1000000);
}

void lanemap_meter_cron(struct lanemap_server *server)
{
        uint64_t limit_ns = LANEMAP_MIN(slowlog_limit_ns(server), latency_limit_ns(server));
        double ns = (double)lanemap_meter_ns(server, UINT64_C(1) << 32);

        server->meter.limit_ticks =
                limit_ns == UINT64_MAX || ns <= 0
                        ? UINT64_MAX
                        : (uint64_t)((double)limit_ns / ns * (double)(UINT64_C(1) << 32) * 0.99);
        lanemap_slowlog_trim(server);
        lanemap_latency_cron(server);
}
