/* See client/latency.h. */
#include "daemon/client/latency.h"

#include <string.h>

#include "daemon/client/health.h"

void lanemap_latency_add(struct lanemap_server *server, const char *event, uint64_t ms)
{
        struct lanemap_latency_sample *sample;
        struct lanemap_latency *latency = server->latencies;

        while (latency < server->latencies + LANEMAP_LATENCY_EVENTS - 1 && latency->event &&
               strcmp(latency->event, event) != 0)
                latency++;
        latency->event = event;
        latency->max_ms = LANEMAP_MAX(latency->max_ms, ms);
        sample = &latency->samples[(latency->n + LANEMAP_LATENCY_SAMPLES - 1) %
                                   LANEMAP_LATENCY_SAMPLES];
        if (latency->n > 0 && sample->time == server->now) {
                sample->ms = LANEMAP_MAX(sample->ms, ms);
                return;
        }
        latency->samples[latency->n++ % LANEMAP_LATENCY_SAMPLES] =
                (struct lanemap_latency_sample){.time = server->now, .ms = ms};
}

void lanemap_latency_cron(struct lanemap_server *server)
{
        struct lanemap_writer_health health = {.size = sizeof(health)};
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        uint64_t limit_ms = server->options.latency_ms, stalled_ms;

        if (!server->writer || limit_ms == 0)
                return;
        if (lanemap_writer_get_health(server->writer, &health) == 0 && health.part &&
            strstr(health.part, "log") && health.hung_ns / 1000000 >= limit_ms)
                lanemap_latency_add(server, "log", health.hung_ns / 1000000);
        if (lanemap_writer_try_stats(server->writer, 0, &stats) < 0)
                return;
        stalled_ms = (stats.write_stall_ns - server->stalled_ns) / 1000000;
        if (server->stalled_is_known && stalled_ms >= limit_ms)
                lanemap_latency_add(server, "flush-stall", stalled_ms);
        server->stalled_ns = stats.write_stall_ns;
        server->stalled_is_known = true;
}
