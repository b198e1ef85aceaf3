/*
 * The services that every part of the engine uses: counts, views, segment files, wake-ups, the
 * threads of heart and sync, progress of the parts, messages.
 */
#ifndef LANEMAP_WRITER_CORE_CORE_H
#define LANEMAP_WRITER_CORE_CORE_H

#include "writer/core/engine.h"

/* ---- core/counts.c ---- */

void lanemap_engine_counts_publish(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Before a manifest or a generation has the lanes' counts: they add up to what readers were given.
 * Cost: O(lanes). */
void lanemap_engine_counts_check(const struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Counts pressure.active_bytes and its parts anew. */
void lanemap_engine_active_count(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
void lanemap_engine_memory_room_update(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Publishes segments.n_damaged as a flag; health/damage.c changes it. */
void lanemap_engine_degraded_publish(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* ---- core/files.c ---- */

int lanemap_engine_file_open(struct lanemap_writer *writer, uint64_t number,
                             const unsigned char *checksum, struct writer_file **ret_file);
void lanemap_engine_file_free(struct writer_file *file); /* no lookup can read it */
/* Gives the file a slot. Return: 0. Errors: -EMFILE: all are taken. */
int lanemap_engine_file_install(struct lanemap_writer *writer, struct writer_file *file)
        LANEMAP_REQUIRES(writer->lanes.lock);
int lanemap_engine_segment_new(struct writer_file *file, uint32_t section, uint32_t level,
                               uint64_t n_pairs, uint64_t bytes,
                               struct writer_segment **ret_segment);
void lanemap_engine_segment_ref(struct writer_segment *segment);
/* A file without segments is dead; lanemap_engine_files_reap() unlinks it when no manifest names
 * it. */
void lanemap_engine_segment_unref(struct lanemap_writer *writer, struct writer_segment *segment)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* The file stays while it is held, also without segments. Under lanes.lock. */
void lanemap_engine_file_hold(struct writer_file *file);
void lanemap_engine_file_release(struct lanemap_writer *writer, struct writer_file *file)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* A mapping of an open file that must be the one named. Return: as lanemap_engine_file_open(). */
int lanemap_engine_file_map(struct lanemap_writer *writer, int fd, bool huge, uint64_t number,
                            const unsigned char *checksum, struct lanemap_lane_file **ret_mapped);
/* Return: a file that a lane names, or NULL. */
struct writer_file *lanemap_engine_file_find(struct lanemap_writer *writer, uint64_t number)
        LANEMAP_REQUIRES(writer->lanes.lock);
void lanemap_engine_file_unmap(struct lanemap_lane_file *mapped);
/* Lookups, views and jobs use the mapping that is served now. */
void lanemap_engine_file_publish(struct lanemap_writer *writer, struct writer_file *file)
        LANEMAP_REQUIRES(writer->lanes.lock);
/* Unlinks dead files that no manifest names, waits for lookups of this process, unmaps. Without any
 * lock. */
void lanemap_engine_files_reap(struct lanemap_writer *writer);
/* The scrub checks the file next. The file is held. */
void lanemap_engine_file_doubt(struct lanemap_writer *writer, struct writer_file *file);
/* Moves a file to quarantine/. Return: 0, or a negative errno: the file has its old name. */
int lanemap_engine_file_quarantine(struct lanemap_writer *writer, const char *name);
/* Makes a new file's pages present, before any lookup needs them. Return: 0. Errors: -EIO: some
 * cannot be read. */
int lanemap_engine_file_populate(struct writer_file *file);
void lanemap_engine_copy_unlink(struct lanemap_writer *writer, struct writer_file *file);

/* ---- core/heart.c ---- */

int lanemap_engine_heart_start(struct lanemap_writer *writer);
void lanemap_engine_heart_stop(struct lanemap_writer *writer);

/* ---- core/log_line.c ---- */

void lanemap_engine_log(const struct lanemap_writer *writer, int priority, const char *format, ...)
        LANEMAP_PRINTF(3, 4);
int lanemap_engine_fail(const struct lanemap_writer *writer, int r, const char *format, ...)
        LANEMAP_PRINTF(3, 4);

/* ---- core/progress.c ---- */

void lanemap_engine_progress(struct lanemap_writer *writer, uint32_t part);
void lanemap_engine_idle(struct lanemap_writer *writer, uint32_t part);
uint32_t lanemap_engine_merge_part(struct lanemap_writer *writer);
uint64_t lanemap_engine_log_age_ns(struct lanemap_writer *writer);

/* ---- core/sync.c ---- */

void *lanemap_engine_sync_main(void *writer);
void *lanemap_engine_log_write_main(void *writer);
/* After an apply: writes the log at once where the policy allows it and nobody has to wait, or
 * wakes the thread that does. */
void lanemap_engine_log_write(struct lanemap_writer *writer);

/* ---- core/thread.c ---- */

/* A thread of the engine's, to which no signals go. name: for ps, top and perf, at most 15 bytes.
 * Return: 0, -errno. */
int lanemap_engine_thread_new(pthread_t *ret_thread, const char *name, void *(*main)(void *writer),
                              struct lanemap_writer *writer);
/* Of threads with long work: lowers the calling thread's priority to so much niceness. */
#define LANEMAP_ENGINE_NICE_FLUSHER 2
#define LANEMAP_ENGINE_NICE_WORKER  5
void lanemap_engine_thread_yields(int nice);

/* ---- core/view.c ---- */

int lanemap_engine_lane_publish_new(struct lanemap_writer *writer, uint32_t lane)
        LANEMAP_REQUIRES(writer->lanes.lock);
void lanemap_engine_lane_publish(struct lanemap_writer *writer, uint32_t lane,
                                 const struct lanemap_lane_view_block *view)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* ---- core/wake.c ---- */

void lanemap_engine_flusher_signal(struct lanemap_writer *writer);
void lanemap_engine_workers_signal(struct lanemap_writer *writer);
void lanemap_engine_scrub_signal(struct lanemap_writer *writer);
void lanemap_engine_serve_signal(struct lanemap_writer *writer);
void lanemap_engine_sync_signal(struct lanemap_writer *writer);
void lanemap_engine_log_write_signal(struct lanemap_writer *writer);
void lanemap_engine_event_notify(struct lanemap_writer *writer);
/* Each sleep ends at a signal, at `stopping`, or after ns nanoseconds */
void lanemap_engine_flusher_sleep(struct lanemap_writer *writer, uint64_t ns);
void lanemap_engine_worker_sleep(struct lanemap_writer *writer, uint64_t ns);
void lanemap_engine_scrub_sleep(struct lanemap_writer *writer, uint64_t ns);
void lanemap_engine_serve_sleep(struct lanemap_writer *writer, uint64_t ns);
void lanemap_engine_cond_init(pthread_cond_t *cond); /* on the monotonic clock */
void lanemap_engine_cond_wait_ns(pthread_cond_t *cond, struct lanemap_mutex *lock, uint64_t ns);

#endif
