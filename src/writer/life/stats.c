/* Numbers about the engine, and the enumeration of all ids. */
#include "writer/core/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/lock.h"
#include "segment/merge.h"
#include "writer/compact/compact.h"
#include "writer/health/health.h"
#include "writer/serve/serve.h"

static void filters_count(const struct writer_lane *lane, struct lanemap_writer_stats *stats)
{
        for (uint32_t i = 0; i < lane->n_segments; i++) {
                const struct lanemap_segment *segment = lane->segments[i]->segment;
                const struct lanemap_filter *filter = &segment->filter;

                if (!segment->has_filter)
                        continue;
                stats->n_filters++;
                stats->filter_bytes +=
                        lanemap_filter_bytes(filter->kind, filter->shift, filter->n_blocks);
        }
}

static void choices_fill(const struct lanemap_writer *writer, struct lanemap_writer_stats *stats)
{
        const struct lanemap_writer_options *options = &writer->options;

        stats->segment_kind_young =
                options->segment_kind_young ? options->segment_kind_young : LANEMAP_SEGMENT_PACKED;
        stats->segment_kind_bottom = options->segment_kind_bottom ? options->segment_kind_bottom
                                                                  : LANEMAP_SEGMENT_PACKED;
        stats->filter = options->filter ? options->filter : LANEMAP_FILTER_AUTO;
}

static void lanes_count(const struct lanemap_writer *writer, struct lanemap_writer_stats *stats)
{
        uint64_t n_probes = 0;

        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                const struct writer_lane *lane = &writer->lanes.items[i];

                stats->n_segments += lane->n_segments;
                n_probes += lane->n_keys * lane->n_segments;
                for (uint32_t l = 0; l < lane->n_segments; l++) {
                        stats->segment_live_bytes += lane->segments[l]->bytes;
                        if (l + 1 < lane->n_segments)
                                stats->segment_young_bytes += lane->segments[l]->bytes;
                }
                stats->n_segments_max = LANEMAP_MAX(stats->n_segments_max, lane->n_segments);
                filters_count(lane, stats);
                stats->overlay_bytes += lanemap_overlay_bytes(&lane->active);
                if (lane->has_frozen)
                        stats->overlay_bytes += lanemap_overlay_bytes(&lane->frozen);
        }
        stats->probes_per_1000 = writer->lanes.n_keys ? n_probes * 1000 / writer->lanes.n_keys : 0;
        for (uint32_t slot = 0; slot < writer->segments.table->n_slots; slot++) {
                const struct lanemap_lane_file *file = writer->segments.table->slots[slot];

                if (!file)
                        continue;
                stats->n_segment_files++;
                stats->segment_bytes += file->n_bytes;
        }
}

static uint64_t log_sync_pending_ns(struct lanemap_writer *writer)
{
        uint64_t since_ns = lanemap_log_sync_since_ns(writer->log);

        return since_ns ? lanemap_now_ns(&lanemap_clock_monotonic) - since_ns : 0;
}

int lanemap_writer_try_stats(struct lanemap_writer *writer, uint64_t wait_ns,
                             struct lanemap_writer_stats *ret_stats)
{
        struct lanemap_shm_arena_stats arena;
        struct lanemap_writer_stats stats;
        struct lanemap_log_stats log;

        if (!ret_stats || ret_stats->size != sizeof(stats))
                return -EINVAL;

        if (lanemap_log_try_stats(writer->log, wait_ns, &log) < 0 ||
            !lanemap_mutex_lock_within(&writer->lanes.lock, wait_ns))
                return -EAGAIN;

        stats = writer->lanes.stats;
        stats.size = sizeof(stats);
        memcpy(stats.uuid, writer->identity.uuid, sizeof(stats.uuid));
        stats.generation = writer->shm.object->generation;
        stats.manifest_generation = lanemap_load_relaxed(&writer->commit.generation);
        stats.n_lanes = writer->identity.n_lanes;
        stats.fingerprint_bits = writer->identity.hash_key.fingerprint_bits;
        stats.n_keys = writer->lanes.n_keys;
        stats.n_pairs = writer->lanes.n_pairs;
        stats.n_damaged_files = writer->segments.n_damaged;
        stats.degraded = writer->segments.n_damaged + writer->segments.n_other_findings > 0;
        stats.position = writer->lanes.position;
        stats.mark_position = writer->lanes.mark.position;
        choices_fill(writer, &stats);
        lanes_count(writer, &stats);
        lanemap_engine_serve_count(writer, &stats);
        lanemap_shm_arena_get_stats(writer->shm.object->arena, &arena);
        lanemap_mutex_unlock(&writer->lanes.lock);

        stats.durable = lanemap_log_durable(writer->log);
        stats.shared_bytes = arena.bytes + LANEMAP_SHM_CONTROL_BYTES;
        stats.shared_used_bytes = arena.used_bytes;
        stats.quarantine_bytes = arena.quarantine_bytes;
        stats.heap_bytes = lanemap_alloc_bytes();
        stats.log_bytes = log.bytes;
        stats.n_log_files = log.n_files;
        stats.n_log_syncs = log.n_syncs;
        stats.n_log_slow_syncs = log.n_slow_syncs;
        stats.log_sync_max_ns = log.sync_max_ns;
        stats.log_sync_pending_ns = log_sync_pending_ns(writer);
        stats.user_bytes_in = log.op_bytes;
        stats.segment_bytes_written = stats.flush_bytes_written + stats.merge_bytes_written;
        *ret_stats = stats;
        return 0;
}

uint64_t lanemap_writer_n_keys(const struct lanemap_writer *writer)
{
        return lanemap_load_acquire(&writer->lanes.n_keys_applied); /* pairs with counts.c */
}

int lanemap_writer_get_stats(struct lanemap_writer *writer, struct lanemap_writer_stats *ret_stats)
{
        return lanemap_writer_try_stats(writer, LANEMAP_LOCK_FOR_EVER, ret_stats);
}

/* ---- all ids ---- */

struct id_list {
        uint32_t *ids;
        size_t n;
        size_t capacity;
};

static int id_order(const void *a, const void *b)
{
        uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

        return (left > right) - (left < right);
}

static void ids_distinct(struct id_list *list)
{
        size_t n = 0;

        if (list->n == 0)
                return;

        qsort(list->ids, list->n, sizeof(list->ids[0]), id_order);
        for (size_t i = 0; i < list->n; i++)
                if (n == 0 || list->ids[i] != list->ids[n - 1])
                        list->ids[n++] = list->ids[i];
        list->n = n;
}

static int ids_grow(struct id_list *list)
{
        size_t capacity = list->capacity ? list->capacity * 2 : 4096;
        uint32_t *ids = lanemap_realloc(list->ids, capacity * sizeof(*ids));

        if (!ids)
                return -ENOMEM;
        list->ids = ids;
        list->capacity = capacity;
        return 0;
}

static int ids_push(struct id_list *list, uint32_t id)
{
        int r = list->n == list->capacity ? ids_grow(list) : 0;

        if (r == 0)
                list->ids[list->n++] = id;
        return r;
}

/* Adds those of a lane. Duplicates are dropped whenever the list is full; it grows only when half
 * of it or more was distinct. */
static int ids_add(struct id_list *list, const struct id_list *lane)
{
        for (size_t i = 0; i < lane->n; i++) {
                int r = 0;

                if (list->n == list->capacity) {
                        ids_distinct(list);
                        r = list->n * 2 >= list->capacity ? ids_grow(list) : 0;
                }
                if (r < 0)
                        return r;
                list->ids[list->n++] = lane->ids[i];
        }
        return 0;
}

/* It is kept until a client has read it: not much more memory than the ids need. */
static void ids_fit(struct id_list *list)
{
        uint32_t *ids;

        if (list->n == 0 || list->n > list->capacity / 4 * 3)
                return;
        ids = lanemap_alloc(list->n * sizeof(*ids));
        if (!ids)
                return;
        memcpy(ids, list->ids, list->n * sizeof(*ids));
        lanemap_free(list->ids);
        list->ids = ids;
        list->capacity = list->n;
}

/* The cursors over one lane's levels; they stay where they are. */
struct lane_snapshot {
        struct lanemap_overlay_cursor overlays[2];
        struct lanemap_segment_cursor cursors[LANEMAP_LANE_SEGMENTS_MAX];
        struct lanemap_segment_merge merge;
};

static int snapshot_merge(struct writer_lane *lane, struct lanemap_heap *heap,
                          struct lane_snapshot *snapshot, struct id_list *list)
{
        struct lanemap_segment_merge_options options = {.drop_tombstones = true};
        struct lanemap_cursor *inputs[LANEMAP_SEGMENT_MERGE_INPUTS_MAX + 2];
        struct lanemap_entry entry;
        uint32_t n = 0;
        int r;

        r = lanemap_overlay_cursor_init(&snapshot->overlays[0], &lane->active, heap);
        if (r < 0)
                return r;
        inputs[n++] = &snapshot->overlays[0].cursor;
        if (lane->has_frozen) {
                r = lanemap_overlay_cursor_init(&snapshot->overlays[1], &lane->frozen, heap);
                if (r < 0)
                        return r;
                inputs[n++] = &snapshot->overlays[1].cursor;
        }
        for (uint32_t i = 0; i < lane->n_segments; i++) {
                const struct lanemap_segment *segment = lane->segments[i]->segment;
                r = lanemap_engine_segment_cursor(segment, heap, &snapshot->cursors[i]);
                if (r < 0)
                        return r;
                inputs[n++] = &snapshot->cursors[i].cursor;
        }

        r = lanemap_segment_merge_init(&snapshot->merge, inputs, n, &options);
        while (r == 0) {
                r = snapshot->merge.cursor.next(&snapshot->merge.cursor, &entry);
                for (uint32_t i = 0; r == 0 && i < entry.n_ids; i++)
                        r = ids_push(list, entry.ids[i]);
        }

        if (!lanemap_lane_segments_readable(lanemap_engine_lane_segment_at, lane, lane->n_segments))
                return -EBADMSG; /* UM2 in verify/mapping.h */
        return r == LANEMAP_CURSOR_END ? 0 : r;
}

/*
 * The ids of a lane. Under the lock they are only gathered, milliseconds for a lane of a hundred
 * thousand keys: to sort them takes much longer, and who writes waits for the lock.
 *
 * ret_given_up  a copy of a segment cannot be read and is used no more: everything once again
 */
static int lane_ids(struct lanemap_writer *writer, uint32_t lane, struct id_list *list,
                    bool *ret_given_up)
{
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lane_snapshot *snapshot = heap ? lanemap_heap_alloc(heap, sizeof(*snapshot)) : NULL;
        int r;

        if (!snapshot) {
                lanemap_heap_free(heap);
                return -ENOMEM;
        }

        lanemap_mutex_lock(&writer->lanes.lock);
        r = snapshot_merge(&writer->lanes.items[lane], heap, snapshot, list);
        *ret_given_up = r == -EBADMSG && lanemap_engine_copies_give_up(writer);
        lanemap_mutex_unlock(&writer->lanes.lock);
        lanemap_heap_free(heap);
        return r;
}

int lanemap_writer_ids(struct lanemap_writer *writer, uint32_t **ret_ids, size_t *ret_n_ids)
{
        struct id_list list = {0}, lane = {0};
        bool given_up = false;
        int r = 0;

        for (uint32_t i = 0; i < writer->identity.n_lanes && r == 0; i++) {
                lane.n = 0;
                r = lane_ids(writer, i, &lane, &given_up);
                if (r == 0)
                        r = ids_add(&list, &lane);
        }
        lanemap_free(lane.ids);
        lanemap_engine_hits_take(writer);
        if (given_up) { /* ids of a copy that cannot be read: from its original, all over again */
                lanemap_free(list.ids);
                return lanemap_writer_ids(writer, ret_ids, ret_n_ids);
        }
        if (r < 0) {
                lanemap_free(list.ids);
                return r;
        }

        ids_distinct(&list);
        ids_fit(&list);
        *ret_ids = list.ids;
        *ret_n_ids = list.n;
        return 0;
}

void lanemap_writer_ids_free(uint32_t *ids)
{
        lanemap_free(ids);
}
