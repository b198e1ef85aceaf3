/* Closing: in good order, or after an open that failed half way. See life/open.c for what there
 * is to undo. */
#include "writer/life/life.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/rcu.h"
#include "store/lock.h"
#include "writer/apply/apply.h"
#include "writer/apply/group.h"
#include "writer/compact/compact.h"
#include "writer/core/core.h"
#include "writer/serve/serve.h"

static void threads_stop(struct lanemap_writer *writer)
{
        lanemap_store_release(&writer->workers.stopping, true);
        lanemap_engine_watch_stop(writer);
        lanemap_engine_flusher_signal(writer);
        lanemap_engine_workers_signal(writer);
        lanemap_engine_scrub_signal(writer);
        lanemap_engine_serve_stop(writer);
        if (writer->workers.has_scrub_thread)
                pthread_join(writer->workers.scrub_thread, NULL);
        writer->workers.has_scrub_thread = false;
        if (writer->workers.has_flusher_thread)
                pthread_join(writer->workers.flusher_thread, NULL);
        for (uint32_t i = 0; i < writer->workers.n_threads; i++)
                pthread_join(writer->workers.threads[i], NULL);
        writer->workers.has_flusher_thread = false;
        writer->workers.n_threads = 0;
}

static void sync_stop(struct lanemap_writer *writer)
{
        lanemap_store_release(&writer->sync.stopping, true);
        lanemap_mutex_lock(&writer->sync.lock);
        pthread_cond_signal(&writer->sync.wake);
        pthread_cond_signal(&writer->sync.write_wake);
        lanemap_mutex_unlock(&writer->sync.lock);
        if (writer->sync.has_write_thread)
                pthread_join(writer->sync.write_thread, NULL);
        if (writer->sync.has_thread)
                pthread_join(writer->sync.thread, NULL);
        writer->sync.has_write_thread = writer->sync.has_thread = false;
}

static void segments_free(struct lanemap_writer *writer)
{
        for (uint32_t i = 0; i < writer->identity.n_lanes && writer->lanes.items; i++) {
                struct writer_lane *lane = &writer->lanes.items[i];

                for (uint32_t s = 0; s < lane->n_segments; s++) {
                        struct writer_file *file = lane->segments[s]->file;

                        lanemap_free(lane->segments[s]);
                        if (--file->n_refs == 0)
                                lanemap_engine_file_free(file);
                }
        }
        while (writer->segments.dead) {
                struct writer_file *next = writer->segments.dead->next_dead;

                lanemap_engine_file_free(writer->segments.dead);
                writer->segments.dead = next;
        }
}

static void object_release(struct lanemap_writer *writer)
{
        if (writer->shm.object) {
                /* An object that never became the one in force goes; the other stays for the
                 * readers. */
                if (writer->shm.control &&
                    writer->shm.control->generation != writer->shm.object->generation) {
                        char name[LANEMAP_SHM_OBJECT_NAME_BYTES];

                        lanemap_shm_data_name(writer->identity.name, writer->shm.object->generation,
                                              name);
                        (void)unlinkat(writer->place.shm_dir_fd, name, 0);
                }
                lanemap_shm_data_close(writer->shm.object);
                lanemap_free(writer->shm.object);
                /* An object that never was in force may have been the spare: a new spare is made
                 * for the next start. */
                if (writer->lanes.recovering)
                        (void)lanemap_engine_spare_ensure(writer);
        }
        lanemap_free(writer->shm.region);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(writer->shm.retired_object_fds); i++)
                if (writer->shm.retired_object_fds[i] >= 0)
                        close(writer->shm.retired_object_fds[i]);
}

/* A name under which nothing was ever published is nobody's after a start that failed: a control
 * object would have readers wait for a writer that there is none of. The name is locked still. */
static void control_release(struct lanemap_writer *writer)
{
        char name[LANEMAP_SHM_OBJECT_NAME_BYTES];

        if (writer->shm.control && lanemap_load_relaxed(&writer->shm.control->generation) == 0) {
                lanemap_shm_spare_name(writer->identity.name, name);
                (void)unlinkat(writer->place.shm_dir_fd, name, 0);
                lanemap_shm_control_name(writer->identity.name, name);
                (void)unlinkat(writer->place.shm_dir_fd, name, 0);
        }
        lanemap_shm_control_close(writer->shm.control);
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
        lanemap_free(writer->shm.private_control);
        control_release(writer);
        lanemap_engine_requests_free(writer);
        lanemap_store_unlock(&lanemap_files_posix, writer->place.name_lock_fd);
        lanemap_store_unlock(writer->files, writer->place.store_lock_fd);
        lanemap_engine_serve_deinit(writer);
        if (writer->place.shm_dir_fd >= 0)
                close(writer->place.shm_dir_fd);
        if (writer->place.dir_fd >= 0)
                close(writer->place.dir_fd);
        if (writer->sync.event_fd >= 0)
                close(writer->sync.event_fd);
        lanemap_free(writer->workers.threads);
        lanemap_free_pages(writer->segments.table, writer->segments.table_bytes);
        lanemap_free_pages(writer->lanes.orphans,
                           writer->identity.n_lanes * sizeof(*writer->lanes.orphans));
        lanemap_engine_reserves_deinit(writer);
        lanemap_free_pages(writer->lanes.items,
                           writer->identity.n_lanes * sizeof(*writer->lanes.items));
        lanemap_free(writer->lanes.scratch);
        lanemap_free(writer->lanes.log_ops);
        lanemap_engine_group_free(writer->lanes.group);
        lanemap_free(writer->identity.directory);
        lanemap_free(writer->identity.name);
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
                        writer->identity.directory, strerror(-r));
        r = lanemap_writer_sync(writer, lanemap_log_last(writer->log));
        if (r < 0)
                lanemap_engine_log(
                        writer, LOG_ERR,
                        "%s: the log could not be synced (%s); what was not acknowledged may be "
                        "lost",
                        writer->identity.directory, strerror(-r));
        sync_stop(writer);
        lanemap_store_relaxed(&writer->shm.control->state, (uint32_t)LANEMAP_STATE_CLOSED);
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
