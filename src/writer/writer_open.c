/*
 * Opening and closing: locks, manifest, segments, log, in that order; then the generation is
 * published, and only then is anything of a predecessor removed.
 *
 *   1  directory and its lock, the name's lock
 *   2  manifest (or a new index: the first manifest)
 *   3  control object, whose uuid must be the manifest's; data objects that a crash left unlinked
 *   4  segments mapped, a new data object, views
 *   5  a new log, in which every record that was not proven durable is written again and synced
 *   6  the log replayed; flushes on the way leave everything of the predecessor where it is
 *   7  generation published
 *   8  the old object, and files that nobody names any more, unlinked; threads
 *
 * Until the generation is published, nothing that a predecessor wrote has been changed, so a
 * failure anywhere leaves the index as it was, and readers with the predecessor's last state.
 */
#include "writer/writer_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <syslog.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/rcu.h"
#include "store/log_recover.h"
#include "store/manifest_write.h"
#include "store/store_garbage.h"
#include "store/store_lock.h"

#define SHARED_BYTES_MAX_DEFAULT (UINT64_C(64) << 30)
#define QUARANTINE_NS_DEFAULT    (UINT64_C(5) * 1000 * 1000)
#define LANES_DEFAULT            64

/* ---- options ---- */

static int options_check(struct lanemap_writer *writer,
                         const struct lanemap_writer_options *options)
{
        struct lanemap_writer_options *kept = &writer->options;

        *kept = *options;
        if (kept->error)
                kept->error->text[0] = '\0';
        if (!lanemap_shm_name_is_valid(kept->name))
                return lanemap_writer_fail(
                        writer, -EINVAL,
                        "\"%s\" is not a name: it takes 1 to %d characters of A-Z a-z 0-9 _ -",
                        kept->name ? kept->name : "", LANEMAP_NAME_BYTES_MAX);
        if (!kept->directory || !kept->directory[0])
                return lanemap_writer_fail(writer, -EINVAL, "no data directory was given");
        if (kept->n_lanes > LANEMAP_N_LANES_MAX)
                return lanemap_writer_fail(writer, -EINVAL, "%u lanes: an index has 1 to %d",
                                           kept->n_lanes, LANEMAP_N_LANES_MAX);
        if (kept->fingerprint_bits != 0 && kept->fingerprint_bits != 64 &&
            kept->fingerprint_bits != 80 && kept->fingerprint_bits != 96)
                return lanemap_writer_fail(writer, -EINVAL,
                                           "%u fingerprint bits: an index has 64, 80 or 96",
                                           kept->fingerprint_bits);
        if (kept->appendfsync > LANEMAP_APPENDFSYNC_NO)
                return lanemap_writer_fail(writer, -EINVAL,
                                           "appendfsync is always (0), everysec (1) or no (2)");

        if (kept->segment_kind_young > LANEMAP_SEGMENT_BBHASH ||
            kept->segment_kind_bottom > LANEMAP_SEGMENT_BBHASH)
                return lanemap_writer_fail(
                        writer, -EINVAL,
                        "a segment kind is packed (1), recsplit (2) or bbhash (3)");

        if (kept->shared_bytes_max == 0)
                kept->shared_bytes_max = SHARED_BYTES_MAX_DEFAULT;
        kept->shared_bytes_max =
                LANEMAP_ALIGN_UP(kept->shared_bytes_max, (uint64_t)LANEMAP_SHM_PAGE_BYTES);
        if (kept->quarantine_ns == 0)
                kept->quarantine_ns = QUARANTINE_NS_DEFAULT;
        if (kept->n_workers == 0)
                kept->n_workers = 1;
        return 0;
}

static int writer_new(const struct lanemap_writer_options *options,
                      struct lanemap_writer **ret_writer)
{
        struct lanemap_writer *writer;
        int r;

        if (!options || options->size != sizeof(*options))
                return -EINVAL;

        writer = lanemap_alloc_zero(sizeof(*writer));
        if (!writer)
                return -ENOMEM;

        *ret_writer = writer;
        writer->dir_fd = writer->shm_dir_fd = writer->lock_fd = writer->name_lock_fd =
                writer->event_fd = -1;
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(writer->retired_object_fds); i++)
                writer->retired_object_fds[i] = -1;
        lanemap_writer_register(writer);
        writer->files = options->hooks && options->hooks->files ? options->hooks->files
                                                                : &lanemap_files_posix;
        writer->clock = options->hooks && options->hooks->clock ? options->hooks->clock
                                                                : &lanemap_clock_monotonic;
        pthread_mutex_init(&writer->flush_lock, NULL);
        pthread_mutex_init(&writer->commit_lock, NULL);
        pthread_mutex_init(&writer->lock, NULL);
        pthread_mutex_init(&writer->sync_lock, NULL);
        pthread_mutex_init(&writer->work_lock, NULL);
        pthread_mutex_init(&writer->request_lock, NULL);
        pthread_cond_init(&writer->request_done, NULL);
        lanemap_writer_cond_init(&writer->stall_wake);
        lanemap_writer_cond_init(&writer->sync_wake);
        lanemap_writer_cond_init(&writer->durable_wake);
        lanemap_writer_cond_init(&writer->flusher_wake);
        lanemap_writer_cond_init(&writer->worker_wake);
        lanemap_writer_cond_init(&writer->scrub_wake);
        cds_wfcq_init(&writer->request_head, &writer->request_tail);

        r = options_check(writer, options);
        if (r < 0)
                return r;

        writer->appendfsync = writer->options.appendfsync;
        writer->name = lanemap_strdup(options->name);
        writer->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (!writer->name)
                return -ENOMEM;
        return writer->event_fd < 0 ? -errno : 0;
}

/* ---- locks ---- */

static int locks_claim(struct lanemap_writer *writer)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES], resolved[PATH_MAX];
        int r;

        r = lanemap_store_open_directory(writer->options.directory, true, &writer->dir_fd,
                                         writer->options.error);
        if (r < 0)
                return lanemap_writer_fail(writer, r, "%s: %s", writer->options.directory,
                                           strerror(-r));
        if (!realpath(writer->options.directory, resolved))
                return -errno;

        writer->directory = lanemap_strdup(resolved);
        if (!writer->directory)
                return -ENOMEM;

        r = lanemap_store_lock(writer->files, writer->dir_fd, LANEMAP_STORE_LOCK_NAME,
                               &writer->lock_fd, writer->options.error);
        if (r == -EBUSY && writer->options.error)
                snprintf(writer->options.error->text, sizeof(writer->options.error->text),
                         "%s: another writer has this data directory; stop it first",
                         writer->directory);
        if (r < 0)
                return lanemap_writer_fail(writer, r, "%s/%s: %s", writer->directory,
                                           LANEMAP_STORE_LOCK_NAME, strerror(-r));

        writer->shm_dir_fd = lanemap_shm_open_directory();
        if (writer->shm_dir_fd < 0)
                return lanemap_writer_fail(writer, writer->shm_dir_fd, "%s: %s",
                                           LANEMAP_SHM_DIRECTORY, strerror(-writer->shm_dir_fd));

        lanemap_shm_lock_name(writer->name, object);
        r = lanemap_store_lock(&lanemap_files_posix, writer->shm_dir_fd, object,
                               &writer->name_lock_fd, writer->options.error);
        if (r == -EBUSY && writer->options.error)
                snprintf(writer->options.error->text, sizeof(writer->options.error->text),
                         "the name %s is published by another writer, with another data directory; "
                         "choose another name",
                         writer->name);
        if (r < 0)
                return lanemap_writer_fail(writer, r, "%s/%s: %s", LANEMAP_SHM_DIRECTORY, object,
                                           strerror(-r));

        return 0;
}

/* ---- identity ---- */

static int random_fill(unsigned char *bytes, size_t n)
{
        return getrandom(bytes, n, 0) == (ssize_t)n ? 0 : -EIO;
}

static int lanes_alloc(struct lanemap_writer *writer)
{
        uint32_t n_slots =
                LANEMAP_MIN(LANEMAP_MAX(1024, 8 * writer->n_lanes), LANEMAP_LANE_FILE_SLOTS_MAX);

        writer->cell_bytes = lanemap_overlay_cell_bytes(writer->hash_key.fingerprint_bits);
        lanemap_slot_table_init(writer->slots, writer->n_lanes);
        writer->lanes = lanemap_alloc_zero(writer->n_lanes * sizeof(*writer->lanes));
        writer->orphans = lanemap_alloc_zero(writer->n_lanes * sizeof(*writer->orphans));
        writer->lane_files = lanemap_alloc_zero(sizeof(*writer->lane_files) +
                                                n_slots * sizeof(writer->lane_files->slots[0]));
        if (!writer->lanes || !writer->orphans || !writer->lane_files ||
            lanemap_writer_reserves_init(writer) < 0)
                return -ENOMEM;

        writer->lane_files->n_slots = n_slots;
        return 0;
}

/* A directory without a manifest is a new index only when nothing in it looks like an old one. */
static int new_index_check(struct lanemap_writer *writer)
{
        char **names = NULL;
        size_t n_names = 0;
        bool has_data = false;
        int r;

        r = lanemap_store_list_garbage(writer->dir_fd, NULL, NULL, 0, &names, &n_names);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n_names; i++)
                has_data |= strncmp(names[i], "seg-", 4) == 0 || strncmp(names[i], "log-", 4) == 0;
        lanemap_free(names);
        if (!has_data)
                return 0;

        return lanemap_writer_fail(
                writer, -EBADMSG,
                "%s: there are segment or log files but no %s; restore it from a "
                "backup, or move the files "
                "away to begin a new index",
                writer->directory, LANEMAP_MANIFEST_NAME);
}

static int identity_create(struct lanemap_writer *writer, struct lanemap_manifest *manifest)
{
        const struct lanemap_writer_options *options = &writer->options;
        int r;

        r = new_index_check(writer);
        if (r < 0)
                return r;

        r = lanemap_manifest_init(options->n_lanes ? options->n_lanes : LANES_DEFAULT, manifest);
        if (r < 0)
                return r;

        manifest->generation = 1;
        manifest->fingerprint_bits = options->fingerprint_bits ? options->fingerprint_bits : 64;
        r = random_fill(manifest->uuid, sizeof(manifest->uuid));
        if (r == 0)
                r = random_fill(manifest->hash_key, sizeof(manifest->hash_key));
        /* A name that is another index's is found out before anything is written. */
        if (r == 0)
                r = lanemap_shm_control_check(writer->shm_dir_fd, writer->name, manifest->uuid,
                                              options->error);
        if (r == 0)
                r = lanemap_manifest_write(writer->files, writer->dir_fd, manifest);
        if (r < 0)
                lanemap_manifest_deinit(manifest);

        return r < 0 ? lanemap_writer_fail(writer, r, "%s/%s: cannot be written: %s",
                                           writer->directory, LANEMAP_MANIFEST_NAME, strerror(-r))
                     : 0;
}

static int identity_load(struct lanemap_writer *writer, struct lanemap_manifest *manifest)
{
        const struct lanemap_writer_options *options = &writer->options;
        int r;

        r = lanemap_manifest_read(writer->files, writer->dir_fd, manifest, writer->options.error);
        if (r == -ENOENT) {
                if (options->error)
                        options->error->text[0] = '\0';
                r = identity_create(writer, manifest);
        } else if (r == 0) {
                /* A predecessor that was killed may have renamed it and not synced the directory:
                 * its name has to be durable before that of anything made under it. */
                r = writer->files->sync_directory(writer->files, writer->dir_fd);
        }
        if (r < 0)
                return lanemap_writer_fail(writer, r, "%s/%s: %s", writer->directory,
                                           LANEMAP_MANIFEST_NAME, strerror(-r));

        if (options->n_lanes && options->n_lanes != manifest->n_lanes)
                return lanemap_writer_fail(
                        writer, -EINVAL,
                        "%s: the index has %u lanes, not %u; the number is chosen at creation",
                        writer->directory, manifest->n_lanes, options->n_lanes);
        if (options->fingerprint_bits && options->fingerprint_bits != manifest->fingerprint_bits)
                return lanemap_writer_fail(
                        writer, -EINVAL,
                        "%s: the index has %u fingerprint bits, not %u; the number is "
                        "chosen at creation",
                        writer->directory, manifest->fingerprint_bits, options->fingerprint_bits);

        memcpy(writer->uuid, manifest->uuid, sizeof(writer->uuid));
        memcpy(writer->hash_key_bytes, manifest->hash_key, sizeof(writer->hash_key_bytes));
        lanemap_hash_key_init(&writer->hash_key, manifest->hash_key, manifest->fingerprint_bits);
        writer->n_lanes = manifest->n_lanes;
        writer->manifest_attempt = writer->manifest_generation = manifest->generation;
        writer->next_file_number = manifest->next_file_number;
        writer->log_number_in_manifest = manifest->log_number;
        writer->clear_position = manifest->clear_position;
        writer->mark.position = manifest->mark_position;
        writer->mark.n_bytes = manifest->mark_bytes;
        memcpy(writer->mark.bytes, manifest->mark, manifest->mark_bytes);
        writer->frozen_mark = writer->mark;
        return lanes_alloc(writer);
}

/* ---- segments ---- */

static int lane_load(struct lanemap_writer *writer, const struct lanemap_manifest_lane *from,
                     struct writer_lane *lane, struct writer_file **files,
                     const struct lanemap_manifest *manifest)
{
        if (from->n_segments > LANEMAP_LANE_SEGMENTS_MAX)
                return lanemap_writer_fail(writer, -EPROTONOSUPPORT,
                                           "%s/%s: a lane has %u segments; this version reads %d",
                                           writer->directory, LANEMAP_MANIFEST_NAME,
                                           from->n_segments, LANEMAP_LANE_SEGMENTS_MAX);

        for (uint32_t i = 0; i < from->n_segments; i++) {
                const struct lanemap_manifest_segment *segment = &from->segments[i];
                const struct lanemap_manifest_file *entry =
                        lanemap_manifest_find_file(manifest, segment->file_number);
                struct writer_file *file = files[entry - manifest->files];
                int r;

                if (segment->section >= file->mapped->n_sections ||
                    file->mapped->sections[segment->section].n_keys != segment->n_keys)
                        return lanemap_writer_fail(
                                writer, -EBADMSG,
                                "%s/%s: section %u is not what the manifest says; run "
                                "lanemap repair",
                                writer->directory, file->name, segment->section);

                r = lanemap_writer_segment_new(file, segment->section, segment->level,
                                               segment->n_pairs, segment->bytes,
                                               &lane->segments[i]);
                if (r < 0)
                        return r;
                lane->n_segments++;
        }

        lane->position = from->position;
        lane->n_keys = lane->position_n_keys = from->n_keys;
        lane->n_pairs = lane->position_n_pairs = from->n_pairs;
        writer->n_keys += lane->n_keys;
        writer->n_pairs += lane->n_pairs;
        return 0;
}

static int segments_load(struct lanemap_writer *writer, const struct lanemap_manifest *manifest)
{
        struct writer_file **files = lanemap_alloc_zero((manifest->n_files + 1) * sizeof(*files));
        int r = 0;

        if (!files)
                return -ENOMEM;

        for (uint32_t i = 0; i < manifest->n_files && r == 0; i++) {
                r = lanemap_writer_file_open(writer, manifest->files[i].number,
                                             manifest->files[i].checksum, &files[i]);
                if (r < 0) {
                        char name[LANEMAP_SEGMENT_NAME_BYTES];

                        lanemap_segment_file_name(manifest->files[i].number,
                                                  manifest->files[i].checksum, name);
                        lanemap_writer_fail(
                                writer, r,
                                "%s/%s: the segment file %s; run lanemap repair, or restore it "
                                "from a backup",
                                writer->directory, name,
                                r == -ENOENT    ? "is missing"
                                : r == -EBADMSG ? "is damaged (its header fails validation)"
                                                : strerror(-r));
                        if (r == -ENOENT)
                                r = -EBADMSG;
                        break;
                }
                files[i]->named_generation = manifest->generation;
                r = lanemap_writer_file_install(writer, files[i]);
        }
        for (uint32_t i = 0; i < writer->n_lanes && r == 0; i++)
                r = lane_load(writer, &manifest->lanes[i], &writer->lanes[i], files, manifest);

        /* A file that no lane took is given back here; the others are the lanes'. */
        for (uint32_t i = 0; i < manifest->n_files; i++)
                if (files[i] && files[i]->n_refs == 0) {
                        if (files[i]->slot != UINT32_MAX)
                                writer->lane_files->slots[files[i]->slot] = NULL;
                        lanemap_writer_file_free(files[i]);
                }
        lanemap_free(files);
        return r;
}

/* ---- log ---- */

/* The new file comes before the replay: in it, what a predecessor's page cache holds is made
 * durable, so that whatever is replayed may be flushed and named by a manifest at once. */
static int log_load(struct lanemap_writer *writer, const struct lanemap_manifest *manifest)
{
        struct lanemap_log_recover_config recover = {
                .files = writer->files,
                .dir_fd = writer->dir_fd,
                .fingerprint_bits = writer->hash_key.fingerprint_bits,
                .lowest_position = lanemap_manifest_lowest_position(manifest),
                .highest_position = lanemap_manifest_highest_position(manifest),
                .required_number = manifest->log_number,
        };
        struct lanemap_log_recovery recovery;
        struct lanemap_log_config config;
        int r;

        memcpy(recover.index_uuid, writer->uuid, sizeof(recover.index_uuid));
        writer->position = recover.highest_position;
        r = lanemap_log_recover(&recover, NULL, NULL, &recovery, writer->options.error);
        if (r < 0)
                return lanemap_writer_fail(writer, r, "%s: the log cannot be recovered: %s",
                                           writer->directory, strerror(-r));

        if (recovery.n_torn_bytes)
                lanemap_writer_log(writer, LOG_NOTICE,
                                   "%s: %" PRIu64
                                   " bytes at the end of the log were never acknowledged and are "
                                   "left out",
                                   writer->directory, recovery.n_torn_bytes);

        config = (struct lanemap_log_config){
                .files = writer->files,
                .clock = writer->clock,
                .dir_fd = writer->dir_fd,
                .fingerprint_bits = writer->hash_key.fingerprint_bits,
                .next_number = LANEMAP_MAX(manifest->next_log_number, recovery.next_number),
                .after = recover.highest_position,
                .file_bytes = writer->options.log_file_bytes,
                .recovery = &recovery,
        };
        memcpy(config.index_uuid, writer->uuid, sizeof(config.index_uuid));
        r = lanemap_log_open(&config, &writer->log);
        if (r < 0)
                r = lanemap_writer_fail(writer, r, "%s: a log file cannot be started: %s",
                                        writer->directory, strerror(-r));
        if (r == 0) {
                r = lanemap_log_replay(&recover, &recovery, lanemap_writer_replay, writer, NULL,
                                       writer->options.error);
                if (r < 0)
                        r = lanemap_writer_fail(writer, r, "%s: the log cannot be replayed: %s",
                                                writer->directory, strerror(-r));
        }
        lanemap_log_recovery_deinit(&recovery);
        return r;
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
            lanemap_manifest_read(writer->files, writer->dir_fd, &manifest, NULL) < 0)
                return;

        if (lanemap_store_list_garbage(writer->dir_fd, &manifest, log_files, n_log_files, &names,
                                       &n_names) == 0) {
                for (size_t i = 0; i < n_names; i++)
                        (void)writer->files->unlink(writer->files, writer->dir_fd, names[i]);
                lanemap_free(names);
        }
        lanemap_manifest_deinit(&manifest);
}

static int threads_start(struct lanemap_writer *writer)
{
        sigset_t all, before;
        int r;

        writer->worker_threads =
                lanemap_alloc_zero(writer->options.n_workers * sizeof(*writer->worker_threads));
        if (!writer->worker_threads)
                return -ENOMEM;

        /* Signals are the program's business, not the engine's threads'. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        r = -pthread_create(&writer->sync_thread, NULL, lanemap_writer_sync_main, writer);
        writer->has_sync_thread = r == 0;
        if (r == 0) {
                r = -pthread_create(&writer->flusher_thread, NULL, lanemap_writer_flusher_main,
                                    writer);
                writer->has_flusher_thread = r == 0;
        }
        for (uint32_t i = 0; i < writer->options.n_workers && r == 0; i++) {
                r = -pthread_create(&writer->worker_threads[i], NULL, lanemap_writer_worker_main,
                                    writer);
                writer->n_worker_threads += r == 0;
        }
        if (r == 0 && writer->options.scrub_bytes_per_second != UINT64_MAX) {
                r = -pthread_create(&writer->scrub_thread, NULL, lanemap_writer_scrub_main, writer);
                writer->has_scrub_thread = r == 0;
        }
        pthread_sigmask(SIG_SETMASK, &before, NULL);

        return r;
}

static int index_recover(struct lanemap_writer *writer, const struct lanemap_manifest *manifest)
{
        int r;

        r = segments_load(writer, manifest);
        if (r < 0)
                return r;

        r = lanemap_writer_object_create(writer, &writer->object, &writer->region);
        if (r == 0) {
                lanemap_writer_memory_room_update(writer);
                r = lanemap_writer_lanes_init(writer);
        }
        if (r < 0)
                return lanemap_writer_fail(writer, r, "shared memory for %s cannot be had: %s",
                                           writer->name, strerror(-r));

        writer->recovering = true;
        r = log_load(writer, manifest);
        writer->recovering = false;
        if (r < 0)
                return r;

        lanemap_writer_counts_publish(writer);
        lanemap_store_relaxed(&writer->control->state, (uint32_t)LANEMAP_STATE_RUNNING);
        lanemap_shm_publish(writer->control, writer->object->generation);
        (void)lanemap_shm_unlink_others(writer->shm_dir_fd, writer->name,
                                        writer->object->generation);
        (void)lanemap_log_drop(writer->log, lanemap_manifest_lowest_position(manifest),
                               writer->log_number_in_manifest);
        lanemap_writer_files_reap(writer);
        garbage_unlink(writer);
        return threads_start(writer);
}

static int index_open(struct lanemap_writer *writer, const struct lanemap_manifest *manifest)
{
        uint32_t state;
        int r;

        r = lanemap_shm_control_open(writer->shm_dir_fd, writer->name, writer->uuid,
                                     writer->options.shared_mode ? writer->options.shared_mode
                                                                 : 0640,
                                     &writer->control, writer->options.error);
        if (r < 0)
                return lanemap_writer_fail(writer, r, "%s: %s", writer->name, strerror(-r));

        state = writer->control->state;
        lanemap_store_relaxed(&writer->control->state, (uint32_t)LANEMAP_STATE_STARTING);
        (void)lanemap_shm_unlink_others(writer->shm_dir_fd, writer->name,
                                        writer->control->generation);
        r = index_recover(writer, manifest);
        if (r < 0)
                lanemap_store_relaxed(&writer->control->state, state);
        return r;
}

int lanemap_writer_open(const struct lanemap_writer_options *options,
                        struct lanemap_writer **ret_writer)
{
        struct lanemap_manifest manifest = {0};
        struct lanemap_writer *writer = NULL;
        uint64_t start_ns;
        int r;

        r = writer_new(options, &writer);
        if (r == 0) {
                start_ns = lanemap_now_ns(writer->clock);
                r = locks_claim(writer);
                if (r == 0)
                        r = identity_load(writer, &manifest);
                if (r == 0)
                        r = index_open(writer, &manifest);
                lanemap_manifest_deinit(&manifest);
                writer->stats.recovery_ns = lanemap_now_ns(writer->clock) - start_ns;
        }
        if (r < 0) {
                if (writer)
                        lanemap_writer_fail(writer, r, "%s: %s",
                                            options->directory ? options->directory : "",
                                            strerror(-r));
                lanemap_writer_abandon(writer);
                return r;
        }

        *ret_writer = writer;
        return 0;
}
