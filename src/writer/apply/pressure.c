/*
 * Back-pressure: when a flush is due, and how applies are slowed down and held up while flushes and
 * merges do not keep up. All of it runs under the engine's lock; a wait gives the lock back
 * meanwhile.
 *
 *   debt      flushes and merges have more to do than they should (lane/policy.h): each operation
 *             adds a delay to the time at which the next apply goes on; at most 100 ms
 *   stall     overlays are four times over their budget: applies wait until a flush ends
 *   refusal   no flush gets through: -ENOSPC at once
 */
#include "writer/apply/apply.h"

#include <errno.h>

#include "common/alloc.h"
#include "common/lock.h"
#include "common/probes.h"
#include "writer/core/core.h"

/* Active overlays may outgrow the flush threshold this many times before applies wait for the
 * flush. */
#define STALL_RATIO     4
#define STALL_BYTES_MIN (UINT64_C(1) << 20)

/* A log that is at a write or a sync may hang, and allocating room would wait for the same disk: a
 * caller that may not wait goes on only while so much is allocated. */
#define HANG_ROOM_BYTES (UINT32_C(32) << 10)

/* When a caller that does not wait looks again for the end of a stall. */
#define LOOK_NS (UINT64_C(5) * 1000 * 1000)

/* Delays of a few operations add up until a clock can tell them; no apply waits longer than the
 * other for its turn, and stalls take over from there. */
#define DELAY_GRAIN_NS (UINT64_C(1) * 1000 * 1000)
#define DELAY_NS_MAX   (UINT64_C(100) * 1000 * 1000)

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

/* The tables that applies may fill before they are slowed down: the flush threshold, or less, so
 * that the next doubling of the tables still fits where memory is short: a quarter of the room. */
static uint64_t overlays_budget(const struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        uint64_t bytes = LANEMAP_MAX(lanemap_engine_flush_threshold(writer), STALL_BYTES_MIN);
        uint64_t empty_bytes = (uint64_t)writer->identity.n_lanes * writer->identity.cell_bytes
                               << LANEMAP_OVERLAY_LOG2_CELLS_MIN;

        return LANEMAP_MIN(bytes,
                           LANEMAP_MAX(writer->shm.room_bytes / 4 / STALL_RATIO, empty_bytes));
}

static void stall_end(struct lanemap_writer *writer) LANEMAP_REQUIRES(writer->lanes.lock)
{
        uint64_t ns = lanemap_now_ns(writer->clock) - writer->pressure.stalled_ns;

        writer->lanes.stats.write_stall_ns += ns;
        writer->pressure.stalled_ns = 0;
        LANEMAP_PROBE(stall__done, ns);
}

/* Return: true if applies are held up until a flush ends. Counts the times that they were. */
static bool flush_is_behind(struct lanemap_writer *writer) LANEMAP_REQUIRES(writer->lanes.lock)
{
        bool behind = lanemap_engine_overlays_exceed(writer, overlays_budget(writer), STALL_RATIO);

        if (LANEMAP_LIKELY(!behind)) {
                writer->pressure.stall_since_ns = 0;
                if (LANEMAP_UNLIKELY(writer->pressure.stalled_ns > 0))
                        stall_end(writer);
        } else if (writer->pressure.stalled_ns == 0) {
                writer->pressure.stalled_ns = lanemap_now_ns(writer->clock);
                writer->lanes.stats.n_write_stalls++;
                LANEMAP_PROBE(stall__start, writer->pressure.active_bytes,
                              writer->pressure.n_segments_deepest);
        }
        return behind;
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
               now_ns - writer->pressure.stall_since_ns > 10 * LANEMAP_ENGINE_STALL_NS;
}

/* ---- delays ---- */

static uint64_t delay_per_op_ns(const struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct lanemap_lane_policy_overlays overlays = writer->pressure.active_long;
        uint64_t short_bytes = writer->pressure.active_used_bytes - overlays.long_bytes;
        uint64_t fill = LANEMAP_LANE_POLICY_FLUSH_FILL(overlays_budget(writer));
        struct lanemap_lane_policy_debt debt = {
                .n_segments = writer->pressure.n_segments_deepest,
                .excess_bytes = writer->pressure.excess_bytes,
                .excess_max = writer->pressure.excess_max,
        };

        overlays.bytes = short_bytes;
        debt.overlay_bytes = lanemap_lane_policy_overlays_bytes(&overlays);
        debt.flush_bytes = lanemap_lane_policy_overlays_max(&overlays, fill);
        return lanemap_lane_policy_delay_ns(&debt);
}

/* What has been applied is paid for by those who come next. */
void lanemap_engine_pressure_charge(struct lanemap_writer *writer, size_t n_ops)
{
        uint64_t delay_ns = delay_per_op_ns(writer), now_ns, until_ns;

        if (LANEMAP_LIKELY(delay_ns == 0))
                return;

        now_ns = lanemap_now_ns(writer->clock);
        until_ns = LANEMAP_MAX(writer->pressure.resume_ns, now_ns);
        delay_ns = LANEMAP_MIN(delay_ns * n_ops, now_ns + DELAY_NS_MAX - until_ns);
        writer->pressure.resume_ns = until_ns + delay_ns;
        writer->lanes.stats.n_write_delays++;
        writer->lanes.stats.write_delay_ns += delay_ns;
        LANEMAP_PROBE(delay, delay_ns, n_ops);
}

/* Return: how long an apply has to wait for its turn, which comes at resume_ns; 0: it need not, or
 * the wait is too short for a clock and adds up with the next one. */
static uint64_t delay_left_ns(struct lanemap_writer *writer, uint64_t resume_ns)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        uint64_t now_ns;

        if (LANEMAP_LIKELY(resume_ns == 0))
                return 0;

        now_ns = lanemap_now_ns(writer->clock);
        if (writer->pressure.resume_ns <= now_ns)
                writer->pressure.resume_ns = 0;
        return resume_ns > now_ns + DELAY_GRAIN_NS ? resume_ns - now_ns : 0;
}

/* ---- waits ---- */

/* Back-pressure: an apply waits for its turn, and while overlays are far over the flush threshold;
 * when no flush succeeds, it is refused. */
int lanemap_engine_pressure_wait(struct lanemap_writer *writer)
{
        uint64_t resume_ns, left_ns;

        while (LANEMAP_UNLIKELY(flush_is_behind(writer))) {
                if (flush_is_hopeless(writer, lanemap_now_ns(writer->clock)))
                        return -ENOSPC;

                flush_start(writer);
                lanemap_engine_cond_wait_ns(&writer->pressure.wake, &writer->lanes.lock,
                                            LANEMAP_ENGINE_STALL_NS / 10);
        }
        /* What others add meanwhile is for those who come later. */
        resume_ns = writer->pressure.resume_ns;
        while ((left_ns = delay_left_ns(writer, resume_ns)) > 0)
                lanemap_engine_cond_wait_ns(&writer->pressure.wake, &writer->lanes.lock, left_ns);
        return 0;
}

int lanemap_engine_pressure_look(struct lanemap_writer *writer, uint64_t *ret_wait_ns)
{
        uint64_t left_ns;

        if (LANEMAP_UNLIKELY(flush_is_behind(writer))) {
                if (flush_is_hopeless(writer, lanemap_now_ns(writer->clock)))
                        return -ENOSPC;

                flush_start(writer);
                *ret_wait_ns = LOOK_NS;
                return -EAGAIN;
        }

        left_ns = delay_left_ns(writer, writer->pressure.resume_ns);
        if (left_ns == 0)
                return 0;

        *ret_wait_ns = left_ns;
        return -EAGAIN;
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

bool lanemap_engine_room_may_come(struct lanemap_writer *writer, struct writer_room_wait *wait)
{
        uint64_t now_ns = lanemap_now_ns(writer->clock);

        /* One that was given up long ago is no longer this one. */
        if (wait->since_ns == 0 || now_ns - wait->since_ns > 2 * LANEMAP_ENGINE_STALL_NS)
                *wait = (struct writer_room_wait){now_ns, writer->lanes.stats.n_flushes};
        if (writer->pressure.flush_failing || now_ns - wait->since_ns > LANEMAP_ENGINE_STALL_NS ||
            writer->lanes.stats.n_flushes > wait->n_flushes + 1 ||
            !lanemap_engine_flush_for_room(writer))
                return false;

        lanemap_engine_memory_room_update(writer);
        return true;
}

/* Waits a moment for a flush. Return: false: that did not help, and will not. */
bool lanemap_engine_room_wait(struct lanemap_writer *writer, struct writer_room_wait *wait)
{
        if (!lanemap_engine_room_may_come(writer, wait))
                return false;

        lanemap_engine_cond_wait_ns(&writer->pressure.wake, &writer->lanes.lock,
                                    LANEMAP_ENGINE_STALL_NS / 100);
        return true;
}

bool lanemap_engine_memory_is_short(struct lanemap_writer *writer, uint64_t bytes)
{
        return lanemap_shm_arena_reserve(writer->shm.object->arena, bytes) < 0;
}

void lanemap_engine_flush_trigger(struct lanemap_writer *writer)
{
        if (!writer->pressure.flush_wanted && lanemap_engine_flush_is_due(writer))
                flush_start(writer);
}

int lanemap_writer_apply_is_ready(struct lanemap_writer *writer, size_t log_bytes,
                                  uint64_t *ret_wait_ns)
{
        bool hangs = lanemap_engine_log_age_ns(writer) > 0;
        uint64_t wait_ns = LANEMAP_ENGINE_TRY_NS;
        int r = -EAGAIN;

        if (!lanemap_log_is_ready(writer->log, log_bytes, hangs ? HANG_ROOM_BYTES : 0)) {
                wait_ns = hangs ? LOOK_NS : LANEMAP_ENGINE_TRY_NS;
                lanemap_engine_sync_signal(writer); /* it may be full */
        } else if (lanemap_mutex_lock_within(&writer->lanes.lock, 0)) {
                r = lanemap_engine_pressure_look(writer, &wait_ns);
                lanemap_mutex_unlock(&writer->lanes.lock);
        }

        if (ret_wait_ns)
                *ret_wait_ns = r == -EAGAIN ? wait_ns : 0;
        return r != -EAGAIN;
}
