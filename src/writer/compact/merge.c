/*
 * Merging segments in worker threads: a job takes all segments of a group of lanes, writes one file
 * with a section for each lane, and commits. Which group, and how large groups are, is
 * lane/policy.h's to say.
 */
#include "writer/core/engine.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "common/alloc.h"
#include "common/check.h"

#define COMPACT_ROUNDS  3
#define COMPACT_POLL_NS (UINT64_C(2) * 1000 * 1000)

/* A paced merge looks up this often, to see whether the engine is closing. */
#define PACE_NS (UINT64_C(100) * 1000 * 1000)

struct merge {
        struct writer_build_lane *lanes;
        struct writer_edit *edits;
        struct writer_segment **segments;
        uint32_t n;
        uint32_t part; /* whose progress it is */
        uint64_t clear_epoch;
        struct writer_built built;
};

/* ---- what there is to merge, under lock ---- */

static bool file_is_all_live(const struct writer_file *file)
{
        return file->n_refs >= file->mapped->n_sections;
}

/*
 * Bytes of a file's sections that nobody uses, for each one that somebody does. They count when most
 * of the file is dead: until then the lanes that are left are likely to leave by themselves, young
 * sections at the next flush, bottoms with their group.
 */
static uint64_t dead_share_bytes(const struct writer_file *file)
{
        uint32_t n_sections = file->mapped->n_sections;

        if (2 * file->n_refs >= n_sections)
                return 0;
        return file->mapped->n_bytes * (n_sections - file->n_refs) / n_sections / file->n_refs;
}

/* How many of the newest segments can be merged: those above a damaged one. */
static uint32_t lane_n_sound(const struct writer_lane *lane)
{
        uint32_t n = 0;

        while (n < lane->n_segments && !lane->segments[n]->file->damaged)
                n++;
        return n;
}

static bool lane_is_busy(const struct writer_lane *lane)
{
        for (uint32_t i = 0; i < lane->n_segments; i++)
                if (lane->segments[i]->busy)
                        return true;
        return false;
}

/* Whether a merge has anything to do for it: a lane that is compacted leaves no dead section. */
static bool lane_has_excess(const struct writer_lane *lane, uint32_t n_sound)
{
        const struct writer_file *file = n_sound == 1 ? lane->segments[0]->file : NULL;

        return n_sound > 1 || (file && (lane->compact_wanted ? !file_is_all_live(file)
                                                             : dead_share_bytes(file) > 0));
}

static uint64_t lane_bytes(const struct writer_lane *lane)
{
        uint64_t bytes = 0;

        for (uint32_t i = 0; i < lane->n_segments; i++)
                bytes += lane->segments[i]->bytes;
        return bytes;
}

static void group_add(struct writer_lane *lane, struct lanemap_lane_policy_group *group)
{
        uint32_t n_sound = lane_n_sound(lane);

        if (!lane_has_excess(lane, n_sound)) {
                lane->compact_wanted = false;
                return;
        }
        for (uint32_t i = 0; i < n_sound; i++) {
                group->bytes += lane->segments[i]->bytes;
                group->excess_bytes += dead_share_bytes(lane->segments[i]->file);
                if (i + 1 < n_sound)
                        group->excess_bytes += lane->segments[i]->bytes;
        }
        /* Above a damaged segment there is room for one. */
        group->n_segments = LANEMAP_MAX(group->n_segments, n_sound > 1 ? lane->n_segments : 1);
        group->is_asked |= lane->compact_wanted;
}

struct plan {
        uint32_t n_lanes; /* of a group */
        uint64_t index_bytes;
        uint64_t excess_bytes; /* of groups that no job is at */
};

static struct lanemap_lane_policy_group group_of(struct lanemap_writer *writer, uint32_t first,
                                                 uint32_t n_lanes)
{
        struct lanemap_lane_policy_group group = {0}, none = {0};

        for (uint32_t i = first; i < LANEMAP_MIN(first + n_lanes, writer->n_lanes); i++) {
                if (lane_is_busy(&writer->lanes[i]))
                        return none;
                group_add(&writer->lanes[i], &group);
        }
        return group;
}

static struct plan plan_make(struct lanemap_writer *writer)
{
        struct plan plan = {0};

        for (uint32_t i = 0; i < writer->n_lanes; i++)
                plan.index_bytes += lane_bytes(&writer->lanes[i]);
        plan.n_lanes = lanemap_lane_policy_group_lanes(plan.index_bytes, writer->n_lanes);
        for (uint32_t i = 0; i < writer->n_lanes; i += plan.n_lanes)
                plan.excess_bytes += group_of(writer, i, plan.n_lanes).excess_bytes;
        return plan;
}

/* The first lane of the most urgent group, and how many there are in one; or the index's n_lanes. */
static uint32_t merge_choose(struct lanemap_writer *writer, uint32_t *ret_n_lanes)
{
        struct plan plan = plan_make(writer);
        uint64_t flush_bytes = lanemap_engine_flush_threshold(writer);
        uint32_t chosen = writer->n_lanes;
        uint64_t highest = 0;
        bool is_over;

        /* What a flush is about to take need not be merged before. */
        is_over = !writer->flush_wanted &&
                  plan.excess_bytes > lanemap_lane_policy_excess_max(plan.index_bytes, flush_bytes);
        for (uint32_t i = 0; i < writer->n_lanes; i += plan.n_lanes) {
                struct lanemap_lane_policy_group group = group_of(writer, i, plan.n_lanes);
                uint64_t priority = lanemap_lane_policy_merge_priority(&group, is_over);

                if (priority > highest) {
                        highest = priority;
                        chosen = i;
                }
        }
        if (ret_n_lanes)
                *ret_n_lanes = plan.n_lanes;
        return chosen;
}

/* Takes the lane into the job, down to its bottom or to what is damaged. */
static void plan_lane(struct lanemap_writer *writer, uint32_t index, struct merge *merge)
{
        struct writer_build_lane *build = &merge->lanes[merge->n];
        struct writer_lane *lane = &writer->lanes[index];
        struct writer_edit *edit = &merge->edits[merge->n];
        uint32_t n_sound = lane_n_sound(lane);
        bool is_bottom = n_sound == lane->n_segments;

        if (!lane_has_excess(lane, n_sound))
                return;

        *build = (struct writer_build_lane){
                .lane = index,
                .n_segments = n_sound,
                .drop_tombstones = is_bottom,
                .level = is_bottom ? 2 : 1,
        };
        *edit = (struct writer_edit){.lane = index};
        lanemap_engine_inputs_take(lane, build, edit);
        lane->compact_wanted = false;
        merge->n++;
}

static void merge_plan(struct lanemap_writer *writer, struct merge *merge)
{
        uint32_t first, n_lanes = 0;

        pthread_mutex_lock(&writer->lock);
        first = merge_choose(writer, &n_lanes);
        merge->clear_epoch = writer->clear_epoch;
        for (uint32_t i = first; i < LANEMAP_MIN(first + n_lanes, writer->n_lanes); i++)
                plan_lane(writer, i, merge);
        writer->n_merging += merge->n > 0;
        if (merge->n > 0)
                merge->part = lanemap_engine_merge_part(writer);
        pthread_mutex_unlock(&writer->lock);
}

static void merge_end(struct lanemap_writer *writer, struct merge *merge, int r)
{
        pthread_mutex_lock(&writer->lock);
        lanemap_engine_inputs_release(writer, merge->lanes, merge->edits, merge->n);
        writer->n_merging--;
        lanemap_engine_idle(writer, merge->part);
        pthread_cond_broadcast(&writer->stall_wake);
        writer->stats.n_merges += r == 0;
        writer->stats.merge_bytes_written += merge->built.n_bytes;
        writer->stats.merge_entries_written += merge->built.n_entries;
        pthread_mutex_unlock(&writer->lock);
}

static void worker_wait(struct lanemap_writer *writer, uint64_t ns)
{
        pthread_mutex_lock(&writer->work_lock);
        if (!lanemap_load_acquire(&writer->stopping))
                lanemap_engine_cond_wait_ns(&writer->worker_wake, &writer->work_lock, ns);
        pthread_mutex_unlock(&writer->work_lock);
}

/* The pace is real time's, whatever the engine's clock says. Under lock, but for the waiting. */
int lanemap_engine_pace(struct lanemap_writer *writer, struct lanemap_rate *rate, uint64_t n_bytes)
{
        uint64_t now_ns = lanemap_now_ns(&lanemap_clock_monotonic), wait_ns, since_ns = now_ns;

        pthread_mutex_lock(&writer->lock);
        lanemap_rate_take(rate, now_ns, n_bytes);
        while ((wait_ns = lanemap_rate_wait_ns(rate, now_ns)) > 0 &&
               !lanemap_load_acquire(&writer->stopping)) {
                pthread_mutex_unlock(&writer->lock);
                worker_wait(writer, LANEMAP_MIN(wait_ns, PACE_NS));
                pthread_mutex_lock(&writer->lock);
                now_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        }
        writer->stats.compaction_paced_ns += now_ns - since_ns;
        pthread_mutex_unlock(&writer->lock);

        return lanemap_load_acquire(&writer->stopping) ? -ESHUTDOWN : 0;
}

static int merge_build_and_commit(struct lanemap_writer *writer, struct merge *merge)
{
        struct writer_commit commit = {
                .edits = merge->edits,
                .n_edits = merge->n,
                .part = merge->part,
                .clear_epoch = merge->clear_epoch,
        };
        int r;

        r = lanemap_engine_build_file(writer, merge->lanes, merge->n, merge->part,
                                      &writer->compaction_rate, &merge->built, merge->segments);
        if (r != 0)
                return r;

        for (uint32_t i = 0; i < merge->n; i++)
                merge->edits[i].new_segment = merge->segments[i];
        return lanemap_engine_commit_run(writer, &commit);
}

static int merge_run(void *arg)
{
        struct lanemap_writer *writer = arg;
        struct merge merge = {
                .lanes = lanemap_alloc_zero(writer->n_lanes * sizeof(*merge.lanes)),
                .edits = lanemap_alloc_zero(writer->n_lanes * sizeof(*merge.edits)),
                .segments = lanemap_alloc_zero(writer->n_lanes * sizeof(*merge.segments)),
        };
        int r = 0;

        if (!merge.lanes || !merge.edits || !merge.segments)
                r = -ENOMEM;
        else
                merge_plan(writer, &merge);

        if (merge.n > 0) {
                r = merge_build_and_commit(writer, &merge);
                merge_end(writer, &merge, r);
                lanemap_engine_files_reap(writer);
        }

        lanemap_free(merge.lanes);
        lanemap_free(merge.edits);
        lanemap_free(merge.segments);
        return r < 0 ? r : merge.n > 0;
}

int lanemap_engine_merge_run(struct lanemap_writer *writer)
{
        bool is_due;

        pthread_mutex_lock(&writer->lock);
        is_due = merge_choose(writer, NULL) < writer->n_lanes;
        pthread_mutex_unlock(&writer->lock);
        return is_due ? lanemap_alloc_apart(merge_run, writer) : 0;
}

/* Asks for every lane that is not one segment in a file that is all live; after the first round only
 * for those that others left behind in a file. Return: whether any. */
static bool lanes_want(struct lanemap_writer *writer, bool left_behind)
{
        bool any = false;

        pthread_mutex_lock(&writer->lock);
        for (uint32_t i = 0; i < writer->n_lanes; i++) {
                struct writer_lane *lane = &writer->lanes[i];
                uint32_t n_sound = lane_n_sound(lane);

                lane->compact_wanted = true;
                lane->compact_wanted =
                        lane_has_excess(lane, n_sound) &&
                        (!left_behind || !file_is_all_live(lane->segments[n_sound - 1]->file));
                any |= lane->compact_wanted;
        }
        pthread_mutex_unlock(&writer->lock);
        return any;
}

/* Whether some of them are still to be done, or being done. */
static bool lanes_left(struct lanemap_writer *writer)
{
        bool left = false;

        pthread_mutex_lock(&writer->lock);
        for (uint32_t i = 0; i < writer->n_lanes && !left; i++) {
                const struct writer_lane *lane = &writer->lanes[i];

                left = lane->compact_wanted;
                for (uint32_t s = 0; s < lane->n_segments; s++)
                        left |= lane->segments[s]->busy;
        }
        pthread_mutex_unlock(&writer->lock);
        return left;
}

/* One step of a compaction: a flush that writes wait for, else a merge, else a moment's patience. */
static int compact_step(struct lanemap_writer *writer)
{
        bool flush_wanted;
        int r;

        pthread_mutex_lock(&writer->lock);
        flush_wanted = writer->flush_wanted && !writer->flush_failing;
        pthread_mutex_unlock(&writer->lock);
        if (flush_wanted) {
                /* Its failure is the flusher's to tell, and no compaction's. */
                (void)lanemap_engine_flush_run(writer, true);
                return 0;
        }

        r = lanemap_engine_merge_run(writer);
        if (r == 0)
                worker_wait(writer, COMPACT_POLL_NS);
        return r;
}

/*
 * Makes every lane one segment, as of now, in the caller's thread (the flusher) beside the workers.
 * Segments that a worker is merging are waited for; writes go on, and are flushed. Return: 0;
 * -EBADMSG: damaged segments were left as they are, and what is older than they.
 */
int lanemap_engine_compact(struct lanemap_writer *writer)
{
        int r = 0;

        /* Lanes that moved out of a file leave others behind in it, which move out in the next round. */
        for (int round = 0; round < COMPACT_ROUNDS && r >= 0 && lanes_want(writer, round > 0);
             round++)
                while (r >= 0 && !lanemap_load_acquire(&writer->stopping) && lanes_left(writer))
                        r = compact_step(writer);

        if (r >= 0 && lanemap_load_acquire(&writer->stopping))
                r = -ESHUTDOWN;
        pthread_mutex_lock(&writer->lock);
        if (r >= 0 && writer->n_damaged_files > 0)
                r = -EBADMSG;
        pthread_mutex_unlock(&writer->lock);
        return r < 0 ? r : 0;
}

void lanemap_engine_workers_signal(struct lanemap_writer *writer)
{
        pthread_mutex_lock(&writer->work_lock);
        writer->worker_signal++;
        pthread_cond_broadcast(&writer->worker_wake);
        pthread_mutex_unlock(&writer->work_lock);
}

void *lanemap_engine_worker_main(void *arg)
{
        struct lanemap_writer *writer = arg;
        uint64_t seen = 0;
        bool was_failing = false;

        while (!lanemap_load_acquire(&writer->stopping)) {
                int r = lanemap_engine_merge_run(writer);

                if (r == -ESHUTDOWN) /* a paced merge, given up: the next start makes it */
                        break;
                if (r < 0 && !was_failing)
                        lanemap_engine_log(
                                writer, LOG_ERR,
                                "%s: segments cannot be merged (%s); nothing is lost, tried again",
                                writer->directory, strerror(-r));
                was_failing = r < 0;
                if (r > 0)
                        continue;

                lanemap_alloc_give_back();
                seen = lanemap_engine_worker_wait(writer, seen);
        }

        return NULL;
}
