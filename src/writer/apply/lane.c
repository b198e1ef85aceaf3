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
#include <sys/statvfs.h>

#include "common/alloc.h"
#include "common/check.h"
#include "writer/core/core.h"

/* A key's posting in the levels below the active overlay. */
struct below_active {
        struct lanemap_lane_posting posting;
        uint64_t n_ids;
};

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

static int lane_grow(struct lanemap_writer *writer, uint32_t lane_index)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct writer_lane *lane = &writer->lanes.items[lane_index];
        struct lanemap_overlay old = lane->active, grown;
        struct lanemap_lane_view_block view;
        int r;

        r = lanemap_lane_view_alloc(lanemap_engine_arena(writer), lane->n_segments, &view);
        if (r < 0)
                return r;

        r = lanemap_overlay_grow(&lane->active, &grown);
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

        lanemap_overlay_prefetch(lanemap_arena_at(arena, lane->active.table.off),
                                 &lane->active.table, fp);
        if (lane->has_frozen)
                lanemap_overlay_prefetch(lanemap_arena_at(arena, lane->frozen.table.off),
                                         &lane->frozen.table, fp);
        for (uint32_t i = 0; i < lane->n_segments; i++)
                lanemap_segment_prefetch_directory(lane->segments[i]->segment, fp, slot->rank);
}

static int below_active_find(const struct lanemap_writer *writer, const struct writer_lane *lane,
                             struct lanemap_fingerprint fp, uint32_t rank,
                             struct below_active *below)
{
        struct lanemap_window window = window_of(writer);
        const unsigned char *frozen_cells = NULL;
        int r;

        if (lane->has_frozen)
                frozen_cells =
                        lanemap_arena_at(lanemap_engine_arena(writer), lane->frozen.table.off);

        below->n_ids = 0;
        r = lanemap_lane_find_below_active(frozen_cells, &lane->frozen.table,
                                           lanemap_engine_lane_segment_at, lane, lane->n_segments,
                                           fp, rank, &below->posting);
        if (r != 0)
                return r == LANEMAP_LANE_E_ABSENT ? 0 : r;
        if (below->posting.in_overlay)
                return lanemap_lane_posting_count(&window, &below->posting, &below->n_ids);

        below->n_ids = below->posting.segment.n_ids;
        return 0;
}

/* ---- operations ---- */

struct op {
        uint32_t code;
        struct lanemap_fingerprint fp;
        uint32_t id;
};

/* Return: true if the operation changes a posting of n_ids ids that does, or does not, contain the
 * id. */
static bool op_changes(const struct op *op, uint64_t n_ids, bool contains)
{
        switch (op->code) {
        case LANEMAP_OP_ADD:
                return !contains;
        case LANEMAP_OP_REMOVE:
                return contains;
        default:
                return n_ids > 0;
        }
}

static uint64_t op_result(const struct op *op, uint64_t n_ids)
{
        switch (op->code) {
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

/* A changed copy of the posting below, as the first one of this overlay. */
static int below_active_prepare(struct lanemap_writer *writer, const struct op *op,
                                const struct below_active *below,
                                struct lanemap_posting_change *change)
{
        struct lanemap_window window = window_of(writer);
        size_t n_ids = 0, at = 0;
        int r;

        if (op->code == LANEMAP_OP_DELETE)
                return lanemap_posting_prepare_build(lanemap_engine_arena(writer), 0, NULL, 0,
                                                     false, change);
        if (below->n_ids == 0)
                return lanemap_posting_prepare_build(lanemap_engine_arena(writer), 0, &op->id, 1,
                                                     true, change);

        r = scratch_fit(writer, below->n_ids + 1);
        if (r == 0)
                r = lanemap_lane_posting_copy(&window, &below->posting, writer->lanes.scratch,
                                              writer->lanes.scratch_capacity, &n_ids);
        if (r < 0)
                return r;

        while (at < n_ids && writer->lanes.scratch[at] < op->id)
                at++;
        if (op->code == LANEMAP_OP_ADD) {
                memmove(&writer->lanes.scratch[at + 1], &writer->lanes.scratch[at],
                        (n_ids - at) * sizeof(uint32_t));
                writer->lanes.scratch[at] = op->id;
                n_ids++;
        } else {
                memmove(&writer->lanes.scratch[at], &writer->lanes.scratch[at + 1],
                        (n_ids - at - 1) * sizeof(uint32_t));
                n_ids--;
        }

        return lanemap_posting_prepare_build(lanemap_engine_arena(writer), 0, writer->lanes.scratch,
                                             n_ids, false, change);
}

/* A change of the posting that this overlay already has. */
static int active_prepare(struct lanemap_writer *writer, const struct op *op, uint64_t value,
                          struct lanemap_posting_change *change)
{
        switch (op->code) {
        case LANEMAP_OP_ADD:
                return lanemap_posting_prepare_insert(lanemap_engine_arena(writer), value, op->id,
                                                      change);
        case LANEMAP_OP_REMOVE:
                return lanemap_posting_prepare_remove(lanemap_engine_arena(writer), value, op->id,
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

/* Nothing can fail from here on. */
static void op_publish(struct lanemap_writer *writer, struct writer_lane *lane, const struct op *op,
                       struct lanemap_overlay_cell_shm *cell, struct lanemap_posting_change *change,
                       uint64_t n_before, uint64_t n_after, uint64_t position)
{
        struct lanemap_overlay before = lane->active;
        int64_t grown;

        /* Before the word that makes it visible: whoever sees the change and then asks for the
         * position learns one that covers it (pairs with the acquire load in
         * question_ask(), apply/lookup.c). */
        lanemap_store_release(&writer->lanes.position, position);
        lanemap_overlay_store(&lane->active, cell, op->fp, change->value);

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

/* The state of the key that an operation needs to decide, from whichever level has it. */
static int op_look(struct lanemap_writer *writer, const struct writer_lane *lane,
                   const struct op *op, uint32_t rank, uint64_t value, struct below_active *below,
                   uint64_t *ret_n_ids, bool *ret_contains)
{
        struct lanemap_window window = window_of(writer);
        int r;

        *ret_contains = false;
        if (value) {
                below->posting.in_overlay = true;
                below->posting.overlay_value = value;
                r = lanemap_lane_posting_count(&window, &below->posting, ret_n_ids);
        } else {
                r = below_active_find(writer, lane, op->fp, rank, below);
                *ret_n_ids = below->n_ids;
        }
        if (r < 0 || *ret_n_ids == 0 || op->code == LANEMAP_OP_DELETE)
                return r;

        r = lanemap_lane_posting_contains(&window, &below->posting, op->id);
        *ret_contains = r == 1;
        return r < 0 ? r : 0;
}

int lanemap_engine_lane_op(struct lanemap_writer *writer, uint32_t code,
                           struct lanemap_fingerprint fp, uint32_t id, uint64_t position,
                           struct lanemap_op_result *ret_result, bool *ret_changed)
{
        const struct lanemap_slot *slot = &writer->identity.slots[lanemap_slot_of(fp.hash)];
        struct writer_lane *lane = &writer->lanes.items[slot->lane];
        struct op op = {.code = code, .fp = fp, .id = id};
        struct lanemap_posting_change change;
        struct lanemap_overlay_cell_shm *cell;
        uint64_t value, n_before, n_after;
        struct below_active below;
        bool contains;
        int r;

        cell = lanemap_overlay_cell(&lane->active, fp, &value);
        r = op_look(writer, lane, &op, slot->rank, value, &below, &n_before, &contains);
        if (r < 0)
                return r;

        if (!op_changes(&op, n_before, contains)) {
                *ret_result = (struct lanemap_op_result){.n_ids = (uint32_t)n_before};
                *ret_changed = false;
                return 0;
        }

        if (!value && lanemap_overlay_is_full(&lane->active)) {
                r = lane_grow(writer, slot->lane);
                if (r < 0)
                        return r;
                cell = lanemap_overlay_cell(&lane->active, fp, &value);
        }

        r = value ? active_prepare(writer, &op, value, &change)
                  : below_active_prepare(writer, &op, &below, &change);
        if (r < 0)
                return r;

        n_after = op_result(&op, n_before);
        op_publish(writer, lane, &op, cell, &change, n_before, n_after, position);
        *ret_result = (struct lanemap_op_result){
                .n_changed =
                        (uint32_t)(n_after > n_before ? n_after - n_before : n_before - n_after),
                .n_ids = (uint32_t)n_after,
        };
        *ret_changed = true;
        return 0;
}

/* ---- all lanes together ---- */
