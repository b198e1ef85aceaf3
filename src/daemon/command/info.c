/* INFO: sections as Redis has them, and one of our own. Without the engine (loading) those that it
 * would answer are short. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "daemon/client/health.h"
#include "daemon/client/memory.h"
#include "daemon/client/meter.h"
#include "daemon/command/handlers.h"
#include "daemon/command/registry.h"
#include "daemon/command/stats.h"

#ifdef LANEMAP_HAVE_MIMALLOC
#define LANEMAP_ALLOCATOR "mimalloc"
#else
#define LANEMAP_ALLOCATOR "libc"
#endif

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
        struct utsname os;
        char path[4096];
        ssize_t n;

        clock_gettime(CLOCK_MONOTONIC, &now);
        line(info, "lanemap_version:%s", LANEMAP_VERSION);
        line(info, "redis_version:7.0.0"); /* the dialect: clients choose their words by it */
        line(info, "redis_mode:standalone");
        if (uname(&os) == 0)
                line(info, "os:%s %s %s", os.sysname, os.release, os.machine);
        line(info, "arch_bits:%zu", 8 * sizeof(void *));
        line(info, "monotonic_clock:POSIX clock_gettime");
        line(info, "multiplexing_api:epoll");
        line(info, "process_id:%d", (int)getpid());
        line(info, "process_supervised:%s", getenv("NOTIFY_SOCKET") ? "systemd" : "no");
        line(info, "run_id:%s", server->run_id);
        line(info, "tcp_port:%u", server->options.port);
        line(info, "unixsocket:%s", server->options.socket);
        line(info, "index_name:%s", server->options.name);
        line(info, "index_directory:%s", server->options.directory);
        line(info, "uptime_in_seconds:%lld", (long long)(now.tv_sec - server->started_at.tv_sec));
        line(info, "uptime_in_days:%lld",
             (long long)(now.tv_sec - server->started_at.tv_sec) / 86400);
        n = readlink("/proc/self/exe", path, sizeof(path) - 1);
        path[LANEMAP_MAX(n, 0)] = 0;
        line(info, "executable:%s", path);
        line(info, "config_file:%s",
             server->options.options_file ? server->options.options_file : "");
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

static void bytes_line(struct info *info, const char *name, uint64_t bytes)
{
        static const char units[] = "BKMGT";
        double number = (double)bytes;
        size_t unit = 0;

        while (number >= 1024 && unit + 2 < sizeof(units)) {
                number /= 1024;
                unit++;
        }
        line(info, "%s:%" PRIu64, name, bytes);
        line(info, "%s_human:%.*f%c", name, unit ? 2 : 0, number, units[unit]);
}

static void info_memory(struct info *info)
{
        const struct lanemap_memory *memory = &info->server->memory;
        struct rusage usage = {.ru_maxrss = 0};
        uint64_t used = lanemap_memory_used(info->server, &info->stats);

        /* First: redis-cli --stat takes the first line that begins with its name. */
        if (info->has_stats)
                bytes_line(info, "used_memory", used);
        bytes_line(info, "used_memory_rss", lanemap_memory_rss());
        (void)getrusage(RUSAGE_SELF, &usage);
        line(info, "used_memory_rss_peak:%lld", (long long)usage.ru_maxrss * 1024);
        if (info->has_stats)
                bytes_line(info, "used_memory_peak", info->server->used_memory_peak);
        line(info, "maxmemory:0");
        line(info, "maxmemory_policy:noeviction");
        line(info, "mem_allocator:%s", LANEMAP_ALLOCATOR);
        line(info, "memory_needed:%" PRIu64, memory->needed_bytes);
        line(info, "memory_limit:%" PRIu64,
             memory->limit.bytes == UINT64_MAX ? 0 : memory->limit.bytes);
        line(info, "memory_limit_file:%s", memory->limit.file);
        line(info, "memory_short:%d", memory->is_short);
        if (!info->has_stats)
                return;
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

static void cpu_line(struct info *info, const char *name, struct timeval time)
{
        line(info, "used_cpu_%s:%lld.%06ld", name, (long long)time.tv_sec, (long)time.tv_usec);
}

static void info_cpu(struct info *info)
{
        struct rusage all = {.ru_maxrss = 0}, thread = all, children = all;

        (void)getrusage(RUSAGE_SELF, &all);
        (void)getrusage(RUSAGE_THREAD, &thread);
        (void)getrusage(RUSAGE_CHILDREN, &children);
        cpu_line(info, "sys", all.ru_stime);
        cpu_line(info, "user", all.ru_utime);
        cpu_line(info, "sys_children", children.ru_stime);
        cpu_line(info, "user_children", children.ru_utime);
        cpu_line(info, "sys_main_thread", thread.ru_stime);
        cpu_line(info, "user_main_thread", thread.ru_utime);
}

static void info_modules(struct info *info)
{
}

static void info_cluster(struct info *info)
{
        line(info, "cluster_enabled:0");
}

static void command_line(struct info *info, const char *name,
                         const struct lanemap_meter_counts *counts)
{
        uint64_t us = lanemap_meter_ns(info->server, counts->ticks) / 1000;

        if (counts->calls == 0 && counts->rejected == 0)
                return;
        line(info,
             "cmdstat_%s:calls=%" PRIu64 ",usec=%" PRIu64
             ",usec_per_call=%.2f,rejected_calls=%" PRIu64 ",failed_calls=%" PRIu64,
             name, counts->calls, us, counts->calls ? (double)us / (double)counts->calls : 0.0,
             counts->rejected, counts->failed);
}

static void latency_line(struct info *info, const char *name,
                         const struct lanemap_meter_counts *counts)
{
        if (counts->calls == 0 || lanemap_meter_total(counts) == 0)
                return;
        line(info, "latency_percentiles_usec_%s:p50=%.3f,p99=%.3f,p99.9=%.3f", name,
             (double)lanemap_meter_percentile(counts, 50) / 1000,
             (double)lanemap_meter_percentile(counts, 99) / 1000,
             (double)lanemap_meter_percentile(counts, 99.9) / 1000);
}

/* What writes do is done for many at once: that is a row of its own. */
static void commands_print(struct info *info,
                           void (*print)(struct info *info, const char *name,
                                         const struct lanemap_meter_counts *counts))
{
        const struct lanemap_command *command;

        for (size_t i = 0; (command = lanemap_registry_at(i)); i++)
                print(info, command->full_name, command->counts);
        print(info, LANEMAP_METER_APPLY, &info->server->applies);
}

static void info_commandstats(struct info *info)
{
        commands_print(info, command_line);
}

static void info_latencystats(struct info *info)
{
        commands_print(info, latency_line);
}

static void info_errorstats(struct info *info)
{
        const char *code;
        uint64_t n;

        for (size_t i = 0; (code = lanemap_reply_error_code(i, &n)); i++)
                line(info, "errorstat_%s:count=%" PRIu64, code, n);
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
        line(info, "master_replid:%s", info->server->run_id);
        line(info, "master_repl_offset:%" PRIu64, info->server->position);
}

/* Which words a section answers to besides its name. */
enum {
        BY_DEFAULT = 1, /* default, all, everything, and no word at all */
        BY_ALL = 2,     /* all, everything */
};

static const struct {
        const char *name;
        void (*write)(struct info *info);
        int by;
} sections[] = {
        {"Server", info_server, BY_DEFAULT},           {"Health", info_health, BY_DEFAULT},
        {"Clients", info_clients, BY_DEFAULT},         {"Memory", info_memory, BY_DEFAULT},
        {"Persistence", info_persistence, BY_DEFAULT}, {"Stats", info_stats, BY_DEFAULT},
        {"Replication", info_replication, BY_DEFAULT}, {"CPU", info_cpu, BY_DEFAULT},
        {"Modules", info_modules, BY_DEFAULT},         {"Commandstats", info_commandstats, BY_ALL},
        {"Errorstats", info_errorstats, BY_DEFAULT},   {"Latencystats", info_latencystats, BY_ALL},
        {"Cluster", info_cluster, BY_DEFAULT},         {"Lanemap", info_lanemap, BY_DEFAULT},
        {"Keyspace", info_keyspace, BY_DEFAULT},
};

static bool section_is_wanted(const struct lanemap_call *call, size_t section)
{
        if (call->n_args == 1)
                return sections[section].by == BY_DEFAULT;
        for (uint32_t i = 1; i < call->n_args; i++)
                if (lanemap_call_is(call, i, sections[section].name) ||
                    lanemap_call_is(call, i, "all") || lanemap_call_is(call, i, "everything") ||
                    (lanemap_call_is(call, i, "default") && sections[section].by == BY_DEFAULT))
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
                if (!section_is_wanted(call, i))
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
