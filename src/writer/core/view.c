/* A lane's view, as the engine publishes it: its overlays and segments, newest first. Under
 * lanes.lock. */
#include "writer/core/core.h"

#include "common/check.h"
#include "common/probes.h"

static uint32_t lane_segment_entries(const struct writer_lane *lane,
                                     struct lanemap_lane_segment_shm *entries)
{
        for (uint32_t i = 0; i < lane->n_segments; i++) {
                const struct writer_segment *segment = lane->segments[i];

                /* Readers find a file by its slot, and a manifest names it (C1). */
                lanemap_check(segment->file->slot != UINT32_MAX);
                lanemap_check(segment->file->named_generation > 0);
                entries[i] = (struct lanemap_lane_segment_shm){
                        .file_number = segment->file->mapped->number,
                        .file_check = segment->file->mapped->check,
                        .file_slot = segment->file->slot,
                        .section = segment->section,
                        .flags = LANEMAP_LANE_SEGMENT_NATIVE_SLOTS |
                                 (segment->file->copy ? LANEMAP_LANE_SEGMENT_COPY : 0),
                };
        }

        return lane->n_segments;
}

void lanemap_engine_lane_publish(struct lanemap_writer *writer, uint32_t lane_index,
                                 const struct lanemap_lane_view_block *view)
{
        struct lanemap_lane_segment_shm entries[LANEMAP_LANE_SEGMENTS_MAX];
        struct writer_lane *lane = &writer->lanes.items[lane_index];
        struct lanemap_lane_view_options options = {
                .active = &lane->active,
                .frozen = lane->has_frozen ? &lane->frozen : NULL,
                .segments = entries,
                .n_segments = lane_segment_entries(lane, entries),
        };

        lanemap_lane_view_publish(lanemap_engine_arena(writer),
                                  &writer->shm.object->lanes[lane_index], view, &options,
                                  &lane->view);
        LANEMAP_PROBE(publish, lane_index, lane->n_segments, lane->has_frozen);
}

int lanemap_engine_lane_publish_new(struct lanemap_writer *writer, uint32_t lane_index)
{
        struct lanemap_lane_view_block view;
        int r;

        r = lanemap_lane_view_alloc(lanemap_engine_arena(writer),
                                    writer->lanes.items[lane_index].n_segments, &view);
        if (r < 0)
                return r;

        lanemap_engine_lane_publish(writer, lane_index, &view);
        return 0;
}
