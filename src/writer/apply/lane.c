/*
 * One operation on one key of one lane, and what a lane does with its views. Everything here runs
 * under the engine's lock.
 *
 * An operation first reads the key's current posting through all levels; that is what makes its
 * answer and the counts exact. Then it prepares the new posting in blocks that nobody sees, and
 * only a step that cannot fail publishes it.
 */
#include "writer/apply/apply.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "writer/core/core.h"

static struct lanemap_window window_of(const struct lanemap_writer *writer)
{
        return (struct lanemap_window){.base = writer->shm.object->base, .bytes = UINT64_MAX};
}

int lanemap_engine_lanes_init(struct lanemap_writer *writer) LANEMAP_NO_OTHER_THREAD
{
        int r;

        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                r = lanemap_overlay_init(
                        &writer->lanes.items[i].active, lanemap_engine_arena(writer),
                        LANEMAP_OVERLAY_LOG2_CELLS_MIN, writer->identity.cell_bytes);
                if (r == 0)
                        r = lanemap_engine_lane_publish_new(writer, i);
                if (r < 0)
                        return r;
        }

        lanemap_engine_active_count(writer);
        lanemap_engine_reserves_fill(writer);
        return 0;
}

int lanemap_engine_lane_fit(struct lanemap_writer *writer, uint32_t lane_index, uint64_t n_more)
{
        struct writer_lane *lane = &writer->lanes.items[lane_index];
        struct lanemap_overlay old = lane->active, grown;
        struct lanemap_lane_view_block view;
        int r;

        if (!lanemap_overlay_is_full(&old, n_more))
                return 0;

        r = lanemap_lane_view_alloc(lanemap_engine_arena(writer), lane->n_segments, &view);
        if (r < 0)
                return r;

        r = lanemap_overlay_grow(&lane->active, n_more, &grown);
        if (r < 0) {
                lanemap_lane_view_free(lanemap_engine_arena(writer), &view);
                return r;
        }

        lane->active = grown;
        lanemap_engine_lane_publish(writer, lane_index, &view);
        writer->pressure.active_bytes +=
                lanemap_overlay_bytes(&grown) - lanemap_overlay_bytes(&old);
        writer->pressure.active_used_bytes +=
                (grown.n_used - old.n_used) * writer->identity.cell_bytes;
        lanemap_overlay_retire_table(&old);
        writer->lanes.stats.n_overlay_growths++;
        return 0;
}

/* ---- lookups below the active overlay ---- */

void lanemap_engine_lane_prefetch(struct lanemap_writer *writer, struct lanemap_fingerprint fp)
{
        const struct lanemap_slot *slot = &writer->identity.slots[lanemap_slot_of(fp.hash)];
        const struct writer_lane *lane = &writer->lanes.items[slot->lane];
        const struct lanemap_arena *arena = lanemap_engine_arena(writer);

        lanemap_overlay_prefetch(lanemap_overlay_own_cells(arena, &lane->active.table),
                                 writer->identity.cell_bytes, fp);
        if (lane->has_frozen)
                lanemap_overlay_prefetch(lanemap_overlay_own_cells(arena, &lane->frozen.table),
                                         writer->identity.cell_bytes, fp);
        for (uint32_t i = 0; i < lane->n_segments; i++)
                lanemap_segment_prefetch_directory(lane->segments[i]->segment, fp, slot->rank);
}

void lanemap_engine_lane_prefetch_entries(struct lanemap_writer *writer,
                                          struct lanemap_fingerprint fp)
{
        const struct lanemap_slot *slot = &writer->identity.slots[lanemap_slot_of(fp.hash)];
        const struct writer_lane *lane = &writer->lanes.items[slot->lane];

        for (uint32_t i = 0; i < lane->n_segments; i++)
                lanemap_segment_prefetch_entry(lane->segments[i]->segment, fp, slot->rank);
}

/* In the levels below the active overlay. */
static int below_active_find(const struct lanemap_writer *writer, const struct writer_lane *lane,
                             struct lanemap_fingerprint fp, uint32_t rank, struct writer_key *below)
{
        struct lanemap_window window = window_of(writer);
        struct lanemap_overlay_cells frozen = {.first = NULL};
        int r;

        if (lane->has_frozen)
                frozen = lanemap_overlay_own_cells(lanemap_engine_arena(writer),
                                                   &lane->frozen.table);

        below->n_ids = 0;
        r = lanemap_lane_find_below_active(frozen, writer->identity.cell_bytes,
                                           lanemap_engine_lane_segment_at, lane, lane->n_segments,
                                           fp, rank, &below->posting);
        if (r != 0)
                return r == LANEMAP_LANE_E_ABSENT ? 0 : r;
        if (below->posting.in_overlay)
                return lanemap_lane_posting_count(&window, &below->posting, &below->n_ids);

        below->n_ids = below->posting.segment.n_ids;
        return 0;
}

int lanemap_engine_key_find(struct lanemap_writer *writer, struct lanemap_fingerprint fp,
                            struct writer_key *ret_key)
{
        const struct lanemap_slot *slot = &writer->identity.slots[lanemap_slot_of(fp.hash)];
        struct writer_lane *lane = &writer->lanes.items[slot->lane];
        struct lanemap_window window = window_of(writer);

        ret_key->fp = fp;
        ret_key->lane = slot->lane;
        ret_key->cell = lanemap_overlay_cell(&lane->active, fp, &ret_key->value);
        if (!ret_key->value)
                return below_active_find(writer, lane, fp, slot->rank, ret_key);

        ret_key->posting.in_overlay = true;
        ret_key->posting.overlay_value = ret_key->value;
        return lanemap_lane_posting_count(&window, &ret_key->posting, &ret_key->n_ids);
}

int lanemap_engine_key_contains(const struct lanemap_writer *writer, const struct writer_key *key,
                                uint32_t id, bool *ret_contains)
{
        struct lanemap_window window = window_of(writer);
        int r = 0;

        if (key->n_ids > 0)
                r = lanemap_lane_posting_contains(&window, &key->posting, id);
        *ret_contains = r == 1;
        return r < 0 ? r : 0;
}

/* ---- operations ---- */

/* Return: true if the operation changes a posting of n_ids ids that does, or does not, contain the
 * id. */
static bool op_changes(uint32_t code, uint64_t n_ids, bool contains)
{
        switch (code) {
        case LANEMAP_OP_ADD:
                return !contains;
        case LANEMAP_OP_REMOVE:
                return contains;
        default:
                return n_ids > 0;
        }
}

static uint64_t op_result(uint32_t code, uint64_t n_ids)
{
        switch (code) {
        case LANEMAP_OP_ADD:
                return n_ids + 1;
        case LANEMAP_OP_REMOVE:
                return n_ids - 1;
        default:
                return 0;
        }
}

static int scratch_fit(struct lanemap_writer *writer, uint64_t n_ids)
{
        uint32_t *scratch;

        if (n_ids <= writer->lanes.scratch_capacity)
                return 0;

        scratch = lanemap_realloc(writer->lanes.scratch, n_ids * sizeof(*scratch));
        if (!scratch)
                return -ENOMEM;

        writer->lanes.scratch = scratch;
        writer->lanes.scratch_capacity = n_ids;
        return 0;
}

int lanemap_engine_key_copy(struct lanemap_writer *writer, const struct writer_key *key,
                            uint64_t n_more)
{
        struct lanemap_window window = window_of(writer);
        size_t n_ids = 0;
        int r;

        r = scratch_fit(writer, key->n_ids + n_more);
        if (r == 0 && key->n_ids > 0)
                r = lanemap_lane_posting_copy(&window, &key->posting, writer->lanes.scratch,
                                              writer->lanes.scratch_capacity, &n_ids);
        if (r < 0)
                return r;

        lanemap_check(n_ids == key->n_ids);
        return 0;
}

/* A changed copy of the posting below, as the first one of this overlay. */
static int below_active_prepare(struct lanemap_writer *writer, const struct writer_key *below,
                                uint32_t code, uint32_t id, struct lanemap_posting_change *change)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        size_t n_ids = below->n_ids;
        int r;

        if (code == LANEMAP_OP_DELETE)
                return lanemap_posting_prepare_build(lanemap_engine_arena(writer), 0, NULL, 0,
                                                     false, change);
        if (below->n_ids == 0)
                return lanemap_posting_prepare_build(lanemap_engine_arena(writer), 0, &id, 1, true,
                                                     change);

        r = lanemap_engine_key_copy(writer, below, 1);
        if (r < 0)
                return r;

        n_ids = lanemap_posting_ids_change(writer->lanes.scratch, (uint32_t)n_ids, id,
                                           code == LANEMAP_OP_ADD);
        return lanemap_posting_prepare_build(lanemap_engine_arena(writer), 0, writer->lanes.scratch,
                                             n_ids, false, change);
}

/* A change of the posting that this overlay already has. */
static int active_prepare(struct lanemap_writer *writer, uint64_t value, uint32_t code, uint32_t id,
                          struct lanemap_posting_change *change)
{
        switch (code) {
        case LANEMAP_OP_ADD:
                return lanemap_posting_prepare_insert(lanemap_engine_arena(writer), value, id,
                                                      change);
        case LANEMAP_OP_REMOVE:
                return lanemap_posting_prepare_remove(lanemap_engine_arena(writer), value, id,
                                                      change);
        default:
                return lanemap_posting_prepare_build(lanemap_engine_arena(writer), value, NULL, 0,
                                                     value & LANEMAP_OVERLAY_TAG_FRESH, change);
        }
}

/* Counts the change of one operation in the long postings. */
static void active_long_count(struct lanemap_writer *writer, const struct lanemap_overlay *before,
                              const struct lanemap_overlay *after, uint64_t n_ids)
{
        if (after->n_long_changes == before->n_long_changes)
                return;

        writer->pressure.active_long.long_bytes += after->long_bytes - before->long_bytes;
        writer->pressure.active_long.long_max_bytes =
                LANEMAP_MAX(writer->pressure.active_long.long_max_bytes, n_ids * sizeof(uint32_t));
        writer->pressure.active_long.n_long_changes++;
}

/* Of a posting that is built anew, and of the room that one may take. */
#define BUILT_BYTES_PER_ID       5
#define POSTING_ROOM(room_bytes) ((room_bytes) / 4 * 3)

/* The first change after a flush copies a posting whole. One that grew beyond what a copy has room
 * for could not even be made smaller. A replay takes what was taken. */
bool lanemap_engine_posting_is_too_long(const struct lanemap_writer *writer, uint64_t n_before,
                                        uint64_t n_after)
{
        return n_after > n_before && !writer->lanes.recovering &&
               n_after * BUILT_BYTES_PER_ID > POSTING_ROOM(writer->shm.room_bytes);
}

int lanemap_engine_key_op(struct lanemap_writer *writer, struct writer_key *key, uint32_t code,
                          uint32_t id, struct lanemap_op_result *ret_result,
                          struct lanemap_posting_change *ret_change)
{
        uint64_t n_before = key->n_ids, n_after;
        bool contains = false;
        int r = 0;

        if (code != LANEMAP_OP_DELETE)
                r = lanemap_engine_key_contains(writer, key, id, &contains);
        if (r < 0)
                return r;

        if (!op_changes(code, n_before, contains)) {
                *ret_result = (struct lanemap_op_result){.n_ids = (uint32_t)n_before};
                return 0;
        }

        n_after = op_result(code, n_before);
        if (LANEMAP_UNLIKELY(lanemap_engine_posting_is_too_long(writer, n_before, n_after)))
                return -ENOSPC;

        if (!key->value)
                r = below_active_prepare(writer, key, code, id, ret_change);
        else
                r = active_prepare(writer, key->value, code, id, ret_change);
        if (r < 0)
                return r;

        *ret_result = (struct lanemap_op_result){
                .n_changed =
                        (uint32_t)(n_after > n_before ? n_after - n_before : n_before - n_after),
                .n_ids = (uint32_t)n_after,
        };
        return 1;
}

void lanemap_engine_key_publish(struct lanemap_writer *writer, const struct writer_key *key,
                                struct lanemap_posting_change *change, uint64_t n_after,
                                uint64_t position)
{
        struct writer_lane *lane = &writer->lanes.items[key->lane];
        struct lanemap_overlay before = lane->active;
        uint64_t n_before = key->n_ids;
        int64_t grown;

        /* Before the word that makes it visible: whoever sees the change and then asks for the
         * position learns one that covers it (pairs with the acquire load in
         * question_ask(), apply/lookup.c). */
        lanemap_store_release(&writer->lanes.position, position);
        lanemap_overlay_store(&lane->active, key->cell, key->fp, change->value);

        grown = lanemap_overlay_commit(&lane->active, change);
        writer->pressure.active_bytes += (uint64_t)grown;
        writer->pressure.active_used_bytes +=
                (lane->active.n_used - before.n_used) * writer->identity.cell_bytes +
                (uint64_t)grown;
        active_long_count(writer, &before, &lane->active, n_after);
        lane->changed_position = position;
        lane->n_pairs += n_after - n_before;
        writer->lanes.n_pairs += n_after - n_before;
        lane->n_keys += (uint64_t)(n_after > 0) - (uint64_t)(n_before > 0);
        writer->lanes.n_keys += (uint64_t)(n_after > 0) - (uint64_t)(n_before > 0);
}

int lanemap_engine_lane_op(struct lanemap_writer *writer, uint32_t code,
                           struct lanemap_fingerprint fp, uint32_t id, uint64_t position,
                           struct lanemap_op_result *ret_result, bool *ret_changed)
{
        struct lanemap_posting_change change;
        struct writer_key key;
        int r;

        r = lanemap_engine_key_find(writer, fp, &key);
        if (r == 0)
                r = lanemap_engine_key_op(writer, &key, code, id, ret_result, &change);
        if (r <= 0) {
                *ret_changed = false;
                return r;
        }

        if (!key.value && lanemap_overlay_is_full(&writer->lanes.items[key.lane].active, 1)) {
                r = lanemap_engine_lane_fit(writer, key.lane, 1);
                if (r < 0) {
                        lanemap_posting_abort(lanemap_engine_arena(writer), &change);
                        return r;
                }
                key.cell =
                        lanemap_overlay_cell(&writer->lanes.items[key.lane].active, fp, &key.value);
        }

        lanemap_engine_key_publish(writer, &key, &change, ret_result->n_ids, position);
        *ret_changed = true;
        return 0;
}

void lanemap_engine_mark_set(struct lanemap_writer *writer, const struct lanemap_log_op *op,
                             uint64_t position)
{
        lanemap_store_release(&writer->lanes.position, position);
        memcpy(writer->lanes.mark.bytes, op->mark, op->mark_bytes);
        writer->lanes.mark.n_bytes = (uint32_t)op->mark_bytes;
        writer->lanes.mark.position = position;
}
