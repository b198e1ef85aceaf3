/*
 * Damaged segment files: what can be had of each, in memory; then new files in their place, in the
 * manifest and on the disk. A file whose every byte could be put right keeps its name (Q4).
 */
#include "directory/repair_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "directory/salvage.h"

/* A damaged segment file, and what becomes of it. */
struct lanemap_repair_damaged {
        struct lanemap_repair_damaged *next;
        struct lanemap_verify_file file;
        struct lanemap_salvage salvage;
        uint64_t new_number; /* 0: none is needed */
        bool missing;
};

/* ---- salvaging, in memory ---- */

static const struct lanemap_repair_damaged *mend_of(const struct lanemap_repair *repair,
                                                    uint64_t number)
{
        for (const struct lanemap_repair_damaged *damaged = repair->damaged; damaged;
             damaged = damaged->next)
                if (damaged->file.number == number)
                        return damaged;

        return NULL;
}

static void damaged_report(struct lanemap_repair *repair,
                           const struct lanemap_repair_damaged *damaged)
{
        if (damaged->missing) {
                lanemap_repair_say(repair,
                                   "LOST  %s is missing: %" PRIu64
                                   " keys of %u lanes are gone, or as older segments have them",
                                   damaged->file.name, lanemap_verify_file_keys(&damaged->file),
                                   damaged->file.n_uses);
                return;
        }
        if (damaged->salvage.exact) {
                lanemap_repair_say(repair, "%s: every byte is put right, without loss",
                                   damaged->file.name);
                return;
        }
        for (uint32_t i = 0; i < damaged->file.n_uses; i++) {
                const struct lanemap_salvage_section *section = &damaged->salvage.sections[i];

                if (section->n_lost)
                        lanemap_repair_say(repair,
                                           "LOST  %s, lane %u: %" PRIu64
                                           " keys are gone, or as older segments have them",
                                           damaged->file.name, section->lane, section->n_lost);
                if (section->built.n_keys)
                        lanemap_repair_say(
                                repair,
                                "%s, lane %u: %" PRIu64
                                " keys are kept; the file's checksum is wrong, so one of "
                                "them may be",
                                damaged->file.name, section->lane, section->built.n_keys);
        }
}

static void damaged_count(struct lanemap_repair *repair,
                          const struct lanemap_repair_damaged *damaged)
{
        struct lanemap_repair_report *report = repair->report;

        if (damaged->missing)
                report->n_keys_lost += lanemap_verify_file_keys(&damaged->file);
        for (uint32_t i = 0;
             i < damaged->file.n_uses && !damaged->missing && !damaged->salvage.exact; i++) {
                report->n_keys_lost += damaged->salvage.sections[i].n_lost;
                report->n_keys_suspect += damaged->salvage.sections[i].built.n_keys;
        }
        report->lossy |= report->n_keys_lost + report->n_keys_suspect > 0;
}

/* The i-th file of the manifest is damaged. */
static int mend_add(struct lanemap_repair *repair, uint32_t i)
{
        struct lanemap_repair_damaged *damaged = lanemap_alloc_zero(sizeof(*damaged));
        int r;

        if (!damaged)
                return -ENOMEM;

        damaged->next = repair->damaged;
        repair->damaged = damaged;
        r = lanemap_verify_file_init(&repair->manifest, i, &damaged->file);
        if (r == 0)
                r = lanemap_salvage_run(repair->options->files, repair->dir_fd, &damaged->file,
                                        repair->slots, &damaged->salvage);
        if (r == -ENOENT) {
                damaged->missing = true;
                r = 0;
        }
        if (r < 0)
                return lanemap_repair_fail(repair, r, "%s: %s", damaged->file.name, strerror(-r));

        damaged_report(repair, damaged);
        damaged_count(repair, damaged);
        return 0;
}

static int finding_take(struct lanemap_repair *repair, const struct lanemap_finding *finding)
{
        struct lanemap_manifest *manifest = &repair->manifest;
        uint64_t number, start;

        if (finding->lane < manifest->n_lanes)
                repair->lane_changed[finding->lane] = true;
        if (lanemap_segment_file_name_parse(finding->file, &number, &start) < 0 ||
            mend_of(repair, number))
                return 0;

        for (uint32_t i = 0; i < manifest->n_files; i++)
                if (manifest->files[i].number == number)
                        return mend_add(repair, i);

        return 0;
}

/* ---- new files ---- */

/* The file as it was, under its own name. */
static int damaged_restore(struct lanemap_repair *repair, struct lanemap_repair_damaged *damaged)
{
        const struct lanemap_files *files = repair->options->files;
        char temporary[sizeof(LANEMAP_SEGMENT_TEMPORARY_PREFIX) + 16];
        int dir_fd = repair->dir_fd, fd, r, closed;

        snprintf(temporary, sizeof(temporary), LANEMAP_SEGMENT_TEMPORARY_PREFIX "%016llx",
                 (unsigned long long)damaged->file.number);
        fd = files->open(files, dir_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC, 0640);
        if (fd < 0)
                return fd;
        r = lanemap_files_pwrite_all(files, fd, damaged->salvage.image, damaged->file.n_bytes, 0);
        if (r == 0)
                r = files->sync(files, fd);
        closed = files->close(files, fd);
        if (r == 0)
                r = closed;
        if (r == 0)
                r = lanemap_repair_link(repair, damaged->file.name);
        if (r == 0)
                r = files->rename(files, dir_fd, temporary, damaged->file.name);
        return r < 0 ? r : files->sync_directory(files, dir_fd);
}

/* A new file with what is left; the manifest's entry of it. */
static int damaged_write(struct lanemap_repair *repair, struct lanemap_repair_damaged *damaged)
{
        struct lanemap_manifest *manifest = &repair->manifest;
        struct lanemap_segment_write_options options = {
                .file_number = damaged->new_number,
                .fingerprint_bits = manifest->fingerprint_bits,
                .mode = 0640,
        };
        struct lanemap_salvage *salvage = &damaged->salvage;
        struct lanemap_segment_write_section *sections;
        struct lanemap_segment_written written;
        struct lanemap_manifest_file entry;
        uint64_t *offsets;
        uint32_t n = 0;
        int r;

        sections = lanemap_heap_alloc(salvage->heap, damaged->file.n_uses * sizeof(*sections));
        offsets = lanemap_heap_alloc(salvage->heap, damaged->file.n_uses * sizeof(*offsets));
        if (!sections || !offsets)
                return -ENOMEM;

        memcpy(options.uuid, manifest->uuid, sizeof(options.uuid));
        for (uint32_t i = 0; i < damaged->file.n_uses; i++)
                if (salvage->sections[i].built.n_keys)
                        sections[n++] = (struct lanemap_segment_write_section){
                                .lane = salvage->sections[i].lane,
                                .level = salvage->sections[i].level,
                                .kind = salvage->sections[i].kind,
                                .built = salvage->sections[i].built,
                        };
        r = lanemap_segment_file_write(repair->options->files, repair->dir_fd, &options, sections,
                                       n, offsets, &written);
        if (r < 0)
                return r;

        entry = (struct lanemap_manifest_file){
                .number = damaged->new_number,
                .bytes = written.n_bytes,
                .n_sections = n,
        };
        memcpy(entry.checksum, written.checksum, sizeof(entry.checksum));
        return lanemap_manifest_add_file(manifest, &entry);
}

/* ---- the manifest ---- */

/* The segment that takes the place of a damaged file's. Return: true if there is one. */
static bool segment_replace(const struct lanemap_repair_damaged *damaged,
                            struct lanemap_manifest_segment *segment)
{
        uint32_t n = 0;

        for (uint32_t i = 0; i < damaged->file.n_uses && !damaged->missing; i++) {
                const struct lanemap_salvage_section *section = &damaged->salvage.sections[i];

                if (damaged->file.uses[i].section != segment->section) {
                        n += section->built.n_keys > 0;
                        continue;
                }
                segment->file_number = damaged->new_number;
                segment->section = n;
                segment->kind = section->kind;
                segment->n_keys = section->built.n_keys;
                segment->n_pairs = section->built.n_pairs;
                segment->bytes = section->built.n_bytes;
                return section->built.n_keys > 0;
        }

        return false;
}

static int lane_replace(struct lanemap_repair *repair, uint32_t l)
{
        const struct lanemap_manifest_lane *lane = &repair->manifest.lanes[l];
        struct lanemap_manifest_segment segments[LANEMAP_MANIFEST_SEGMENTS_MAX];
        uint32_t n = 0;
        bool changed = false;

        for (uint32_t i = 0; i < lane->n_segments; i++) {
                const struct lanemap_repair_damaged *damaged =
                        mend_of(repair, lane->segments[i].file_number);

                segments[n] = lane->segments[i];
                if (!damaged || (!damaged->missing && damaged->salvage.exact)) {
                        n++;
                        continue;
                }
                changed = true;
                n += segment_replace(damaged, &segments[n]);
        }
        if (!changed)
                return 0;

        repair->lane_changed[l] = true;
        repair->manifest_changed = true;
        return lanemap_manifest_set_segments(&repair->manifest, l, segments, n);
}

/* Finds a segment of the new manifest: in the image of a repaired file, or on the disk. */
static int section_find(struct lanemap_repair *repair,
                        const struct lanemap_manifest_segment *segment,
                        struct lanemap_verify_section *ret_section)
{
        const struct lanemap_files *files = repair->options->files;
        const struct lanemap_manifest_file *entry;
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        int fd, r;

        *ret_section = (struct lanemap_verify_section){0};
        for (const struct lanemap_repair_damaged *damaged = repair->damaged; damaged;
             damaged = damaged->next) {
                struct lanemap_segment_file_section place;
                struct lanemap_segment_file opened;
                uint32_t n = 0;

                if (damaged->file.number == segment->file_number && !damaged->missing &&
                    damaged->salvage.exact) {
                        r = lanemap_segment_file_open(&opened, damaged->salvage.image,
                                                      damaged->file.n_bytes);
                        if (r == 0)
                                r = lanemap_segment_file_section(&opened, segment->section, &place);
                        return r < 0 ? r
                                     : lanemap_segment_open(&ret_section->segment,
                                                            opened.bytes + place.offset,
                                                            place.n_bytes, opened.fingerprint_bits);
                }
                for (uint32_t i = 0;
                     i < damaged->file.n_uses && damaged->new_number == segment->file_number; i++) {
                        const struct lanemap_segment_built *built =
                                &damaged->salvage.sections[i].built;

                        if (built->n_keys > 0 && n++ == segment->section)
                                return lanemap_segment_open(&ret_section->segment, built->bytes,
                                                            built->n_bytes,
                                                            damaged->file.fingerprint_bits);
                }
        }

        entry = lanemap_manifest_find_file(&repair->manifest, segment->file_number);
        lanemap_segment_file_name(entry->number, entry->checksum, name);
        fd = files->open(files, repair->dir_fd, name, O_RDONLY, 0);
        if (fd < 0)
                return fd;
        r = lanemap_verify_section_map(fd, entry->bytes, segment->section, ret_section);
        files->close(files, fd);
        return r;
}

static int lane_recount(struct lanemap_repair *repair, uint32_t l)
{
        struct lanemap_manifest_lane *lane = &repair->manifest.lanes[l];
        struct lanemap_verify_section sections[LANEMAP_MANIFEST_SEGMENTS_MAX];
        const struct lanemap_segment *segments[LANEMAP_MANIFEST_SEGMENTS_MAX];
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS], n_keys = 0, n_pairs = 0;
        uint32_t n = 0;
        int r = 0;

        for (; n < lane->n_segments && r == 0; n += r == 0) {
                r = section_find(repair, &lane->segments[n], &sections[n]);
                segments[n] = &sections[n].segment;
        }
        lanemap_slot_bitmap(repair->slots, l, slot_bitmap);
        if (r == 0)
                r = lanemap_verify_lane_count(segments, n, slot_bitmap, &n_keys, &n_pairs);
        for (uint32_t i = 0; i < n; i++) {
                if (!lanemap_verify_section_is_read(&sections[i]))
                        r = -EIO;
                if (sections[i].bytes)
                        lanemap_verify_section_unmap(&sections[i]);
        }
        if (r < 0)
                return lanemap_repair_fail(repair, r, "lane %u cannot be counted: %s", l,
                                           strerror(-r));
        if (n_keys == lane->n_keys && n_pairs == lane->n_pairs)
                return 0;

        lanemap_repair_say(repair,
                           "lane %u: %" PRIu64 " keys and %" PRIu64 " pairs (the manifest said "
                           "%" PRIu64 " and %" PRIu64 ")",
                           l, n_keys, n_pairs, lane->n_keys, lane->n_pairs);
        lane->n_keys = n_keys;
        lane->n_pairs = n_pairs;
        repair->manifest_changed = true;
        return 0;
}

int lanemap_repair_segments_write(struct lanemap_repair *repair)
{
        int r = 0;

        for (struct lanemap_repair_damaged *damaged = repair->damaged; damaged && r == 0;
             damaged = damaged->next) {
                if (!damaged->missing && damaged->salvage.exact)
                        r = damaged_restore(repair, damaged);
                else if (damaged->new_number)
                        r = damaged_write(repair, damaged);
                if (r == 0 && !damaged->missing && !damaged->salvage.exact)
                        r = lanemap_repair_quarantine(repair, damaged->file.name);
        }

        return r < 0 ? r
                     : repair->options->files->sync_directory(repair->options->files,
                                                              repair->dir_fd);
}

static void mends_number(struct lanemap_repair *repair)
{
        struct lanemap_manifest *manifest = &repair->manifest;

        for (struct lanemap_repair_damaged *damaged = repair->damaged; damaged;
             damaged = damaged->next)
                for (uint32_t i = 0; i < damaged->file.n_uses && !damaged->missing &&
                                     !damaged->salvage.exact && !damaged->new_number;
                     i++)
                        if (damaged->salvage.sections[i].built.n_keys > 0)
                                damaged->new_number = manifest->next_file_number++;
}

int lanemap_repair_segments_take(struct lanemap_repair *repair,
                                 const struct lanemap_findings *findings)
{
        int r = 0;

        repair->slots = lanemap_alloc(LANEMAP_N_SLOTS * sizeof(*repair->slots));
        repair->lane_changed =
                lanemap_alloc_zero(repair->manifest.n_lanes * sizeof(*repair->lane_changed));
        if (!repair->slots || !repair->lane_changed)
                return -ENOMEM;

        lanemap_slot_table_init(repair->slots, repair->manifest.n_lanes);
        for (size_t i = 0; i < findings->n && r == 0; i++)
                r = finding_take(repair, &findings->items[i]);
        if (r == 0)
                mends_number(repair);
        return r;
}

int lanemap_repair_segments_replace(struct lanemap_repair *repair)
{
        int r = 0;

        for (uint32_t l = 0; l < repair->manifest.n_lanes && r == 0; l++)
                r = lane_replace(repair, l);
        for (uint32_t l = 0; l < repair->manifest.n_lanes && r == 0; l++)
                if (repair->lane_changed[l])
                        r = lane_recount(repair, l);
        return r;
}

void lanemap_repair_segments_deinit(struct lanemap_repair *repair)
{
        while (repair->damaged) {
                struct lanemap_repair_damaged *next = repair->damaged->next;

                lanemap_salvage_deinit(&repair->damaged->salvage);
                lanemap_verify_file_deinit(&repair->damaged->file);
                lanemap_free(repair->damaged);
                repair->damaged = next;
        }
        lanemap_free(repair->lane_changed);
        lanemap_free(repair->slots);
}
