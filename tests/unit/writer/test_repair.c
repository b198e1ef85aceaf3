/*
 * Repair brings back what can be had, says what cannot, and leaves a directory that a writer opens
 * and in which everything that was not damaged is right (Q1 to Q4 in writer_repair.h).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "damage.h"
#include "writer/writer_repair.h"

TestSuite(writer_repair, .timeout = 240);

struct place {
        struct scratch scratch;
        struct model model;
        char kept[320]; /* as it was made */
        char said[65536];
};

static void place_init(struct place *place)
{
        scratch_init(&place->scratch, "repair");
        damage_index_make(&place->scratch, &place->model);
        snprintf(place->kept, sizeof(place->kept), "%s-kept", place->scratch.directory);
        scratch_copy_directory(place->scratch.directory, place->kept);
}

/* The directory as it was made, again. */
static void place_renew(struct place *place)
{
        scratch_remove_tree(place->scratch.directory);
        scratch_copy_directory(place->kept, place->scratch.directory);
}

static void place_deinit(struct place *place)
{
        scratch_remove_tree(place->kept);
        model_deinit(&place->model);
        scratch_deinit(&place->scratch);
}

static void say(void *arg, const char *line)
{
        struct place *place = arg;
        size_t n = strlen(place->said);

        snprintf(place->said + n, sizeof(place->said) - n, "%s\n", line);
}

static int repair(struct place *place, bool dry_run, bool accept_log_loss,
                  struct lanemap_repair_report *ret_report)
{
        struct lanemap_repair_options options = {
                .files = &lanemap_files_posix,
                .directory = place->scratch.directory,
                .dry_run = dry_run,
                .accept_log_loss = accept_log_loss,
                .say = say,
                .say_arg = place,
        };
        struct lanemap_error error = {.text = ""};
        int r;

        place->said[0] = '\0';
        r = lanemap_repair_directory(&options, ret_report, &error);
        if (r < 0)
                snprintf(place->said, sizeof(place->said), "%s", error.text);
        return r;
}

static bool quarantined(const struct place *place, const char *name)
{
        char path[1024];

        snprintf(path, sizeof(path), "%s/quarantine/%s", place->scratch.directory, name);
        return access(path, F_OK) == 0;
}

static const char *base(const char *path)
{
        return strrchr(path, '/') + 1;
}

/* Opens the index, and counts the keys that are not as the model has them. Counts and iteration
 * must agree with each other whatever was lost. */
static uint64_t wrong_keys(struct place *place, uint64_t *ret_n_keys)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        struct lanemap_writer_options options;
        struct lanemap_error error = {.text = ""};
        struct lanemap_writer *writer;
        uint64_t n_wrong = 0, n_live = 0;
        uint32_t ids[512];
        size_t n_ids;

        engine_options_init(&options, &place->scratch, &error);
        options.flush_bytes = UINT64_C(1) << 30;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0, "%s", error.text);
        for (size_t i = 0; i < place->model.n; i++) {
                const struct model_key *key = &place->model.keys[i];

                cr_assert_eq(lanemap_writer_lookup(writer, key->bytes, key->n_bytes, ids, 512,
                                                   &n_ids, NULL),
                             0);
                n_wrong +=
                        n_ids != key->n_ids || memcmp(ids, key->ids, n_ids * sizeof(ids[0])) != 0;
                n_live += n_ids > 0;
        }
        engine_stats(writer, &stats);
        cr_expect_eq(stats.degraded, 0);
        *ret_n_keys = stats.n_keys;
        cr_expect_geq(stats.n_keys, n_live, "counts are of what is there");

        /* It is an index as any other. */
        cr_expect_eq(engine_add(writer, "after the repair", 1), 0);
        cr_expect_eq(engine_request(writer, LANEMAP_REQUEST_COMPACT), 0);
        lanemap_writer_close(writer);
        return n_wrong;
}

static void expect_sound(struct place *place, const char *what)
{
        struct lanemap_verify_report verified;
        struct lanemap_repair_report report;

        damage_verify(place->scratch.directory, &verified);
        cr_expect_eq(verified.findings.n, 0, "%s: %s", what,
                     verified.findings.n ? verified.findings.items[0].what : "");
        lanemap_findings_deinit(&verified.findings);
        cr_expect_eq(repair(place, false, false, &report), 0);
        cr_expect_eq(report.n_findings, 0, "%s: a second run does nothing", what);
}

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

/* Q4: header, table, section header, padding. */
Test(writer_repair, damage_of_headers_tables_and_padding_is_put_right_without_loss)
{
        struct lanemap_repair_report report;
        struct damage_section section;
        struct place place;
        char path[512];
        uint64_t n_keys;

        place_init(&place);
        cr_assert(damage_segment_path(place.scratch.directory, 0, path, sizeof(path)));
        damage_section_of(path, 1, &section);
        const uint64_t offsets[] = {
                0,
                9,
                40,
                60,
                100, /* file header */
                128,
                150,
                200,
                300, /* table */
                section.offset,
                section.offset + 12,
                section.offset + 50,
                section.offset + 250,
                section.offset + 800,
                section.directory_off - 1,
                section.postings_off - 1,
        };
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(offsets); i++) {
                char *before, *after, *cut, what[32];

                snprintf(what, sizeof(what), "offset %llu", (unsigned long long)offsets[i]);
                place_renew(&place);
                before = scratch_listing(place.scratch.directory);
                damage_flip(path, offsets[i], 0xa5);
                cr_assert_eq(repair(&place, false, false, &report), 0, "%s: %s", what, place.said);
                cr_expect_not(report.lossy, "%s: %s", what, place.said);
                cr_expect(quarantined(&place, base(path)), "%s", what);

                char aside[512];

                snprintf(aside, sizeof(aside), "%s/quarantine", place.scratch.directory);
                scratch_remove_tree(aside);
                after = scratch_listing(place.scratch.directory);
                cut = strstr(after, "quarantine");
                cr_expect_str_eq(before, after, "%s: %s", what, cut ? cut : after);
                expect_sound(&place, what);
                free(before);
                free(after);
        }
        cr_expect_eq(wrong_keys(&place, &n_keys), 0);
        cr_expect_eq(n_keys, place.model.n_keys);
        place_deinit(&place);
}

/* The same index with every segment of that kind, as it would have been made. */
static void place_init_kind(struct place *place, uint32_t kind, uint32_t filter)
{
        struct lanemap_writer_options options;
        struct lanemap_error error = {.text = ""};
        struct lanemap_writer *writer;

        place_init(place);
        engine_options_init(&options, &place->scratch, &error);
        options.segment_kind_young = options.segment_kind_bottom = kind;
        options.filter = filter;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0, "%s", error.text);
        cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_COMPACT), 0);
        lanemap_writer_close(writer);
        scratch_remove_tree(place->kept);
        scratch_copy_directory(place->scratch.directory, place->kept);
}

/* A filter says nothing that the rest of its section does not say. */
Test(writer_repair, a_damaged_filter_costs_no_key)
{
        for (uint32_t kind = LANEMAP_SEGMENT_PACKED; kind <= LANEMAP_SEGMENT_BBHASH; kind++) {
                struct lanemap_repair_report report;
                struct damage_section section;
                struct place place;
                uint64_t n_keys;
                char path[512];

                place_init_kind(&place, kind, LANEMAP_FILTER_ALWAYS);
                cr_assert(damage_segment_path(place.scratch.directory, 0, path, sizeof(path)));
                damage_section_of(path, 0, &section);
                cr_assert_gt(section.filter_off, 0);

                /* Many bytes of it: some are no key's. */
                for (uint64_t at = section.filter_off; at < section.end_off - 64; at += 8)
                        damage_flip(path, at, 0x5a);
                cr_assert_eq(repair(&place, false, false, &report), 0, "%s", place.said);
                cr_expect_eq(report.n_keys_lost, 0, "kind %u: %s", kind, place.said);
                cr_expect(quarantined(&place, base(path)));
                expect_sound(&place, "a filter");
                cr_expect_eq(wrong_keys(&place, &n_keys), 0);
                cr_expect_eq(n_keys, place.model.n_keys);
                place_deinit(&place);
        }
}

/* What is put right around a filter leaves the filter as it is. */
Test(writer_repair, what_is_beside_a_filter_is_put_right_without_loss)
{
        struct lanemap_repair_report report;
        struct damage_section section;
        struct place place;
        char path[512];

        place_init_kind(&place, LANEMAP_SEGMENT_PACKED, LANEMAP_FILTER_ALWAYS);
        cr_assert(damage_segment_path(place.scratch.directory, 0, path, sizeof(path)));
        damage_section_of(path, 0, &section);
        const uint64_t offsets[] = {section.filter_off - 1, section.end_off - 1,
                                    section.offset + 176, section.offset + 188};

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(offsets); i++) {
                place_renew(&place);
                damage_flip(path, offsets[i], 0x11);
                cr_assert_eq(repair(&place, false, false, &report), 0, "%s", place.said);
                cr_expect_not(report.lossy, "place %zu: %s", i, place.said);
                expect_sound(&place, "beside a filter");
        }
        place_deinit(&place);
}

/* Directory, tags, payload, postings: at most a group is lost, all else is right. */
Test(writer_repair, other_damage_costs_little_and_is_told)
{
        struct lanemap_repair_report report;
        struct damage_section section;
        struct place place;
        uint64_t n_keys, n_wrong;
        char path[512];

        place_init(&place);
        for (uint32_t file = 0; file < 2; file++)
                for (uint32_t index = 0; index < 3; index++) {
                        place_renew(&place);
                        cr_assert(damage_segment_path(place.scratch.directory, file, path,
                                                      sizeof(path)));
                        damage_section_of(path, index, &section);
                        const uint64_t offsets[] = {
                                section.directory_off,     section.directory_off + 5,
                                section.directory_off + 7, section.directory_off + 15,
                                section.tags_off + 3,      section.tags_off + section.n_keys / 2,
                                section.payload_off + 7,   section.payload_off + 31,
                                section.postings_off + 2,
                        };
                        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(offsets); i++) {
                                char what[64];

                                /* The newer file's sections are of one group. */
                                if (i == 3 && file == 1)
                                        continue;
                                snprintf(what, sizeof(what), "file %u, section %u, place %zu", file,
                                         index, i);
                                place_renew(&place);
                                damage_flip(path, offsets[i], 0x24);
                                cr_assert_eq(repair(&place, false, false, &report), 0, "%s: %s",
                                             what, place.said);
                                cr_expect(report.lossy, "%s", what);
                                cr_expect(quarantined(&place, base(path)), "%s", what);
                                cr_expect_neq(access(path, F_OK), 0, "%s", what);
                                cr_expect_leq(report.n_keys_lost, 2 * 96, "%s: %llu", what,
                                              (unsigned long long)report.n_keys_lost);
                                expect_sound(&place, what);
                                /* What was lost, and two in whose bits the byte lies. */
                                n_wrong = wrong_keys(&place, &n_keys);
                                cr_expect_leq(n_wrong, report.n_keys_lost + 2, "%s: %llu wrong",
                                              what, (unsigned long long)n_wrong);
                                cr_expect_geq(report.n_keys_suspect + report.n_keys_lost,
                                              section.n_keys, "%s", what);
                        }
                }
        place_deinit(&place);
}

/* X3: an entry of a perfect hash is believed when the lookup of its fingerprint leads to it. */
Test(writer_repair, damage_in_a_perfect_hash_costs_what_it_moved)
{
        for (uint32_t kind = LANEMAP_SEGMENT_RECSPLIT; kind <= LANEMAP_SEGMENT_BBHASH; kind++) {
                struct lanemap_repair_report report;
                struct damage_section section;
                uint64_t n_keys, n_wrong, n_lost = 0;
                struct place place;
                char path[512];

                place_init_kind(&place, kind, LANEMAP_FILTER_NEVER);
                cr_assert(damage_segment_path(place.scratch.directory, 0, path, sizeof(path)));
                damage_section_of(path, 0, &section);
                const uint64_t offsets[] = {
                        section.payload_off + 2,    section.payload_off + 31,
                        section.payload_off + 200,  section.payload_off + 411,
                        section.directory_off,      section.directory_off + 9,
                        section.directory_off + 21,
                };

                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(offsets); i++) {
                        char what[64];

                        snprintf(what, sizeof(what), "kind %u, place %zu", kind, i);
                        place_renew(&place);
                        damage_flip(path, offsets[i], 0x24);
                        cr_assert_eq(repair(&place, false, false, &report), 0, "%s: %s", what,
                                     place.said);
                        cr_expect(report.lossy, "%s", what);
                        /* The last ones are of the index: they cost more. */
                        if (i < 4)
                                cr_expect_leq(report.n_keys_lost, 2, "%s: %llu", what,
                                              (unsigned long long)report.n_keys_lost);
                        expect_sound(&place, what);
                        n_wrong = wrong_keys(&place, &n_keys);
                        cr_expect_leq(n_wrong, report.n_keys_lost + 2, "%s: %llu wrong", what,
                                      (unsigned long long)n_wrong);
                        n_lost += i < 4 ? report.n_keys_lost : 0;
                }
                /* Some of these bits are of hashes, not of ids. */
                cr_expect_gt(n_lost, 0, "kind %u", kind);
                place_deinit(&place);
        }
}

/* Neither a cut nor a torn sector may make up entries that never were: every id that comes out was
 * put in for that key at some time. */
Test(writer_repair, a_file_that_is_cut_gives_what_is_in_front_of_the_cut)
{
        struct lanemap_repair_report report;
        struct place place;
        uint64_t n_keys, n_wrong, n_bytes, last = 0;
        char path[512];

        place_init(&place);
        cr_assert(damage_segment_path(place.scratch.directory, 0, path, sizeof(path)));
        n_bytes = damage_file_bytes(path);
        for (uint32_t part = 1; part < 8; part++) {
                place_renew(&place);
                cr_assert_eq(truncate(path, (off_t)(n_bytes * part / 8)), 0);
                cr_assert_eq(repair(&place, false, false, &report), 0, "%s", place.said);
                cr_expect_gt(report.n_keys_lost, 0);
                expect_sound(&place, "cut");
                n_wrong = wrong_keys(&place, &n_keys);
                cr_expect_leq(n_wrong, report.n_keys_lost, "part %u: %llu wrong, %llu lost", part,
                              (unsigned long long)n_wrong, (unsigned long long)report.n_keys_lost);
                cr_expect_leq(n_keys, place.model.n_keys + 100);
                cr_expect_geq(report.n_keys_suspect, last, "part %u", part);
                last = report.n_keys_suspect;
        }
        cr_expect_gt(last, 600);
        place_deinit(&place);
}

Test(writer_repair, missing_and_swapped_files)
{
        struct lanemap_repair_report report;
        char first[512], second[512], aside[1024];
        struct place place;
        uint64_t n_keys;

        place_init(&place);
        cr_assert(damage_segment_path(place.scratch.directory, 0, first, sizeof(first)));
        cr_assert(damage_segment_path(place.scratch.directory, 1, second, sizeof(second)));

        /* The newer one: keys are as the older one has them. */
        cr_assert_eq(unlink(second), 0);
        cr_assert_eq(repair(&place, false, false, &report), 0, "%s", place.said);
        cr_expect_not_null(strstr(place.said, "missing"));
        cr_expect_gt(report.n_keys_lost, 25);
        expect_sound(&place, "missing");
        cr_expect_leq(wrong_keys(&place, &n_keys), report.n_keys_lost);

        /* Both are what they are not: nothing of either is believed under the other's name. */
        place_renew(&place);
        snprintf(aside, sizeof(aside), "%s/aside", place.scratch.directory);
        cr_assert_eq(rename(first, aside) | rename(second, first) | rename(aside, second), 0);
        cr_assert_eq(repair(&place, false, false, &report), 0, "%s", place.said);
        cr_expect(report.lossy);
        expect_sound(&place, "swapped");
        (void)wrong_keys(&place, &n_keys);
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
