/* Compaction on request: every lane becomes one segment, in a file that is all live. */
#include "writer/compact/compact.h"

#include <errno.h>

#include "writer/core/core.h"

#define COMPACT_ROUNDS 3

#define COMPACT_POLL_NS (UINT64_C(2) * 1000 * 1000)

/* Asks for every lane that is not one segment in a file that is all live; after the first round
 * only for those that are left in a file that others moved out of. Return: true if there are
 * any. */
static bool lanes_want(struct lanemap_writer *writer, bool left_behind)
{
        bool any = false;

        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                struct writer_lane *lane = &writer->lanes.items[i];
                uint32_t n_sound = lanemap_engine_lane_n_sound(lane);

                lane->compact_wanted = true;
                lane->compact_wanted = lanemap_engine_lane_has_excess(lane, n_sound) &&
                                       (!left_behind || !lanemap_engine_file_is_all_live(
                                                                lane->segments[n_sound - 1]->file));
                any |= lane->compact_wanted;
        }
        lanemap_mutex_unlock(&writer->lanes.lock);
        return any;
}

/* Return: true if some of them are not done. */
static bool lanes_left(struct lanemap_writer *writer)
{
        bool left = false;

        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t i = 0; i < writer->identity.n_lanes && !left; i++) {
                const struct writer_lane *lane = &writer->lanes.items[i];

                left = lane->compact_wanted;
                for (uint32_t s = 0; s < lane->n_segments; s++)
                        left |= lane->segments[s]->busy;
        }
        lanemap_mutex_unlock(&writer->lanes.lock);
        return left;
}

/* One step of a compaction: a flush that writes wait for, else a merge, else a moment's
 * patience. */
static int compact_step(struct lanemap_writer *writer)
{
        bool flush_wanted;
        int r;

        lanemap_mutex_lock(&writer->lanes.lock);
        flush_wanted = writer->pressure.flush_wanted && !writer->pressure.flush_failing;
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (flush_wanted) {
                /* Its failure is the flusher's to log, and no compaction's. */
                (void)lanemap_engine_flush_run(writer, true);
                return 0;
        }

        r = lanemap_engine_merge_run(writer);
        if (r == 0)
                lanemap_engine_worker_sleep(writer, COMPACT_POLL_NS);
        return r;
}

/*
 * Makes every lane one segment, as of now, in the caller's thread (the flusher), while the workers
 * go on. Segments that a worker is merging are waited for; writes go on, and are flushed. Return:
 * 0; -EBADMSG: damaged segments, and all that are older, were left as they are.
 */
int lanemap_engine_compact(struct lanemap_writer *writer)
{
        int r = 0;

        /* Lanes that moved out of a file leave others in it, which move out in the next round. */
        for (int round = 0; round < COMPACT_ROUNDS && r >= 0 && lanes_want(writer, round > 0);
             round++)
                while (r >= 0 && !lanemap_load_acquire(&writer->workers.stopping) &&
                       lanes_left(writer))
                        r = compact_step(writer);

        if (r >= 0 && lanemap_load_acquire(&writer->workers.stopping))
                r = -ESHUTDOWN;
        lanemap_mutex_lock(&writer->lanes.lock);
        if (r >= 0 && writer->segments.n_damaged > 0)
                r = -EBADMSG;
        lanemap_mutex_unlock(&writer->lanes.lock);
        return r < 0 ? r : 0;
}
