/* See writer_repair.h for the order of things. */
#include "writer/writer_repair.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "store/manifest_write.h"
#include "store/store_lock.h"
#include "writer/writer_salvage.h"

/* A damaged segment file, and what becomes of it. */
struct mend {
        struct mend *next;
        struct lanemap_verify_file file;
        struct lanemap_salvage salvage;
        uint64_t new_number; /* 0: none is needed */
        bool missing;
};

struct run {
        struct lanemap_repair repair; /* first */
        struct lanemap_slot *slots;
        struct mend *mends;
        bool *lane_changed;
};

void lanemap_repair_say(const struct lanemap_repair *repair, const char *format, ...)
{
        char line[1024];
        va_list args;

        if (!repair->options->say)
                return;
        va_start(args, format);
        vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        repair->options->say(repair->options->say_arg, line);
}

int lanemap_repair_fail(const struct lanemap_repair *repair, int r, const char *format, ...)
{
        va_list args;

        if (!repair->error)
                return r;
        va_start(args, format);
        vsnprintf(repair->error->text, sizeof(repair->error->text), format, args);
        va_end(args);
        return r;
}

/* ---- salvaging, in memory ---- */

static const struct mend *mend_of(const struct run *run, uint64_t number)
{
        for (const struct mend *mend = run->mends; mend; mend = mend->next)
                if (mend->file.number == number)
                        return mend;

        return NULL;
}

static void mend_say(struct run *run, const struct mend *mend)
{
        struct lanemap_repair *repair = &run->repair;

        if (mend->missing) {
                lanemap_repair_say(repair,
                                   "LOST  %s is missing: %" PRIu64
                                   " keys of %u lanes are gone, or as older segments have them",
                                   mend->file.name, lanemap_verify_file_keys(&mend->file),
                                   mend->file.n_uses);
                return;
        }
        if (mend->salvage.exact) {
                lanemap_repair_say(repair, "%s: every byte is put right, without loss",
                                   mend->file.name);
                return;
        }
        for (uint32_t i = 0; i < mend->file.n_uses; i++) {
                const struct lanemap_salvage_section *section = &mend->salvage.sections[i];

                if (section->n_lost)
                        lanemap_repair_say(repair,
                                           "LOST  %s, lane %u: %" PRIu64
                                           " keys are gone, or as older segments have them",
                                           mend->file.name, section->lane, section->n_lost);
                if (section->built.n_keys)
                        lanemap_repair_say(
                                repair,
                                "%s, lane %u: %" PRIu64
                                " keys are kept; the file's checksum is wrong, so one of "
                                "them may be",
                                mend->file.name, section->lane, section->built.n_keys);
        }
}

static void mend_count(struct run *run, const struct mend *mend)
{
        struct lanemap_repair_report *report = run->repair.report;

        if (mend->missing)
                report->n_keys_lost += lanemap_verify_file_keys(&mend->file);
        for (uint32_t i = 0; i < mend->file.n_uses && !mend->missing && !mend->salvage.exact; i++) {
                report->n_keys_lost += mend->salvage.sections[i].n_lost;
                report->n_keys_suspect += mend->salvage.sections[i].built.n_keys;
        }
        report->lossy |= report->n_keys_lost + report->n_keys_suspect > 0;
}

/* The i-th file of the manifest is damaged. */
static int mend_add(struct run *run, uint32_t i)
{
        struct lanemap_repair *repair = &run->repair;
        struct mend *mend = lanemap_alloc_zero(sizeof(*mend));
        int r;

        if (!mend)
                return -ENOMEM;

        mend->next = run->mends;
        run->mends = mend;
        r = lanemap_verify_file_init(&repair->manifest, i, &mend->file);
        if (r == 0)
                r = lanemap_salvage_run(repair->options->files, repair->dir_fd, &mend->file,
                                        run->slots, &mend->salvage);
        if (r == -ENOENT) {
                mend->missing = true;
                r = 0;
        }
        if (r < 0)
                return lanemap_repair_fail(repair, r, "%s: %s", mend->file.name, strerror(-r));

        mend_say(run, mend);
        mend_count(run, mend);
        return 0;
}

static int finding_take(struct run *run, const struct lanemap_finding *finding)
{
        struct lanemap_manifest *manifest = &run->repair.manifest;
        uint64_t number, start;

        if (finding->lane < manifest->n_lanes)
                run->lane_changed[finding->lane] = true;
        if (lanemap_segment_file_name_parse(finding->file, &number, &start) < 0 ||
            mend_of(run, number))
                return 0;

        for (uint32_t i = 0; i < manifest->n_files; i++)
                if (manifest->files[i].number == number)
                        return mend_add(run, i);

        return 0;
}

/* ---- new files ---- */

/* The file as it was, under its own name. */
static int mend_restore(struct run *run, struct mend *mend)
{
        const struct lanemap_files *files = run->repair.options->files;
        char temporary[sizeof(LANEMAP_SEGMENT_TEMPORARY_PREFIX) + 16];
        int dir_fd = run->repair.dir_fd, fd, r, closed;

        snprintf(temporary, sizeof(temporary), LANEMAP_SEGMENT_TEMPORARY_PREFIX "%016llx",
                 (unsigned long long)mend->file.number);
        fd = files->open(files, dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC, 0640);
        if (fd < 0)
                return fd;
        r = lanemap_files_pwrite_all(files, fd, mend->salvage.image, mend->file.n_bytes, 0);
        if (r == 0)
                r = files->sync(files, fd);
        closed = files->close(files, fd);
        if (r == 0)
                r = closed;
        if (r == 0)
                r = lanemap_repair_link(&run->repair, mend->file.name);
        if (r == 0)
                r = files->rename(files, dir_fd, temporary, mend->file.name);
        return r < 0 ? r : files->sync_directory(files, dir_fd);
}

/* A new file with what is left; the manifest's entry of it. */
static int mend_write(struct run *run, struct mend *mend)
{
        struct lanemap_manifest *manifest = &run->repair.manifest;
        struct lanemap_segment_write_options options = {
                .file_number = mend->new_number,
                .fingerprint_bits = manifest->fingerprint_bits,
                .mode = 0640,
        };
        struct lanemap_salvage *salvage = &mend->salvage;
        struct lanemap_segment_write_section *sections;
        struct lanemap_segment_written written;
        struct lanemap_manifest_file entry;
        uint64_t *offsets;
        uint32_t n = 0;
        int r;

        sections = lanemap_heap_alloc(salvage->heap, mend->file.n_uses * sizeof(*sections));
        offsets = lanemap_heap_alloc(salvage->heap, mend->file.n_uses * sizeof(*offsets));
        if (!sections || !offsets)
                return -ENOMEM;

        memcpy(options.uuid, manifest->uuid, sizeof(options.uuid));
        for (uint32_t i = 0; i < mend->file.n_uses; i++)
                if (salvage->sections[i].built.n_keys)
                        sections[n++] = (struct lanemap_segment_write_section){
                                .lane = salvage->sections[i].lane,
                                .level = salvage->sections[i].level,
                                .kind = salvage->sections[i].kind,
                                .built = salvage->sections[i].built,
                        };
        r = lanemap_segment_file_write(run->repair.options->files, run->repair.dir_fd, &options,
                                       sections, n, offsets, &written);
        if (r < 0)
                return r;

        entry = (struct lanemap_manifest_file){
                .number = mend->new_number,
                .bytes = written.n_bytes,
                .n_sections = n,
        };
        memcpy(entry.checksum, written.checksum, sizeof(entry.checksum));
        return lanemap_manifest_add_file(manifest, &entry);
}

/* ---- the manifest ---- */

/* The segment that takes the place of a damaged file's. Return: whether there is one. */
static bool segment_replace(const struct mend *mend, struct lanemap_manifest_segment *segment)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < mend->file.n_uses && !mend->missing; i++) {
                const struct lanemap_salvage_section *section = &mend->salvage.sections[i];

                if (mend->file.uses[i].section != segment->section) {
                        n += section->built.n_keys > 0;
                        continue;
                }
                segment->file_number = mend->new_number;
                segment->section = n;
                segment->kind = section->kind;
                segment->n_keys = section->built.n_keys;
                segment->n_pairs = section->built.n_pairs;
                segment->bytes = section->built.n_bytes;
                return section->built.n_keys > 0;
        }

        return false;
}

static int lane_replace(struct run *run, uint32_t l)
{
        const struct lanemap_manifest_lane *lane = &run->repair.manifest.lanes[l];
        struct lanemap_manifest_segment segments[LANEMAP_MANIFEST_SEGMENTS_MAX];
        uint32_t n = 0;
        bool changed = false;

        for (uint32_t i = 0; i < lane->n_segments; i++) {
                const struct mend *mend = mend_of(run, lane->segments[i].file_number);

                segments[n] = lane->segments[i];
                if (!mend || (!mend->missing && mend->salvage.exact)) {
                        n++;
                        continue;
                }
                changed = true;
                n += segment_replace(mend, &segments[n]);
        }
        if (!changed)
                return 0;

        run->lane_changed[l] = true;
        run->repair.manifest_changed = true;
        return lanemap_manifest_set_segments(&run->repair.manifest, l, segments, n);
}

/* Where a segment of the new manifest is: in the memory of a mend, or on the disk. */
static int section_find(struct run *run, const struct lanemap_manifest_segment *segment,
                        struct lanemap_verify_section *ret_section)
{
        const struct lanemap_files *files = run->repair.options->files;
        const struct lanemap_manifest_file *entry;
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        int fd, r;

        *ret_section = (struct lanemap_verify_section){0};
        for (const struct mend *mend = run->mends; mend; mend = mend->next) {
                struct lanemap_segment_file_section place;
                struct lanemap_segment_file opened;
                uint32_t n = 0;

                if (mend->file.number == segment->file_number && !mend->missing &&
                    mend->salvage.exact) {
                        r = lanemap_segment_file_open(&opened, mend->salvage.image,
                                                      mend->file.n_bytes);
                        if (r == 0)
                                r = lanemap_segment_file_section(&opened, segment->section, &place);
                        return r < 0 ? r
                                     : lanemap_segment_open(&ret_section->segment,
                                                            opened.bytes + place.offset,
                                                            place.n_bytes, opened.fingerprint_bits);
                }
                for (uint32_t i = 0;
                     i < mend->file.n_uses && mend->new_number == segment->file_number; i++) {
                        const struct lanemap_segment_built *built =
                                &mend->salvage.sections[i].built;

                        if (built->n_keys > 0 && n++ == segment->section)
                                return lanemap_segment_open(&ret_section->segment, built->bytes,
                                                            built->n_bytes,
                                                            mend->file.fingerprint_bits);
                }
        }

        entry = lanemap_manifest_find_file(&run->repair.manifest, segment->file_number);
        lanemap_segment_file_name(entry->number, entry->checksum, name);
        fd = files->open(files, run->repair.dir_fd, name, O_RDONLY, 0);
        if (fd < 0)
                return fd;
        r = lanemap_verify_section_map(fd, entry->bytes, segment->section, ret_section);
        files->close(files, fd);
        return r;
}

static int lane_recount(struct run *run, uint32_t l)
{
        struct lanemap_manifest_lane *lane = &run->repair.manifest.lanes[l];
        struct lanemap_verify_section sections[LANEMAP_MANIFEST_SEGMENTS_MAX];
        const struct lanemap_segment *segments[LANEMAP_MANIFEST_SEGMENTS_MAX];
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS], n_keys = 0, n_pairs = 0;
        uint32_t n = 0;
        int r = 0;

        for (; n < lane->n_segments && r == 0; n += r == 0) {
                r = section_find(run, &lane->segments[n], &sections[n]);
                segments[n] = &sections[n].segment;
        }
        lanemap_slot_bitmap(run->slots, l, slot_bitmap);
        if (r == 0)
                r = lanemap_verify_lane_count(segments, n, slot_bitmap, &n_keys, &n_pairs);
        for (uint32_t i = 0; i < n; i++)
                if (sections[i].bytes)
                        lanemap_verify_section_unmap(&sections[i]);
        if (r < 0)
                return lanemap_repair_fail(&run->repair, r, "lane %u cannot be counted: %s", l,
                                           strerror(-r));
        if (n_keys == lane->n_keys && n_pairs == lane->n_pairs)
                return 0;

        lanemap_repair_say(&run->repair,
                           "lane %u: %" PRIu64 " keys and %" PRIu64 " pairs (the manifest said "
                           "%" PRIu64 " and %" PRIu64 ")",
                           l, n_keys, n_pairs, lane->n_keys, lane->n_pairs);
        lane->n_keys = n_keys;
        lane->n_pairs = n_pairs;
        run->repair.manifest_changed = true;
        return 0;
}

/* ---- the whole ---- */

static int mends_write(struct run *run)
{
        int r = 0;

        for (struct mend *mend = run->mends; mend && r == 0; mend = mend->next) {
                if (!mend->missing && mend->salvage.exact)
                        r = mend_restore(run, mend);
                else if (mend->new_number)
                        r = mend_write(run, mend);
                if (r == 0 && !mend->missing && !mend->salvage.exact)
                        r = lanemap_repair_aside(&run->repair, mend->file.name);
        }

        return r < 0 ? r
                     : run->repair.options->files->sync_directory(run->repair.options->files,
                                                                  run->repair.dir_fd);
}

static void mends_number(struct run *run)
{
        struct lanemap_manifest *manifest = &run->repair.manifest;

        for (struct mend *mend = run->mends; mend; mend = mend->next)
                for (uint32_t i = 0; i < mend->file.n_uses && !mend->missing &&
                                     !mend->salvage.exact && !mend->new_number;
                     i++)
                        if (mend->salvage.sections[i].built.n_keys > 0)
                                mend->new_number = manifest->next_file_number++;
}

static int run_apply(struct run *run)
{
        struct lanemap_repair *repair = &run->repair;
        const struct lanemap_files *files = repair->options->files;
        int r;

        r = mends_write(run);
        if (r == 0 && repair->n_aside > 0)
                r = lanemap_repair_link_all(repair);
        if (r == 0 && repair->manifest_changed) {
                lanemap_manifest_forget_unnamed_files(&repair->manifest);
                repair->manifest.generation++;
                r = lanemap_manifest_write(files, repair->dir_fd, &repair->manifest);
        }
        if (r == 0 && repair->n_aside > 0)
                r = lanemap_repair_unlink_all(repair);

        return r < 0 ? lanemap_repair_fail(repair, r,
                                           "the repair could not be written: %s; run it again",
                                           strerror(-r))
                     : 0;
}

static int run_plan(struct run *run, const struct lanemap_findings *findings)
{
        struct lanemap_repair *repair = &run->repair;
        struct lanemap_error error = {.text = ""};
        int r;

        r = lanemap_manifest_read(repair->options->files, repair->dir_fd, &repair->manifest,
                                  &error);
        if (r < 0)
                return lanemap_repair_fail(repair, r, "%s: %.400s", LANEMAP_MANIFEST_NAME,
                                           error.text);

        run->slots = lanemap_alloc(LANEMAP_N_SLOTS * sizeof(*run->slots));
        run->lane_changed =
                lanemap_alloc_zero(repair->manifest.n_lanes * sizeof(*run->lane_changed));
        if (!run->slots || !run->lane_changed)
                return -ENOMEM;

        lanemap_slot_table_init(run->slots, repair->manifest.n_lanes);
        for (size_t i = 0; i < findings->n && r == 0; i++)
                r = finding_take(run, &findings->items[i]);
        if (r == 0)
                mends_number(run);
        if (r == 0)
                r = lanemap_repair_log(repair);
        for (uint32_t l = 0; l < repair->manifest.n_lanes && r == 0; l++)
                r = lane_replace(run, l);
        for (uint32_t l = 0; l < repair->manifest.n_lanes && r == 0; l++)
                if (run->lane_changed[l])
                        r = lane_recount(run, l);

        return r;
}

static void run_deinit(struct run *run)
{
        while (run->mends) {
                struct mend *next = run->mends->next;

                lanemap_salvage_deinit(&run->mends->salvage);
                lanemap_verify_file_deinit(&run->mends->file);
                lanemap_free(run->mends);
                run->mends = next;
        }
        lanemap_manifest_deinit(&run->repair.manifest);
        lanemap_free(run->repair.aside);
        lanemap_free(run->lane_changed);
        lanemap_free(run->slots);
}

static bool manifest_is_damaged(const struct lanemap_verify_report *report)
{
        return report->n_lanes == 0 && report->findings.n > 0;
}

/* One look at everything, and one repair. Return: 1 look again: the manifest was put right. */
static int run_once(struct run *run)
{
        struct lanemap_repair *repair = &run->repair;
        struct lanemap_verify_report report;
        int r;

        r = lanemap_verify_directory(repair->options->files, repair->dir_fd, &report,
                                     repair->error);
        repair->report->n_findings += report.findings.n;
        for (size_t i = 0; i < report.findings.n; i++)
                lanemap_repair_say(repair, "found: %s: %s", report.findings.items[i].file,
                                   report.findings.items[i].what);
        if (r == 0 && manifest_is_damaged(&report)) {
                r = lanemap_repair_manifest(repair);
                if (r == -EBADMSG)
                        lanemap_repair_fail(
                                repair, r,
                                "%s is missing or damaged beyond a single bit; it alone has the "
                                "hash key, without which no key can be found: restore a backup, or "
                                "a copy of the file",
                                LANEMAP_MANIFEST_NAME);
                if (r == 0)
                        r = repair->options->dry_run ? 0 : 1;
        } else if (r == 0 && report.findings.n > 0) {
                r = run_plan(run, &report.findings);
                if (r == 0 && !repair->options->dry_run)
                        r = run_apply(run);
        }
        lanemap_findings_deinit(&report.findings);
        return r;
}

/* Q3 */
static int run_check(struct run *run)
{
        struct lanemap_verify_report report;
        int r;

        r = lanemap_verify_directory(run->repair.options->files, run->repair.dir_fd, &report,
                                     run->repair.error);
        if (r == 0 && report.findings.n > 0)
                r = lanemap_repair_fail(&run->repair, -EBADMSG,
                                        "%s: still damaged after the repair: %.300s; restore a "
                                        "backup",
                                        report.findings.items[0].file,
                                        report.findings.items[0].what);
        lanemap_findings_deinit(&report.findings);
        return r;
}

static int directory_claim(struct run *run, int *ret_lock_fd)
{
        struct lanemap_repair *repair = &run->repair;
        int r;

        if (lanemap_verify_writer_lives(repair->dir_fd))
                r = -EBUSY;
        else if (repair->options->dry_run)
                return 0;
        else
                r = lanemap_store_lock(repair->options->files, repair->dir_fd,
                                       LANEMAP_STORE_LOCK_NAME, ret_lock_fd, repair->error);

        return r == -EBUSY ? lanemap_repair_fail(repair, r,
                                                 "%s: a writer has this data directory; stop it "
                                                 "first",
                                                 repair->options->directory)
                           : r;
}

int lanemap_repair_directory(const struct lanemap_repair_options *options,
                             struct lanemap_repair_report *ret_report, struct lanemap_error *error)
{
        struct run run = {.repair = {.options = options, .report = ret_report, .error = error}};
        int lock_fd = -1, r;

        *ret_report = (struct lanemap_repair_report){0};
        r = lanemap_store_open_directory(options->directory, false, &run.repair.dir_fd, error);
        if (r < 0)
                return r;

        r = directory_claim(&run, &lock_fd);
        if (r == 0)
                r = run_once(&run);
        if (r == 1)
                r = run_once(&run);
        if (r == 0 && !options->dry_run && ret_report->n_findings > 0)
                r = run_check(&run);

        run_deinit(&run);
        lanemap_store_unlock(options->files, lock_fd);
        close(run.repair.dir_fd);
        return r;
}
