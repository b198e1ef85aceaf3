/*
 * Making new segments the index's: the manifest first, then the views, then the end of what they
 * replaced.
 *
 *   (segment file synced, renamed, directory synced: compact/build.c)
 *   lock: describe the lanes as they will be, take the blocks of their new views
 *   log synced through every position that the manifest names
 *   manifest written, synced, renamed, directory synced
 *   lock: views swapped, frozen overlays retired
 *   files that no manifest names unlinked
 *
 * C1. A view names only files that the manifest in force names.
 * C2. From the manifest being in force on, nothing can fail: the blocks for the views were taken
 *     before.
 * C3. Segments change only under commit.lock, so the description is true until the swap, but for
 *     a clear, which a job notices by the clear epoch; then its result is void, and its file
 *     dies when a later manifest does not name it.
 */
#include "writer/compact/compact.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "common/alloc.h"
#include "common/check.h"
#include "store/manifest_write.h"
#include "writer/apply/apply.h"
#include "writer/core/core.h"

/* ---- the manifest ---- */

static int manifest_name_file(struct lanemap_writer *writer, struct lanemap_manifest *manifest,
                              struct writer_file *file)
{
        struct lanemap_manifest_file entry = {
                .number = file->mapped->number,
                .bytes = file->mapped->n_bytes,
                .n_sections = file->mapped->n_sections,
        };
        int r;

        memcpy(entry.checksum, file->checksum, sizeof(entry.checksum));
        /* The views that follow the manifest name the file by its slot. */
        lanemap_check(file->slot != UINT32_MAX);
        file->named_generation = writer->commit.attempt;
        r = lanemap_manifest_add_file(manifest, &entry);
        return r == -EEXIST ? 0 : r;
}

static struct lanemap_manifest_segment manifest_segment(const struct writer_segment *segment)
{
        return (struct lanemap_manifest_segment){
                .file_number = segment->file->mapped->number,
                .section = segment->section,
                .level = segment->level,
                .kind = segment->segment->kind,
                .n_keys = segment->segment->n_keys,
                .n_pairs = segment->n_pairs,
                .bytes = segment->bytes,
        };
}

/* Return: true if the edit replaces a lane's segment; the first one it replaces is where the new
 * one goes.
 */
static bool edit_replaces(const struct writer_edit *edit, const struct writer_segment *segment)
{
        for (uint32_t i = 0; i < edit->n_old; i++)
                if (edit->olds[i] == segment)
                        return true;
        return false;
}

/* The lane's segments as they will be. */
static uint32_t lane_segments_after(const struct writer_lane *lane, const struct writer_edit *edit,
                                    struct writer_segment **after)
{
        uint32_t n = 0;
        bool placed = !edit || !edit->new_segment;

        /* A flush that takes nothing in goes on top. */
        if (!placed && edit->n_old == 0) {
                after[n++] = edit->new_segment;
                placed = true;
        }
        for (uint32_t i = 0; i < lane->n_segments; i++) {
                if (!edit || !edit_replaces(edit, lane->segments[i])) {
                        after[n++] = lane->segments[i];
                        continue;
                }
                if (!placed)
                        after[n++] = edit->new_segment;
                placed = true;
        }

        return n;
}

static const struct writer_edit *edit_of_lane(const struct writer_commit *commit, uint32_t lane)
{
        for (uint32_t i = 0; i < commit->n_edits; i++)
                if (commit->edits[i].lane == lane)
                        return &commit->edits[i];
        return NULL;
}

/* A manifest may have had lanes at different positions: a flush of a replay then freezes at one
 * that a lane is beyond. That lane stays where it is: nothing of it was frozen. */
static uint64_t lane_position_after(const struct lanemap_writer *writer,
                                    const struct writer_lane *lane)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        return LANEMAP_MAX(lane->position, writer->lanes.frozen_position);
}

static int manifest_fill_lane(struct lanemap_writer *writer, const struct writer_commit *commit,
                              uint32_t index, struct lanemap_manifest *manifest)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct lanemap_manifest_segment segments[LANEMAP_LANE_SEGMENTS_MAX + 1];
        struct writer_segment *after[LANEMAP_LANE_SEGMENTS_MAX + 1];
        const struct writer_lane *lane = &writer->lanes.items[index];
        struct lanemap_manifest_lane *entry = &manifest->lanes[index];
        uint32_t n = lane_segments_after(lane, edit_of_lane(commit, index), after);
        int r;

        if (n > LANEMAP_LANE_SEGMENTS_MAX)
                return -EAGAIN;

        /* The log through the position may be dropped: the position covers all that was frozen. */
        lanemap_check(!commit->is_flush || !lane->has_frozen ||
                      lane->position <= writer->lanes.frozen_position);
        for (uint32_t i = 0; i < n; i++) {
                segments[i] = manifest_segment(after[i]);
                r = manifest_name_file(writer, manifest, after[i]->file);
                if (r < 0)
                        return r;
        }

        entry->position = commit->is_flush ? lane_position_after(writer, lane) : lane->position;
        entry->n_keys = commit->is_flush ? lane->frozen_n_keys : lane->position_n_keys;
        entry->n_pairs = commit->is_flush ? lane->frozen_n_pairs : lane->position_n_pairs;
        return lanemap_manifest_set_segments(manifest, index, segments, n);
}

static int manifest_fill(struct lanemap_writer *writer, const struct writer_commit *commit,
                         struct lanemap_manifest *manifest) LANEMAP_REQUIRES(writer->lanes.lock)
{
        const struct writer_mark *mark = &writer->lanes.frozen_mark;
        int r;

        manifest->generation = writer->commit.attempt;
        memcpy(manifest->uuid, writer->identity.uuid, sizeof(manifest->uuid));
        memcpy(manifest->hash_key, writer->identity.hash_key_bytes, sizeof(manifest->hash_key));
        manifest->fingerprint_bits = writer->identity.hash_key.fingerprint_bits;
        manifest->next_file_number = lanemap_load_relaxed(&writer->commit.next_file_number);
        /* The sync thread may be going on to a new file between the two. */
        manifest->log_number = lanemap_log_number(writer->log);
        manifest->next_log_number =
                LANEMAP_MAX(lanemap_log_next_number(writer->log), manifest->log_number + 1);
        manifest->clear_position = writer->lanes.clear_position;
        manifest->mark_position = mark->position;
        manifest->mark_bytes = mark->n_bytes;
        memcpy(manifest->mark, mark->bytes, mark->n_bytes);
        manifest->segment_kind_young = writer->options.segment_kind_young;
        manifest->segment_kind_bottom = writer->options.segment_kind_bottom;
        manifest->filter = writer->options.filter;

        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                r = manifest_fill_lane(writer, commit, i, manifest);
                if (r < 0)
                        return r;
        }

        return 0;
}

struct manifest_job {
        struct lanemap_writer *writer;
        const struct lanemap_manifest *manifest;
};

static int manifest_job_run(void *arg)
{
        const struct manifest_job *job = arg;

        return lanemap_manifest_write(job->writer->files, job->writer->place.dir_fd, job->manifest);
}

/* Waits for the log, then puts the manifest in force. No engine lock is held. */
static int manifest_enforce(struct lanemap_writer *writer, uint32_t part,
                            const struct lanemap_manifest *manifest)
{
        struct manifest_job job = {.writer = writer, .manifest = manifest};
        int r;

        r = lanemap_writer_sync(writer, lanemap_manifest_highest_position(manifest));
        lanemap_engine_progress(writer, part);
        /* A crash takes back nothing that a manifest covers (W3). */
        lanemap_check(r < 0 || lanemap_log_durable(writer->log) >=
                                       lanemap_manifest_highest_position(manifest));
        /* Of two manifests the one with the higher generation is the later one (F1). */
        lanemap_check(manifest->generation > lanemap_load_relaxed(&writer->commit.generation));
        /* As JSON it is some ten thousand small blocks. */
        if (r == 0)
                r = lanemap_alloc_in_thread(manifest_job_run, &job);
        lanemap_engine_progress(writer, part);
        if (r < 0)
                return r;

        lanemap_store_relaxed(&writer->commit.generation, manifest->generation);
        writer->commit.log_number = manifest->log_number;
        return 0;
}

/* ---- the views ---- */

/* For the segments that each lane will have (C3). */
static int view_blocks_alloc(struct lanemap_writer *writer, struct writer_commit *commit)
{
        struct writer_segment *after[LANEMAP_LANE_SEGMENTS_MAX + 1];

        for (uint32_t i = 0; i < commit->n_edits; i++) {
                struct writer_edit *edit = &commit->edits[i];
                uint32_t n = lane_segments_after(&writer->lanes.items[edit->lane], edit, after);
                int r = lanemap_lane_view_alloc(lanemap_engine_arena(writer), n, &edit->view);

                if (r < 0) {
                        while (i-- > 0)
                                lanemap_lane_view_free(lanemap_engine_arena(writer),
                                                       &commit->edits[i].view);
                        return r;
                }
        }

        return 0;
}

/* A flush in a full object ends with what was kept back for it; a merge waits for a flush. */
static int view_blocks_take(struct lanemap_writer *writer, struct writer_commit *commit)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        int r = view_blocks_alloc(writer, commit);

        if (r == -ENOSPC && commit->is_flush &&
            lanemap_engine_reserve_release(writer, &writer->shm.commit_reserve)) {
                r = view_blocks_alloc(writer, commit);
                if (r < 0) /* before an apply has the pages */
                        lanemap_engine_reserves_fill(writer);
        }
        return r;
}

static void view_blocks_free(struct lanemap_writer *writer, struct writer_commit *commit)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        for (uint32_t i = 0; i < commit->n_edits; i++)
                lanemap_lane_view_free(lanemap_engine_arena(writer), &commit->edits[i].view);
        if (commit->is_flush)
                lanemap_engine_reserves_fill(writer);
}

static void edit_swap(struct lanemap_writer *writer, struct writer_edit *edit, bool is_flush)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct writer_segment *after[LANEMAP_LANE_SEGMENTS_MAX + 1];
        struct writer_lane *lane = &writer->lanes.items[edit->lane];
        struct lanemap_overlay frozen = lane->frozen;
        bool had_frozen = is_flush && lane->has_frozen;
        uint32_t n = lane_segments_after(lane, edit, after);

        /* A view has no more places. */
        lanemap_check(n <= LANEMAP_LANE_SEGMENTS_MAX);
        lane->n_segments = n;
        memcpy(lane->segments, after, n * sizeof(after[0]));
        if (had_frozen)
                lane->has_frozen = false;
        lanemap_engine_lane_publish(writer, edit->lane, &edit->view);
        edit->new_segment = NULL; /* it is the lane's now */

        if (had_frozen)
                lanemap_overlay_retire(&frozen);
        for (uint32_t i = 0; i < edit->n_old; i++)
                lanemap_engine_segment_unref(writer, edit->olds[i]);
}

static void commit_swap(struct lanemap_writer *writer, struct writer_commit *commit)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        for (uint32_t i = 0; i < commit->n_edits; i++)
                edit_swap(writer, &commit->edits[i], commit->is_flush);

        if (commit->is_flush) {
                for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                        struct writer_lane *lane = &writer->lanes.items[i];

                        lane->position = lane_position_after(writer, lane);
                        lane->position_n_keys = lane->frozen_n_keys;
                        lane->position_n_pairs = lane->frozen_n_pairs;
                }
                writer->lanes.has_frozen_set = false;
        }
        lanemap_engine_segments_count(writer);
        lanemap_shm_arena_end_batch(writer->shm.object->arena);
        if (commit->is_flush)
                lanemap_engine_reserves_fill(writer);
}

static void log_drop_covered(struct lanemap_writer *writer, const struct lanemap_manifest *manifest)
{
        int r;

        /* Recovery is reading them, and they stay until the new generation is published. */
        if (writer->lanes.recovering)
                return;

        r = lanemap_log_drop(writer->log, lanemap_manifest_lowest_position(manifest),
                             manifest->log_number);
        if (r < 0)
                lanemap_engine_log(
                        writer, LOG_WARNING,
                        "%s: an old log file cannot be unlinked (%s); tried again after the "
                        "next flush",
                        writer->identity.directory, strerror(-r));
}

static int commit_run_locked(struct lanemap_writer *writer, struct writer_commit *commit,
                             struct lanemap_manifest *manifest)
{
        int r;

        lanemap_mutex_lock(&writer->lanes.lock);
        writer->commit.attempt++;
        if (commit->clear_epoch != writer->lanes.clear_epoch)
                r = WRITER_E_CLEARED;
        else
                r = view_blocks_take(writer, commit);
        if (r == 0) {
                r = manifest_fill(writer, commit, manifest);
                if (r < 0)
                        view_blocks_free(writer, commit);
        }
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (r != 0)
                return r;

        r = manifest_enforce(writer, commit->part, manifest);

        lanemap_mutex_lock(&writer->lanes.lock);
        if (r == 0 && commit->clear_epoch != writer->lanes.clear_epoch)
                r = WRITER_E_CLEARED;
        if (r == 0)
                commit_swap(writer, commit);
        else
                view_blocks_free(writer, commit);
        lanemap_mutex_unlock(&writer->lanes.lock);

        if (r == 0)
                log_drop_covered(writer, manifest);
        return r;
}

int lanemap_engine_commit_run(struct lanemap_writer *writer, struct writer_commit *commit)
{
        struct lanemap_manifest manifest;
        int r;

        r = lanemap_manifest_init(writer->identity.n_lanes, &manifest);
        if (r < 0)
                return r;

        lanemap_mutex_lock(&writer->commit.lock);
        r = commit_run_locked(writer, commit, &manifest);
        lanemap_mutex_unlock(&writer->commit.lock);

        lanemap_manifest_deinit(&manifest);
        lanemap_engine_files_reap(writer);
        lanemap_engine_serve_signal(writer);
        return r;
}

int lanemap_engine_commit_manifest_only(struct lanemap_writer *writer)
{
        struct writer_commit commit = {.part = WRITER_PART_FLUSH,
                                       .clear_epoch = writer->lanes.clear_epoch};
        int r = lanemap_engine_commit_run(writer, &commit);

        lanemap_engine_idle(writer, WRITER_PART_FLUSH);
        return r;
}
