/*
 * Merging segments in worker threads: a job takes adjacent segments of one or more lanes, writes
 * one file with a section for each lane, and commits. Lanes are taken together, so that many small
 * ones cost one file, until the output is a sixteenth of the index: old and new exist side by side
 * until the commit, and that is what a merge costs in memory.
 */
#include "writer/writer_private.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "common/alloc.h"
#include "common/check.h"

#define MERGE_BYTES_MIN (UINT64_C(256) << 10)
#define MERGE_BYTES_MAX (UINT64_C(16) << 20)
#define MERGE_SHARE     16

#define COMPACT_ROUNDS 3

struct merge {
        struct writer_build_lane *lanes;
        struct writer_edit *edits;
        struct writer_segment **segments;
        uint32_t n;
        uint64_t bytes;
        uint64_t clear_epoch;
};

static bool range_is_busy(const struct writer_lane *lane, struct lanemap_lane_policy_range range)
{
        for (uint32_t i = range.first; i < range.first + range.n; i++)
                if (lane->segments[i]->busy)
                        return true;
        return false;
}

/*
 * A file lives for as long as one lane names one of its sections. When under half of it is live, the
 * lanes that are left move out; for a compaction, when any of it is dead.
 */
static bool file_is_deserted(const struct writer_file *file, bool compact)
{
        return compact ? file->n_refs < file->mapped->n_sections
                       : 2 * file->n_refs < file->mapped->n_sections;
}

static struct lanemap_lane_policy_range rewrite_range(const struct writer_lane *lane, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++)
                if (file_is_deserted(lane->segments[i]->file, lane->compact_wanted))
                        return (struct lanemap_lane_policy_range){.first = i, .n = 1};
        return (struct lanemap_lane_policy_range){0};
}

/* Under lock. Takes the lane into the job if its policy wants a merge. */
static void plan_lane(struct lanemap_writer *writer, uint32_t index, struct merge *merge)
{
        struct writer_lane *lane = &writer->lanes[index];
        struct lanemap_lane_policy_range range;
        uint64_t n_keys[LANEMAP_LANE_SEGMENTS_MAX];
        struct writer_build_lane *build;
        struct writer_edit *edit;
        uint32_t n_sound = 0;

        /* What is newer than a damaged segment is merged above it, early, so that there is room. */
        for (; n_sound < lane->n_segments && !lane->segments[n_sound]->file->damaged; n_sound++)
                n_keys[n_sound] = lane->segments[n_sound]->segment->n_keys;
        range = lanemap_lane_policy_merge(
                n_keys, n_sound,
                lane->compact_wanted || (n_sound < lane->n_segments &&
                                         lane->n_segments > LANEMAP_LANE_POLICY_SEGMENTS_MAX));
        if (range.n == 0)
                range = rewrite_range(lane, n_sound);
        if (range.n == 0)
                lane->compact_wanted = false;
        if (range.n == 0 || range_is_busy(lane, range))
                return;

        build = &merge->lanes[merge->n];
        edit = &merge->edits[merge->n];
        *build = (struct writer_build_lane){
                .lane = index,
                .n_segments = range.n,
                .drop_tombstones = range.first + range.n == lane->n_segments,
                .level = range.first + range.n == lane->n_segments ? 2 : 1,
        };
        *edit = (struct writer_edit){.lane = index, .n_old = range.n};
        for (uint32_t i = 0; i < range.n; i++) {
                struct writer_segment *segment = lane->segments[range.first + i];

                build->segments[i] = edit->olds[i] = segment;
                segment->busy = true;
                lanemap_writer_segment_ref(segment);
                merge->bytes += segment->bytes;
        }
        lane->compact_wanted = false;
        merge->n++;
}

static uint64_t merge_bytes_max(const struct lanemap_writer *writer)
{
        uint64_t bytes = 0;

        for (uint32_t i = 0; i < writer->n_lanes; i++)
                for (uint32_t s = 0; s < writer->lanes[i].n_segments; s++)
                        bytes += writer->lanes[i].segments[s]->bytes;

        return LANEMAP_MIN(LANEMAP_MAX(bytes / MERGE_SHARE, MERGE_BYTES_MIN), MERGE_BYTES_MAX);
}

static void merge_plan(struct lanemap_writer *writer, struct merge *merge)
{
        uint64_t bytes_max;

        pthread_mutex_lock(&writer->lock);
        bytes_max = merge_bytes_max(writer);
        merge->clear_epoch = writer->clear_epoch;
        for (uint32_t i = 0; i < writer->n_lanes && merge->bytes < bytes_max; i++)
                plan_lane(writer, i, merge);
        pthread_mutex_unlock(&writer->lock);
}

static void merge_end(struct lanemap_writer *writer, struct merge *merge, int r)
{
        pthread_mutex_lock(&writer->lock);
        for (uint32_t i = 0; i < merge->n; i++) {
                for (uint32_t s = 0; s < merge->lanes[i].n_segments; s++) {
                        merge->lanes[i].segments[s]->busy = false;
                        lanemap_writer_segment_unref(writer, merge->lanes[i].segments[s]);
                }
                if (merge->edits[i].new_segment)
                        lanemap_writer_segment_unref(writer, merge->edits[i].new_segment);
        }
        if (r == 0)
                writer->stats.n_merges++;
        pthread_mutex_unlock(&writer->lock);
}

static int merge_build_and_commit(struct lanemap_writer *writer, struct merge *merge)
{
        struct writer_commit commit = {
                .edits = merge->edits,
                .n_edits = merge->n,
                .clear_epoch = merge->clear_epoch,
        };
        struct writer_file *file;
        int r;

        r = lanemap_writer_build_file(writer, merge->lanes, merge->n, &file, merge->segments);
        if (r != 0)
                return r;

        for (uint32_t i = 0; i < merge->n; i++)
                merge->edits[i].new_segment = merge->segments[i];
        return lanemap_writer_commit_run(writer, &commit);
}

int lanemap_writer_merge_run(struct lanemap_writer *writer)
{
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
                lanemap_writer_files_reap(writer);
        }

        lanemap_free(merge.lanes);
        lanemap_free(merge.edits);
        lanemap_free(merge.segments);
        if (merge.n > 0)
                lanemap_alloc_give_back();
        return r < 0 ? r : merge.n > 0;
}

/* Asks for every lane that is not one segment in a file that is all live. Return: whether any. */
static bool lanes_want(struct lanemap_writer *writer)
{
        bool any = false;

        pthread_mutex_lock(&writer->lock);
        for (uint32_t i = 0; i < writer->n_lanes; i++) {
                struct writer_lane *lane = &writer->lanes[i];

                lane->compact_wanted = lane->n_segments > 1;
                if (lane->n_segments == 1)
                        lane->compact_wanted = file_is_deserted(lane->segments[0]->file, true);
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

static void worker_wait(struct lanemap_writer *writer)
{
        pthread_mutex_lock(&writer->work_lock);
        lanemap_writer_cond_wait_ns(&writer->flusher_wake, &writer->work_lock, 2 * 1000 * 1000);
        pthread_mutex_unlock(&writer->work_lock);
}

/*
 * Makes every lane one segment, as of now, in the caller's thread (the flusher) beside the workers.
 * Segments that a worker is merging are waited for. Return: 0; -EBADMSG: damaged segments were left
 * as they are, and what is older than they.
 */
int lanemap_writer_compact(struct lanemap_writer *writer)
{
        int r = 0;

        /* Lanes that moved out of a file leave others behind in it, which move out in the next round. */
        for (int round = 0; round < COMPACT_ROUNDS && r >= 0 && lanes_want(writer); round++)
                while (r >= 0 && !lanemap_load_acquire(&writer->stopping) && lanes_left(writer)) {
                        r = lanemap_writer_merge_run(writer);
                        if (r == 0)
                                worker_wait(writer);
                }

        if (r >= 0 && lanemap_load_acquire(&writer->stopping))
                r = -ESHUTDOWN;
        pthread_mutex_lock(&writer->lock);
        if (r >= 0 && writer->n_damaged_files > 0)
                r = -EBADMSG;
        pthread_mutex_unlock(&writer->lock);
        return r < 0 ? r : 0;
}

void lanemap_writer_workers_signal(struct lanemap_writer *writer)
{
        pthread_mutex_lock(&writer->work_lock);
        writer->worker_signal++;
        pthread_cond_broadcast(&writer->worker_wake);
        pthread_mutex_unlock(&writer->work_lock);
}

void *lanemap_writer_worker_main(void *arg)
{
        struct lanemap_writer *writer = arg;
        uint64_t seen = 0;
        bool was_failing = false;

        while (!lanemap_load_acquire(&writer->stopping)) {
                int r = lanemap_writer_merge_run(writer);

                if (r < 0 && !was_failing)
                        lanemap_writer_log(
                                writer, LOG_ERR,
                                "%s: segments cannot be merged (%s); nothing is lost, tried again",
                                writer->directory, strerror(-r));
                was_failing = r < 0;
                if (r > 0)
                        continue;

                seen = lanemap_writer_worker_wait(writer, seen);
        }

        return NULL;
}
