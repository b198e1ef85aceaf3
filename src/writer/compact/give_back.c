/*
 * Shared memory that is not needed any more is given back without being asked for.
 *
 * GB1. Within a minute after the need has passed, a data object has at most half more bytes than a
 *     fresh one has, or than were in use at once during the last window, whichever is more; unless
 *     readers hold as much of older objects as they may (FL1).
 *
 * The need is measured in windows of 15 seconds: the most that was allocated at once, without what
 * overlays held all the time and a flush would take out of memory. An index that is written to
 * needs what it uses between two flushes, so it keeps it. After a large command, or FLUSHALL, the
 * two windows that follow show the slack, and a flush and a flip end it. So there is at most one
 * flip in two windows.
 */
#include "writer/compact/compact.h"

#include "writer/apply/apply.h"

#define WINDOW_NS (UINT64_C(15) * 1000 * 1000 * 1000)

/* So many windows in a row. */
#define SLACK_WINDOWS 2

/* Overlays that have grown by a smaller part in a window are at rest. */
#define REST_SHARE 16

static void window_begin(struct lanemap_writer *writer, uint64_t now_ns)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        (void)lanemap_shm_arena_take_peak(writer->shm.object->arena);
        if (writer->slack.generation != writer->shm.object->generation)
                writer->slack.n_windows = 0;
        writer->slack.generation = writer->shm.object->generation;
        writer->slack.n_flushes = writer->lanes.stats.n_flushes;
        writer->slack.active_bytes = writer->pressure.active_bytes;
        lanemap_store_relaxed(&writer->slack.since_ns, now_ns);
}

/* Return: bytes that overlays have held since the window began, and that a flush would give
 * back. */
static uint64_t resting_bytes(const struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        uint64_t before = writer->slack.active_bytes, now = writer->pressure.active_bytes;
        bool flushed = writer->lanes.has_frozen_set ||
                       writer->lanes.stats.n_flushes != writer->slack.n_flushes;

        return !flushed && now >= before && now - before <= before / REST_SHARE ? before : 0;
}

/* Return: true if the object had more than the slack in the window. *ret_flush: overlays are part
 * of it. */
static bool window_has_slack(struct lanemap_writer *writer, bool *ret_flush)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        uint64_t peak = lanemap_shm_arena_take_peak(writer->shm.object->arena);
        uint64_t resting = resting_bytes(writer);
        struct lanemap_shm_arena_stats stats;

        /* A window in which the object changed has not seen all. */
        if (writer->slack.generation != writer->shm.object->generation)
                return false;

        lanemap_shm_arena_get_stats(writer->shm.object->arena, &stats);
        *ret_flush = resting > 0;
        return stats.bytes > lanemap_engine_slack_limit(writer, peak - LANEMAP_MIN(resting, peak));
}

/* Return: true if memory is to be given back. */
static bool window_end(struct lanemap_writer *writer, bool *ret_flush)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        if (!window_has_slack(writer, ret_flush)) {
                writer->slack.n_windows = 0;
                return false;
        }

        return ++writer->slack.n_windows >= SLACK_WINDOWS;
}

void lanemap_engine_give_back(struct lanemap_writer *writer)
{
        uint64_t now_ns = lanemap_now_ns(writer->clock);
        bool slack = false, flush = false;

        lanemap_mutex_lock(&writer->lanes.lock);
        if (writer->slack.since_ns != 0 && now_ns - writer->slack.since_ns >= WINDOW_NS)
                slack = window_end(writer, &flush);
        else if (writer->slack.since_ns != 0)
                now_ns = 0;
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (now_ns == 0)
                return;

        /* What fails is tried again after the next window; what succeeds makes a new object. */
        if (slack && (!flush || lanemap_engine_flush_run(writer, true) == 0))
                (void)lanemap_engine_flip_run(writer, WRITER_FLIP_SLACK);

        lanemap_mutex_lock(&writer->lanes.lock);
        window_begin(writer, now_ns);
        lanemap_mutex_unlock(&writer->lanes.lock);
}
