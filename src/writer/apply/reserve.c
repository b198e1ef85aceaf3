/*
 * Pages of the data object, reserved for the time when it is full. Only a flush gives room back,
 * and a flush needs some itself: empty overlays and views to freeze, and views again to commit.
 * Without a reserve for each of the two steps, a full object could stay full for ever.
 *
 * Single pages, so that they can be had in a fragmented object too. Refilled whenever a flush has
 * given memory back, before an apply can take it. All under lock.
 *
 * And the spare object, reserved for a successor, which has to start while the present object
 * exists, whatever fills /dev/shm (S4 in shm/write.h).
 */
#include "writer/apply/apply.h"

#include <errno.h>

#include "common/alloc.h"
#include "common/check.h"

#define PAGE_BYTES LANEMAP_SHM_PAGE_BYTES

static uint32_t pages_for(uint32_t n_blocks, uint64_t bytes)
{
        uint32_t per_page = lanemap_shm_arena_blocks_per_page(bytes);

        return (n_blocks + per_page - 1) / per_page;
}

/* Of an empty overlay for each lane. */
static uint32_t tables_pages(const struct lanemap_writer *writer)
{
        return pages_for(writer->identity.n_lanes,
                         (uint64_t)writer->identity.cell_bytes << LANEMAP_OVERLAY_LOG2_CELLS_MIN);
}

/* Of a view for each lane, with n_more segments than it has now. One page more, since a merge may
 * change how many views there are of which size. */
static uint32_t views_pages(const struct lanemap_writer *writer, uint32_t n_more)
{
        uint32_t n_views[LANEMAP_LANE_SEGMENTS_MAX + 1] = {0}, n_pages = 1;

        for (uint32_t i = 0; i < writer->identity.n_lanes; i++)
                n_views[LANEMAP_MIN(writer->lanes.items[i].n_segments + n_more,
                                    (uint32_t)LANEMAP_LANE_SEGMENTS_MAX)]++;
        for (uint32_t n = 0; n <= LANEMAP_LANE_SEGMENTS_MAX; n++)
                n_pages += pages_for(n_views[n], LANEMAP_LANE_VIEW_BYTES(n));
        return n_pages;
}

void lanemap_engine_segments_count(struct lanemap_writer *writer)
{
        uint32_t n_segments = 0;

        for (uint32_t i = 0; i < writer->identity.n_lanes; i++)
                n_segments = LANEMAP_MAX(n_segments, writer->lanes.items[i].n_segments);
        writer->pressure.n_segments_deepest = n_segments;
}

static int reserve_init(struct writer_reserve *reserve, uint32_t n_max)
{
        reserve->offs = lanemap_alloc(n_max * sizeof(*reserve->offs));
        if (!reserve->offs)
                return -ENOMEM;

        reserve->n_max = n_max;
        return 0;
}

int lanemap_engine_reserves_init(struct lanemap_writer *writer)
{
        /* As views_pages() at most. */
        uint32_t n_views = pages_for(writer->identity.n_lanes,
                                     LANEMAP_LANE_VIEW_BYTES(LANEMAP_LANE_SEGMENTS_MAX)) +
                           LANEMAP_LANE_SEGMENTS_MAX + 1;
        int r;

        r = reserve_init(&writer->shm.freeze_reserve, n_views + tables_pages(writer));
        if (r == 0)
                r = reserve_init(&writer->shm.commit_reserve, n_views);
        return r;
}

void lanemap_engine_reserves_deinit(struct lanemap_writer *writer)
{
        lanemap_free(writer->shm.freeze_reserve.offs);
        lanemap_free(writer->shm.commit_reserve.offs);
}

static void reserve_fill(struct lanemap_writer *writer, struct writer_reserve *reserve,
                         uint32_t n_wanted)
{
        struct lanemap_arena *arena = lanemap_engine_arena(writer);

        /* Less than is wanted, and a full object could stay full. */
        lanemap_check(n_wanted <= reserve->n_max);
        while (reserve->n > n_wanted)
                arena->free(arena, reserve->offs[--reserve->n], PAGE_BYTES);
        while (reserve->n < n_wanted &&
               arena->alloc(arena, PAGE_BYTES, &reserve->offs[reserve->n]) == 0)
                reserve->n++;
}

void lanemap_engine_reserves_fill(struct lanemap_writer *writer)
{
        reserve_fill(writer, &writer->shm.commit_reserve, views_pages(writer, 1));
        reserve_fill(writer, &writer->shm.freeze_reserve,
                     views_pages(writer, 0) + tables_pages(writer));
        lanemap_store_relaxed(&writer->shm.spare_bytes_wanted, lanemap_engine_spare_bytes(writer));
}

uint64_t lanemap_engine_reserves_bytes(const struct lanemap_writer *writer)
{
        uint64_t n_pages = views_pages(writer, 1) + views_pages(writer, 0) + tables_pages(writer);

        return n_pages * PAGE_BYTES;
}

bool lanemap_engine_reserve_release(struct lanemap_writer *writer, struct writer_reserve *reserve)
{
        if (reserve->n == 0)
                return false;

        while (reserve->n > 0)
                lanemap_engine_arena(writer)->free(lanemap_engine_arena(writer),
                                                   reserve->offs[--reserve->n], PAGE_BYTES);
        return true;
}

void lanemap_engine_reserves_forget(struct lanemap_writer *writer)
{
        writer->shm.freeze_reserve.n = writer->shm.commit_reserve.n = 0;
}

/* Besides what it needs to start, so that it can take writes. */
#define SPARE_WRITE_BYTES (UINT64_C(16) << 10)

/* Views of several sizes, a page more for each of them but one. */
#define SPARE_SIZES_PAGES 2

/*
 * The spare object reserves what a successor needs to start: the head, an empty overlay and a view
 * for each lane (S4); then the reserves of a flush, and some room for writes. A log is replayed
 * elsewhere (life/replay.c); a flush of the replay may leave a segment more.
 */
uint64_t lanemap_engine_spare_bytes(const struct lanemap_writer *writer)
{
        uint32_t n_segments = LANEMAP_MAX((uint32_t)LANEMAP_LANE_POLICY_SEGMENTS_MAX,
                                          writer->pressure.n_segments_deepest + 1);
        uint64_t view_bytes = LANEMAP_LANE_VIEW_BYTES(n_segments);
        uint64_t bytes = LANEMAP_ALIGN_UP(
                sizeof(struct lanemap_shm_data) + LANEMAP_N_SLOTS * sizeof(struct lanemap_slot) +
                        writer->identity.n_lanes * sizeof(struct lanemap_lane_shm),
                (uint64_t)PAGE_BYTES);
        uint64_t n_pages = tables_pages(writer) + pages_for(writer->identity.n_lanes, view_bytes);

        n_pages += tables_pages(writer) +
                   2 * (pages_for(writer->identity.n_lanes, view_bytes) + 1 + SPARE_SIZES_PAGES);
        bytes += n_pages * PAGE_BYTES + SPARE_WRITE_BYTES;
        return LANEMAP_MIN(bytes, writer->options.shared_bytes_max) & ~(uint64_t)(PAGE_BYTES - 1);
}

int lanemap_engine_spare_ensure(struct lanemap_writer *writer)
{
        uint64_t bytes = lanemap_load_relaxed(&writer->shm.spare_bytes_wanted);
        int r;

        if (lanemap_load_relaxed(&writer->shm.spare_bytes) >= bytes)
                return 0;

        r = lanemap_shm_spare_make(writer->place.shm_dir_fd, writer->identity.name, bytes);
        if (r == -ENOSPC && bytes > SPARE_WRITE_BYTES) {
                bytes -= SPARE_WRITE_BYTES; /* a successor starts, and reads */
                r = lanemap_shm_spare_make(writer->place.shm_dir_fd, writer->identity.name, bytes);
        }
        if (r == 0)
                lanemap_store_relaxed(&writer->shm.spare_bytes, bytes);
        return r;
}
