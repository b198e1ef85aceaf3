/* See command/stats.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/client/meter.h"
#include "daemon/command/registry.h"
#include "daemon/command/stats.h"
#include "daemon/options.h"

enum kind {
        COUNTER,
        GAUGE,
        FLAG,
        SEGMENT_KIND,
        FILTER,
};

static const struct {
        const char *name;
        const struct lanemap_choice *words; /* NULL: a number */
} kinds[] = {
        [COUNTER] = {"counter"},
        [GAUGE] = {"gauge"},
        [FLAG] = {"0 or 1"},
        [SEGMENT_KIND] = {"kind of segments", lanemap_segment_kind_choices},
        [FILTER] = {"policy of filters", lanemap_filter_choices},
};

#define BYTES(type, member) sizeof(((struct type *)NULL)->member)

#define ROW(member, kind, unit, meaning)                \
        {#member,                                       \
         kind,                                          \
         unit,                                          \
         meaning,                                       \
         offsetof(struct lanemap_writer_stats, member), \
         BYTES(lanemap_writer_stats, member)},

static const struct {
        const char *name;
        enum kind kind;
        const char *unit, *meaning;
        size_t off, bytes;
} engine_rows[] = {
#include "stats_rows.inc" /* made by stats_rows.py from the comments in <lanemap/writer.h> */
};

#define ENGINE(member) \
        false, offsetof(struct lanemap_writer_stats, member), BYTES(lanemap_writer_stats, member)
#define SERVER(member) true, offsetof(struct lanemap_server, member), BYTES(lanemap_server, member)

/* What INFO shows besides the section that has all of the engine's. */
static const struct info_row {
        const char *section, *name;
        bool is_server; /* else the engine's */
        size_t off, bytes;
        bool resets; /* CONFIG RESETSTAT */
} info_rows[] = {
        {"Clients", "connected_clients", SERVER(n_clients)},
        {"Clients", "maxclients", SERVER(n_clients_max)},
        {"Clients", "tcp_clients", SERVER(n_tcp_clients)},
        {"Clients", "max_tcp_clients", SERVER(n_tcp_clients_max)},
        {"Clients", "peak_clients", SERVER(n_clients_peak)},
        {"Clients", "blocked_clients", SERVER(n_blocked)},
        {"Clients", "mem_clients_normal", SERVER(clients_bytes)},
        {"Clients", "mem_clients_peak", SERVER(clients_bytes_peak)},
        {"Clients", "maxmemory_clients", SERVER(clients_bytes_limit)},
        {"Clients", "total_watched_keys", SERVER(watched.n_keys)},
        {"Memory", "heap_bytes", ENGINE(heap_bytes)},
        {"Memory", "shared_bytes", ENGINE(shared_bytes)},
        {"Memory", "shared_used_bytes", ENGINE(shared_used_bytes)},
        {"Memory", "overlay_bytes", ENGINE(overlay_bytes)},
        {"Memory", "segment_bytes", ENGINE(segment_bytes)},
        {"Persistence", "position", ENGINE(position)},
        {"Persistence", "durable", ENGINE(durable)},
        {"Persistence", "acknowledgeable", SERVER(acknowledged)},
        {"Persistence", "log_bytes", ENGINE(log_bytes)},
        {"Persistence", "log_files", ENGINE(n_log_files)},
        {"Persistence", "log_slow_syncs", ENGINE(n_log_slow_syncs)},
        {"Persistence", "log_sync_max_ns", ENGINE(log_sync_max_ns)},
        {"Persistence", "log_sync_pending_ns", ENGINE(log_sync_pending_ns)},
        {"Persistence", "mark_position", ENGINE(mark_position)},
        {"Persistence", "recovered_records", ENGINE(recovered_records)},
        {"Persistence", "recovery_ns", ENGINE(recovery_ns)},
        {"Stats", "total_connections_received", SERVER(n_connections), true},
        {"Stats", "rejected_connections", SERVER(n_refused), true},
        {"Stats", "total_commands_processed", SERVER(n_commands), true},
        {"Stats", "total_error_replies", SERVER(n_errors), true},
        {"Stats", "outcome_unknown_replies", SERVER(n_outcome_unknown), true},
        {"Stats", "applies", SERVER(applies.calls), true},
        {"Stats", "total_net_input_bytes", SERVER(bytes_in), true},
        {"Stats", "total_net_output_bytes", SERVER(bytes_out), true},
        {"Stats", "timeout_output_disconnections", SERVER(n_closed_unread), true},
        {"Stats", "evicted_clients", SERVER(n_evicted), true},
        {"Stats", "unauthenticated_disconnections", SERVER(n_closed_unauthenticated), true},
        {"Stats", "acl_access_denied_auth", SERVER(n_wrong_passwords), true},
};

static uint64_t number_at(const void *object, size_t off, size_t bytes)
{
        const char *at = (const char *)object + off;

        return bytes == 4 ? (uint64_t) * (const uint32_t *)(const void *)at
                          : *(const uint64_t *)(const void *)at;
}

static void uuid_format(const unsigned char *uuid, char *text, size_t n_text)
{
        size_t n = 0;

        for (size_t i = 0; i < 16; i++)
                n += (size_t)snprintf(text + n, n_text - n,
                                      i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
                                      uuid[i]);
}

void lanemap_stats_each(const struct lanemap_writer_stats *stats,
                        void (*fn)(void *arg, const char *name, const char *value, bool is_text),
                        void *arg)
{
        char text[40];

        uuid_format(stats->uuid, text, sizeof(text));
        fn(arg, "uuid", text, true);
        snprintf(text, sizeof(text), "%" PRIu64, stats->generation);
        fn(arg, "generation", text, true); /* random: half of them do not fit RESP's integers */
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(engine_rows); i++) {
                const struct lanemap_choice *words = kinds[engine_rows[i].kind].words;
                uint64_t number = number_at(stats, engine_rows[i].off, engine_rows[i].bytes);

                snprintf(text, sizeof(text), "%" PRIu64, number);
                fn(arg, engine_rows[i].name, words ? lanemap_choice_text(words, number) : text,
                   words != NULL);
        }
}

void lanemap_stats_section(const char *section, const struct lanemap_server *server,
                           const struct lanemap_writer_stats *stats,
                           void (*fn)(void *arg, const char *name, const char *value, bool is_text),
                           void *arg)
{
        char text[24];

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(info_rows); i++) {
                const struct info_row *row = &info_rows[i];
                const void *object = row->is_server ? (const void *)server : (const void *)stats;

                if (!object || strcmp(row->section, section) != 0)
                        continue;
                snprintf(text, sizeof(text), "%" PRIu64, number_at(object, row->off, row->bytes));
                fn(arg, row->name, text, false);
        }
}

bool lanemap_stats_describe(size_t i, char *text, size_t n_text)
{
        if (i >= LANEMAP_N_ELEMENTS(engine_rows))
                return false;
        snprintf(text, n_text, "%s: %s%s%s%s%s", engine_rows[i].name,
                 kinds[engine_rows[i].kind].name, *engine_rows[i].unit ? ", " : "",
                 engine_rows[i].unit, *engine_rows[i].meaning ? "; " : "", engine_rows[i].meaning);
        return true;
}

void lanemap_stats_reset(struct lanemap_server *server)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(info_rows); i++)
                if (info_rows[i].resets)
                        memset((char *)server + info_rows[i].off, 0, info_rows[i].bytes);
        for (size_t i = 0; lanemap_registry_at(i); i++)
                lanemap_meter_reset(lanemap_registry_at(i)->counts);
        lanemap_meter_reset(&server->applies);
        lanemap_reply_error_codes_reset();
}
