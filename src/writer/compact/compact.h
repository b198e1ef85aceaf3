/*
 * The way of data out of the overlays: flushes and merges build segment files, a commit puts a
 * manifest in force and swaps the views, a flip copies the lanes into a new data object.
 */
#ifndef LANEMAP_WRITER_COMPACT_COMPACT_H
#define LANEMAP_WRITER_COMPACT_COMPACT_H

#include "writer/core/engine.h"

/* ---- compact/build.c ---- */

/* The lane's newest build->n_segments segments become the inputs of a job, which its edit replaces.
 * Under lanes.lock. The second function releases them, and new segments that no lane took. */
void lanemap_engine_inputs_take(struct writer_lane *lane, struct writer_build_lane *build,
                                struct writer_edit *edit);
void lanemap_engine_inputs_release(struct lanemap_writer *writer,
                                   const struct writer_build_lane *lanes,
                                   const struct writer_edit *edits, uint32_t n_lanes)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* A cursor whose memory is the heap's. Return: 0. Errors: -ENOMEM. */
int lanemap_engine_segment_cursor(const struct lanemap_segment *segment, struct lanemap_heap *heap,
                                  struct lanemap_segment_cursor *cursor);
/*
 * Builds and writes. ret_segments has one entry per lane, NULL where nothing was left, and is the
 * caller's. part: whose progress it is. rate, which may be NULL: how fast it may write. Return: 0,
 * WRITER_E_DAMAGED.
 */
int lanemap_engine_build_file(struct lanemap_writer *writer, const struct writer_build_lane *lanes,
                              uint32_t n_lanes, uint32_t part, struct lanemap_rate *rate,
                              struct writer_built *ret_built, struct writer_segment **ret_segments);

/* ---- compact/commit.c ---- */

int lanemap_engine_commit_run(struct lanemap_writer *writer, struct writer_commit *commit);
/* The first manifest of a new index, and one that only says where the log is. */
int lanemap_engine_commit_manifest_only(struct lanemap_writer *writer);

/* ---- compact/compact.c ---- */

int lanemap_engine_compact(struct lanemap_writer *writer);

/* ---- compact/executor.c ---- */

void lanemap_engine_executor_init(struct lanemap_writer *writer, uint32_t n_workers);
/* Helps others to build, until workers.signal differs from `seen`, or a second has passed without
 * work. Return: workers.signal. */
uint64_t lanemap_engine_worker_wait(struct lanemap_writer *writer, uint64_t seen);

/* ---- compact/flip.c ---- */

/* An object that no reader ever sees, to replay into (life/replay.c). */
int lanemap_engine_object_create_private(struct lanemap_writer *writer,
                                         struct lanemap_shm_data_object **ret_object);
void lanemap_engine_object_free(struct lanemap_shm_data_object *object); /* NULL is fine */
/* Copies the lanes' overlays into the object, with blocks for views; the engine's state is not
 * touched. Return: 0. Errors: -ENOSPC, -ENOMEM: a part is copied. */
int lanemap_engine_lanes_copy(struct lanemap_writer *writer, struct lanemap_shm_data_object *object,
                              struct writer_lanes_copy *copy) LANEMAP_REQUIRES(writer->lanes.lock);
typedef int writer_lanes_copy_fn(struct lanemap_writer *writer,
                                 struct lanemap_shm_data_object *object,
                                 struct writer_lanes_copy *copy);
/* Makes a data object, and moves the lanes into it as `copy` copies them. It is not published. The
 * object and region that it replaces are the caller's. Return: 0, or what copy returned: nothing
 * has changed. */
int lanemap_engine_lanes_rehouse(struct lanemap_writer *writer, writer_lanes_copy_fn *copy,
                                 struct lanemap_shm_region **ret_region)
        LANEMAP_REQUIRES(writer->lanes.lock);
enum writer_flip {
        WRITER_FLIP_ASKED,    /* in any case */
        WRITER_FLIP_WORTH_IT, /* if it gives much back */
        WRITER_FLIP_SLACK,    /* if more than the slack is left, and readers hold nothing old */
};
/* Return: 0, also when it was not worth it. Errors: -EBUSY readers hold too much of older objects
 * (FL1; WORTH_IT: logged, and 0), -ENOSPC, -ENOMEM. */
int lanemap_engine_flip_run(struct lanemap_writer *writer, enum writer_flip why);
/* Return: the most bytes that a data object has which needs so many; more are slack. */
uint64_t lanemap_engine_slack_limit(const struct lanemap_writer *writer, uint64_t needed_bytes)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* A flip however much readers hold, since the shared objects were removed. control: the one to
 * publish it in; NULL: the present one. Return: 0, and the control object is the writer's. Errors:
 * -ENOSPC, -ENOMEM. */
int lanemap_engine_flip_unconditional(struct lanemap_writer *writer,
                                      struct lanemap_shm_control *control);
/* Closes retired objects that no reader holds: that frees their memory. */
void lanemap_engine_retired_objects_drop(struct lanemap_writer *writer);

/* ---- compact/flush.c ---- */

int lanemap_engine_flush_run(struct lanemap_writer *writer, bool always_commit);

/* ---- compact/give_back.c ---- */

/* Gives shared memory beyond the slack back, when it was not needed for a while (GB1). Thread: the
 * flusher, once a second. */
void lanemap_engine_give_back(struct lanemap_writer *writer);

/* ---- compact/merge.c ---- */

void *lanemap_engine_worker_main(void *writer);
/* One job, if there is one. Return: 1 something was merged, 0 nothing to do, or a negative errno.
 */
int lanemap_engine_merge_run(struct lanemap_writer *writer);

/* ---- compact/pace.c ---- */

/* Waits until so many bytes more may be written. Return: 0, -ESHUTDOWN the engine is closing. */
int lanemap_engine_pace(struct lanemap_writer *writer, struct lanemap_rate *rate, uint64_t n_bytes);

/* ---- compact/plan.c ---- */

/* The most urgent merge: the lanes of one group. */
struct writer_merge_choice {
        uint32_t first;
        uint32_t n_lanes;
        enum {
                WRITER_MERGE_ALL,    /* segments */
                WRITER_MERGE_MIDDLE, /* as many as lanemap_engine_lane_middle_takes() says */
                WRITER_MERGE_YOUNG,  /* all but the bottom */
        } which;
};
/* Return: true if there is one. */
bool lanemap_engine_merge_choose(struct lanemap_writer *writer, struct writer_merge_choice *ret)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Return: how many of the newest segments are merged without the bottom; 0: none. */
uint32_t lanemap_engine_lane_middle_takes(const struct writer_lane *lane);
/* Return: the segments above the bottom; of a lane with a damaged one, 0. */
uint32_t lanemap_engine_lane_n_young(const struct writer_lane *lane);
bool lanemap_engine_lane_is_busy(const struct writer_lane *lane);
uint32_t lanemap_engine_lane_n_sound(const struct writer_lane *lane);
bool lanemap_engine_lane_has_excess(const struct writer_lane *lane, uint32_t n_sound);
bool lanemap_engine_file_is_all_live(const struct writer_file *file);

#endif
