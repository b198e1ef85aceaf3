/*
 * Back-pressure: when a flush is due, and the waits of applies while flushes do not keep up. All of
 * it runs under the engine's lock; a wait gives the lock back meanwhile.
 */
#include "writer/apply/apply.h"

#include <errno.h>

#include "common/alloc.h"
#include "common/lock.h"
#include "writer/core/core.h"

/* Active overlays may outgrow the flush threshold this many times before applies wait for the
 * flush. */
#define STALL_RATIO     4
#define STALL_BYTES_MIN (UINT64_C(1) << 20)

/* The shared memory that an operation takes, in the usual case and rounded up: a cell in a table
 * that may be about to double, and a short posting. */
#define APPLY_BYTES_PER_OP 128

/* A log that is at a write or a sync may hang, and allocating room would wait for the same disk: a
 * caller that may not wait goes on only while so much is allocated. */
#define HANG_ROOM_BYTES (UINT32_C(32) << 10)
#define READY_WAIT_NS   (UINT64_C(10) * 1000 * 1000)

/* An apply waits so long for room before it answers -ENOSPC. */
#define STALL_NS_MAX (UINT64_C(1) * 1000 * 1000 * 1000)

/* All lanes fill alike, so their tables double at about the same time, while a flush and the
 * quarantine hold memory too: overlays get an eighth of the room. */
static uint64_t flush_room(const struct lanemap_writer *writer)
{
        return writer->shm.room_bytes / 8;
}

uint64_t lanemap_engine_flush_threshold(const struct lanemap_writer *writer)
{
        uint64_t bytes = writer->options.flush_bytes
                                 ? writer->options.flush_bytes
                                 : lanemap_lane_policy_flush_bytes(writer->lanes.n_keys,
                                                                   writer->identity.n_lanes,
                                                                   writer->identity.cell_bytes);

        return LANEMAP_MIN(bytes, flush_room(writer));
}

bool lanemap_engine_overlays_exceed(const struct lanemap_writer *writer, uint64_t bytes_max,
                                    uint32_t times)
{
        struct lanemap_lane_policy_overlays overlays = writer->pressure.active_long;

        overlays.bytes = writer->pressure.active_bytes - overlays.long_bytes;
        return lanemap_lane_policy_overlays_exceed(&overlays, bytes_max, times);
}

bool lanemap_engine_flush_is_due(const struct lanemap_writer *writer)
{
        struct lanemap_lane_policy_overlays overlays = writer->pressure.active_long;
        uint64_t bytes = lanemap_engine_flush_threshold(writer);

        if (writer->options.flush_bytes || bytes == flush_room(writer))
                return lanemap_engine_overlays_exceed(writer, bytes, 1);

        overlays.bytes = writer->pressure.active_used_bytes - overlays.long_bytes;
        return lanemap_lane_policy_overlays_exceed(&overlays, LANEMAP_LANE_POLICY_FLUSH_FILL(bytes),
                                                   1);
}

static void flush_start(struct lanemap_writer *writer)
{
        writer->pressure.flush_wanted = true;
        lanemap_engine_flusher_signal(writer);
}

/* So that the next doubling of the tables still fits where memory is short: a quarter of the
 * room. */
static bool overlays_are_too_large(const struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        uint64_t bytes = LANEMAP_MAX(lanemap_engine_flush_threshold(writer), STALL_BYTES_MIN);
        uint64_t empty_bytes = (uint64_t)writer->identity.n_lanes * writer->identity.cell_bytes
                               << LANEMAP_OVERLAY_LOG2_CELLS_MIN;

        bytes = LANEMAP_MIN(bytes,
                            LANEMAP_MAX(writer->shm.room_bytes / 4 / STALL_RATIO, empty_bytes));
        return lanemap_engine_overlays_exceed(writer, bytes, STALL_RATIO);
}

/* Return: true if applies wait for a flush. */
static bool flush_is_behind(struct lanemap_writer *writer) LANEMAP_REQUIRES(writer->lanes.lock)
{
        if (LANEMAP_LIKELY(!overlays_are_too_large(writer))) {
                writer->pressure.stall_since_ns = 0;
                return false;
        }

        return true;
}

/* A flush that gets on is waited for, however slow the disk is. One that does not is waited for
 * once: the applies after the one that gave up are refused at once, until it gets on. */
static bool flush_is_hopeless(struct lanemap_writer *writer, uint64_t now_ns)
{
        uint64_t progress = lanemap_load_relaxed(&writer->pressure.n_sections_built);

        if (writer->pressure.stall_since_ns == 0 || progress != writer->pressure.stall_progress)
                writer->pressure.stall_since_ns = now_ns;
        writer->pressure.stall_progress = progress;
        return writer->pressure.flush_failing ||
               now_ns - writer->pressure.stall_since_ns > 10 * STALL_NS_MAX;
}

/* Back-pressure: while overlays are far over the flush threshold, applies wait; when no flush
 * succeeds, they are refused. */
int lanemap_engine_pressure_wait(struct lanemap_writer *writer)
{
        uint64_t began_ns = 0, now_ns;
        int r = 0;

        while (LANEMAP_UNLIKELY(flush_is_behind(writer))) {
                now_ns = lanemap_now_ns(writer->clock);
                if (began_ns == 0) {
                        began_ns = now_ns;
                        writer->lanes.stats.n_write_stalls++;
                }
                if (flush_is_hopeless(writer, now_ns)) {
                        r = -ENOSPC;
                        break;
                }

                flush_start(writer);
                lanemap_engine_cond_wait_ns(&writer->pressure.wake, &writer->lanes.lock,
                                            STALL_NS_MAX / 10);
        }

        if (LANEMAP_UNLIKELY(began_ns > 0))
                writer->lanes.stats.write_stall_ns += lanemap_now_ns(writer->clock) - began_ns;
        return r;
}

/* Shared memory is full: a flush gives back what the overlays hold, if they hold anything. Return:
 * whether they do. */
bool lanemap_engine_flush_for_room(struct lanemap_writer *writer)
{
        bool has_work = writer->lanes.has_frozen_set;

        for (uint32_t i = 0; i < writer->identity.n_lanes && !has_work; i++)
                has_work = writer->lanes.items[i].active.n_used > 0;
        if (has_work && !writer->pressure.flush_wanted)
                flush_start(writer);
        return has_work;
}

/* Waits a moment for a flush. Return: false: that did not help, and will not. */
bool lanemap_engine_room_wait(struct lanemap_writer *writer, struct writer_room_wait *wait)
{
        uint64_t now_ns = lanemap_now_ns(writer->clock);

        if (wait->since_ns == 0)
                *wait = (struct writer_room_wait){now_ns, writer->lanes.stats.n_flushes};
        if (writer->pressure.flush_failing || now_ns - wait->since_ns > STALL_NS_MAX ||
            writer->lanes.stats.n_flushes > wait->n_flushes + 1 ||
            !lanemap_engine_flush_for_room(writer))
                return false;

        lanemap_engine_memory_room_update(writer);
        lanemap_engine_cond_wait_ns(&writer->pressure.wake, &writer->lanes.lock,
                                    STALL_NS_MAX / 100);
        return true;
}

/* Shared memory is full, or will be within this batch: what the overlays hold of it comes back by a
 * flush. When that does not help in time, the operations are tried all the same, and say so. */
void lanemap_engine_memory_wait(struct lanemap_writer *writer, size_t n_ops,
                                struct writer_room_wait *wait)
{
        while (LANEMAP_UNLIKELY(lanemap_shm_arena_reserve(writer->shm.object->arena,
                                                          n_ops * APPLY_BYTES_PER_OP) < 0))
                if (!lanemap_engine_room_wait(writer, wait))
                        return;
}

void lanemap_engine_flush_trigger(struct lanemap_writer *writer)
{
        if (!writer->pressure.flush_wanted && lanemap_engine_flush_is_due(writer))
                flush_start(writer);
}

int lanemap_writer_apply_is_ready(struct lanemap_writer *writer, size_t log_bytes)
{
        bool hangs = lanemap_engine_log_age_ns(writer) > 0;
        bool ready;

        if (!lanemap_log_is_ready(writer->log, log_bytes, hangs ? HANG_ROOM_BYTES : 0))
                return 0;
        if (!lanemap_mutex_lock_within(&writer->lanes.lock, READY_WAIT_NS))
                return 0;

        ready = !flush_is_behind(writer) ||
                flush_is_hopeless(writer, lanemap_now_ns(writer->clock));
        if (!ready)
                flush_start(writer);
        lanemap_mutex_unlock(&writer->lanes.lock);
        return ready;
}
