/* See client/health.h. */
#include "daemon/client/health.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "daemon/client/stop.h"
#include "daemon/loop/log.h"
#include "daemon/client/memory.h"
#include "daemon/loop/notify.h"

/* From here on a part that does not get on is worth a line in the log. */
#define SLOW_NS (UINT64_C(5) * 1000 * 1000 * 1000)

void lanemap_health_status(struct lanemap_server *server, const char *format, ...)
{
        char text[sizeof(server->health.status)];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        if (strcmp(text, server->health.status) == 0)
                return;

        memcpy(server->health.status, text, sizeof(text));
        lanemap_notify("STATUS=%s", text);
}

static void hang_tell(struct lanemap_server *server, const struct lanemap_writer_health *seen)
{
        struct lanemap_health *health = &server->health;

        if (seen->hung_ns >= SLOW_NS && health->hung_ns < SLOW_NS)
                lanemap_log(LOG_WARNING, "%s", seen->text);
        if (seen->hung_ns < SLOW_NS && health->hung_ns >= SLOW_NS)
                lanemap_log(LOG_NOTICE, "the writer gets on again, after %" PRIu64 " s",
                            health->hung_ns / 1000000000);
        health->hung_ns = seen->hung_ns;
}

static void watchdog_feed(struct lanemap_server *server, bool is_well)
{
        struct lanemap_health *health = &server->health;

        if (!is_well && !health->starving)
                lanemap_log(LOG_CRIT,
                            "a part of the writer has been at one step for longer than "
                            "--hang-limit, %" PRIu64 " s: the watchdog is not fed until it gets on",
                            server->options.hang_limit_seconds);
        health->starving = !is_well;
        if (is_well && server->watchdog_usec)
                lanemap_notify("WATCHDOG=1");
}

void lanemap_health_cron(struct lanemap_server *server)
{
        struct lanemap_writer_health seen = {.size = sizeof(seen)};
        char memory[768];
        uint64_t limit_ns = server->options.hang_limit_seconds * UINT64_C(1000000000);

        if (!server->writer || server->stopping) {
                watchdog_feed(server, true);
                return;
        }

        (void)lanemap_writer_get_health(server->writer, &seen);
        hang_tell(server, &seen);
        if (!seen.text[0] && lanemap_memory_explain(server, memory, sizeof(memory)))
                lanemap_health_status(server, "Serving %s; %s", server->options.name, memory);
        else
                lanemap_health_status(server, "Serving %s%s%s", server->options.name,
                                      seen.text[0] ? "; " : "", seen.text);
        watchdog_feed(server, limit_ns == 0 || seen.hung_ns < limit_ns);
        if (seen.fatal < 0) {
                lanemap_log(LOG_CRIT, "%s: %s; stopping", server->options.name, seen.text);
                server->failed = true;
                lanemap_server_stop(server);
        }
}
