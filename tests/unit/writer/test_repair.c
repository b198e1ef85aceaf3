/*
 * Repair brings back what can be had, says what cannot, and leaves a directory that a writer opens
 * and in which everything that was not damaged is right (Q1 to Q4 in directory/repair.h): log,
 * manifest, and a repair that is itself ended. Segment files are test_repair_segments.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repair_place.h"

TestSuite(writer_repair, .timeout = 240);

Test(writer_repair, what_is_sound_stays_as_it_is)
{
        struct lanemap_repair_report report;
        struct place place;
        char *before, *after;

        place_init(&place);
        before = scratch_listing(place.scratch.directory);
        cr_expect_eq(repair(&place, false, false, &report), 0, "%s", place.said);
        after = scratch_listing(place.scratch.directory);
        cr_expect_eq(report.n_findings, 0);
        cr_expect_str_eq(before, after);
        free(before);
        free(after);
        place_deinit(&place);
}

Test(writer_repair, a_log_with_a_hole_is_cut_only_when_that_is_accepted)
{
        struct lanemap_repair_report report;
        struct damage_record record;
        struct place place;
        uint64_t n_keys;
        char *before, *after, lost[64];

        place_init(&place);
        damage_record_find(place.scratch.directory, 20, &record);
        damage_flip(record.path, record.offset + 41, 4);
        before = scratch_listing(place.scratch.directory);
        cr_expect_eq(repair(&place, false, false, &report), -ENODATA);
        cr_expect_not_null(strstr(place.said, "--accept-log-loss"), "%s", place.said);
        after = scratch_listing(place.scratch.directory);
        cr_expect_str_eq(before, after, "nothing is changed");

        cr_expect_eq(repair(&place, false, true, &report), 0, "%s", place.said);
        cr_expect_gt(report.n_records_lost, 30);
        snprintf(lost, sizeof(lost), "positions %llu to", (unsigned long long)record.seq);
        cr_expect_not_null(strstr(place.said, lost), "%s: %s", lost, place.said);
        cr_expect(quarantined(&place, base(record.path)));
        expect_sound(&place, "log");
        /* 20 of the 93 keys that the last part changed are as it left them. */
        cr_expect_eq(wrong_keys(&place, &n_keys), 93 - 20);
        free(before);
        free(after);
        place_deinit(&place);
}

Test(writer_repair, a_log_without_header_or_file_is_replaced)
{
        struct lanemap_repair_report report;
        struct damage_record record;
        struct place place;
        uint64_t n_keys;

        for (int i = 0; i < 2; i++) {
                place_init(&place);
                damage_record_find(place.scratch.directory, 0, &record);
                if (i == 0) {
                        damage_flip(record.path, 20, 4);
                        damage_flip(record.path, 4096 + 20, 4);
                } else {
                        cr_assert_eq(unlink(record.path), 0);
                }
                cr_expect_eq(repair(&place, false, false, &report), -ENODATA, "%s", place.said);
                cr_expect_eq(repair(&place, false, true, &report), 0, "%s", place.said);
                cr_expect(report.lossy);
                expect_sound(&place, "log");
                cr_expect_eq(wrong_keys(&place, &n_keys), 93);
                place_deinit(&place);
        }
}

Test(writer_repair, one_flipped_bit_of_the_manifest_is_put_right)
{
        struct lanemap_repair_report report;
        struct place place;
        char path[512], aside[512];
        char *before, *after;
        uint64_t n_bytes;

        place_init(&place);
        snprintf(path, sizeof(path), "%s/manifest.json", place.scratch.directory);
        snprintf(aside, sizeof(aside), "%s/quarantine", place.scratch.directory);
        n_bytes = damage_file_bytes(path);
        const uint64_t offsets[] = {1, 30, n_bytes / 2, n_bytes - 30, n_bytes - 2};

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(offsets); i++) {
                place_renew(&place);
                damage_flip(path, offsets[i], 2);
                cr_expect_eq(repair(&place, false, false, &report), 0, "%s", place.said);
                cr_expect_not(report.lossy);
                cr_expect(quarantined(&place, "manifest.json"));
                scratch_remove_tree(aside);
                expect_sound(&place, "manifest");
        }

        /* More is for a backup; nothing is touched. */
        place_renew(&place);
        damage_flip(path, 40, 6);
        before = scratch_listing(place.scratch.directory);
        cr_expect_eq(repair(&place, false, true, &report), -EBADMSG);
        cr_expect_not_null(strstr(place.said, "hash key"), "%s", place.said);
        after = scratch_listing(place.scratch.directory);
        cr_expect_str_eq(before, after);
        free(before);
        free(after);
        place_deinit(&place);
}

Test(writer_repair, a_dry_run_says_the_same_and_changes_nothing)
{
        struct lanemap_repair_report dry, wet;
        struct damage_record record;
        struct damage_section section;
        struct place place;
        char *before, *after, *said;
        char path[512];

        place_init(&place);
        cr_assert(damage_segment_path(place.scratch.directory, 0, path, sizeof(path)));
        damage_section_of(path, 0, &section);
        damage_flip(path, section.tags_off + 9, 0x81);
        damage_record_find(place.scratch.directory, 20, &record);
        damage_flip(record.path, record.offset + 41, 4);
        before = scratch_listing(place.scratch.directory);
        cr_expect_eq(repair(&place, true, true, &dry), 0, "%s", place.said);
        after = scratch_listing(place.scratch.directory);
        cr_expect_str_eq(before, after);
        said = strdup(place.said);

        cr_expect_eq(repair(&place, false, true, &wet), 0, "%s", place.said);
        cr_expect_str_eq(said, place.said);
        cr_expect_eq(dry.n_keys_lost, wet.n_keys_lost);
        cr_expect_eq(dry.n_records_lost, wet.n_records_lost);
        free(before);
        free(after);
        free(said);
        place_deinit(&place);
}

Test(writer_repair, not_beside_a_writer)
{
        struct lanemap_repair_report report;
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct place place;

        place_init(&place);
        engine_options_init(&options, &place.scratch, NULL);
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        cr_expect_eq(repair(&place, false, false, &report), -EBUSY);
        cr_expect_eq(repair(&place, true, false, &report), -EBUSY);
        lanemap_writer_close(writer);
        place_deinit(&place);
}

/* ---- Q1: the n-th change of a file fails, and then the process is gone ---- */

struct failing {
        struct lanemap_files files;
        int left;
};

static bool failing_now(const struct lanemap_files *files)
{
        struct failing *failing = (struct failing *)(uintptr_t)files;

        return failing->left == 0 || failing->left-- == 0;
}

static ssize_t failing_pwrite(const struct lanemap_files *files, int fd, const void *bytes,
                              size_t n_bytes, off_t at)
{
        return failing_now(files) ? -EIO
                                  : lanemap_files_posix.pwrite(files, fd, bytes, n_bytes, at);
}

static int failing_sync(const struct lanemap_files *files, int fd)
{
        return failing_now(files) ? -EIO : lanemap_files_posix.sync(files, fd);
}

static int failing_sync_directory(const struct lanemap_files *files, int dir_fd)
{
        return failing_now(files) ? -EIO : lanemap_files_posix.sync_directory(files, dir_fd);
}

static int failing_rename(const struct lanemap_files *files, int dir_fd, const char *from,
                          const char *to)
{
        return failing_now(files) ? -EIO : lanemap_files_posix.rename(files, dir_fd, from, to);
}

static int failing_unlink(const struct lanemap_files *files, int dir_fd, const char *name)
{
        return failing_now(files) ? -EIO : lanemap_files_posix.unlink(files, dir_fd, name);
}

Test(writer_repair, ended_at_any_step_it_can_be_run_again)
{
        struct lanemap_repair_report first, again;
        struct damage_section section;
        struct damage_record record;
        char exact[512], path[512];
        uint64_t n_keys, n_wrong = 0;
        struct place place;
        int r = -EIO;

        place_init(&place);
        for (int n = 0; r < 0; n++) {
                struct failing failing = {.files = lanemap_files_posix, .left = n};
                struct lanemap_repair_options options = {
                        .files = &failing.files,
                        .directory = place.scratch.directory,
                        .accept_log_loss = true,
                };

                failing.files.pwrite = failing_pwrite;
                failing.files.sync = failing_sync;
                failing.files.sync_directory = failing_sync_directory;
                failing.files.rename = failing_rename;
                failing.files.unlink = failing_unlink;
                cr_assert_lt(n, 200);
                place_renew(&place);
                cr_assert(damage_segment_path(place.scratch.directory, 0, path, sizeof(path)));
                cr_assert(damage_segment_path(place.scratch.directory, 1, exact, sizeof(exact)));
                damage_section_of(path, 0, &section);
                damage_flip(path, section.tags_off + 9, 0x81);
                damage_flip(exact, 70, 0x81);
                damage_record_find(place.scratch.directory, 20, &record);
                damage_flip(record.path, record.offset + 41, 4);
                r = lanemap_repair_directory(&options, &first, NULL);
                if (r < 0)
                        cr_assert_eq(repair(&place, false, true, &again), 0, "step %d: %s", n,
                                     place.said);
                expect_sound(&place, "again");
                cr_expect(quarantined(&place, base(path)), "step %d", n);
                cr_expect(quarantined(&place, base(exact)), "step %d", n);
                cr_expect(quarantined(&place, base(record.path)), "step %d", n);
                n_wrong = wrong_keys(&place, &n_keys);
                cr_expect_leq(n_wrong, 93 - 20 + 2, "step %d: %llu", n,
                              (unsigned long long)n_wrong);
        }
        place_deinit(&place);
}
