/*
 * Making lane views (format.h).
 *
 * A view's block is taken before a step that must not fail afterwards, since a manifest that is in
 * force has to be followed by the view that it describes: for as many segments as that one will
 * have.
 *
 * Thread: the writer, under its lock.
 */
#ifndef LANEMAP_LANE_WRITE_H
#define LANEMAP_LANE_WRITE_H

#include "common/arena.h"
#include "lane/format.h"
#include "overlay/write.h"

struct lanemap_lane_view_block {
        uint64_t off; /* 0: none */
        uint32_t n_segments_max;
};

#define LANEMAP_LANE_VIEW_BYTES(n_segments)     \
        (sizeof(struct lanemap_lane_view_shm) + \
         (uint64_t)(n_segments) * sizeof(struct lanemap_lane_segment_shm))

struct lanemap_lane_view_options {
        const struct lanemap_overlay *active;
        const struct lanemap_overlay *frozen;            /* NULL: none */
        const struct lanemap_lane_segment_shm *segments; /* newest first */
        uint32_t n_segments;                             /* as many as the block is for, or less */
};

/* A block for a view of up to so many segments. Return: 0, -ENOSPC, -ENOMEM. */
int lanemap_lane_view_alloc(struct lanemap_arena *arena, uint32_t n_segments_max,
                            struct lanemap_lane_view_block *ret_block);
/* Gives one back that was not published. */
void lanemap_lane_view_free(struct lanemap_arena *arena,
                            const struct lanemap_lane_view_block *block);

/* Fills a block and makes it the lane's view; retires *current, the view before, unless this is the
 * first of its data object, and puts the new one there. */
void lanemap_lane_view_publish(struct lanemap_arena *arena, struct lanemap_lane_shm *lane,
                               const struct lanemap_lane_view_block *block,
                               const struct lanemap_lane_view_options *options,
                               struct lanemap_lane_view_block *current);

#endif
