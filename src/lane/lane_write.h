/*
 * Making lane views (lane_format.h).
 *
 * Every view's block has the same size, so that one can be taken before a step that must not fail
 * afterwards: a manifest that is in force has to be followed by the view that it describes.
 *
 * Thread: the writer, under its lock.
 */
#ifndef LANEMAP_LANE_LANE_WRITE_H
#define LANEMAP_LANE_LANE_WRITE_H

#include "common/arena.h"
#include "lane/lane_format.h"
#include "overlay/overlay_write.h"

#define LANEMAP_LANE_VIEW_BYTES                 \
        (sizeof(struct lanemap_lane_view_shm) + \
         LANEMAP_LANE_SEGMENTS_MAX * sizeof(struct lanemap_lane_segment_shm))

struct lanemap_lane_view_options {
        const struct lanemap_overlay *active;
        const struct lanemap_overlay *frozen;            /* NULL: none */
        const struct lanemap_lane_segment_shm *segments; /* newest first */
        uint32_t n_segments;                             /* at most LANEMAP_LANE_SEGMENTS_MAX */
};

/* A block for a view. Return: 0, -ENOSPC, -ENOMEM. Give an unused one back with arena->free(). */
int lanemap_lane_view_alloc(struct lanemap_arena *arena, uint64_t *ret_off);

/* Fills a block, makes it the lane's view, and retires the view before (0: there was none). */
void lanemap_lane_view_publish(struct lanemap_arena *arena, struct lanemap_lane_shm *lane,
                               uint64_t view_off, const struct lanemap_lane_view_options *options);

#endif
