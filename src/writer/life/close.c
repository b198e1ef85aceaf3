/* Closing: in good order, or after an open that failed half way. See life/open.c for what there
 * is to undo. */
#include "writer/core/engine.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/rcu.h"
#include "store/lock.h"

static void threads_stop(struct lanemap_writer *writer)
{
        lanemap_store_release(&writer->stopping, true);
        lanemap_engine_watch_stop(writer);
        lanemap_engine_flusher_signal(writer);
        lanemap_engine_workers_signal(writer);
        lanemap_engine_scrub_signal(writer);
        lanemap_engine_serve_stop(writer);
        if (writer->has_scrub_thread)
                pthread_join(writer->scrub_thread, NULL);
        writer->has_scrub_thread = false;
        if (writer->has_flusher_thread)
                pthread_join(writer->flusher_thread, NULL);
        for (uint32_t i = 0; i < writer->n_worker_threads; i++)
                pthread_join(writer->worker_threads[i], NULL);
        writer->has_flusher_thread = false;
        writer->n_worker_threads = 0;
}

static void sync_stop(struct lanemap_writer *writer)
{
        lanemap_store_release(&writer->sync_stopping, true);
        pthread_mutex_lock(&writer->sync_lock);
        pthread_cond_signal(&writer->sync_wake);
        pthread_mutex_unlock(&writer->sync_lock);
        if (writer->has_sync_thread)
                pthread_join(writer->sync_thread, NULL);
        writer->has_sync_thread = false;
}

static void segments_free(struct lanemap_writer *writer)
{
        for (uint32_t i = 0; i < writer->n_lanes && writer->lanes; i++) {
                struct writer_lane *lane = &writer->lanes[i];

                for (uint32_t s = 0; s < lane->n_segments; s++) {
                        struct writer_file *file = lane->segments[s]->file;

                        lanemap_free(lane->segments[s]);
                        if (--file->n_refs == 0)
                                lanemap_engine_file_free(file);
                }
        }
        while (writer->dead_files) {
                struct writer_file *next = writer->dead_files->next_dead;

                lanemap_engine_file_free(writer->dead_files);
                writer->dead_files = next;
        }
}

static void object_release(struct lanemap_writer *writer)
{
        if (writer->object) {
                /* An object that never became the one in force goes; the other stays for the
                 * readers. */
                if (writer->control && writer->control->generation != writer->object->generation) {
                        char name[LANEMAP_SHM_OBJECT_NAME_BYTES];

                        lanemap_shm_data_name(writer->name, writer->object->generation, name);
                        (void)unlinkat(writer->shm_dir_fd, name, 0);
                }
                lanemap_shm_data_close(writer->object);
                lanemap_free(writer->object);
                /* What never became the one in force may have been the spare: it is there again for
                 * whoever tries next. */
                if (writer->recovering)
                        lanemap_engine_spare_ensure(writer);
        }
        lanemap_free(writer->region);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(writer->retired_object_fds); i++)
                if (writer->retired_object_fds[i] >= 0)
                        close(writer->retired_object_fds[i]);
}

/* A name under which nothing was ever published is nobody's after a start that failed: a control
 * object would have readers wait for a writer that there is none of. The name is locked still. */
static void control_release(struct lanemap_writer *writer)
{
        char name[LANEMAP_SHM_OBJECT_NAME_BYTES];

        if (writer->control && lanemap_load_relaxed(&writer->control->generation) == 0) {
                lanemap_shm_spare_name(writer->name, name);
                (void)unlinkat(writer->shm_dir_fd, name, 0);
                lanemap_shm_control_name(writer->name, name);
                (void)unlinkat(writer->shm_dir_fd, name, 0);
        }
        lanemap_shm_control_close(writer->control);
}

void lanemap_engine_abandon(struct lanemap_writer *writer)
{
        if (!writer)
                return;

        threads_stop(writer);
        sync_stop(writer);
        lanemap_engine_heart_stop(writer);
        lanemap_rcu_synchronize();
        segments_free(writer);
        lanemap_log_close(writer->log);
        object_release(writer);
        lanemap_free(writer->private_control);
        control_release(writer);
        lanemap_engine_requests_free(writer);
        lanemap_store_unlock(&lanemap_files_posix, writer->name_lock_fd);
        lanemap_store_unlock(writer->files, writer->lock_fd);
        lanemap_engine_serve_deinit(writer);
        if (writer->shm_dir_fd >= 0)
                close(writer->shm_dir_fd);
        if (writer->dir_fd >= 0)
                close(writer->dir_fd);
        if (writer->event_fd >= 0)
                close(writer->event_fd);
        lanemap_free(writer->worker_threads);
        lanemap_free_pages(writer->lane_files, writer->lane_files_bytes);
        lanemap_free_pages(writer->orphans, writer->n_lanes * sizeof(*writer->orphans));
        lanemap_engine_reserves_deinit(writer);
        lanemap_free_pages(writer->lanes, writer->n_lanes * sizeof(*writer->lanes));
        lanemap_free(writer->scratch);
        lanemap_free(writer->log_ops);
        lanemap_free(writer->directory);
        lanemap_free(writer->name);
        lanemap_free_pages(writer, sizeof(*writer));
}

void lanemap_writer_close(struct lanemap_writer *writer)
{
        int r;

        if (!writer)
                return;

        threads_stop(writer);
        r = lanemap_engine_flush_run(writer, true);
        if (r < 0)
                lanemap_engine_log(
                        writer, LOG_WARNING,
                        "%s: the last flush failed (%s); the log has everything, the next start "
                        "replays it",
                        writer->directory, strerror(-r));
        r = lanemap_writer_sync(writer, lanemap_log_last(writer->log));
        if (r < 0)
                lanemap_engine_log(
                        writer, LOG_ERR,
                        "%s: the log could not be synced (%s); what was not acknowledged may be "
                        "lost",
                        writer->directory, strerror(-r));
        sync_stop(writer);
        lanemap_store_relaxed(&writer->control->state, (uint32_t)LANEMAP_STATE_CLOSED);
        lanemap_engine_abandon(writer);
}

int lanemap_writer_unlink(const char *name, struct lanemap_error *ret_error)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        int shm_dir_fd, lock_fd, r;

        if (!lanemap_shm_name_is_valid(name))
                return -EINVAL;

        shm_dir_fd = lanemap_shm_open_directory();
        if (shm_dir_fd < 0)
                return shm_dir_fd;

        lanemap_shm_lock_name(name, object);
        r = lanemap_store_lock(&lanemap_files_posix, shm_dir_fd, object, &lock_fd, ret_error);
        if (r == 0) {
                (void)lanemap_shm_unlink_others(shm_dir_fd, name, 0);
                lanemap_shm_spare_name(name, object);
                (void)unlinkat(shm_dir_fd, object, 0);
                lanemap_shm_control_name(name, object);
                if (unlinkat(shm_dir_fd, object, 0) < 0)
                        r = -errno;
                lanemap_store_unlock(&lanemap_files_posix, lock_fd);
        }

        close(shm_dir_fd);
        return r;
}
