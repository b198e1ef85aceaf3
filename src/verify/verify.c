/*
 * A whole data directory. See verify/verify.h.
 *
 * All files of a manifest are opened before the first is read: whatever a writer unlinks meanwhile,
 * what was opened stays. Only when an open fails and there is a newer manifest does the look begin
 * again. The log goes on growing under us, and is judged with the newest manifest; what looks like
 * a hole there is believed when it is still there at a second look.
 */
#include "verify/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/alloc.h"
#include "store/error.h"
#include "store/garbage.h"
#include "store/lock.h"

#define TRIES_MAX 100

/* Descriptors held at once; files beyond that are opened when it is their turn. */
#define OPEN_MAX 512

struct directory {
        const struct lanemap_files *files;
        int dir_fd;
        struct lanemap_manifest manifest;
        int *fds; /* per file of the manifest; -1: not opened, or not there */
        bool *damaged;
        struct lanemap_verify_report *report;
        struct lanemap_error *error;
};

bool lanemap_verify_writer_lives(int dir_fd)
{
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        bool lives = false;
        int fd;

        fd = openat(dir_fd, LANEMAP_STORE_LOCK_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0) {
                lives = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
                close(fd);
        }

        return lives;
}

static void pause_ms(uint32_t ms)
{
        struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

        nanosleep(&pause, NULL);
}

/* ---- the manifest ---- */

/* Without a manifest: nothing of ours, or the one file that is needed is missing. */
static int manifest_missing(struct directory *directory)
{
        int r = lanemap_store_has_data(directory->dir_fd);

        if (r < 0)
                return r;
        if (r == 0)
                return lanemap_store_error(directory->error, -ENOENT,
                                           "there is no index: no " LANEMAP_MANIFEST_NAME
                                           ", no segment and no log file");

        return lanemap_findings_add(&directory->report->findings, LANEMAP_MANIFEST_NAME,
                                    LANEMAP_FINDING_NO_OFFSET, LANEMAP_FINDING_NO_LANE, 0,
                                    "the file is missing");
}

/* Return: 0; 1 there is none, and a finding says so. */
static int manifest_read(struct directory *directory)
{
        struct lanemap_verify_report *report = directory->report;
        struct lanemap_error error = {.text = ""};
        int r;

        r = lanemap_manifest_read(directory->files, directory->dir_fd, &directory->manifest,
                                  &error);
        if (r == -ENOENT) {
                r = manifest_missing(directory);
                return r < 0 ? r : 1;
        }
        if (r == -EBADMSG) {
                r = lanemap_findings_add(&report->findings, LANEMAP_MANIFEST_NAME,
                                         LANEMAP_FINDING_NO_OFFSET, LANEMAP_FINDING_NO_LANE, 0,
                                         "%.180s", error.text);
                return r < 0 ? r : 1;
        }
        if (r < 0)
                return lanemap_store_error(directory->error, r, "%s: %.400s", LANEMAP_MANIFEST_NAME,
                                           error.text[0] ? error.text : strerror(-r));

        memcpy(report->uuid, directory->manifest.uuid, sizeof(report->uuid));
        report->generation = directory->manifest.generation;
        report->n_lanes = directory->manifest.n_lanes;
        report->n_files = directory->manifest.n_files;
        return 0;
}

static bool manifest_is_newer(const struct directory *directory, uint64_t generation)
{
        struct lanemap_manifest manifest;
        bool newer;

        if (lanemap_manifest_read(directory->files, directory->dir_fd, &manifest, NULL) < 0)
                return false;
        newer = manifest.generation != generation;
        lanemap_manifest_deinit(&manifest);
        return newer;
}

/* ---- segment files ---- */

static int file_open(const struct directory *directory, uint32_t i)
{
        const struct lanemap_manifest_file *file = &directory->manifest.files[i];
        char name[LANEMAP_SEGMENT_NAME_BYTES];

        lanemap_segment_file_name(file->number, file->checksum, name);
        return directory->files->open(directory->files, directory->dir_fd, name, O_RDONLY, 0);
}

static void files_close(struct directory *directory)
{
        for (uint32_t i = 0; i < directory->manifest.n_files && directory->fds; i++)
                if (directory->fds[i] >= 0)
                        directory->files->close(directory->files, directory->fds[i]);
        lanemap_free(directory->fds);
        lanemap_free(directory->damaged);
        directory->fds = NULL;
        directory->damaged = NULL;
}

/* Return: 0; -EAGAIN a newer manifest does not name a file that is gone. */
static int files_open(struct directory *directory)
{
        uint32_t n = directory->manifest.n_files;

        directory->fds = lanemap_alloc((n + 1) * sizeof(*directory->fds));
        directory->damaged = lanemap_alloc_zero((n + 1) * sizeof(*directory->damaged));
        if (!directory->fds || !directory->damaged)
                return -ENOMEM;
        for (uint32_t i = 0; i < n; i++)
                directory->fds[i] = -1;

        for (uint32_t i = 0; i < LANEMAP_MIN(n, OPEN_MAX); i++) {
                directory->fds[i] = file_open(directory, i);
                if (directory->fds[i] == -ENOENT &&
                    manifest_is_newer(directory, directory->manifest.generation))
                        return -EAGAIN;
        }

        return 0;
}

static int file_verify(struct directory *directory, uint32_t i,
                       const struct lanemap_verify_file *file)
{
        struct lanemap_verify_options options = {
                .files = directory->files,
                .dir_fd = directory->dir_fd,
                .from_disk = true,
        };
        struct lanemap_findings *findings = &directory->report->findings;
        size_t n_before = findings->n;
        int *fd = &directory->fds[i], r;

        if (i >= OPEN_MAX)
                *fd = file_open(directory, i);
        if (*fd == -ENOENT && manifest_is_newer(directory, directory->manifest.generation))
                return -EAGAIN;
        if (*fd == -ENOENT)
                r = lanemap_findings_add(
                        findings, file->name, LANEMAP_FINDING_NO_OFFSET,
                        file->n_uses == 1 ? file->uses[0].lane : LANEMAP_FINDING_NO_LANE,
                        lanemap_verify_file_keys(file), "the file is missing; it serves %u lane%s",
                        file->n_uses, file->n_uses == 1 ? "" : "s");
        else if (*fd < 0)
                return lanemap_store_error(directory->error, *fd, "%s: %s", file->name,
                                           strerror(-*fd));
        else
                r = lanemap_verify_file_run(&options, *fd, file, findings);

        directory->damaged[i] = findings->n > n_before;
        directory->report->file_bytes += file->n_bytes;
        return r;
}

static int files_verify(struct directory *directory)
{
        int r = 0;

        for (uint32_t i = 0; i < directory->manifest.n_files && r == 0; i++) {
                struct lanemap_verify_file file;

                r = lanemap_verify_file_init(&directory->manifest, i, &file);
                if (r < 0)
                        return r;
                r = file_verify(directory, i, &file);
                lanemap_verify_file_deinit(&file);
                if (i >= OPEN_MAX && directory->fds[i] >= 0) {
                        directory->files->close(directory->files, directory->fds[i]);
                        directory->fds[i] = -1;
                }
        }

        return r;
}

/* ---- counts ---- */

static int section_map(struct directory *directory, const struct lanemap_manifest_segment *use,
                       struct lanemap_verify_section *ret_section)
{
        const struct lanemap_manifest_file *entry =
                lanemap_manifest_find_file(&directory->manifest, use->file_number);
        size_t i = (size_t)(entry - directory->manifest.files);
        int fd = directory->fds[i], r;

        if (fd < 0)
                fd = file_open(directory, (uint32_t)i);
        if (fd < 0)
                return fd == -ENOENT ? -EAGAIN : fd;

        r = lanemap_verify_section_map(fd, entry->bytes, use->section, ret_section);
        if (directory->fds[i] < 0)
                directory->files->close(directory->files, fd);
        return r;
}

static bool lane_is_sound(const struct directory *directory,
                          const struct lanemap_manifest_lane *lane)
{
        for (uint32_t i = 0; i < lane->n_segments; i++) {
                const struct lanemap_manifest_file *file = lanemap_manifest_find_file(
                        &directory->manifest, lane->segments[i].file_number);

                if (directory->damaged[file - directory->manifest.files])
                        return false;
        }

        return true;
}

static int lane_verify(struct directory *directory, const struct lanemap_slot *slots, uint32_t l)
{
        const struct lanemap_manifest_lane *lane = &directory->manifest.lanes[l];
        const struct lanemap_segment *segments[LANEMAP_MANIFEST_SEGMENTS_MAX];
        struct lanemap_verify_section sections[LANEMAP_MANIFEST_SEGMENTS_MAX];
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS], n_keys = 0, n_pairs = 0;
        uint32_t n = 0;
        int r = 0;

        directory->report->n_keys += lane->n_keys;
        directory->report->n_pairs += lane->n_pairs;
        if (!lane_is_sound(directory, lane))
                return 0;

        for (; n < lane->n_segments && r == 0; n += r == 0) {
                r = section_map(directory, &lane->segments[n], &sections[n]);
                segments[n] = &sections[n].segment;
        }
        lanemap_slot_bitmap(slots, l, slot_bitmap);
        if (r == 0)
                r = lanemap_verify_lane_count(segments, n, slot_bitmap, &n_keys, &n_pairs);
        for (uint32_t i = 0; i < n; i++) {
                if (!lanemap_verify_section_is_read(&sections[i]))
                        r = -EBADMSG;
                lanemap_verify_section_unmap(&sections[i]);
        }
        if (r == -EBADMSG)
                return lanemap_findings_add(&directory->report->findings, LANEMAP_MANIFEST_NAME,
                                            LANEMAP_FINDING_NO_OFFSET, l, lane->n_keys,
                                            "the lane's segments cannot be merged");
        if (r < 0 || (n_keys == lane->n_keys && n_pairs == lane->n_pairs))
                return r;

        return lanemap_findings_add(
                &directory->report->findings, LANEMAP_MANIFEST_NAME, LANEMAP_FINDING_NO_OFFSET, l,
                n_keys > lane->n_keys ? n_keys - lane->n_keys : lane->n_keys - n_keys,
                "the lane's segments hold %" PRIu64 " keys and %" PRIu64
                " pairs; the manifest says %" PRIu64 " and %" PRIu64,
                n_keys, n_pairs, lane->n_keys, lane->n_pairs);
}

static int lanes_verify(struct directory *directory)
{
        struct lanemap_slot *slots = lanemap_alloc(LANEMAP_N_SLOTS * sizeof(*slots));
        int r = 0;

        if (!slots)
                return -ENOMEM;

        lanemap_slot_table_init(slots, directory->manifest.n_lanes);
        for (uint32_t l = 0; l < directory->manifest.n_lanes && r == 0; l++)
                r = lane_verify(directory, slots, l);
        lanemap_free(slots);
        return r;
}

/* ---- segments of one manifest ---- */

static int segments_verify(struct directory *directory)
{
        size_t n_before = directory->report->findings.n;
        int r;

        r = files_open(directory);
        if (r == 0)
                r = files_verify(directory);
        if (r == 0)
                r = lanes_verify(directory);
        files_close(directory);
        if (r == -EAGAIN) {
                directory->report->findings.n = n_before;
                directory->report->file_bytes = 0;
                directory->report->n_keys = directory->report->n_pairs = 0;
        }
        return r;
}

/* ---- the log ---- */

static int log_recover(struct directory *directory, const struct lanemap_manifest *manifest,
                       struct lanemap_log_recovery *ret_recovery, struct lanemap_error *error)
{
        struct lanemap_log_recover_config config = {
                .files = directory->files,
                .dir_fd = directory->dir_fd,
                .fingerprint_bits = manifest->fingerprint_bits,
                .lowest_position = lanemap_manifest_lowest_position(manifest),
                .highest_position = lanemap_manifest_highest_position(manifest),
                .required_number = manifest->log_number,
                .salvage = true,
        };

        memcpy(config.index_uuid, manifest->uuid, sizeof(config.index_uuid));
        return lanemap_log_recover(&config, NULL, NULL, ret_recovery, error);
}

static int log_report(struct directory *directory, const struct lanemap_log_recovery *recovery)
{
        struct lanemap_verify_report *report = directory->report;
        const struct lanemap_log_damage *damage = &recovery->damage;
        char name[LANEMAP_LOG_NAME_BYTES] = "log";
        uint64_t n_lost =
                recovery->proven > recovery->last_seq ? recovery->proven - recovery->last_seq : 0;

        report->n_log_files = recovery->n_files;
        report->n_log_records = recovery->n_records;
        report->n_log_torn_bytes = recovery->n_torn_bytes;
        report->n_log_old_bytes = recovery->n_damaged_bytes;
        if (damage->text.text[0] == '\0')
                return 0;

        if (damage->number)
                snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT,
                         (unsigned long long)damage->number);
        return lanemap_findings_add(&report->findings, name,
                                    damage->number ? damage->offset : LANEMAP_FINDING_NO_OFFSET,
                                    LANEMAP_FINDING_NO_LANE, n_lost, "%.180s", damage->text.text);
}

/* The same damage, seen twice while a writer may have been appending. */
static bool damage_is_same(const struct lanemap_log_recovery *recovery,
                           const struct lanemap_log_damage *before, uint64_t before_seq)
{
        return recovery->damage.number == before->number &&
               recovery->damage.offset == before->offset && recovery->last_seq == before_seq;
}

/* One look. Return: 0 it is reported; 1 look again. */
static int log_look(struct directory *directory, struct lanemap_log_damage *seen,
                    uint64_t *seen_seq)
{
        struct lanemap_log_recovery recovery;
        struct lanemap_manifest manifest;
        struct lanemap_error error = {.text = ""};
        bool lives = lanemap_verify_writer_lives(directory->dir_fd), again;
        int r;

        r = lanemap_manifest_read(directory->files, directory->dir_fd, &manifest, &error);
        if (r < 0)
                return lanemap_store_error(directory->error, r, "%.400s", error.text);

        r = log_recover(directory, &manifest, &recovery, &error);
        again = manifest_is_newer(directory, manifest.generation);
        lanemap_manifest_deinit(&manifest);
        if (r < 0)
                return again || (lives && (r == -ENOENT || r == -EIO))
                               ? 1
                               : lanemap_store_error(directory->error, r, "%.400s", error.text);

        if (recovery.damage.text.text[0] && (again || lives) &&
            !damage_is_same(&recovery, seen, *seen_seq)) {
                *seen = recovery.damage;
                *seen_seq = recovery.last_seq;
                r = 1;
        }
        if (r == 0)
                r = log_report(directory, &recovery);
        lanemap_log_recovery_deinit(&recovery);
        return r;
}

static int log_verify(struct directory *directory)
{
        struct lanemap_log_damage seen = {.number = UINT64_MAX};
        uint64_t seen_seq = 0;
        int r = 1;

        for (uint32_t i = 0; i < TRIES_MAX && r == 1; i++) {
                if (i > 0)
                        pause_ms(20);
                r = log_look(directory, &seen, &seen_seq);
        }

        return r == 1 ? lanemap_store_error(directory->error, -EAGAIN,
                                            "the log changes too fast to be looked at")
                      : r;
}

int lanemap_verify_directory(const struct lanemap_files *files, int dir_fd,
                             struct lanemap_verify_report *ret_report, struct lanemap_error *error)
{
        struct directory directory = {
                .files = files,
                .dir_fd = dir_fd,
                .report = ret_report,
                .error = error,
        };
        int r = -EAGAIN;

        *ret_report = (struct lanemap_verify_report){0};
        ret_report->writer_lives = lanemap_verify_writer_lives(dir_fd);
        for (uint32_t i = 0; i < TRIES_MAX && r == -EAGAIN; i++) {
                r = manifest_read(&directory);
                if (r != 0)
                        break;
                r = segments_verify(&directory);
                lanemap_manifest_deinit(&directory.manifest);
        }
        if (r == -EAGAIN)
                lanemap_store_error(error, r, "the index changes too fast to be looked at");
        if (r == 0)
                r = log_verify(&directory);

        return r < 0 ? r : 0;
}
