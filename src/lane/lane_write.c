/* See lane_write.h. */
#include "lane/lane_write.h"

#include "common/check.h"
#include "common/order.h"

int lanemap_lane_view_alloc(struct lanemap_arena *arena, uint64_t *ret_off)
{
        return arena->alloc(arena, LANEMAP_LANE_VIEW_BYTES, ret_off);
}

static void view_fill(struct lanemap_arena *arena, uint64_t off,
                      const struct lanemap_lane_view_options *options)
{
        struct lanemap_lane_view_shm *view;

        lanemap_check(options->n_segments <= LANEMAP_LANE_SEGMENTS_MAX);

        /* The block may be one that a late reader still looks at: relaxed stores, published below.
         */
        view = lanemap_arena_at(arena, off);
        lanemap_store_relaxed(&view->magic, LANEMAP_LANE_VIEW_MAGIC);
        lanemap_store_relaxed(&view->n_segments, (uint8_t)options->n_segments);
        lanemap_store_relaxed(&view->active_log2_cells, (uint8_t)options->active->table.log2_cells);
        lanemap_store_relaxed(&view->frozen_log2_cells,
                              options->frozen ? (uint8_t)options->frozen->table.log2_cells
                                              : (uint8_t)0);
        lanemap_store_relaxed(&view->reserved0, (uint8_t)0);
        lanemap_store_relaxed(&view->active_off, options->active->table.off);
        lanemap_store_relaxed(&view->frozen_off,
                              options->frozen ? options->frozen->table.off : (uint64_t)0);
        lanemap_store_relaxed(&view->reserved1, (uint64_t)0);
        for (uint32_t i = 0; i < options->n_segments; i++) {
                const struct lanemap_lane_segment_shm *from = &options->segments[i];
                struct lanemap_lane_segment_shm *to = &view->segments[i];

                lanemap_store_relaxed(&to->file_number, from->file_number);
                lanemap_store_relaxed(&to->file_check, from->file_check);
                lanemap_store_relaxed(&to->file_slot, from->file_slot);
                lanemap_store_relaxed(&to->section, from->section);
                lanemap_store_relaxed(&to->flags, from->flags);
                lanemap_store_relaxed(&to->reserved, UINT32_C(0));
        }
}

void lanemap_lane_view_publish(struct lanemap_arena *arena, struct lanemap_lane_shm *lane,
                               uint64_t view_off, const struct lanemap_lane_view_options *options)
{
        uint64_t old_off = lane->view_off;

        view_fill(arena, view_off, options);
        /* Pairs with the acquire load of the word in a lookup: weaker, a reader could follow the
         * word into bytes that are not there yet. */
        lanemap_store_release(&lane->view_off, view_off);
        if (old_off)
                arena->retire(arena, old_off, LANEMAP_LANE_VIEW_BYTES);
}
