/* See command/stats.h. */
#include <inttypes.h>
#include <stdio.h>

#include "daemon/options.h"
#include "daemon/command/stats.h"

#define FIELD(member)                                                         \
        {                                                                     \
#member, offsetof(struct lanemap_writer_stats, member),       \
                        sizeof(((struct lanemap_writer_stats *)NULL)->member) \
        }

static const struct {
        const char *name;
        size_t off;
        size_t bytes;
} fields[] = {
        FIELD(manifest_generation),
        FIELD(n_lanes),
        FIELD(fingerprint_bits),
        FIELD(n_segments_max),
        FIELD(degraded),
        FIELD(n_keys),
        FIELD(n_pairs),
        FIELD(position),
        FIELD(durable),
        FIELD(n_segments),
        FIELD(n_segment_files),
        FIELD(segment_bytes),
        FIELD(segment_live_bytes),
        FIELD(segment_young_bytes),
        FIELD(probes_per_1000),
        FIELD(overlay_bytes),
        FIELD(shared_bytes),
        FIELD(shared_used_bytes),
        FIELD(quarantine_bytes),
        FIELD(heap_bytes),
        FIELD(log_bytes),
        FIELD(n_log_files),
        FIELD(n_adds),
        FIELD(n_removes),
        FIELD(n_deletes),
        FIELD(n_changed),
        FIELD(n_flushes),
        FIELD(n_merges),
        FIELD(n_overlay_growths),
        FIELD(n_generation_flips),
        FIELD(n_log_syncs),
        FIELD(user_bytes_in),
        FIELD(segment_bytes_written),
        FIELD(flush_bytes_written),
        FIELD(merge_bytes_written),
        FIELD(flush_entries_written),
        FIELD(merge_entries_written),
        FIELD(compaction_paced_ns),
        FIELD(recovered_records),
        FIELD(recovery_ns),
        FIELD(mark_position),
        FIELD(last_flush_ns),
        FIELD(n_write_stalls),
        FIELD(write_stall_ns),
        FIELD(n_damaged_files),
        FIELD(scrubbed_files),
        FIELD(scrubbed_bytes),
        FIELD(n_filters),
        FIELD(filter_bytes),
        FIELD(warmed_bytes),
        FIELD(served_copies),
        FIELD(served_bytes),
        FIELD(serve_no_room),
        FIELD(locked_bytes),
        FIELD(lock_refused),
};

void lanemap_stats_each(const struct lanemap_writer_stats *stats,
                        void (*fn)(void *arg, const char *name, const char *value, bool is_text),
                        void *arg)
{
        char text[40];
        size_t n = 0;

        for (size_t i = 0; i < sizeof(stats->uuid); i++)
                n += (size_t)snprintf(text + n, sizeof(text) - n,
                                      i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
                                      stats->uuid[i]);
        fn(arg, "uuid", text, true);
        snprintf(text, sizeof(text), "%" PRIu64, stats->generation);
        fn(arg, "generation", text, true); /* random: half of them do not fit RESP's integers */
        fn(arg, "segment_kind_young",
           lanemap_choice_text(lanemap_segment_kind_choices, stats->segment_kind_young), true);
        fn(arg, "segment_kind_bottom",
           lanemap_choice_text(lanemap_segment_kind_choices, stats->segment_kind_bottom), true);
        fn(arg, "filter", lanemap_choice_text(lanemap_filter_choices, stats->filter), true);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(fields); i++) {
                const char *at = (const char *)stats + fields[i].off;

                snprintf(text, sizeof(text), "%" PRIu64,
                         fields[i].bytes == 4 ? (uint64_t) * (const uint32_t *)(const void *)at
                                              : *(const uint64_t *)(const void *)at);
                fn(arg, fields[i].name, text, false);
        }
}
