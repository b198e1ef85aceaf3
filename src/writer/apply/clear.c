/*
 * All lanes begin anew at once: an empty active overlay and a view for each, or for none. A freeze
 * (compact/flush.c) and a clear do that, and both have to be possible in a full object, so what was
 * kept back for a freeze is theirs. Everything here runs under the engine's lock.
 */
#include "writer/apply/apply.h"

#include <errno.h>

#include "common/alloc.h"
#include "common/check.h"
#include "writer/core/core.h"

static int lane_start_alloc(struct lanemap_writer *writer, uint32_t n_segments,
                            struct writer_lane_start *starts)
{
        int r;

        r = lanemap_overlay_init(&starts->overlay, lanemap_engine_arena(writer), starts->log2_cells,
                                 writer->identity.cell_bytes);
        if (r < 0)
                return r;

        r = lanemap_lane_view_alloc(lanemap_engine_arena(writer), n_segments, &starts->view);
        if (r < 0)
                lanemap_overlay_free(&starts->overlay);
        return r;
}

static int lane_starts_try_alloc(struct lanemap_writer *writer, struct writer_lane_start *starts)
{
        uint32_t n;
        int r = 0;

        for (n = 0; n < writer->identity.n_lanes && r == 0; n += r == 0)
                if (starts[n].log2_cells)
                        r = lane_start_alloc(writer, writer->lanes.items[n].n_segments, &starts[n]);
        if (r == 0)
                return 0;

        while (n-- > 0)
                if (starts[n].log2_cells) {
                        lanemap_overlay_free(&starts[n].overlay);
                        lanemap_lane_view_free(lanemap_engine_arena(writer), &starts[n].view);
                }
        return r;
}

int lanemap_engine_lane_starts_alloc(struct lanemap_writer *writer,
                                     struct writer_lane_start *starts)
{
        int r = lane_starts_try_alloc(writer, starts);

        if (r != -ENOSPC || !lanemap_engine_reserve_release(writer, &writer->shm.freeze_reserve))
                return r;

        /* The reserve is as large as the smallest tables are; a group may need larger ones. */
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++)
                if (starts[i].log2_cells)
                        starts[i].log2_cells = starts[i].log2_cells_least;
        r = lane_starts_try_alloc(writer, starts);
        if (r < 0) /* before an apply has the pages */
                lanemap_engine_reserves_fill(writer);
        return r;
}

/* A frozen overlay that a flush may be reading is left to that flush; its retirement is too
 * (compact/flush.c). */
static void lane_orphan_frozen(struct lanemap_writer *writer, struct writer_lane *lane)
{
        if (!lane->has_frozen)
                return;

        /* Of one flush: a lane has one frozen overlay. */
        lanemap_check(writer->lanes.n_orphans < writer->identity.n_lanes);
        writer->lanes.orphans[writer->lanes.n_orphans++] = lane->frozen;
        lane->has_frozen = false;
}

void lanemap_engine_clear_publish(struct lanemap_writer *writer,
                                  const struct writer_lane_start *starts, uint64_t position)
{
        lanemap_store_release(&writer->lanes.position, position);
        writer->lanes.clear_epoch++;
        /* The lanes are as of the end of the record before, and empty: the clear's own record is
         * not covered, since operations may follow the clear in it. A replay clears once more what
         * is empty. */
        writer->lanes.clear_position = position - 1;
        if (writer->lanes.mark.position < position)
                writer->lanes.frozen_mark = writer->lanes.mark;
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                struct writer_lane *lane = &writer->lanes.items[i];
                struct lanemap_overlay old = lane->active;
                uint32_t n_segments = lane->n_segments;

                lane_orphan_frozen(writer, lane);
                lane->active = starts[i].overlay;
                lane->n_segments = 0;
                lanemap_engine_lane_publish(writer, i, &starts[i].view);
                lanemap_overlay_retire(&old);
                for (uint32_t s = 0; s < n_segments; s++)
                        lanemap_engine_segment_unref(writer, lane->segments[s]);
                lane->n_keys = lane->n_pairs = 0;
                lane->position = position - 1;
                lane->position_n_keys = lane->position_n_pairs = 0;
        }
        lanemap_engine_active_count(writer);
        lanemap_engine_segments_count(writer);
        writer->lanes.n_keys = writer->lanes.n_pairs = 0;
        writer->lanes.has_frozen_set = false;
}

int lanemap_engine_clear(struct lanemap_writer *writer, uint64_t position, uint32_t *ret_n_changed)
{
        struct writer_lane_start *starts;
        int r;

        starts = lanemap_alloc(writer->identity.n_lanes * sizeof(*starts));
        if (!starts)
                return -ENOMEM;

        for (uint32_t i = 0; i < writer->identity.n_lanes; i++)
                starts[i].log2_cells = starts[i].log2_cells_least = LANEMAP_OVERLAY_LOG2_CELLS_MIN;
        r = lanemap_engine_lane_starts_alloc(writer, starts);
        if (r == 0) {
                *ret_n_changed = (uint32_t)LANEMAP_MIN(writer->lanes.n_pairs, (uint64_t)UINT32_MAX);
                lanemap_engine_clear_publish(writer, starts, position);
        }

        lanemap_free(starts);
        return r;
}
