/*
 * Verify finds damage of every kind and says where it is; it finds nothing else, beside a writer
 * too, and changes nothing.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "damage.h"
#include "common/order.h"
#include "store/manifest_write.h"

TestSuite(writer_verify, .timeout = 120);

struct place {
        struct scratch scratch;
        struct model model;
        char copy[320]; /* what is damaged */
};

static void place_init(struct place *place)
{
        scratch_init(&place->scratch, "verify");
        damage_index_make(&place->scratch, &place->model);
        snprintf(place->copy, sizeof(place->copy), "%s/copy", place->scratch.directory);
}

static void place_deinit(struct place *place)
{
        model_deinit(&place->model);
        scratch_deinit(&place->scratch);
}

/* A fresh copy to damage. */
static void place_renew(struct place *place)
{
        scratch_remove_tree(place->copy);
        scratch_copy_directory(place->scratch.directory, place->copy);
}

static const char *base(const char *path)
{
        return strrchr(path, '/') + 1;
}

/* One finding, in that file; lane and offset where they are known (NO_LANE, NO_OFFSET: any). */
static void expect_finding(const char *directory, const char *file, uint32_t lane, uint64_t from,
                           uint64_t to, const char *what)
{
        struct lanemap_verify_report report;

        damage_verify(directory, &report);
        cr_assert_eq(report.findings.n, 1, "%s: %zu findings", what, report.findings.n);

        struct lanemap_finding *finding = &report.findings.items[0];

        cr_expect_str_eq(finding->file, file, "%s: %s: %s", what, finding->file, finding->what);
        if (lane != LANEMAP_FINDING_NO_LANE)
                cr_expect_eq(finding->lane, lane, "%s: lane %u: %s", what, finding->lane,
                             finding->what);
        if (from != LANEMAP_FINDING_NO_OFFSET)
                cr_expect(finding->offset >= from && finding->offset < to, "%s: offset %llu: %s",
                          what, (unsigned long long)finding->offset, finding->what);
        cr_expect(strlen(finding->what) > 8);
        lanemap_findings_deinit(&report.findings);
}

Test(writer_verify, what_is_sound_has_no_finding_and_stays_as_it_is)
{
        struct lanemap_verify_report report;
        struct place place;
        char *before, *after;

        place_init(&place);
        before = scratch_listing(place.scratch.directory);
        damage_verify(place.scratch.directory, &report);
        after = scratch_listing(place.scratch.directory);
        cr_expect_eq(report.findings.n, 0, "%s",
                     report.findings.n ? report.findings.items[0].what : "");
        cr_expect_eq(report.n_lanes, DAMAGE_LANES);
        cr_expect_eq(report.n_files, 2);
        cr_expect_gt(report.n_keys, 900);
        cr_expect_gt(report.n_log_records, 10);
        cr_expect_not(report.writer_lives);
        cr_expect_str_eq(before, after);
        free(before);
        free(after);
        place_deinit(&place);
}

Test(writer_verify, a_flipped_bit_anywhere_in_a_section_is_found_and_its_lane_named)
{
        struct damage_section section;
        char path[512];
        struct place place;

        place_init(&place);
        for (uint32_t file = 0; file < 2; file++)
                for (uint32_t index = 0; index < DAMAGE_LANES; index++) {
                        place_renew(&place);
                        cr_assert(damage_segment_path(place.copy, file, path, sizeof(path)));
                        damage_section_of(path, index, &section);

                        /* Where the structure shows it. */
                        const uint64_t offsets[] = {
                                section.offset,
                                section.offset + 8,
                                section.offset + 300,
                                section.offset + 700,
                                section.directory_off + 4,
                                section.directory_off + 9,
                                section.postings_off - 1,
                        };

                        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(offsets); i++) {
                                char what[64];

                                snprintf(what, sizeof(what), "file %u, section %u, place %zu", file,
                                         index, i);
                                damage_flip(path, offsets[i], 0x10);
                                expect_finding(place.copy, base(path), section.lane, section.offset,
                                               section.postings_off + section.postings_bytes, what);
                                damage_flip(path, offsets[i], 0x10);
                        }
                }
        place_deinit(&place);
}

/* Tags, payload and postings: the lane where order or lists show it, else the checksum's word. */
Test(writer_verify, no_flipped_byte_of_a_file_goes_unfound)
{
        struct lanemap_verify_report report;
        uint32_t n_without_place = 0, n = 0;
        char path[512];
        struct place place;

        place_init(&place);
        place_renew(&place);
        cr_assert(damage_segment_path(place.copy, 0, path, sizeof(path)));
        for (uint64_t at = 0; at < damage_file_bytes(path); at += 67, n++) {
                damage_flip(path, at, (unsigned char)(1u << at % 8));
                damage_verify(place.copy, &report);
                cr_expect_geq(report.findings.n, 1, "byte %llu", (unsigned long long)at);
                for (size_t i = 0; i < report.findings.n; i++) {
                        cr_expect_str_eq(report.findings.items[i].file, base(path));
                        n_without_place +=
                                report.findings.items[i].offset == LANEMAP_FINDING_NO_OFFSET;
                }
                lanemap_findings_deinit(&report.findings);
                damage_flip(path, at, (unsigned char)(1u << at % 8));
        }
        /* Some are in ids, which have no structure; most are not. */
        cr_expect_gt(n_without_place, 0);
        cr_expect_lt(n_without_place, n * 3 / 4, "%u of %u", n_without_place, n);
        place_deinit(&place);
}

Test(writer_verify, whole_files_that_are_short_gone_or_another_are_found)
{
        struct lanemap_verify_report report;
        char first[512], second[512], aside[600];
        struct place place;

        place_init(&place);
        place_renew(&place);
        cr_assert(damage_segment_path(place.copy, 0, first, sizeof(first)));
        cr_assert(damage_segment_path(place.copy, 1, second, sizeof(second)));

        cr_assert_eq(truncate(first, (off_t)damage_file_bytes(first) - 64), 0);
        expect_finding(place.copy, base(first), LANEMAP_FINDING_NO_LANE, 0, UINT64_MAX, "short");
        cr_assert_eq(unlink(first), 0);
        expect_finding(place.copy, base(first), LANEMAP_FINDING_NO_LANE, LANEMAP_FINDING_NO_OFFSET,
                       0, "gone");

        place_renew(&place);
        snprintf(aside, sizeof(aside), "%s/aside", place.copy);
        cr_assert_eq(rename(first, aside) | rename(second, first) | rename(aside, second), 0);
        damage_verify(place.copy, &report);
        cr_expect_eq(report.findings.n, 2);
        lanemap_findings_deinit(&report.findings);
        place_deinit(&place);
}

Test(writer_verify, damage_of_the_manifest_is_found)
{
        struct place place;
        char path[512];

        place_init(&place);
        place_renew(&place);
        snprintf(path, sizeof(path), "%s/manifest.json", place.copy);
        for (uint64_t at = 3; at < damage_file_bytes(path); at += 397) {
                damage_flip(path, at, 1);
                expect_finding(place.copy, "manifest.json", LANEMAP_FINDING_NO_LANE,
                               LANEMAP_FINDING_NO_OFFSET, 0, "flip");
                damage_flip(path, at, 1);
        }
        cr_assert_eq(unlink(path), 0);
        expect_finding(place.copy, "manifest.json", LANEMAP_FINDING_NO_LANE,
                       LANEMAP_FINDING_NO_OFFSET, 0, "gone");
        place_deinit(&place);
}

/* A manifest that is signed, and says what is not so. */
Test(writer_verify, counts_that_are_not_those_of_the_segments_are_found)
{
        struct lanemap_manifest manifest;
        struct place place;
        int dir_fd;

        place_init(&place);
        for (int i = 0; i < 2; i++) {
                place_renew(&place);
                dir_fd = open(place.copy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                cr_assert_eq(lanemap_manifest_read(&lanemap_files_posix, dir_fd, &manifest, NULL),
                             0);
                if (i == 0)
                        manifest.lanes[2].n_keys--;
                else
                        manifest.lanes[2].n_pairs++;
                cr_assert_eq(lanemap_manifest_write(&lanemap_files_posix, dir_fd, &manifest), 0);
                expect_finding(place.copy, "manifest.json", 2, LANEMAP_FINDING_NO_OFFSET, 0,
                               "counts");
                lanemap_manifest_deinit(&manifest);
                close(dir_fd);
        }
        place_deinit(&place);
}

Test(writer_verify, damage_of_the_log_is_found)
{
        struct damage_record record;
        const char *path = record.path;
        struct place place;

        place_init(&place);
        place_renew(&place);
        damage_record_find(place.copy, 3, &record);
        damage_flip(path, record.offset + 41, 4);
        expect_finding(place.copy, base(path), LANEMAP_FINDING_NO_LANE, record.offset,
                       record.offset + 1, "a record");
        damage_flip(path, record.offset + 41, 4);

        damage_flip(path, 20, 4);
        damage_flip(path, 4096 + 20, 4);
        expect_finding(place.copy, base(path), LANEMAP_FINDING_NO_LANE, 0, 1, "both headers");
        damage_flip(path, 20, 4);
        damage_flip(path, 4096 + 20, 4);

        cr_assert_eq(truncate(path, 8192 + 64), 0);
        expect_finding(place.copy, base(path), LANEMAP_FINDING_NO_LANE, 0, UINT64_MAX, "short");
        cr_assert_eq(unlink(path), 0);
        expect_finding(place.copy, base(path), LANEMAP_FINDING_NO_LANE, 0, UINT64_MAX, "gone");
        place_deinit(&place);
}

struct churn {
        struct lanemap_writer *writer;
        bool stop;
};

static void *churn_main(void *arg)
{
        struct churn *churn = arg;
        char key[32];

        for (uint32_t i = 0; !lanemap_load_relaxed(&churn->stop); i++) {
                snprintf(key, sizeof(key), "churn-%u", i % 5000);
                struct lanemap_op op = {i % 3 ? LANEMAP_OP_ADD : LANEMAP_OP_DELETE, i, key,
                                        strlen(key)};

                if (lanemap_writer_apply(churn->writer, &op, 1, NULL, NULL, NULL) != 0)
                        return (void *)1;
                if (i % 1000 == 999)
                        (void)engine_request(churn->writer, LANEMAP_REQUEST_FLUSH);
        }
        return NULL;
}

Test(writer_verify, beside_a_busy_writer_nothing_is_taken_for_damage)
{
        struct lanemap_writer_options options;
        struct lanemap_verify_report report;
        struct lanemap_finding *findings;
        struct scratch scratch;
        struct churn churn = {0};
        pthread_t thread;
        void *failed;
        size_t n;

        scratch_init(&scratch, "verify");
        engine_options_init(&options, &scratch, NULL);
        cr_assert_eq(lanemap_writer_open(&options, &churn.writer), 0);
        pthread_create(&thread, NULL, churn_main, &churn);
        for (int i = 0; i < 40; i++) {
                damage_verify(scratch.directory, &report);
                cr_expect(report.writer_lives);
                cr_assert_eq(report.findings.n, 0, "%s: %s", report.findings.items[0].file,
                             report.findings.items[0].what);
                lanemap_findings_deinit(&report.findings);
                cr_assert_eq(lanemap_writer_verify(churn.writer, &findings, &n), 0);
                cr_expect_eq(n, 0);
                lanemap_writer_findings_free(findings);
        }
        lanemap_store_relaxed(&churn.stop, true);
        pthread_join(thread, &failed);
        cr_expect_null(failed);
        lanemap_writer_close(churn.writer);
        scratch_deinit(&scratch);
}

Test(writer_verify, what_is_no_index_is_an_error_not_a_finding)
{
        struct lanemap_verify_report report;
        struct lanemap_error error;
        struct scratch scratch;

        scratch_init(&scratch, "verify");
        cr_expect_eq(
                lanemap_verify_directory(&lanemap_files_posix, scratch.dir_fd, &report, &error),
                -ENOENT);
        cr_expect_eq(report.findings.n, 0);
        scratch_deinit(&scratch);
}
