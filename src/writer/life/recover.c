/*
 * Recovery of a directory: the index's identity and the lanes of its manifest, its segments, the
 * log on top. Nothing that a predecessor wrote is changed. life/open.c has the order of the three,
 * and the steps between them.
 */
#include "writer/life/life.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <syslog.h>

#include "common/alloc.h"
#include "segment/file_read.h"
#include "store/log_recover.h"
#include "store/manifest_write.h"
#include "store/garbage.h"
#include "writer/apply/apply.h"
#include "writer/core/core.h"

#define LANES_DEFAULT 64

/* ---- identity ---- */

static int random_fill(unsigned char *bytes, size_t n)
{
        return getrandom(bytes, n, 0) == (ssize_t)n ? 0 : -EIO;
}

static int lanes_alloc(struct lanemap_writer *writer)
{
        uint32_t n_slots = LANEMAP_MIN(LANEMAP_MAX(1024, 8 * writer->identity.n_lanes),
                                       LANEMAP_LANE_FILE_SLOTS_MAX);

        writer->identity.cell_bytes =
                lanemap_overlay_cell_bytes(writer->identity.hash_key.fingerprint_bits);
        lanemap_slot_table_init(writer->identity.slots, writer->identity.n_lanes);
        /* Zeros, of which the system has only what is ever used. */
        writer->lanes.items =
                lanemap_alloc_pages(writer->identity.n_lanes * sizeof(*writer->lanes.items));
        writer->lanes.orphans =
                lanemap_alloc_pages(writer->identity.n_lanes * sizeof(*writer->lanes.orphans));
        writer->segments.table_bytes = sizeof(*writer->segments.table) +
                                       n_slots * sizeof(writer->segments.table->slots[0]);
        writer->segments.table = lanemap_alloc_pages(writer->segments.table_bytes);
        if (!writer->lanes.items || !writer->lanes.orphans || !writer->segments.table ||
            lanemap_engine_reserves_init(writer) < 0)
                return -ENOMEM;

        writer->segments.table->n_slots = n_slots;
        return 0;
}

/* A directory without a manifest is a new index only when nothing in it looks like an old one. */
static int new_index_check(struct lanemap_writer *writer)
{
        int r = lanemap_store_has_data(writer->place.dir_fd);

        if (r <= 0)
                return r;

        return lanemap_engine_fail(
                writer, -EBADMSG,
                "%s: there are segment or log files but no %s; restore it from a "
                "backup, or move the files "
                "away to begin a new index",
                writer->identity.directory, LANEMAP_MANIFEST_NAME);
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
        manifest->segment_kind_young = options->segment_kind_young;
        manifest->segment_kind_bottom = options->segment_kind_bottom;
        manifest->filter = options->filter;
        r = random_fill(manifest->uuid, sizeof(manifest->uuid));
        if (r == 0)
                r = random_fill(manifest->hash_key, sizeof(manifest->hash_key));
        /* A name that is another index's is found out before anything is written. */
        if (r == 0)
                r = lanemap_shm_control_check(writer->place.shm_dir_fd, writer->identity.name,
                                              manifest->uuid, options->error);
        if (r == 0)
                r = lanemap_manifest_write(writer->files, writer->place.dir_fd, manifest);
        if (r < 0)
                lanemap_manifest_deinit(manifest);

        return r < 0 ? lanemap_engine_fail(writer, r, "%s/%s: cannot be written: %s",
                                           writer->identity.directory, LANEMAP_MANIFEST_NAME,
                                           strerror(-r))
                     : 0;
}

/* Choices that the options leave open are the manifest's, if it has them. */
static void choices_load(struct lanemap_writer *writer, const struct lanemap_manifest *manifest)
{
        struct lanemap_writer_options *options = &writer->options;

        if (options->segment_kind_young == 0)
                options->segment_kind_young = manifest->segment_kind_young;
        if (options->segment_kind_bottom == 0)
                options->segment_kind_bottom = manifest->segment_kind_bottom;
        if (options->filter == 0)
                options->filter = manifest->filter;
        writer->commit.has_new_choices =
                options->segment_kind_young != manifest->segment_kind_young ||
                options->segment_kind_bottom != manifest->segment_kind_bottom ||
                options->filter != manifest->filter;
}

int lanemap_engine_identity_load(struct lanemap_writer *writer, struct lanemap_manifest *manifest)
{
        const struct lanemap_writer_options *options = &writer->options;
        int r;

        r = lanemap_manifest_read(writer->files, writer->place.dir_fd, manifest,
                                  writer->options.error);
        if (r == -ENOENT) {
                if (options->error)
                        options->error->text[0] = '\0';
                r = identity_create(writer, manifest);
        } else if (r == 0) {
                /* A predecessor that was killed may have renamed it and not synced the directory:
                 * its name has to be durable before that of anything made under it. */
                r = writer->files->sync_directory(writer->files, writer->place.dir_fd);
        }
        if (r < 0)
                return lanemap_engine_fail(writer, r, "%s/%s: %s", writer->identity.directory,
                                           LANEMAP_MANIFEST_NAME, strerror(-r));

        if (options->n_lanes && options->n_lanes != manifest->n_lanes)
                return lanemap_engine_fail(writer, -EINVAL,
                                           "%s: the index has %u lanes, not %u; to change that, "
                                           "stop the writer and run 'lanemap reshard %s "
                                           "--lanes %u'",
                                           writer->identity.directory, manifest->n_lanes,
                                           options->n_lanes, writer->identity.directory,
                                           options->n_lanes);
        if (options->fingerprint_bits && options->fingerprint_bits != manifest->fingerprint_bits)
                return lanemap_engine_fail(
                        writer, -EINVAL,
                        "%s: the index has %u fingerprint bits, not %u; the number is "
                        "chosen at creation",
                        writer->identity.directory, manifest->fingerprint_bits,
                        options->fingerprint_bits);

        memcpy(writer->identity.uuid, manifest->uuid, sizeof(writer->identity.uuid));
        memcpy(writer->identity.hash_key_bytes, manifest->hash_key,
               sizeof(writer->identity.hash_key_bytes));
        lanemap_hash_key_init(&writer->identity.hash_key, manifest->hash_key,
                              manifest->fingerprint_bits);
        writer->identity.n_lanes = manifest->n_lanes;
        writer->commit.attempt = writer->commit.generation = manifest->generation;
        writer->commit.next_file_number = writer->commit.recovery_file_number =
                manifest->next_file_number;
        writer->commit.log_number = manifest->log_number;
        writer->lanes.clear_position = manifest->clear_position;
        writer->lanes.mark.position = manifest->mark_position;
        writer->lanes.mark.n_bytes = manifest->mark_bytes;
        memcpy(writer->lanes.mark.bytes, manifest->mark, manifest->mark_bytes);
        writer->lanes.frozen_mark = writer->lanes.mark;
        choices_load(writer, manifest);
        return lanes_alloc(writer);
}

/* ---- segments ---- */

static int lane_load(struct lanemap_writer *writer, const struct lanemap_manifest_lane *from,
                     struct writer_lane *lane, struct writer_file **files,
                     const struct lanemap_manifest *manifest)
{
        if (from->n_segments > LANEMAP_LANE_SEGMENTS_MAX)
                return lanemap_engine_fail(writer, -EPROTONOSUPPORT,
                                           "%s/%s: a lane has %u segments; this version reads %d",
                                           writer->identity.directory, LANEMAP_MANIFEST_NAME,
                                           from->n_segments, LANEMAP_LANE_SEGMENTS_MAX);

        for (uint32_t i = 0; i < from->n_segments; i++) {
                const struct lanemap_manifest_segment *segment = &from->segments[i];
                const struct lanemap_manifest_file *entry =
                        lanemap_manifest_find_file(manifest, segment->file_number);
                struct writer_file *file = files[entry - manifest->files];
                int r;

                if (segment->section >= file->mapped->n_sections ||
                    file->mapped->sections[segment->section].n_keys != segment->n_keys)
                        return lanemap_engine_fail(
                                writer, -EBADMSG,
                                "%s/%s: section %u is not what the manifest says; run "
                                "lanemap repair",
                                writer->identity.directory, file->name, segment->section);

                r = lanemap_engine_segment_new(file, segment->section, segment->level,
                                               segment->n_pairs, segment->bytes,
                                               &lane->segments[i]);
                if (r < 0)
                        return r;
                lane->n_segments++;
        }

        lane->position = from->position;
        lane->n_keys = lane->position_n_keys = from->n_keys;
        lane->n_pairs = lane->position_n_pairs = from->n_pairs;
        writer->lanes.n_keys += lane->n_keys;
        writer->lanes.n_pairs += lane->n_pairs;
        return 0;
}

int lanemap_engine_segments_load(struct lanemap_writer *writer,
                                 const struct lanemap_manifest *manifest) LANEMAP_NO_OTHER_THREAD
{
        struct writer_file **files = lanemap_alloc_zero((manifest->n_files + 1) * sizeof(*files));
        int r = 0;

        if (!files)
                return -ENOMEM;

        for (uint32_t i = 0; i < manifest->n_files && r == 0; i++) {
                r = lanemap_engine_file_open(writer, manifest->files[i].number,
                                             manifest->files[i].checksum, &files[i]);
                if (r < 0) {
                        char name[LANEMAP_SEGMENT_NAME_BYTES];

                        lanemap_segment_file_name(manifest->files[i].number,
                                                  manifest->files[i].checksum, name);
                        lanemap_engine_fail(
                                writer, r,
                                "%s/%s: the segment file %s; run lanemap repair, or restore it "
                                "from a backup",
                                writer->identity.directory, name,
                                r == -ENOENT    ? "is missing"
                                : r == -EBADMSG ? "is damaged (its header fails validation)"
                                : r == -EIO     ? "cannot be read (media error?)"
                                                : strerror(-r));
                        if (r == -ENOENT)
                                r = -EBADMSG;
                        break;
                }
                files[i]->named_generation = manifest->generation;
                r = lanemap_engine_file_install(writer, files[i]);
        }
        for (uint32_t i = 0; i < writer->identity.n_lanes && r == 0; i++)
                r = lane_load(writer, &manifest->lanes[i], &writer->lanes.items[i], files,
                              manifest);
        lanemap_engine_segments_count(writer);

        /* A file that no lane took is given back here; the others are the lanes'. */
        for (uint32_t i = 0; i < manifest->n_files; i++)
                if (files[i] && files[i]->n_refs == 0) {
                        if (files[i]->slot != UINT32_MAX)
                                writer->segments.table->slots[files[i]->slot] = NULL;
                        lanemap_engine_file_free(files[i]);
                }
        lanemap_free(files);
        return r;
}

/* ---- log ---- */

/* The new file comes before the replay: in it, what a predecessor's page cache holds is made
 * durable, so that whatever is replayed may be flushed and named by a manifest at once. Where the
 * disk is full, that waits, and so does what needs it; lookups do not. */
int lanemap_engine_log_load(struct lanemap_writer *writer, const struct lanemap_manifest *manifest)
{
        struct lanemap_log_recover_config recover = {
                .files = writer->files,
                .dir_fd = writer->place.dir_fd,
                .fingerprint_bits = writer->identity.hash_key.fingerprint_bits,
                .lowest_position = lanemap_manifest_lowest_position(manifest),
                .highest_position = lanemap_manifest_highest_position(manifest),
                .required_number = manifest->log_number,
        };
        struct lanemap_log_recovery recovery;
        struct lanemap_log_config config;
        int r;

        memcpy(recover.index_uuid, writer->identity.uuid, sizeof(recover.index_uuid));
        writer->lanes.position = recover.highest_position;
        r = lanemap_log_recover(&recover, NULL, NULL, &recovery, writer->options.error);
        if (r < 0)
                return lanemap_engine_fail(writer, r, "%s: the log cannot be recovered: %s",
                                           writer->identity.directory, strerror(-r));

        if (recovery.n_torn_bytes)
                lanemap_engine_log(writer, LOG_NOTICE,
                                   "%s: %" PRIu64
                                   " bytes at the end of the log were never acknowledged and are "
                                   "left out",
                                   writer->identity.directory, recovery.n_torn_bytes);

        config = (struct lanemap_log_config){
                .files = writer->files,
                .clock = writer->clock,
                .dir_fd = writer->place.dir_fd,
                .fingerprint_bits = writer->identity.hash_key.fingerprint_bits,
                .may_be_full = true,
                .number = manifest->log_number,
                .next_number = LANEMAP_MAX(manifest->next_log_number, recovery.next_number),
                .after = recover.highest_position,
                .file_bytes = writer->options.log_file_bytes,
                .recovery = &recovery,
        };
        memcpy(config.index_uuid, writer->identity.uuid, sizeof(config.index_uuid));
        r = lanemap_log_open(&config, &writer->log);
        if (r < 0)
                r = lanemap_engine_fail(writer, r, "%s: a log file cannot be started: %s",
                                        writer->identity.directory, strerror(-r));
        if (r == 0) {
                r = lanemap_log_replay(&recover, &recovery, lanemap_engine_replay, writer, NULL,
                                       writer->options.error);
                if (r < 0)
                        r = lanemap_engine_fail(writer, r, "%s: the log cannot be replayed: %s",
                                                writer->identity.directory, strerror(-r));
        }
        lanemap_log_recovery_deinit(&recovery);
        return r;
}
