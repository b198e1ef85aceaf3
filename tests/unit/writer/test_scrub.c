/*
 * Damage in a running writer (D1 to D4 in writer/health/damage.h): found in the background, told
 * once, shown as degraded, never merged into anything, and put into quarantine when it is no longer
 * used, unless all of the file can be read again.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "common/order.h"
#include "damage.h"
#include "support/engine_fixture.h"

TestSuite(writer_scrub, .timeout = 120);

#define HOUR_NS (UINT64_C(3600) * 1000 * 1000 * 1000)
#define DAY_NS  (25 * HOUR_NS)

/* The real clock, some time ahead. */
struct ahead_clock {
        struct lanemap_clock clock;
        uint64_t ahead_ns;
};

static uint64_t ahead_now(const struct lanemap_clock *clock)
{
        const struct ahead_clock *ahead = (const struct ahead_clock *)clock;

        return lanemap_now_ns(&lanemap_clock_monotonic) + lanemap_load_relaxed(&ahead->ahead_ns);
}

static struct ahead_clock the_clock = {.clock = {.now_ns = ahead_now}};

static void index_open(struct fixture *fixture, uint64_t rate)
{
        lanemap_store_relaxed(&the_clock.ahead_ns, 0);
        fixture_init(fixture, "scrub");
        damage_index_make(&fixture->scratch, &fixture->model);
        fixture->hooks.clock = &the_clock.clock;
        fixture->options.flush_bytes = UINT64_C(1) << 30;
        fixture->options.scrub_bytes_per_second = rate;
        fixture_log(fixture, LOG_CRIT);
        fixture_open(fixture);
}

/* Two segments in each lane, of two files, and nothing that the workers want to merge before the
 * lanes have been quiet for ten seconds. */
static void index_settle(struct fixture *fixture)
{
        cr_assert_eq(engine_request(fixture->writer, LANEMAP_REQUEST_COMPACT), 0);
        damage_index_apply(fixture->writer, &fixture->model, 3);
        cr_assert_eq(engine_request(fixture->writer, LANEMAP_REQUEST_FLUSH), 0);
}

static uint64_t degraded(struct fixture *fixture)
{
        return fixture_stats(fixture).degraded;
}

static uint64_t scrubbed(struct fixture *fixture)
{
        return fixture_stats(fixture).scrubbed_files;
}

static bool becomes(struct fixture *fixture, uint64_t (*what)(struct fixture *), uint64_t at_least,
                    uint32_t seconds)
{
        struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

        for (uint32_t i = 0; i < seconds * 100; i++) {
                if (what(fixture) >= at_least)
                        return true;
                nanosleep(&pause, NULL);
        }
        return false;
}

/* Zeros between the arrays of lane 0's oldest segment, or next to oldest (1): no lookup ever reads
 * them for what they are. */
static void damage_harmlessly(struct fixture *fixture, uint32_t nth, char *path, size_t path_bytes)
{
        const struct lanemap_manifest_segment *segment;
        const struct lanemap_manifest_file *file;
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        struct lanemap_manifest manifest;
        struct damage_section section;

        cr_assert_eq(lanemap_manifest_read(&lanemap_files_posix, fixture->scratch.dir_fd, &manifest,
                                           NULL),
                     0);
        cr_assert_gt(manifest.lanes[0].n_segments, nth);
        segment = &manifest.lanes[0].segments[manifest.lanes[0].n_segments - 1 - nth];
        file = lanemap_manifest_find_file(&manifest, segment->file_number);
        lanemap_segment_file_name(file->number, file->checksum, name);
        snprintf(path, path_bytes, "%s/%s", fixture->scratch.directory, name);
        damage_section_of(path, segment->section, &section);
        damage_flip(path, section.payload_off - 1, 1);
        lanemap_manifest_deinit(&manifest);
}

Test(writer_scrub, finds_damage_of_a_file_in_use_tells_it_once_and_shows_it)
{
        struct lanemap_status status = {.size = sizeof(status)};
        struct lanemap_writer_stats stats;
        struct lanemap_reader *reader;
        uint64_t n_scrubbed;
        struct fixture fixture;
        char path[512];

        /* One segment a lane: nothing is left to merge, which would find it too. */
        index_open(&fixture, UINT64_C(1) << 30);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_assert(becomes(&fixture, scrubbed, 1, 20), "new files are read at once");
        cr_expect_eq(degraded(&fixture), 0);

        engine_stats(fixture.writer, &stats);
        cr_assert(becomes(&fixture, scrubbed, stats.n_segment_files, 20));
        damage_harmlessly(&fixture, 0, path, sizeof(path));
        cr_assert_eq(lanemap_reader_attach(fixture.scratch.name, NULL, &reader), 0);
        cr_assert_eq(lanemap_reader_status(reader, &status), 0);
        cr_expect_eq(status.degraded, 0);
        lanemap_store_relaxed(&the_clock.ahead_ns, DAY_NS);
        cr_assert(becomes(&fixture, degraded, 1, 20), "a day later all are read again");
        cr_assert_eq(lanemap_reader_status(reader, &status), 0);
        cr_expect_eq(status.degraded, 1);
        lanemap_reader_detach(reader);

        n_scrubbed = scrubbed(&fixture) + 2 * stats.n_segment_files;
        lanemap_store_relaxed(&the_clock.ahead_ns, 3 * DAY_NS);
        cr_assert(becomes(&fixture, scrubbed, n_scrubbed - stats.n_segment_files, 60));
        lanemap_store_relaxed(&the_clock.ahead_ns, 5 * DAY_NS);
        cr_assert(becomes(&fixture, scrubbed, n_scrubbed, 60));
        pthread_mutex_lock(&fixture.lock);
        cr_expect_eq(fixture.n_lines, 1, "%u", fixture.n_lines);
        cr_expect_not_null(strstr(fixture.lines, strrchr(path, '/') + 1), "%s", fixture.lines);
        cr_expect_not_null(strstr(fixture.lines, "offset"), "%s", fixture.lines);
        cr_expect_not_null(strstr(fixture.lines, "lane"), "%s", fixture.lines);
        pthread_mutex_unlock(&fixture.lock);
        fixture_expect_model(&fixture, "at the end");
        fixture_deinit(&fixture);
}

Test(writer_scrub, keeps_its_rate)
{
        struct fixture fixture;

        index_open(&fixture, 64);
        sleep(1);
        cr_expect_eq(scrubbed(&fixture), 0, "some ten thousand bytes at 64 a second");
        fixture_deinit(&fixture);
}

Test(writer_scrub, damage_that_no_structure_shows_is_not_merged_into_a_sound_file)
{
        struct lanemap_finding *findings;
        struct damage_section section;
        struct fixture fixture;
        char path[512];
        size_t n;

        index_open(&fixture, UINT64_MAX);
        index_settle(&fixture);
        cr_assert(damage_segment_path(fixture.scratch.directory, 0, path, sizeof(path)));
        damage_section_of(path, 0, &section);
        damage_flip(path, section.payload_off + 61, 0x20);
        lanemap_store_relaxed(&the_clock.ahead_ns, DAY_NS);

        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), -EBADMSG);
        cr_expect_eq(degraded(&fixture), 1);
        cr_expect_eq(access(path, F_OK), 0, "it is still in use");
        cr_expect_eq(fixture.n_lines, 1);

        /* A full pass finds the same, and it is no news. */
        cr_assert_eq(lanemap_writer_verify(fixture.writer, &findings, &n), 0);
        cr_expect_geq(n, 1);
        cr_expect_str_eq(findings[0].file, strrchr(path, '/') + 1);
        lanemap_writer_findings_free(findings);
        cr_expect_eq(fixture.n_lines, 1);
        fixture_deinit(&fixture);
}

/* A file is believed for ten minutes after it was written, so this one is met by the merge. */
Test(writer_scrub, a_merge_that_meets_bad_bytes_leaves_its_lane_and_does_not_spin)
{
        struct lanemap_writer_stats before, after;
        struct damage_section section;
        struct fixture fixture;
        char path[512];

        index_open(&fixture, UINT64_MAX);
        index_settle(&fixture);
        for (uint32_t i = 0; damage_segment_path(fixture.scratch.directory, i, path, sizeof(path));
             i++) {
                damage_section_of(path, 0, &section);
                damage_flip(path, section.directory_off + 5, 0x15);
        }

        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), -EBADMSG);
        engine_stats(fixture.writer, &before);
        sleep(2);
        engine_stats(fixture.writer, &after);
        cr_expect_eq(after.degraded, 1);
        cr_expect_eq(after.n_merges, before.n_merges);
        cr_expect_eq(after.segment_bytes_written, before.segment_bytes_written);
        cr_expect_leq(fixture.n_lines, after.n_damaged_files);
        fixture_deinit(&fixture);
}

Test(writer_scrub, lookups_that_meet_bad_bytes_say_so_and_the_others_are_right)
{
        uint64_t n_bad = 0, n_right = 0;
        struct damage_section section;
        struct fixture fixture;
        uint32_t ids[512];
        char path[512];
        size_t n_ids;

        index_open(&fixture, UINT64_MAX);
        index_settle(&fixture);
        cr_assert(damage_segment_path(fixture.scratch.directory, 0, path, sizeof(path)));
        damage_section_of(path, 1, &section);
        damage_flip(path, section.directory_off + 3, 0xff);
        for (size_t i = 0; i < fixture.model.n; i++) {
                const struct model_key *key = &fixture.model.keys[i];
                int r = lanemap_writer_lookup(fixture.writer, key->bytes, key->n_bytes, ids, 512,
                                              &n_ids, NULL);

                if (r == -EBADMSG) {
                        n_bad++;
                        continue;
                }
                cr_assert_eq(r, 0);
                cr_expect(n_ids == key->n_ids &&
                          memcmp(ids, key->ids, n_ids * sizeof(ids[0])) == 0);
                n_right++;
        }
        cr_expect_gt(n_bad, 0);
        cr_expect_gt(n_right, fixture.model.n * 3 / 4, "one group of one lane");
        fixture_deinit(&fixture);
}

/* D1: the part of a lane that is newer than the damage goes on being merged. */
Test(writer_scrub, a_lane_with_damage_goes_on_for_ever)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        struct lanemap_finding *findings;
        struct fixture fixture;
        char path[512];
        size_t n;

        for (uint32_t file = 0; file < 2; file++) {
                index_open(&fixture, UINT64_MAX);
                index_settle(&fixture);
                damage_harmlessly(&fixture, file, path, sizeof(path));
                cr_assert_eq(lanemap_writer_verify(fixture.writer, &findings, &n), 0);
                cr_expect_eq(n, 1);
                lanemap_writer_findings_free(findings);
                cr_expect_eq(degraded(&fixture), 1);
                for (uint32_t round = 0; round < 30; round++) {
                        damage_index_apply(fixture.writer, &fixture.model, round % 2 ? 3 : 1);
                        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
                }
                engine_stats(fixture.writer, &stats);
                cr_expect_leq(stats.n_segments_max, 7);
                cr_expect_eq(stats.degraded, 1);
                cr_expect_eq(access(path, F_OK), 0);
                fixture_expect_model(&fixture, "at the end");

                /* And so it is for the next writer, once it has looked. */
                fixture_close(&fixture);
                fixture.options.scrub_bytes_per_second = UINT64_C(1) << 30;
                fixture_open(&fixture);
                cr_expect(becomes(&fixture, degraded, 1, 20));
                fixture_expect_model(&fixture, "at the end");
                fixture_deinit(&fixture);
        }
}

static bool becomes_sound(struct fixture *fixture, uint32_t seconds)
{
        struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

        for (uint32_t i = 0; i < seconds * 100; i++) {
                if (degraded(fixture) == 0)
                        return true;
                nanosleep(&pause, NULL);
        }
        return false;
}

/* D4: the disk answered with other bytes for a while. */
Test(writer_scrub, a_file_that_reads_well_again_is_believed_again)
{
        struct lanemap_status status = {.size = sizeof(status)};
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        struct lanemap_reader *reader;
        struct fixture fixture;
        char path[512];
        uint64_t n_before;

        index_open(&fixture, UINT64_C(1) << 30);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_assert(becomes(&fixture, scrubbed, 1, 20));
        damage_harmlessly(&fixture, 0, path, sizeof(path));
        lanemap_store_relaxed(&the_clock.ahead_ns, DAY_NS);
        cr_assert(becomes(&fixture, degraded, 1, 20));

        /* Not before it is sound. */
        n_before = scrubbed(&fixture);
        lanemap_store_relaxed(&the_clock.ahead_ns, DAY_NS + 2 * HOUR_NS);
        cr_assert(becomes(&fixture, scrubbed, n_before + 1, 20), "it is looked at every hour");
        cr_expect_eq(degraded(&fixture), 1);

        damage_harmlessly(&fixture, 0, path, sizeof(path)); /* the same bit */
        lanemap_store_relaxed(&the_clock.ahead_ns, DAY_NS + 4 * HOUR_NS);
        cr_assert(becomes_sound(&fixture, 20));
        engine_stats(fixture.writer, &stats);
        cr_expect_eq(stats.n_damaged_files, 0);
        cr_assert_eq(lanemap_reader_attach(fixture.scratch.name, NULL, &reader), 0);
        cr_assert_eq(lanemap_reader_status(reader, &status), 0);
        cr_expect_eq(status.degraded, 0);
        lanemap_reader_detach(reader);

        /* And it is an input again. */
        damage_index_apply(fixture.writer, &fixture.model, 3);
        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_expect_eq(access(path, F_OK), -1);
        cr_expect_eq(fixture.n_lines, 1);
        fixture_expect_model(&fixture, "at the end");
        fixture_deinit(&fixture);
}

/* D4: somebody who asks need not wait for an hour, nor for a scrub. */
Test(writer_scrub, a_full_pass_believes_a_file_that_was_put_back)
{
        struct lanemap_finding *findings;
        char path[512], moved[520];
        struct fixture fixture;
        size_t n;

        index_open(&fixture, UINT64_MAX);
        index_settle(&fixture);
        cr_assert(damage_segment_path(fixture.scratch.directory, 0, path, sizeof(path)));
        snprintf(moved, sizeof(moved), "%s.away", path);
        cr_assert_eq(rename(path, moved), 0);
        for (uint32_t i = 0; i < 2; i++) {
                cr_assert_eq(lanemap_writer_verify(fixture.writer, &findings, &n), 0);
                cr_expect_eq(n, 1);
                lanemap_writer_findings_free(findings);
                cr_expect_eq(degraded(&fixture), 1);
        }
        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), -EBADMSG);

        cr_assert_eq(rename(moved, path), 0);
        cr_assert_eq(lanemap_writer_verify(fixture.writer, &findings, &n), 0);
        cr_expect_eq(n, 0);
        lanemap_writer_findings_free(findings);
        cr_expect_eq(degraded(&fixture), 0);
        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_expect_eq(fixture.n_lines, 1);
        fixture_expect_model(&fixture, "at the end");
        fixture_deinit(&fixture);
}

Test(writer_scrub, a_damaged_file_that_is_no_longer_used_goes_to_quarantine)
{
        static const struct lanemap_op clear = {.code = LANEMAP_OP_CLEAR};
        struct lanemap_finding *findings;
        struct fixture fixture;
        char path[512], aside[1024];
        size_t n;

        index_open(&fixture, UINT64_MAX);
        index_settle(&fixture);
        damage_harmlessly(&fixture, 0, path, sizeof(path));
        cr_assert_eq(lanemap_writer_verify(fixture.writer, &findings, &n), 0);
        lanemap_writer_findings_free(findings);
        cr_assert_eq(degraded(&fixture), 1);

        cr_assert_eq(engine_apply_durably(fixture.writer, &clear, 1), 0);
        (void)model_apply(&fixture.model, &clear);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        snprintf(aside, sizeof(aside), "%s/quarantine/%s", fixture.scratch.directory,
                 strrchr(path, '/') + 1);
        cr_expect_eq(access(path, F_OK), -1);
        cr_expect_eq(access(aside, F_OK), 0);
        cr_expect_eq(degraded(&fixture), 0);
        fixture_expect_model(&fixture, "at the end");
        fixture_deinit(&fixture);
}
