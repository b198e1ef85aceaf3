/*
 * One index through its life: built, compacted, measured at rest, looked up, churned, stopped,
 * started, killed, recovered.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "index/private.h"
#include "support/pin.h"
#include "support/windows.h"

#define CHURN_SECONDS       10 /* in which a tenth of the keys is replaced, unless it is said */
#define CHURN_SECONDS_QUICK 1
#define SAMPLE_MS           50

/* Keys that neither the build nor the churn has. */
#define RESTART_FIRST (UINT64_C(1) << 40)

extern char **environ;

/* ---- memory ---- */

static void memory_rows(struct perf_table *table, const char *prefix,
                        const struct index_memory *memory, uint64_t n_keys)
{
        const struct {
                const char *name;
                uint64_t bytes;
        } rows[] = {
                {"memory_shared", memory->footprint.shared_bytes},
                {"memory_writer_private", memory->private_bytes},
                {"memory_segment_page_cache", memory->footprint.cached_bytes},
                {"memory_total", memory->memory_bytes},
                {"disk_segments", memory->footprint.segment_bytes},
                {"disk_log", memory->footprint.log_bytes},
                {"disk_manifest", memory->footprint.manifest_bytes},
                {"disk_total", memory->disk_bytes},
        };
        char name[64];

        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
                snprintf(name, sizeof(name), "%s%s", prefix, rows[i].name);
                perf_table_add(table, name, (double)rows[i].bytes, "bytes");
        }
        snprintf(name, sizeof(name), "%smemory_per_key", prefix);
        perf_table_add(table, name, (double)memory->memory_bytes / (double)n_keys, "bytes");
        snprintf(name, sizeof(name), "%sdisk_per_key", prefix);
        perf_table_add(table, name, (double)memory->disk_bytes / (double)n_keys, "bytes");
}

/* Idle for long enough that what the engine gives back when idle is back. */
static struct index_memory memory_at_rest(const struct perf_place *place,
                                          const struct index_writer *writer)
{
        perf_sleep_ms(2500);
        return index_memory_take(place, writer);
}

/* ---- the reader process ---- */

struct lookups {
        pid_t pid;
        FILE *output;
        const char *prefix;
};

static void lookups_start(const struct index_options *options, const struct perf_place *place,
                          const char *prefix, uint64_t first, uint64_t n_keys, uint64_t chase_bytes,
                          struct lookups *lookups)
{
        char first_text[24], keys[24], chase[24];
        const char *argv[] = {
                options->reader,
                "--name",
                place->name,
                "--prefix",
                prefix,
                "--first",
                first_text,
                "--keys",
                keys,
                "--chase-bytes",
                chase,
                "--mix",
                options->mix == PERF_MIX_PRODUCTION ? "production" : "single",
                "--queries",
                options->quick ? "50000" : "1000000",
                "--window",
                options->quick ? "20000" : "200000",
                "--rounds",
                options->quick ? "3" : "9",
                NULL,
        };
        posix_spawn_file_actions_t actions;
        int fds[2], r;

        snprintf(first_text, sizeof(first_text), "%" PRIu64, first);
        snprintf(keys, sizeof(keys), "%" PRIu64, n_keys);
        snprintf(chase, sizeof(chase), "%" PRIu64, chase_bytes);
        if (pipe(fds) < 0)
                perf_die("pipe", -errno);

        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addclose(&actions, fds[0]);
        posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
        posix_spawn_file_actions_addclose(&actions, fds[1]);
        r = posix_spawn(&lookups->pid, options->reader, &actions, NULL, (char **)(uintptr_t)argv,
                        environ);
        posix_spawn_file_actions_destroy(&actions);
        if (r != 0)
                perf_die(options->reader, r);

        close(fds[1]);
        lookups->output = fdopen(fds[0], "r");
        lookups->prefix = prefix;
        if (!lookups->output)
                perf_die("fdopen", -errno);
}

/* Its rows fit into a pipe, so it can be waited for first. */
static bool lookups_ended(struct lookups *lookups, int flags)
{
        int status = 0;
        pid_t pid = waitpid(lookups->pid, &status, flags);

        if (pid == 0)
                return false;
        if (pid < 0 || status != 0)
                perf_die("the reader process failed", -ECHILD);

        return true;
}

static void lookups_rows(struct lookups *lookups, struct perf_table *table)
{
        char line[256], name[56], unit[16];
        double value;

        while (fgets(line, sizeof(line), lookups->output))
                if (sscanf(line, "row %55s %lf %15s", name, &value, unit) == 3)
                        perf_table_add(table, name, value, unit);
        fclose(lookups->output);
}

/* ---- the parts ---- */

static void build(struct index_writer *writer, uint64_t n_keys, struct perf_table *table)
{
        struct index_writer_reply loaded, compacted;

        loaded = index_writer_ask(writer, INDEX_WRITER_LOAD, 0, n_keys);
        perf_table_add(table, "build_adds_rate", (double)loaded.n / loaded.seconds, "1/s");
        perf_table_add(table, "build_write_stalls", (double)loaded.stats.n_write_stalls, "count");
        compacted = index_writer_ask(writer, INDEX_WRITER_COMPACT, 0, 0);
        perf_table_add(table, "compact_time", compacted.seconds, "s");
        if (compacted.stats.n_keys != n_keys)
                perf_die("the number of keys is wrong", -EBADMSG);

        perf_table_add(table, "build_write_amplification",
                       (double)compacted.stats.segment_bytes_written /
                               (double)compacted.stats.segment_bytes,
                       "ratio");
        perf_table_add(table, "build_log_bytes_per_add",
                       (double)compacted.stats.user_bytes_in / (double)loaded.n, "bytes");
}

static void lookups_at_rest(const struct index_options *options, const struct perf_place *place,
                            uint64_t n_keys, const struct index_memory *memory,
                            struct perf_table *table)
{
        struct lookups lookups;

        lookups_start(options, place, "", 0, n_keys,
                      memory->footprint.cached_bytes + memory->footprint.shared_bytes, &lookups);
        (void)lookups_ended(&lookups, 0);
        lookups_rows(&lookups, table);
}

struct churn_samples {
        double n;
        double memory_sum;
        double memory_max;
        double segments_sum;
        double segments_max;
        double overlay_sum;
        double shared_sum;
        double private_sum;
        double cached_sum;
};

/* Where the bytes of one moment are, and how far the engine is: for whoever wants to see the
 * shape. */
static void timeline_line(FILE *file, const struct index_memory *memory,
                          const struct lanemap_writer_stats *stats)
{
        if (!file)
                return;

        fprintf(file,
                "total %.2f cached %.2f files %.2f live %.2f young %.2f | shared %.2f used %.2f "
                "overlays %.2f quarantine %.2f | private %.2f heap %.2f | flushes %" PRIu64
                " merges %" PRIu64 " segments %.2f max %u\n",
                (double)memory->memory_bytes / (double)stats->n_keys,
                (double)memory->footprint.cached_bytes / (double)stats->n_keys,
                (double)stats->segment_bytes / (double)stats->n_keys,
                (double)stats->segment_live_bytes / (double)stats->n_keys,
                (double)stats->segment_young_bytes / (double)stats->n_keys,
                (double)memory->footprint.shared_bytes / (double)stats->n_keys,
                (double)stats->shared_used_bytes / (double)stats->n_keys,
                (double)stats->overlay_bytes / (double)stats->n_keys,
                (double)stats->quarantine_bytes / (double)stats->n_keys,
                (double)memory->private_bytes / (double)stats->n_keys,
                (double)stats->heap_bytes / (double)stats->n_keys, stats->n_flushes,
                stats->n_merges, (double)stats->n_segments / stats->n_lanes, stats->n_segments_max);
}

static void churn_sample(const struct index_options *options, const struct perf_place *place,
                         struct index_writer *writer, struct churn_samples *samples)
{
        struct index_memory memory = index_memory_take(place, writer);
        struct lanemap_writer_stats stats =
                index_writer_ask(writer, INDEX_WRITER_STATS, 0, 0).stats;
        double per_key = (double)memory.memory_bytes / (double)stats.n_keys;

        timeline_line(options->timeline, &memory, &stats);
        samples->n++;
        samples->memory_sum += per_key;
        samples->memory_max = per_key > samples->memory_max ? per_key : samples->memory_max;
        samples->segments_sum += (double)stats.n_segments / stats.n_lanes;
        samples->segments_max = stats.n_segments_max > samples->segments_max
                                        ? stats.n_segments_max
                                        : samples->segments_max;
        samples->overlay_sum += (double)stats.overlay_bytes / (double)stats.n_keys;
        samples->shared_sum += (double)memory.footprint.shared_bytes / (double)stats.n_keys;
        samples->private_sum += (double)memory.private_bytes / (double)stats.n_keys;
        samples->cached_sum += (double)memory.footprint.cached_bytes / (double)stats.n_keys;
}

static void churn_rows(const struct churn_samples *samples, const struct lanemap_writer_stats *from,
                       const struct lanemap_writer_stats *to, uint64_t n_replaced,
                       struct perf_table *table)
{
        double user = (double)(to->user_bytes_in - from->user_bytes_in);
        double changed = (double)(to->n_changed - from->n_changed);
        double entries = (double)(to->flush_entries_written - from->flush_entries_written +
                                  to->merge_entries_written - from->merge_entries_written);
        double written = (double)(to->segment_bytes_written - from->segment_bytes_written);

        perf_table_add(table, "churn_memory_per_key", samples->memory_sum / samples->n, "bytes");
        perf_table_add(table, "churn_memory_per_key_max", samples->memory_max, "bytes");
        perf_table_add(table, "churn_shared_per_key", samples->shared_sum / samples->n, "bytes");
        perf_table_add(table, "churn_private_per_key", samples->private_sum / samples->n, "bytes");
        perf_table_add(table, "churn_page_cache_per_key", samples->cached_sum / samples->n,
                       "bytes");
        perf_table_add(table, "churn_overlay_per_key", samples->overlay_sum / samples->n, "bytes");
        perf_table_add(table, "churn_segments_per_lane", samples->segments_sum / samples->n,
                       "count");
        perf_table_add(table, "churn_segments_per_lane_max", samples->segments_max, "count");
        perf_table_add(table, "churn_keys_replaced", (double)n_replaced, "count");
        perf_table_add(table, "churn_write_amplification", user > 0 ? written / user : 0, "ratio");
        perf_table_add(table, "churn_entries_written_per_change",
                       changed > 0 ? entries / changed : 0, "ratio");
        perf_table_add(table, "churn_flushes", (double)(to->n_flushes - from->n_flushes), "count");
        perf_table_add(table, "churn_merges", (double)(to->n_merges - from->n_merges), "count");
        perf_table_add(table, "churn_write_stalls",
                       (double)(to->n_write_stalls - from->n_write_stalls), "count");
}

/* Readers ask for the half of the keys that is not replaced, so that each answer is known. */
static void churn(const struct index_options *options, const struct perf_place *place,
                  struct index_writer *writer, uint64_t n_keys, struct perf_table *table)
{
        uint64_t seconds = options->churn_seconds ? options->churn_seconds
                           : options->quick       ? CHURN_SECONDS_QUICK
                                                  : CHURN_SECONDS;
        uint64_t rate = n_keys / 10 / seconds + 1;
        struct index_memory memory = index_memory_take(place, writer);
        struct index_writer_reply before, after;
        struct churn_samples samples = {0};
        struct lookups lookups;

        before = index_writer_ask(writer, INDEX_WRITER_STATS, 0, 0);
        (void)index_writer_ask(writer, INDEX_WRITER_CHURN_START, n_keys, rate);
        (void)perf_pin_working(writer->pid, 0);
        while (index_writer_ask(writer, INDEX_WRITER_STATS, 0, 0).n < n_keys / 10) {
                struct churn_samples unused = {0};

                /* Not measured yet, but part of the picture. */
                if (options->timeline)
                        churn_sample(options, place, writer, &unused);
                perf_sleep_ms(SAMPLE_MS);
        }

        lookups_start(options, place, "churn_", n_keys / 2, n_keys / 2,
                      memory.footprint.cached_bytes + memory.footprint.shared_bytes, &lookups);
        do {
                churn_sample(options, place, writer, &samples);
                perf_sleep_ms(SAMPLE_MS);
        } while (!lookups_ended(&lookups, WNOHANG));
        after = index_writer_ask(writer, INDEX_WRITER_CHURN_STOP, 0, 0);
        (void)perf_pin_working(writer->pid, 1);

        churn_rows(&samples, &before.stats, &after.stats, after.n, table);
        lookups_rows(&lookups, table);
        perf_table_add(table, "churn_hit_p99_per_quiet",
                       perf_table_value(table, "churn_hit_p99") /
                               perf_table_value(table, "hit_p99"),
                       "ratio");
        perf_table_add(table, "churn_miss_p99_per_quiet",
                       perf_table_value(table, "churn_miss_p99") /
                               perf_table_value(table, "miss_p99"),
                       "ratio");

        (void)index_writer_ask(writer, INDEX_WRITER_COMPACT, 0, 0);
        memory = memory_at_rest(place, writer);
        perf_table_add(table, "churn_compacted_memory_per_key",
                       (double)memory.memory_bytes / (double)n_keys, "bytes");
}

/* ---- lookups while everything is rewritten ---- */

#define REWRITE_PAIRS 3

/* The median of the pairs' ratios, the smallest and the largest; and how far apart windows are that
 * differ in nothing. */
static void rewrite_rows(const struct perf_table *quiet, const struct perf_table *busy,
                         const char *name, struct perf_table *table)
{
        double ratios[REWRITE_PAIRS], alone[REWRITE_PAIRS];
        char row[64];

        for (int i = 0; i < REWRITE_PAIRS; i++) {
                alone[i] = perf_table_value(&quiet[i], name);
                ratios[i] = perf_table_value(&busy[i], name) / alone[i];
        }
        snprintf(row, sizeof(row), "rewrite_%s_per_quiet", name);
        perf_table_add(table, row, perf_median(ratios, REWRITE_PAIRS), "ratio");
        snprintf(row, sizeof(row), "rewrite_%s_per_quiet_low", name);
        perf_table_add(table, row, perf_minimum(ratios, REWRITE_PAIRS), "ratio");
        snprintf(row, sizeof(row), "rewrite_%s_per_quiet_high", name);
        perf_table_add(table, row, perf_maximum(ratios, REWRITE_PAIRS), "ratio");
        snprintf(row, sizeof(row), "rewrite_%s_quiet_spread", name);
        perf_table_add(table, row,
                       perf_maximum(alone, REWRITE_PAIRS) / perf_minimum(alone, REWRITE_PAIRS),
                       "ratio");
}

/* The same readers without and with a full rewrite, by turns, so that a noisy minute hits both. */
static void rewrite(const struct index_options *options, const struct perf_place *place,
                    struct index_writer *writer, uint64_t n_keys, struct perf_table *table)
{
        static const char *const names[] = {"hit_p50",  "hit_p99",  "hit_p999",
                                            "miss_p50", "miss_p99", "miss_p999"};
        static struct perf_table quiet[REWRITE_PAIRS], busy[REWRITE_PAIRS];
        struct index_writer_reply before, after;
        struct lookups lookups;

        before = index_writer_ask(writer, INDEX_WRITER_STATS, 0, 0);
        for (int i = 0; i < REWRITE_PAIRS; i++) {
                quiet[i] = busy[i] = (struct perf_table){0};
                lookups_start(options, place, "", n_keys / 2, n_keys / 2, 1 << 20, &lookups);
                (void)lookups_ended(&lookups, 0);
                lookups_rows(&lookups, &quiet[i]);

                (void)index_writer_ask(writer, INDEX_WRITER_REWRITE_START, n_keys, 0);
                (void)perf_pin_working(writer->pid, 0);
                lookups_start(options, place, "", n_keys / 2, n_keys / 2, 1 << 20, &lookups);
                (void)lookups_ended(&lookups, 0);
                after = index_writer_ask(writer, INDEX_WRITER_REWRITE_STOP, 0, 0);
                (void)perf_pin_working(writer->pid, 1);
                lookups_rows(&lookups, &busy[i]);
        }

        perf_table_add(table, "rewrite_rounds", (double)after.n, "count");
        perf_table_add(table, "rewrite_bytes_written",
                       (double)(after.stats.merge_bytes_written - before.stats.merge_bytes_written),
                       "bytes");
        for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
                rewrite_rows(quiet, busy, names[n], table);
}

/* Stopped in order and started; then 1 % more keys that no segment has, and the writer killed. */
static void restart(const struct index_options *options, const struct perf_place *place,
                    struct index_writer *writer, uint64_t n_keys, struct perf_table *table)
{
        uint64_t n_unflushed = n_keys / 100 + 1;
        struct index_writer_reply reply;

        perf_table_add(table, "close_time", index_writer_stop(writer), "s");
        index_writer_start(writer, place, options->mix);
        reply = index_writer_ask(writer, INDEX_WRITER_OPEN, LANEMAP_APPENDFSYNC_EVERYSEC, 0);
        perf_table_add(table, "restart_clean", reply.seconds, "s");
        if (reply.stats.n_keys != n_keys)
                perf_die("keys are missing after a restart", -EBADMSG);

        (void)index_writer_ask(writer, INDEX_WRITER_LOAD, RESTART_FIRST, n_unflushed);
        (void)index_writer_ask(writer, INDEX_WRITER_SYNC, 0, 0);
        index_writer_kill(writer);
        index_writer_start(writer, place, options->mix);
        reply = index_writer_ask(writer, INDEX_WRITER_OPEN, LANEMAP_APPENDFSYNC_EVERYSEC, 0);
        perf_table_add(table, "restart_killed", reply.seconds, "s");
        perf_table_add(table, "restart_killed_records", (double)reply.stats.recovered_records,
                       "count");
        if (reply.stats.n_keys != n_keys + n_unflushed)
                perf_die("keys are missing after a kill", -EBADMSG);
}

void index_measure(const struct index_options *options, uint64_t n_keys, struct perf_table *table)
{
        struct index_writer writer;
        struct index_memory memory;
        struct perf_place place;
        struct index_writer_reply stats;

        perf_place_make(options->name, options->dir, &place);
        index_writer_start(&writer, &place, options->mix);
        (void)index_writer_ask(&writer, INDEX_WRITER_OPEN, LANEMAP_APPENDFSYNC_EVERYSEC, 0);
        memory = index_memory_take(&place, &writer);
        perf_table_add(table, "empty_memory_writer_private", (double)memory.private_bytes, "bytes");
        perf_table_add(table, "empty_memory_shared", (double)memory.footprint.shared_bytes,
                       "bytes");

        build(&writer, n_keys, table);
        memory = memory_at_rest(&place, &writer);
        memory_rows(table, "", &memory, n_keys);
        stats = index_writer_ask(&writer, INDEX_WRITER_STATS, 0, 0);
        perf_table_add(table, "memory_writer_heap", (double)stats.stats.heap_bytes, "bytes");
        perf_table_add(table, "segments_per_lane",
                       (double)stats.stats.n_segments / stats.stats.n_lanes, "count");

        lookups_at_rest(options, &place, n_keys, &memory, table);
        if (options->rewrite)
                rewrite(options, &place, &writer, n_keys, table);
        if (options->churn)
                churn(options, &place, &writer, n_keys, table);
        restart(options, &place, &writer, n_keys, table);

        index_writer_kill(&writer);
        perf_place_remove(&place);
}

/* ---- small ones ---- */

void index_measure_adds(const struct index_options *options, uint64_t n_keys,
                        struct perf_table *table)
{
        uint64_t n = n_keys < options->adds_max ? n_keys : options->adds_max;

        for (uint32_t policy = 0; policy < 3; policy++) {
                struct index_writer_reply loaded, acked, each;
                struct index_writer writer;
                struct perf_place place;
                char name[64];

                perf_place_make(options->name, options->dir, &place);
                index_writer_start(&writer, &place, options->mix);
                (void)index_writer_ask(&writer, INDEX_WRITER_OPEN, policy, 0);
                loaded = index_writer_ask(&writer, INDEX_WRITER_LOAD, 0, n);
                acked = index_writer_ask(&writer, INDEX_WRITER_ACK, 0, 0);
                snprintf(name, sizeof(name), "adds_%s_rate", index_policy_name(policy));
                perf_table_add(table, name, (double)loaded.n / (loaded.seconds + acked.seconds),
                               "1/s");
                if (policy == LANEMAP_APPENDFSYNC_ALWAYS) {
                        each = index_writer_ask(&writer, INDEX_WRITER_LOAD_ACK, 2 * n, n / 10 + 1);
                        perf_table_add(table, "adds_always_one_by_one_rate",
                                       (double)each.n / each.seconds, "1/s");
                }
                index_writer_kill(&writer);
                perf_place_remove(&place);
        }
}

void index_measure_tenant(const struct index_options *options, struct perf_table *table)
{
        struct index_writer writer;
        struct index_memory memory;
        struct perf_place place;

        perf_place_make(options->name, options->dir, &place);
        index_writer_start(&writer, &place, options->mix);
        (void)index_writer_ask(&writer, INDEX_WRITER_OPEN, LANEMAP_APPENDFSYNC_EVERYSEC, 0);
        (void)index_writer_ask(&writer, INDEX_WRITER_LOAD, 0, 1000);
        memory = memory_at_rest(&place, &writer);
        perf_table_add(table, "tenant_shared_and_files",
                       (double)(memory.footprint.shared_bytes + memory.disk_bytes), "bytes");
        (void)index_writer_ask(&writer, INDEX_WRITER_COMPACT, 0, 0);
        memory = memory_at_rest(&place, &writer);
        perf_table_add(table, "tenant_compacted_shared", (double)memory.footprint.shared_bytes,
                       "bytes");
        perf_table_add(table, "tenant_compacted_files", (double)memory.disk_bytes, "bytes");
        perf_table_add(table, "tenant_compacted_shared_and_files",
                       (double)(memory.footprint.shared_bytes + memory.disk_bytes), "bytes");
        perf_table_add(table, "tenant_writer_private", (double)memory.private_bytes, "bytes");
        index_writer_kill(&writer);
        perf_place_remove(&place);
}
