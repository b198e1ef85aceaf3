/*
 * Damage in a running writer (D1 to D4 in writer/health/damage.h): found in the background, told once,
 * shown as degraded, never merged into anything, and put into quarantine when it is no longer used,
 * unless all of the file can be read again.
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
#include "writer/core/hooks.h"

TestSuite(writer_scrub, .timeout = 120);

#define HOUR_NS (UINT64_C(3600) * 1000 * 1000 * 1000)
#define DAY_NS  (25 * HOUR_NS)

/* The real clock, some time ahead. */
struct ahead_clock {
        struct lanemap_clock clock;
        uint64_t ahead_ns;
};

struct place {
        struct scratch scratch;
        struct model model;
        struct ahead_clock clock;
        struct lanemap_writer_hooks hooks;
        struct lanemap_writer *writer;
        pthread_mutex_t lock;
        uint32_t n_critical;
        char critical[1024]; /* the last such line */
};

static uint64_t ahead_now(const struct lanemap_clock *clock)
{
        const struct ahead_clock *ahead = (const struct ahead_clock *)clock;

        return lanemap_now_ns(&lanemap_clock_monotonic) + lanemap_load_relaxed(&ahead->ahead_ns);
}

static void line_take(void *arg, int priority, const char *line)
{
        struct place *place = arg;

        if (priority != LOG_CRIT)
                return;
        pthread_mutex_lock(&place->lock);
        place->n_critical++;
        snprintf(place->critical, sizeof(place->critical), "%s", line);
        pthread_mutex_unlock(&place->lock);
}

static void place_open(struct place *place, uint64_t rate)
{
        struct lanemap_writer_options options;
        struct lanemap_error error;

        engine_options_init(&options, &place->scratch, &error);
        options.flush_bytes = UINT64_C(1) << 30;
        options.scrub_bytes_per_second = rate;
        options.hooks = &place->hooks;
        options.log = line_take;
        options.log_arg = place;
        cr_assert_eq(lanemap_writer_open(&options, &place->writer), 0, "%s", error.text);
}

static void place_init(struct place *place, uint64_t rate)
{
        *place = (struct place){.clock = {.clock = {.now_ns = ahead_now}}};
        place->hooks.clock = &place->clock.clock;
        pthread_mutex_init(&place->lock, NULL);
        scratch_init(&place->scratch, "scrub");
        damage_index_make(&place->scratch, &place->model);
        place_open(place, rate);
}

/* Two segments in each lane, of two files, and nothing that the workers want to merge before the
 * lanes have been quiet for ten seconds. */
static void place_settle(struct place *place)
{
        cr_assert_eq(engine_request(place->writer, LANEMAP_REQUEST_COMPACT), 0);
        damage_index_apply(place->writer, &place->model, 3);
        cr_assert_eq(engine_request(place->writer, LANEMAP_REQUEST_FLUSH), 0);
}

static void place_deinit(struct place *place)
{
        lanemap_writer_close(place->writer);
        model_deinit(&place->model);
        scratch_deinit(&place->scratch);
}

static uint64_t degraded(struct place *place)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};

        cr_assert_eq(lanemap_writer_get_stats(place->writer, &stats), 0);
        return stats.degraded;
}

static uint64_t scrubbed(struct place *place)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};

        cr_assert_eq(lanemap_writer_get_stats(place->writer, &stats), 0);
        return stats.scrubbed_files;
}

static bool becomes(struct place *place, uint64_t (*what)(struct place *), uint64_t at_least,
                    uint32_t seconds)
{
        struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

        for (uint32_t i = 0; i < seconds * 100; i++) {
                if (what(place) >= at_least)
                        return true;
                nanosleep(&pause, NULL);
        }
        return false;
}

static void expect_all_right(struct place *place)
{
        char why[256] = "";

        cr_expect(engine_matches(place->writer, NULL, &place->model, why, sizeof(why)), "%s", why);
}

/* Zeros between the arrays of lane 0's oldest segment, or next to oldest (1): no lookup ever reads
 * them for what they are. */
static void damage_harmlessly(struct place *place, uint32_t nth, char *path, size_t path_bytes)
{
        const struct lanemap_manifest_segment *segment;
        const struct lanemap_manifest_file *file;
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        struct lanemap_manifest manifest;
        struct damage_section section;

        cr_assert_eq(
                lanemap_manifest_read(&lanemap_files_posix, place->scratch.dir_fd, &manifest, NULL),
                0);
        cr_assert_gt(manifest.lanes[0].n_segments, nth);
        segment = &manifest.lanes[0].segments[manifest.lanes[0].n_segments - 1 - nth];
        file = lanemap_manifest_find_file(&manifest, segment->file_number);
        lanemap_segment_file_name(file->number, file->checksum, name);
        snprintf(path, path_bytes, "%s/%s", place->scratch.directory, name);
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
        struct place place;
        char path[512];

        /* One segment a lane: nothing is left to merge, which would find it too. */
        place_init(&place, UINT64_C(1) << 30);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_assert(becomes(&place, scrubbed, 1, 20), "new files are read at once");
        cr_expect_eq(degraded(&place), 0);

        engine_stats(place.writer, &stats);
        cr_assert(becomes(&place, scrubbed, stats.n_segment_files, 20));
        damage_harmlessly(&place, 0, path, sizeof(path));
        cr_assert_eq(lanemap_reader_attach(place.scratch.name, NULL, &reader), 0);
        cr_assert_eq(lanemap_reader_status(reader, &status), 0);
        cr_expect_eq(status.degraded, 0);
        lanemap_store_relaxed(&place.clock.ahead_ns, DAY_NS);
        cr_assert(becomes(&place, degraded, 1, 20), "a day later all are read again");
        cr_assert_eq(lanemap_reader_status(reader, &status), 0);
        cr_expect_eq(status.degraded, 1);
        lanemap_reader_detach(reader);

        n_scrubbed = scrubbed(&place) + 2 * stats.n_segment_files;
        lanemap_store_relaxed(&place.clock.ahead_ns, 3 * DAY_NS);
        cr_assert(becomes(&place, scrubbed, n_scrubbed - stats.n_segment_files, 60));
        lanemap_store_relaxed(&place.clock.ahead_ns, 5 * DAY_NS);
        cr_assert(becomes(&place, scrubbed, n_scrubbed, 60));
        pthread_mutex_lock(&place.lock);
        cr_expect_eq(place.n_critical, 1, "%u", place.n_critical);
        cr_expect_not_null(strstr(place.critical, strrchr(path, '/') + 1), "%s", place.critical);
        cr_expect_not_null(strstr(place.critical, "offset"), "%s", place.critical);
        cr_expect_not_null(strstr(place.critical, "lane"), "%s", place.critical);
        pthread_mutex_unlock(&place.lock);
        expect_all_right(&place);
        place_deinit(&place);
}

Test(writer_scrub, keeps_its_rate)
{
        struct place place;

        place_init(&place, 64);
        sleep(1);
        cr_expect_eq(scrubbed(&place), 0, "some ten thousand bytes at 64 a second");
        place_deinit(&place);
}

Test(writer_scrub, damage_that_no_structure_shows_is_not_merged_into_a_sound_file)
{
        struct lanemap_finding *findings;
        struct damage_section section;
        struct place place;
        char path[512];
        size_t n;

        place_init(&place, UINT64_MAX);
        place_settle(&place);
        cr_assert(damage_segment_path(place.scratch.directory, 0, path, sizeof(path)));
        damage_section_of(path, 0, &section);
        damage_flip(path, section.payload_off + 61, 0x20);
        lanemap_store_relaxed(&place.clock.ahead_ns, DAY_NS);

        cr_expect_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), -EBADMSG);
        cr_expect_eq(degraded(&place), 1);
        cr_expect_eq(access(path, F_OK), 0, "it is still in use");
        cr_expect_eq(place.n_critical, 1);

        /* A full pass finds the same, and it is no news. */
        cr_assert_eq(lanemap_writer_verify(place.writer, &findings, &n), 0);
        cr_expect_geq(n, 1);
        cr_expect_str_eq(findings[0].file, strrchr(path, '/') + 1);
        lanemap_writer_findings_free(findings);
        cr_expect_eq(place.n_critical, 1);
        place_deinit(&place);
}

/* A file is believed for ten minutes after it was written, so this one is met by the merge. */
Test(writer_scrub, a_merge_that_meets_bad_bytes_leaves_its_lane_and_does_not_spin)
{
        struct lanemap_writer_stats before, after;
        struct damage_section section;
        struct place place;
        char path[512];

        place_init(&place, UINT64_MAX);
        place_settle(&place);
        for (uint32_t i = 0; damage_segment_path(place.scratch.directory, i, path, sizeof(path));
             i++) {
                damage_section_of(path, 0, &section);
                damage_flip(path, section.directory_off + 5, 0x15);
        }

        cr_expect_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), -EBADMSG);
        engine_stats(place.writer, &before);
        sleep(2);
        engine_stats(place.writer, &after);
        cr_expect_eq(after.degraded, 1);
        cr_expect_eq(after.n_merges, before.n_merges);
        cr_expect_eq(after.segment_bytes_written, before.segment_bytes_written);
        cr_expect_leq(place.n_critical, after.n_damaged_files);
        place_deinit(&place);
}

Test(writer_scrub, lookups_that_meet_bad_bytes_say_so_and_the_others_are_right)
{
        uint64_t n_bad = 0, n_right = 0;
        struct damage_section section;
        struct place place;
        uint32_t ids[512];
        char path[512];
        size_t n_ids;

        place_init(&place, UINT64_MAX);
        place_settle(&place);
        cr_assert(damage_segment_path(place.scratch.directory, 0, path, sizeof(path)));
        damage_section_of(path, 1, &section);
        damage_flip(path, section.directory_off + 3, 0xff);
        for (size_t i = 0; i < place.model.n; i++) {
                const struct model_key *key = &place.model.keys[i];
                int r = lanemap_writer_lookup(place.writer, key->bytes, key->n_bytes, ids, 512,
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
        cr_expect_gt(n_right, place.model.n * 3 / 4, "one group of one lane");
        place_deinit(&place);
}

/* D1: the part of a lane that is newer than the damage goes on being merged. */
Test(writer_scrub, a_lane_with_damage_goes_on_for_ever)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        struct lanemap_finding *findings;
        struct place place;
        char path[512];
        size_t n;

        for (uint32_t file = 0; file < 2; file++) {
                place_init(&place, UINT64_MAX);
                place_settle(&place);
                damage_harmlessly(&place, file, path, sizeof(path));
                cr_assert_eq(lanemap_writer_verify(place.writer, &findings, &n), 0);
                cr_expect_eq(n, 1);
                lanemap_writer_findings_free(findings);
                cr_expect_eq(degraded(&place), 1);
                for (uint32_t round = 0; round < 30; round++) {
                        damage_index_apply(place.writer, &place.model, round % 2 ? 3 : 1);
                        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_FLUSH), 0);
                }
                engine_stats(place.writer, &stats);
                cr_expect_leq(stats.n_segments_max, 7);
                cr_expect_eq(stats.degraded, 1);
                cr_expect_eq(access(path, F_OK), 0);
                expect_all_right(&place);

                /* And so it is for the next writer, once it has looked. */
                lanemap_writer_close(place.writer);
                place_open(&place, UINT64_C(1) << 30);
                cr_expect(becomes(&place, degraded, 1, 20));
                expect_all_right(&place);
                place_deinit(&place);
        }
}

static bool becomes_sound(struct place *place, uint32_t seconds)
{
        struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};

        for (uint32_t i = 0; i < seconds * 100; i++) {
                if (degraded(place) == 0)
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
        struct place place;
        char path[512];
        uint64_t n_before;

        place_init(&place, UINT64_C(1) << 30);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_assert(becomes(&place, scrubbed, 1, 20));
        damage_harmlessly(&place, 0, path, sizeof(path));
        lanemap_store_relaxed(&place.clock.ahead_ns, DAY_NS);
        cr_assert(becomes(&place, degraded, 1, 20));

        /* Not before it is sound. */
        n_before = scrubbed(&place);
        lanemap_store_relaxed(&place.clock.ahead_ns, DAY_NS + 2 * HOUR_NS);
        cr_assert(becomes(&place, scrubbed, n_before + 1, 20), "it is looked at every hour");
        cr_expect_eq(degraded(&place), 1);

        damage_harmlessly(&place, 0, path, sizeof(path)); /* the same bit */
        lanemap_store_relaxed(&place.clock.ahead_ns, DAY_NS + 4 * HOUR_NS);
        cr_assert(becomes_sound(&place, 20));
        engine_stats(place.writer, &stats);
        cr_expect_eq(stats.n_damaged_files, 0);
        cr_assert_eq(lanemap_reader_attach(place.scratch.name, NULL, &reader), 0);
        cr_assert_eq(lanemap_reader_status(reader, &status), 0);
        cr_expect_eq(status.degraded, 0);
        lanemap_reader_detach(reader);

        /* And it is an input again. */
        damage_index_apply(place.writer, &place.model, 3);
        cr_expect_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_expect_eq(access(path, F_OK), -1);
        cr_expect_eq(place.n_critical, 1);
        expect_all_right(&place);
        place_deinit(&place);
}

/* D4: somebody who asks need not wait for an hour, nor for a scrub. */
Test(writer_scrub, a_full_pass_believes_a_file_that_was_put_back)
{
        struct lanemap_finding *findings;
        char path[512], moved[520];
        struct place place;
        size_t n;

        place_init(&place, UINT64_MAX);
        place_settle(&place);
        cr_assert(damage_segment_path(place.scratch.directory, 0, path, sizeof(path)));
        snprintf(moved, sizeof(moved), "%s.away", path);
        cr_assert_eq(rename(path, moved), 0);
        for (uint32_t i = 0; i < 2; i++) {
                cr_assert_eq(lanemap_writer_verify(place.writer, &findings, &n), 0);
                cr_expect_eq(n, 1);
                lanemap_writer_findings_free(findings);
                cr_expect_eq(degraded(&place), 1);
        }
        cr_expect_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), -EBADMSG);

        cr_assert_eq(rename(moved, path), 0);
        cr_assert_eq(lanemap_writer_verify(place.writer, &findings, &n), 0);
        cr_expect_eq(n, 0);
        lanemap_writer_findings_free(findings);
        cr_expect_eq(degraded(&place), 0);
        cr_expect_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_expect_eq(place.n_critical, 1);
        expect_all_right(&place);
        place_deinit(&place);
}

Test(writer_scrub, a_damaged_file_that_is_no_longer_used_goes_to_quarantine)
{
        static const struct lanemap_op clear = {.code = LANEMAP_OP_CLEAR};
        struct lanemap_finding *findings;
        struct place place;
        char path[512], aside[1024];
        size_t n;

        place_init(&place, UINT64_MAX);
        place_settle(&place);
        damage_harmlessly(&place, 0, path, sizeof(path));
        cr_assert_eq(lanemap_writer_verify(place.writer, &findings, &n), 0);
        lanemap_writer_findings_free(findings);
        cr_assert_eq(degraded(&place), 1);

        cr_assert_eq(engine_apply_durably(place.writer, &clear, 1), 0);
        (void)model_apply(&place.model, &clear);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_FLUSH), 0);
        snprintf(aside, sizeof(aside), "%s/quarantine/%s", place.scratch.directory,
                 strrchr(path, '/') + 1);
        cr_expect_eq(access(path, F_OK), -1);
        cr_expect_eq(access(aside, F_OK), 0);
        cr_expect_eq(degraded(&place), 0);
        expect_all_right(&place);
        place_deinit(&place);
}
