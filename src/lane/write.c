/* See write.h. */
#include "lane/write.h"

#include "common/check.h"
#include "common/order.h"

int lanemap_lane_view_alloc(struct lanemap_arena *arena, uint32_t n_segments_max,
                            struct lanemap_lane_view_block *ret_block)
{
        uint64_t off;
        int r;

        r = arena->alloc(arena, LANEMAP_LANE_VIEW_BYTES(n_segments_max), &off);
        if (r < 0)
                return r;

        *ret_block = (struct lanemap_lane_view_block){.off = off, .n_segments_max = n_segments_max};
        return 0;
}

void lanemap_lane_view_free(struct lanemap_arena *arena,
                            const struct lanemap_lane_view_block *block)
{
        arena->free(arena, block->off, LANEMAP_LANE_VIEW_BYTES(block->n_segments_max));
}

static void view_fill(struct lanemap_arena *arena, uint64_t off,
                      const struct lanemap_lane_view_options *options)
{
        struct lanemap_lane_view_shm *view;

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
                               const struct lanemap_lane_view_block *block,
                               const struct lanemap_lane_view_options *options,
                               struct lanemap_lane_view_block *current)
{
        bool is_first = lane->view_off == 0;

        lanemap_check(options->n_segments <= block->n_segments_max &&
                      options->n_segments <= LANEMAP_LANE_SEGMENTS_MAX);
        view_fill(arena, block->off, options);
        /* Pairs with the acquire load of the word in a lookup: weaker, a reader could follow the
         * word into bytes that are not there yet. */
        lanemap_store_release(&lane->view_off, block->off);
        if (!is_first)
                arena->retire(arena, current->off,
                              LANEMAP_LANE_VIEW_BYTES(current->n_segments_max));
        *current = *block;
}
