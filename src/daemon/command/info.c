/* INFO: sections as Redis has them, and one of our own. Without the engine (loading) those that it
 * would answer are short. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/client/health.h"
#include "daemon/command/handlers.h"
#include "daemon/command/stats.h"

struct info {
        struct lanemap_server *server;
        struct lanemap_reply text;
        struct lanemap_writer_stats stats;
        uint64_t stats_age_ns;
        bool has_stats;
};

static void line(struct info *info, const char *format, ...) LANEMAP_PRINTF(2, 3);

static void line(struct info *info, const char *format, ...)
{
        char text[4352];
        va_list args;
        int n;

        va_start(args, format);
        n = vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        if (n > 0)
                lanemap_reply_raw(&info->text, text, LANEMAP_MIN((size_t)n, sizeof(text) - 1));
        lanemap_reply_raw(&info->text, "\r\n", 2);
}

static void row_line(void *arg, const char *name, const char *value, bool is_text)
{
        line(arg, "%s:%s", name, value);
}

static void rows_print(struct info *info, const char *section)
{
        lanemap_stats_section(section, info->server, info->has_stats ? &info->stats : NULL,
                              row_line, info);
}

static void info_server(struct info *info)
{
        const struct lanemap_server *server = info->server;
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        line(info, "lanemap_version:%s", LANEMAP_VERSION);
        line(info, "redis_version:7.0.0"); /* the dialect: clients choose their words by it */
        line(info, "redis_mode:standalone");
        line(info, "arch_bits:64");
        line(info, "process_id:%d", (int)getpid());
        line(info, "tcp_port:%u", server->options.port);
        line(info, "unixsocket:%s", server->options.socket);
        line(info, "index_name:%s", server->options.name);
        line(info, "index_directory:%s", server->options.directory);
        line(info, "uptime_in_seconds:%lld", (long long)(now.tv_sec - server->started_at.tv_sec));
        line(info, "uptime_in_days:%lld",
             (long long)(now.tv_sec - server->started_at.tv_sec) / 86400);
}

/* Clients whose next write the engine would make wait, or has not taken. */
static size_t writers_waiting(const struct lanemap_server *server)
{
        const struct lanemap_client *client;
        size_t n = 0;

        TAILQ_FOREACH(client, &server->clients, all)
        n += client->write_waits || (client->n_batched > 0 && server->batch.held_keys);
        return n;
}

/* health: "ok", or what is the matter. */
static void info_health(struct info *info)
{
        const struct lanemap_server *server = info->server;
        struct lanemap_writer_health health = {.size = sizeof(health)};

        line(info, "status:%s", server->health.status);
        line(info, "hang_limit_seconds:%" PRIu64, server->options.hang_limit_seconds);
        line(info, "watchdog_fed:%d", !server->health.starving);
        line(info, "waiting_writers:%zu", writers_waiting(server));
        if (!server->writer || lanemap_writer_get_health(server->writer, &health) < 0)
                return;
        line(info, "health:%s", health.text[0] ? health.text : "ok");
        line(info, "busy_part:%s", health.part ? health.part : "none");
        line(info, "busy_part_ms:%" PRIu64, health.hung_ns / 1000000);
        line(info, "stats_age_ms:%" PRIu64, info->stats_age_ns / 1000000);
}

static void info_clients(struct info *info)
{
        rows_print(info, "Clients");
}

static void info_memory(struct info *info)
{
        const struct lanemap_memory *memory = &info->server->memory;
        struct rusage usage;

        if (getrusage(RUSAGE_SELF, &usage) == 0)
                line(info, "used_memory_rss_peak:%lld", (long long)usage.ru_maxrss * 1024);
        line(info, "memory_needed:%" PRIu64, memory->needed_bytes);
        line(info, "memory_limit:%" PRIu64,
             memory->limit.bytes == UINT64_MAX ? 0 : memory->limit.bytes);
        line(info, "memory_limit_file:%s", memory->limit.file);
        line(info, "memory_short:%d", memory->is_short);
        if (!info->has_stats)
                return;
        line(info, "used_memory:%" PRIu64, info->stats.heap_bytes + info->stats.shared_used_bytes);
        rows_print(info, "Memory");
}

static void info_persistence(struct info *info)
{
        struct lanemap_server *server = info->server;

        line(info, "loading:%d", !server->writer);
        if (server->room.is_awaited)
                line(info, "waiting_for_room:%s", server->room.what.text);
        line(info, "aof_enabled:1");
        line(info, "rdb_changes_since_last_save:0");
        line(info, "aof_last_write_status:%s", server->log_error < 0 ? "err" : "ok");
        if (!info->has_stats)
                return;
        line(info, "appendfsync:%s",
             lanemap_choice_text(lanemap_appendfsync_choices, server->options.appendfsync));
        rows_print(info, "Persistence");
}

static void info_stats(struct info *info)
{
        rows_print(info, "Stats");
}

static void info_lanemap(struct info *info)
{
        if (info->has_stats)
                lanemap_stats_each(&info->stats, row_line, info);
}

static void info_keyspace(struct info *info)
{
        if (info->has_stats && info->stats.n_keys > 0)
                line(info, "db0:keys=%" PRIu64 ",expires=0,avg_ttl=0", info->stats.n_keys);
}

static void info_replication(struct info *info)
{
        line(info, "role:master");
        line(info, "connected_slaves:0");
}

static const struct {
        const char *name;
        void (*write)(struct info *info);
} sections[] = {
        {"Server", info_server},           {"Health", info_health},
        {"Clients", info_clients},         {"Memory", info_memory},
        {"Persistence", info_persistence}, {"Stats", info_stats},
        {"Replication", info_replication}, {"Lanemap", info_lanemap},
        {"Keyspace", info_keyspace},
};

static bool section_is_wanted(const struct lanemap_call *call, const char *name)
{
        if (call->n_args == 1)
                return true;
        for (uint32_t i = 1; i < call->n_args; i++)
                if (lanemap_call_is(call, i, name) || lanemap_call_is(call, i, "all") ||
                    lanemap_call_is(call, i, "default") || lanemap_call_is(call, i, "everything"))
                        return true;
        return false;
}

void lanemap_command_info(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        struct info info = {.server = call->server, .stats = {.size = sizeof(info.stats)}};

        lanemap_reply_init(&info.text, 2);
        info.has_stats = lanemap_health_stats(call->server, &info.stats, &info.stats_age_ns);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(sections); i++) {
                if (!section_is_wanted(call, sections[i].name))
                        continue;
                if (info.text.end > 0)
                        lanemap_reply_raw(&info.text, "\r\n", 2);
                line(&info, "# %s", sections[i].name);
                sections[i].write(&info);
        }
        if (info.text.failed)
                lanemap_reply_error(reply, "ERR no memory");
        else
                lanemap_reply_verbatim(reply, info.text.bytes, info.text.end);
        lanemap_reply_deinit(&info.text);
}
