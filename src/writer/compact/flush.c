/*
 * Flushing: the active overlays of all lanes are frozen at one log position, written as one file
 * with a section for every lane that had something, and retired. Small young segments are taken
 * into the output on the way (lane/policy.h).
 *
 * A flush that fails leaves its frozen overlays where they are; lookups go through them, and the
 * next flush begins with them.
 */
#include "writer/compact/compact.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/probes.h"
#include "writer/apply/apply.h"
#include "writer/core/core.h"

/* A flush waits no longer than this for a merge. */
#define MERGE_WAIT_NS (UINT64_C(50) * 1000 * 1000)

struct flush {
        struct writer_build_lane *lanes;
        struct writer_edit *edits;
        struct writer_segment **segments;
        uint32_t n;
        uint64_t clear_epoch;
        struct writer_built built;
        bool is_leftover; /* what an earlier flush froze, not what is active now */
};

/* ---- freezing ---- */

static bool lane_has_work(const struct writer_lane *lane)
{
        return lane->active.n_used > 0;
}

/* The size of a lane's next active overlay. Under a steady load it gets as large as the present
 * one: begin at a quarter of it, unless memory is short. */
static uint32_t lane_start_log2_cells(const struct lanemap_writer *writer,
                                      const struct writer_lane *lane)
{
        uint32_t log2_cells = LANEMAP_OVERLAY_LOG2_CELLS_MIN;

        if (writer->pressure.flush_wanted && writer->shm.freeze_reserve.n > 0)
                log2_cells = LANEMAP_MAX(log2_cells, lane->active.table.log2_cells - 2);
        return log2_cells;
}

static void freeze_publish(struct lanemap_writer *writer, const struct writer_lane_start *starts)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        lanemap_engine_counts_check(writer);
        writer->lanes.frozen_position = lanemap_load_relaxed(&writer->lanes.position);
        writer->lanes.frozen_mark = writer->lanes.mark;
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                struct writer_lane *lane = &writer->lanes.items[i];

                /* An overlay that an earlier flush froze is in a segment, or lookups lose it. */
                lanemap_check(!lane->has_frozen);
                lane->frozen_n_keys = lane->n_keys;
                lane->frozen_n_pairs = lane->n_pairs;
                if (starts[i].log2_cells) {
                        lane->frozen = lane->active;
                        lane->has_frozen = true;
                        lane->active = starts[i].overlay;
                        lanemap_engine_lane_publish(writer, i, &starts[i].view);
                }
        }
        lanemap_engine_active_count(writer);
        writer->lanes.has_frozen_set = true;
        writer->pressure.flush_wanted = false;
        lanemap_shm_arena_end_batch(writer->shm.object->arena);
}

/* The lanes that have work, all of them, or none. */
static int freeze(struct lanemap_writer *writer) LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct writer_lane_start *starts =
                lanemap_alloc_zero(writer->identity.n_lanes * sizeof(*starts));
        int r;

        if (!starts)
                return -ENOMEM;

        lanemap_engine_memory_room_update(writer);
        lanemap_engine_reserves_fill(writer);
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++)
                if (lane_has_work(&writer->lanes.items[i])) {
                        starts[i].log2_cells =
                                lane_start_log2_cells(writer, &writer->lanes.items[i]);
                        starts[i].log2_cells_least = LANEMAP_OVERLAY_LOG2_CELLS_MIN;
                }
        r = lanemap_engine_lane_starts_alloc(writer, starts);
        if (r == 0)
                freeze_publish(writer, starts);

        lanemap_free(starts);
        return r;
}

/* ---- one flush ---- */

static void orphans_retire(struct lanemap_writer *writer)
{
        for (uint32_t i = 0; i < writer->lanes.n_orphans; i++)
                lanemap_overlay_retire(&writer->lanes.orphans[i]);
        writer->lanes.n_orphans = 0;
}

/* Which segments the lane's flush takes in: the newest ones that no merge is at. */
static void plan_lane(struct lanemap_writer *writer, uint32_t index, struct flush *flush)
{
        struct writer_lane *lane = &writer->lanes.items[index];
        struct writer_build_lane *build = &flush->lanes[flush->n];
        struct writer_edit *edit = &flush->edits[flush->n];
        uint64_t n_keys[LANEMAP_LANE_SEGMENTS_MAX];
        uint32_t n_takeable = 0, n_taken;

        if (!lane->has_frozen)
                return;

        for (uint32_t i = 0; i < lane->n_segments; i++)
                n_keys[i] = lane->segments[i]->segment->n_keys;
        while (n_takeable < lane->n_segments && !lane->segments[n_takeable]->busy &&
               !lane->segments[n_takeable]->file->damaged)
                n_takeable++;

        n_taken = lanemap_lane_policy_flush_takes(lane->frozen.n_used, n_keys, lane->n_segments,
                                                  n_takeable);
        *build = (struct writer_build_lane){
                .lane = index,
                .frozen = &lane->frozen,
                .n_segments = n_taken,
                .drop_tombstones = n_taken == lane->n_segments,
                .level = n_taken == lane->n_segments ? 2
                         : n_taken > 0               ? 1
                                                     : 0,
        };
        *edit = (struct writer_edit){.lane = index};
        lanemap_engine_inputs_take(lane, build, edit);
        flush->n++;
}

static void flush_free(struct flush *flush)
{
        lanemap_free(flush->lanes);
        lanemap_free(flush->edits);
        lanemap_free(flush->segments);
}

static int flush_alloc(const struct lanemap_writer *writer, struct flush *flush)
{
        flush->lanes = lanemap_alloc_zero(writer->identity.n_lanes * sizeof(*flush->lanes));
        flush->edits = lanemap_alloc_zero(writer->identity.n_lanes * sizeof(*flush->edits));
        flush->segments = lanemap_alloc_zero(writer->identity.n_lanes * sizeof(*flush->segments));
        if (flush->lanes && flush->edits && flush->segments)
                return 0;

        flush_free(flush);
        return -ENOMEM;
}

/*
 * A merge that is under way keeps young segments from the flush, and with them the file that the
 * flush before left. So a moment is given to it, unless it is paced, or writes are ahead already.
 */
static void merges_wait(struct lanemap_writer *writer) LANEMAP_REQUIRES(writer->lanes.lock)
{
        uint64_t since_ns = lanemap_now_ns(writer->clock);

        while (writer->pressure.n_merging > 0 && !writer->pressure.compaction_rate.per_second &&
               !lanemap_load_acquire(&writer->workers.stopping) &&
               !lanemap_engine_overlays_exceed(writer, lanemap_engine_flush_threshold(writer), 2) &&
               lanemap_now_ns(writer->clock) - since_ns < MERGE_WAIT_NS)
                lanemap_engine_cond_wait_ns(&writer->pressure.wake, &writer->lanes.lock,
                                            MERGE_WAIT_NS / 8);
}

/* Freezes, unless an earlier flush left its frozen overlays, and plans. Return: 1 there is nothing
 * to flush. */
static int flush_begin(struct lanemap_writer *writer, bool always_commit, struct flush *flush)
{
        bool has_work = false;
        int r = 0;

        lanemap_mutex_lock(&writer->lanes.lock);
        if (!writer->lanes.recovering)
                merges_wait(writer);
        orphans_retire(writer);
        flush->is_leftover = writer->lanes.has_frozen_set;
        for (uint32_t i = 0; i < writer->identity.n_lanes && !has_work; i++)
                has_work = lane_has_work(&writer->lanes.items[i]);

        if (!writer->lanes.has_frozen_set && !has_work && !always_commit)
                r = 1;
        else if (!writer->lanes.has_frozen_set)
                r = freeze(writer);
        if (r == 0) {
                flush->clear_epoch = writer->lanes.clear_epoch;
                for (uint32_t i = 0; i < writer->identity.n_lanes; i++)
                        plan_lane(writer, i, flush);
        }
        lanemap_mutex_unlock(&writer->lanes.lock);

        return r;
}

/* The references that the plan took, and whatever did not become the lanes'. */
static void flush_end(struct lanemap_writer *writer, struct flush *flush)
{
        lanemap_mutex_lock(&writer->lanes.lock);
        lanemap_engine_inputs_release(writer, flush->lanes, flush->edits, flush->n);
        writer->lanes.stats.flush_bytes_written += flush->built.n_bytes;
        writer->lanes.stats.flush_entries_written += flush->built.n_entries;
        orphans_retire(writer);
        lanemap_shm_arena_end_batch(writer->shm.object->arena);
        pthread_cond_broadcast(&writer->pressure.wake);
        lanemap_mutex_unlock(&writer->lanes.lock);
}

static int flush_build_and_commit(struct lanemap_writer *writer, struct flush *flush)
{
        struct writer_commit commit = {
                .edits = flush->edits,
                .n_edits = flush->n,
                .is_flush = true,
                .part = WRITER_PART_FLUSH,
                .clear_epoch = flush->clear_epoch,
        };
        int r;

        if (flush->n > 0) {
                r = lanemap_engine_build_file(writer, flush->lanes, flush->n, WRITER_PART_FLUSH,
                                              NULL, &flush->built, flush->segments);
                if (r != 0)
                        return r;
        }
        for (uint32_t i = 0; i < flush->n; i++)
                flush->edits[i].new_segment = flush->segments[i];

        return lanemap_engine_commit_run(writer, &commit);
}

struct flush_job {
        struct lanemap_writer *writer;
        bool always_commit;
};

static int flush_run(void *arg)
{
        const struct flush_job *job = arg;
        struct lanemap_writer *writer = job->writer;
        uint64_t start_ns = lanemap_now_ns(writer->clock);
        struct flush flush = {0};
        uint32_t n_flushes = 0;
        int r;

        r = flush_alloc(writer, &flush);
        if (r < 0)
                return r;

        lanemap_mutex_lock(&writer->commit.flush_lock);
        lanemap_engine_progress(writer, WRITER_PART_FLUSH);
        do {
                flush.n = 0;
                flush.built = (struct writer_built){0};
                r = flush_begin(writer, job->always_commit, &flush);
                if (r != 0)
                        break;

                LANEMAP_PROBE(flush__start, flush.n, flush.is_leftover);
                r = flush_build_and_commit(writer, &flush);
                flush_end(writer, &flush);
                LANEMAP_PROBE(flush__done, flush.n, flush.built.n_entries, flush.built.n_bytes, r);
                lanemap_engine_files_reap(writer);
                n_flushes += r == 0 && flush.n > 0;
                /* A clear came in between: the manifest has to say so. An input is damaged: another
                 * plan goes without it. The overlays that an earlier flush had left are in
                 * segments: the rest follows. */
        } while (r == WRITER_E_CLEARED || r == WRITER_E_DAMAGED || (r == 0 && flush.is_leftover));
        lanemap_engine_idle(writer, WRITER_PART_FLUSH);
        lanemap_mutex_unlock(&writer->commit.flush_lock);

        lanemap_mutex_lock(&writer->lanes.lock);
        if (r >= 0) {
                writer->lanes.stats.n_flushes += n_flushes;
                writer->lanes.stats.last_flush_ns = lanemap_now_ns(writer->clock) - start_ns;
        }
        lanemap_store_relaxed(&writer->pressure.flush_failing, r < 0);
        pthread_cond_broadcast(&writer->pressure.wake);
        lanemap_mutex_unlock(&writer->lanes.lock);

        flush_free(&flush);
        return r < 0 ? r : 0;
}

/*
 * One flush, in the flusher, or in open while nobody else is there. always_commit: also when
 * nothing is new, so that the manifest says so. Return: 0 or a negative errno; then it can be tried
 * again.
 */
int lanemap_engine_flush_run(struct lanemap_writer *writer, bool always_commit)
{
        struct flush_job job = {.writer = writer, .always_commit = always_commit};

        return lanemap_alloc_in_thread(flush_run, &job);
}
