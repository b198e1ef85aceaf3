/*
 * Merging segments in worker threads: a job takes all segments of a group of lanes, or young ones,
 * writes one file with a section for each lane, and commits. Which group, how large groups are, and
 * how deep the merge goes, is lane/policy.h's to say.
 */
#include "writer/compact/compact.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/probes.h"
#include "writer/core/core.h"

struct merge {
        struct writer_build_lane *lanes;
        struct writer_edit *edits;
        struct writer_segment **segments;
        uint32_t n;
        uint32_t part; /* whose progress it is */
        uint64_t clear_epoch;
        struct writer_built built;
};

/* ---- planning, under lanes.lock ---- */

/* Takes the lane into the job: down to its bottom or to what is damaged, or some young segments. */
static void plan_lane(struct lanemap_writer *writer, uint32_t index,
                      const struct writer_merge_choice *choice, struct merge *merge)
{
        struct writer_build_lane *build = &merge->lanes[merge->n];
        struct writer_lane *lane = &writer->lanes.items[index];
        struct writer_edit *edit = &merge->edits[merge->n];
        bool all = choice->which == WRITER_MERGE_ALL;
        uint32_t n_taken = all ? lanemap_engine_lane_n_sound(lane)
                           : choice->which == WRITER_MERGE_YOUNG
                                   ? lanemap_engine_lane_n_young(lane)
                                   : lanemap_engine_lane_middle_takes(lane);
        bool is_bottom = n_taken == lane->n_segments;

        if (n_taken == 0 || lanemap_engine_lane_is_busy(lane) ||
            (all && !lanemap_engine_lane_has_excess(lane, n_taken)))
                return;

        *build = (struct writer_build_lane){
                .lane = index,
                .n_segments = n_taken,
                .drop_tombstones = is_bottom,
                .level = is_bottom ? 2 : 1,
        };
        *edit = (struct writer_edit){.lane = index};
        lanemap_engine_inputs_take(lane, build, edit);
        if (all)
                lane->compact_wanted = false;
        merge->n++;
}

static void merge_plan(struct lanemap_writer *writer, struct merge *merge)
{
        struct writer_merge_choice choice = {0};
        uint32_t end;

        lanemap_mutex_lock(&writer->lanes.lock);
        merge->clear_epoch = writer->lanes.clear_epoch;
        if (lanemap_engine_merge_choose(writer, &choice)) {
                end = LANEMAP_MIN(choice.first + choice.n_lanes, writer->identity.n_lanes);
                for (uint32_t i = choice.first; i < end; i++)
                        plan_lane(writer, i, &choice, merge);
        }
        writer->pressure.n_merging += merge->n > 0;
        if (merge->n > 0)
                merge->part = lanemap_engine_merge_part(writer);
        lanemap_mutex_unlock(&writer->lanes.lock);
}

static void merge_end(struct lanemap_writer *writer, struct merge *merge, int r)
{
        lanemap_mutex_lock(&writer->lanes.lock);
        lanemap_engine_inputs_release(writer, merge->lanes, merge->edits, merge->n);
        writer->pressure.n_merging--;
        lanemap_engine_idle(writer, merge->part);
        pthread_cond_broadcast(&writer->pressure.wake);
        writer->lanes.stats.n_merges += r == 0;
        writer->lanes.stats.merge_bytes_written += merge->built.n_bytes;
        writer->lanes.stats.merge_entries_written += merge->built.n_entries;
        lanemap_mutex_unlock(&writer->lanes.lock);
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
                                      &writer->pressure.compaction_rate, &merge->built,
                                      merge->segments);
        if (r != 0)
                return r;

        for (uint32_t i = 0; i < merge->n; i++)
                merge->edits[i].new_segment = merge->segments[i];
        return lanemap_engine_commit_run(writer, &commit);
}

static uint32_t merge_n_inputs(const struct merge *merge)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < merge->n; i++)
                n += merge->lanes[i].n_segments;
        return n;
}

static int merge_run(void *arg)
{
        struct lanemap_writer *writer = arg;
        struct merge merge = {
                .lanes = lanemap_alloc_zero(writer->identity.n_lanes * sizeof(*merge.lanes)),
                .edits = lanemap_alloc_zero(writer->identity.n_lanes * sizeof(*merge.edits)),
                .segments = lanemap_alloc_zero(writer->identity.n_lanes * sizeof(*merge.segments)),
        };
        int r = 0;

        if (!merge.lanes || !merge.edits || !merge.segments)
                r = -ENOMEM;
        else
                merge_plan(writer, &merge);

        if (merge.n > 0) {
                LANEMAP_PROBE(merge__start, merge.n, merge_n_inputs(&merge));
                r = merge_build_and_commit(writer, &merge);
                merge_end(writer, &merge, r);
                LANEMAP_PROBE(merge__done, merge.n, merge.built.n_entries, merge.built.n_bytes, r);
                lanemap_engine_files_reap(writer);
        }

        lanemap_free(merge.lanes);
        lanemap_free(merge.edits);
        lanemap_free(merge.segments);
        return r < 0 ? r : merge.n > 0;
}

int lanemap_engine_merge_run(struct lanemap_writer *writer)
{
        struct writer_merge_choice choice;
        bool is_due;

        lanemap_mutex_lock(&writer->lanes.lock);
        is_due = lanemap_engine_merge_choose(writer, &choice);
        lanemap_mutex_unlock(&writer->lanes.lock);
        return is_due ? lanemap_alloc_in_thread(merge_run, writer) : 0;
}

void *lanemap_engine_worker_main(void *arg)
{
        struct lanemap_writer *writer = arg;
        uint64_t seen = 0;
        bool was_failing = false;

        lanemap_engine_thread_yields(LANEMAP_ENGINE_NICE_WORKER);
        while (!lanemap_load_acquire(&writer->workers.stopping)) {
                int r = lanemap_engine_merge_run(writer);

                if (r == -ESHUTDOWN) /* a paced merge, given up: the next start makes it */
                        break;
                if (r < 0 && !was_failing)
                        lanemap_engine_log(
                                writer, LOG_ERR,
                                "%s: segments cannot be merged (%s); nothing is lost, tried again",
                                writer->identity.directory, strerror(-r));
                was_failing = r < 0;
                if (r > 0)
                        continue;

                lanemap_alloc_give_back();
                seen = lanemap_engine_worker_wait(writer, seen);
        }

        return NULL;
}
