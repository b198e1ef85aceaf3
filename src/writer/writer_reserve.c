/*
 * Pages of the data object kept back for the time when it is full. Only a flush gives room back,
 * and a flush needs some itself: fresh overlays and views to freeze, and views again to commit.
 * Without a reserve for each of the two steps, a full object could stay full for ever.
 *
 * Single pages, so that they can be had in a fragmented object too. Refilled whenever a flush has
 * given memory back, before an apply can take it. All under lock.
 *
 * And the spare object, kept back for a successor, which has to come up beside the object that is
 * there, whatever fills /dev/shm (S4 in shm_write.h).
 */
#include "writer/writer_private.h"

#include <errno.h>

#include "common/alloc.h"

#define PAGE_BYTES LANEMAP_SHM_PAGE_BYTES

static struct lanemap_arena *arena_of(const struct lanemap_writer *writer)
{
        return lanemap_shm_arena_base(writer->object->arena);
}

/* How many pages hold a block of so many bytes for each lane: blocks do not cross pages, and are
 * rounded up by at most a quarter. */
static uint32_t pages_for(const struct lanemap_writer *writer, uint64_t bytes)
{
        uint32_t per_page = (uint32_t)(PAGE_BYTES / (bytes * 5 / 4));

        return (writer->n_lanes + per_page - 1) / per_page;
}

static int reserve_init(struct writer_reserve *reserve, uint32_t n_max)
{
        reserve->offs = lanemap_alloc(n_max * sizeof(*reserve->offs));
        if (!reserve->offs)
                return -ENOMEM;

        reserve->n_max = n_max;
        return 0;
}

int lanemap_writer_reserves_init(struct lanemap_writer *writer)
{
        uint32_t n_views = pages_for(writer, LANEMAP_LANE_VIEW_BYTES);
        uint32_t n_tables =
                pages_for(writer, (uint64_t)writer->cell_bytes << LANEMAP_OVERLAY_LOG2_CELLS_MIN);
        int r;

        r = reserve_init(&writer->freeze_reserve, n_views + n_tables);
        if (r == 0)
                r = reserve_init(&writer->commit_reserve, n_views);
        return r;
}

void lanemap_writer_reserves_deinit(struct lanemap_writer *writer)
{
        lanemap_free(writer->freeze_reserve.offs);
        lanemap_free(writer->commit_reserve.offs);
}

static void reserve_fill(struct lanemap_writer *writer, struct writer_reserve *reserve)
{
        while (reserve->n < reserve->n_max &&
               arena_of(writer)->alloc(arena_of(writer), PAGE_BYTES, &reserve->offs[reserve->n]) ==
                       0)
                reserve->n++;
}

void lanemap_writer_reserves_fill(struct lanemap_writer *writer)
{
        reserve_fill(writer, &writer->commit_reserve);
        reserve_fill(writer, &writer->freeze_reserve);
}

bool lanemap_writer_reserve_release(struct lanemap_writer *writer, struct writer_reserve *reserve)
{
        if (reserve->n == 0)
                return false;

        while (reserve->n > 0)
                arena_of(writer)->free(arena_of(writer), reserve->offs[--reserve->n], PAGE_BYTES);
        return true;
}

void lanemap_writer_reserves_forget(struct lanemap_writer *writer)
{
        writer->freeze_reserve.n = writer->commit_reserve.n = 0;
}

/* What an empty index needs, with its reserves, and room to replay a log by flushes. */
#define SPARE_REPLAY_BYTES (UINT64_C(128) << 10)

uint64_t lanemap_writer_spare_bytes(const struct lanemap_writer *writer)
{
        uint64_t n_pages =
                2 * (uint64_t)writer->freeze_reserve.n_max + writer->commit_reserve.n_max;
        uint64_t bytes = LANEMAP_ALIGN_UP(sizeof(struct lanemap_shm_data) +
                                                  LANEMAP_N_SLOTS * sizeof(struct lanemap_slot) +
                                                  writer->n_lanes * sizeof(struct lanemap_lane_shm),
                                          (uint64_t)PAGE_BYTES) +
                         n_pages * PAGE_BYTES + SPARE_REPLAY_BYTES;

        return LANEMAP_MIN(bytes, writer->options.shared_bytes_max) & ~(uint64_t)(PAGE_BYTES - 1);
}

void lanemap_writer_spare_ensure(struct lanemap_writer *writer)
{
        if (lanemap_load_relaxed(&writer->has_spare))
                return;

        if (lanemap_shm_spare_make(writer->shm_dir_fd, writer->name,
                                   lanemap_writer_spare_bytes(writer)) == 0)
                lanemap_store_relaxed(&writer->has_spare, true);
}
