/*
 * Opening: locks, manifest, segments, log, in that order; then the generation is published, and
 * only then is anything of a predecessor removed. The order is here; what is read back from the
 * directory is in life/recover.c, the options and the empty engine in life/new.c.
 *
 *   1  directory and its lock, the name's lock
 *   2  manifest (or a new index: the first manifest)
 *   3  control object, whose uuid must be the manifest's; data objects that a crash left unlinked
 *   4  segments mapped
 *   5  a new log, in which every record that was not proven durable is written again and synced
 *   6  the log replayed in private memory; flushes on the way leave everything of the predecessor
 *      where it is (life/replay.c)
 *   7  a new data object, overlays and views in it; generation published
 *   8  the old object, and files that nobody names any more, unlinked; threads
 *
 * Until the generation is published, nothing that a predecessor wrote has been changed, so a
 * failure anywhere leaves the index as it was, and readers with the predecessor's last state.
 */
#include "writer/life/life.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/probes.h"
#include "common/signals.h"
#include "store/garbage.h"
#include "store/lock.h"
#include "writer/apply/apply.h"
#include "writer/compact/compact.h"
#include "writer/core/core.h"
#include "writer/health/health.h"
#include "writer/serve/serve.h"

/* ---- locks ---- */

static int locks_claim(struct lanemap_writer *writer)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES], resolved[PATH_MAX];
        int r;

        r = lanemap_store_open_directory(writer->options.directory, true, &writer->place.dir_fd,
                                         writer->options.error);
        if (r < 0)
                return lanemap_engine_fail(writer, r, "%s: %s", writer->options.directory,
                                           strerror(-r));
        if (!realpath(writer->options.directory, resolved))
                return -errno;

        writer->identity.directory = lanemap_strdup(resolved);
        if (!writer->identity.directory)
                return -ENOMEM;

        r = lanemap_store_lock(writer->files, writer->place.dir_fd, LANEMAP_STORE_LOCK_NAME,
                               &writer->place.store_lock_fd, writer->options.error);
        if (r == -EBUSY && writer->options.error)
                snprintf(writer->options.error->text, sizeof(writer->options.error->text),
                         "%s: another writer has this data directory; stop it first",
                         writer->identity.directory);
        if (r < 0)
                return lanemap_engine_fail(writer, r, "%s/%s: %s", writer->identity.directory,
                                           LANEMAP_STORE_LOCK_NAME, strerror(-r));

        writer->place.shm_dir_fd = lanemap_shm_open_directory();
        if (writer->place.shm_dir_fd < 0)
                return lanemap_engine_fail(writer, writer->place.shm_dir_fd, "%s: %s",
                                           LANEMAP_SHM_DIRECTORY,
                                           strerror(-writer->place.shm_dir_fd));

        lanemap_shm_lock_name(writer->identity.name, object);
        r = lanemap_store_lock(&lanemap_files_posix, writer->place.shm_dir_fd, object,
                               &writer->place.name_lock_fd, writer->options.error);
        if (r == -EBUSY && writer->options.error)
                snprintf(writer->options.error->text, sizeof(writer->options.error->text),
                         "the name %s is published by another writer, with another data directory; "
                         "choose another name",
                         writer->identity.name);
        if (r < 0)
                return lanemap_engine_fail(writer, r, "%s/%s: %s", LANEMAP_SHM_DIRECTORY, object,
                                           strerror(-r));

        return 0;
}

/* ---- publication ---- */

static void garbage_unlink(struct lanemap_writer *writer)
{
        struct lanemap_log_file log_files[256];
        struct lanemap_manifest manifest;
        char **names = NULL;
        size_t n_names = 0, n_log_files;

        n_log_files = lanemap_log_get_files(writer->log, log_files, LANEMAP_N_ELEMENTS(log_files));
        if (n_log_files > LANEMAP_N_ELEMENTS(log_files) ||
            lanemap_manifest_read(writer->files, writer->place.dir_fd, &manifest, NULL) < 0)
                return;

        if (lanemap_store_list_garbage(writer->place.dir_fd, &manifest, log_files, n_log_files,
                                       &names, &n_names) == 0) {
                for (size_t i = 0; i < n_names; i++)
                        (void)writer->files->unlink(writer->files, writer->place.dir_fd, names[i]);
                lanemap_free(names);
        }
        lanemap_manifest_deinit(&manifest);
}

static int threads_start(struct lanemap_writer *writer)
{
        int r;

        writer->workers.threads =
                lanemap_alloc_zero(writer->options.n_workers * sizeof(*writer->workers.threads));
        if (!writer->workers.threads)
                return -ENOMEM;

        writer->pressure.compaction_rate.per_second = writer->options.compaction_bytes_per_second;
        r = lanemap_engine_thread_new(&writer->sync.thread, "lanemap-sync",
                                      lanemap_engine_sync_main, writer);
        writer->sync.has_thread = r == 0;
        if (r == 0) {
                r = lanemap_engine_thread_new(&writer->sync.write_thread, "lanemap-log",
                                              lanemap_engine_log_write_main, writer);
                writer->sync.has_write_thread = r == 0;
        }
        if (r == 0) {
                r = lanemap_engine_thread_new(&writer->workers.flusher_thread, "lanemap-flush",
                                              lanemap_engine_flusher_main, writer);
                writer->workers.has_flusher_thread = r == 0;
        }
        for (uint32_t i = 0; i < writer->options.n_workers && r == 0; i++) {
                char name[16];

                snprintf(name, sizeof(name), "lanemap-merge%u", i % 100);
                r = lanemap_engine_thread_new(&writer->workers.threads[i], name,
                                              lanemap_engine_worker_main, writer);
                writer->workers.n_threads += r == 0;
        }
        if (r == 0)
                r = lanemap_engine_watch_start(writer);
        if (r == 0 && writer->options.scrub_bytes_per_second != UINT64_MAX) {
                r = lanemap_engine_thread_new(&writer->workers.scrub_thread, "lanemap-scrub",
                                              lanemap_engine_scrub_main, writer);
                writer->workers.has_scrub_thread = r == 0;
        }
        if (r == 0) {
                r = lanemap_engine_thread_new(&writer->serve.thread, "lanemap-serve",
                                              lanemap_engine_serve_main, writer);
                writer->serve.has_thread = r == 0;
        }

        return r;
}

/* Every manifest has them; this one is for the case that no other follows. */
static void choices_keep(struct lanemap_writer *writer)
{
        int r = writer->commit.has_new_choices ? lanemap_engine_commit_manifest_only(writer) : 0;

        if (r < 0)
                lanemap_engine_log(writer, LOG_WARNING,
                                   "%s: segment kinds and filter policy are not kept yet: %s",
                                   writer->identity.directory, strerror(-r));
}

static const char *memory_advice(int r)
{
        return r == -ENOMEM || r == -EAGAIN ? ": raise the limit (ulimit -v, LimitAS=, MemoryMax=)"
                                            : "";
}

static uint64_t since_ns(const struct lanemap_writer *writer, uint64_t start_ns)
{
        return lanemap_now_ns(writer->clock) - start_ns;
}

static int index_recover(struct lanemap_writer *writer,
                         const struct lanemap_manifest *manifest) LANEMAP_NO_OTHER_THREAD
{
        uint64_t start_ns;
        int r;

        start_ns = lanemap_now_ns(writer->clock);
        r = lanemap_engine_segments_load(writer, manifest);
        LANEMAP_PROBE(recover__segments, manifest->n_files, since_ns(writer, start_ns), r);
        if (r < 0)
                return r;

        writer->lanes.recovering = true;
        r = lanemap_engine_replay_begin(writer);
        if (r < 0)
                return lanemap_engine_fail(writer, r,
                                           "memory to replay the log in cannot be had: %s%s",
                                           strerror(-r), memory_advice(r));

        start_ns = lanemap_now_ns(writer->clock);
        r = lanemap_engine_log_load(writer, manifest);
        LANEMAP_PROBE(recover__replay, writer->lanes.position, since_ns(writer, start_ns), r);
        if (r < 0)
                return r;

        r = lanemap_engine_replay_end(writer);
        if (r < 0)
                return lanemap_engine_fail(writer, r, "shared memory for %s cannot be had: %s%s",
                                           writer->identity.name, strerror(-r), memory_advice(r));

        writer->lanes.recovering = false;
        lanemap_engine_memory_room_update(writer);
        writer->pressure.flush_wanted = lanemap_engine_flush_is_due(writer);
        lanemap_engine_counts_publish(writer);
        lanemap_store_relaxed(&writer->shm.control->state, (uint32_t)LANEMAP_STATE_RUNNING);
        lanemap_shm_publish(writer->shm.control, writer->shm.object->generation);
        (void)lanemap_shm_unlink_others(writer->place.shm_dir_fd, writer->identity.name,
                                        writer->shm.object->generation);
        (void)lanemap_engine_spare_ensure(writer);
        (void)lanemap_log_drop(writer->log, lanemap_manifest_lowest_position(manifest),
                               writer->commit.log_number);
        lanemap_engine_files_reap(writer);
        garbage_unlink(writer);
        r = threads_start(writer);
        if (r == 0)
                choices_keep(writer);
        return r;
}

static int index_open(struct lanemap_writer *writer,
                      const struct lanemap_manifest *manifest) LANEMAP_NO_OTHER_THREAD
{
        uint32_t state;
        int r;

        r = lanemap_shm_control_open(
                writer->place.shm_dir_fd, writer->identity.name, writer->identity.uuid,
                writer->options.shared_mode ? writer->options.shared_mode : 0640,
                &writer->shm.control, writer->options.error);
        if (r < 0)
                return lanemap_engine_fail(writer, r, "%s: %s", writer->identity.name,
                                           strerror(-r));

        state = writer->shm.control->state;
        lanemap_store_relaxed(&writer->shm.control->state, (uint32_t)LANEMAP_STATE_STARTING);
        (void)lanemap_shm_unlink_others(writer->place.shm_dir_fd, writer->identity.name,
                                        writer->shm.control->generation);
        r = lanemap_engine_heart_start(writer);
        if (r == 0)
                r = index_recover(writer, manifest);
        if (r < 0)
                lanemap_store_relaxed(&writer->shm.control->state, state);
        return r;
}

int lanemap_writer_open(const struct lanemap_writer_options *options,
                        struct lanemap_writer **ret_writer)
{
        struct lanemap_manifest manifest = {0};
        struct lanemap_writer *writer = NULL;
        uint64_t start_ns;
        int r;

        r = lanemap_engine_new(options, &writer);
        if (r == 0) {
                start_ns = lanemap_now_ns(writer->clock);
                LANEMAP_PROBE(recover__start, (const char *)writer->identity.directory);
                r = locks_claim(writer);
                if (r == 0)
                        r = lanemap_engine_copies_find(writer);
                if (r == 0)
                        r = lanemap_engine_identity_load(writer, &manifest);
                if (r == 0)
                        r = lanemap_engine_copies_init(writer);
                if (r == 0)
                        r = index_open(writer, &manifest);
                lanemap_manifest_deinit(&manifest);
                writer->lanes.stats.recovery_ns = since_ns(writer, start_ns);
                LANEMAP_PROBE(recover__done, writer->lanes.n_keys, writer->lanes.stats.recovery_ns,
                              r);
        }
        if (r < 0) {
                if (writer)
                        lanemap_engine_owner_explain(writer, r);
                if (writer)
                        lanemap_engine_fail(writer, r, "%s: %s%s",
                                            options->directory ? options->directory : "",
                                            strerror(-r), memory_advice(r));
                lanemap_engine_abandon(writer);
                return r;
        }

        lanemap_alloc_give_back();
        *ret_writer = writer;
        return 0;
}
