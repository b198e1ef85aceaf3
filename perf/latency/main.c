/*
 * Who waits for what: a client for its reply, a reader for an add, and clients for what others do.
 * See private.h for the parts.
 */
#include <stdio.h>
#include <string.h>

#include "common/base.h"
#include "latency/private.h"
#include "support/command.h"
#include "support/output.h"
#include "support/redis.h"

static const struct perf_goal goals[] = {
        {"reply_p50", false, 12},           {"visible_p50", false, 4},
        {"growth_main_thread", false, 250}, {"growth_entries_written_per_add", false, 7},
        {"growth_ping_max", false, 10},     {"growth_read_max", false, 10},
        {"sadd_shared_per_id", false, 16},  {"sadd_ping_max", false, 20},
        {"sadd_failed", false, 0},          {"exec_ping_max", false, 20},
        {"exec_failed", false, 0},          {"smembers_ping_max", false, 20},
        {"smembers_failed", false, 0},      {"ids_ping_max", false, 20},
        {"ids_failed", false, 0},           {"compact_ping_max", false, 20},
        {"compact_failed", false, 0},       {"backup_ping_max", false, 20},
        {"backup_failed", false, 0},        {"verify_ping_max", false, 20},
        {"verify_failed", false, 0},        {"flushall_ping_max", false, 20},
        {"flushall_failed", false, 0},      {"unread_ping_max", false, 20},
        {"unread_read_max", false, 20},
};

static const struct {
        const char *name;
        void (*measure)(const struct latency_options *options, struct perf_table *table);
} parts[] = {
        {"reply", latency_measure_reply},
        {"visible", latency_measure_visible},
        {"growth", latency_measure_growth},
        {"commands", latency_measure_commands},
};

static void options_parse(int argc, char **argv, struct latency_options *options)
{
#define TO(member) LANEMAP_OPTION_TO(struct latency_options, member)
        static const struct lanemap_option all[] = {
                {"keys", "N", "keys of reply and visible (default 1000000)", TO(n_keys), 1},
                {"samples", "N", "adds of reply and visible (default 50000)", TO(n_samples), 1},
                {"growth-keys", "N", "keys before the index grows (default 10000000)",
                 TO(n_growth_keys), 1},
                {"growth-adds", "N", "by how many it grows (default 6000000)", TO(n_growth_adds),
                 1},
                {"growth-clients", "N", "who add (default 50)", TO(n_growth_clients), 1, 256},
                {"growth-pipeline", "N", "requests of each at a time (default 256)",
                 TO(n_growth_pipeline), 1, 100000},
                {"commands-keys", "N",
                 "keys of commands, and ids of its longest posting (default 5000000)",
                 TO(n_commands_keys), 1, 100000000},
                {"appendfsync", "POLICY", "of growth and commands (default everysec)",
                 TO(appendfsync)},
                {"first", NULL,
                 "the daemon's first thread runs before those of all other processes", TO(first)},
                {"only", "PART", "reply, visible, growth or commands", TO(only)},
                {"lanemapd", "FILE", "the daemon (default: this build's)", TO(lanemapd)},
                {"redis-server", "FILE", "for reply (default: of PATH)", TO(redis_server)},
                PERF_OPTION_CSV(struct latency_options, csv),
                PERF_OPTION_QUICK(struct latency_options, quick),
                PERF_OPTION_NAME(struct latency_options, name),
                PERF_OPTION_DIR(struct latency_options, dir),
        };

        perf_command_parse(all, LANEMAP_N_ELEMENTS(all), options, argc, argv);
        options->dir = perf_command_dir(options->dir);
        if (!options->quick)
                return;
        options->n_keys = 5000;
        options->n_samples = 1000;
        options->n_growth_keys = 20000;
        options->n_growth_adds = 10000;
        options->n_commands_keys = 20000;
        options->n_sadd_ids = 5000;
        options->n_exec = 5000;
        options->n_unread_ids = 1000;
        options->quiet_ms = 200;
        options->settle_ms = 50;
}

int main(int argc, char **argv)
{
        struct latency_options options = {
                .lanemapd = perf_sibling_path("../src/daemon/lanemapd"),
                .reader = perf_sibling_path("latency-reader"),
                .redis_server = "redis-server",
                .appendfsync = "everysec",
                .n_keys = 1000000,
                .n_samples = 50000,
                .n_growth_keys = 10000000,
                .n_growth_adds = 6000000,
                .n_growth_clients = 50,
                .n_growth_pipeline = 256,
                .n_commands_keys = 5000000,
                .n_sadd_ids = 524288,
                .n_exec = 500000,
                .n_unread_ids = 100000,
                .quiet_ms = 3000,
                .settle_ms = 1000,
        };
        static struct perf_table table;
        struct perf_output output;
        bool any = false;

        options_parse(argc, argv, &options);
        perf_output_open(&output, options.csv, goals, LANEMAP_N_ELEMENTS(goals));
        perf_table_circumstances(&table);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(parts); i++) {
                if (options.only && strcmp(options.only, parts[i].name) != 0)
                        continue;
                parts[i].measure(&options, &table);
                any = true;
        }
        if (!any)
                perf_command_refuse("--only: reply, visible, growth or commands");
        perf_output_table(&output, &table, "who waits for what", options.n_growth_keys);
        perf_output_close(&output);
        return 0;
}
