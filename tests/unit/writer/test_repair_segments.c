/*
 * Repair of segment files (Q4 in directory/repair.h, X1 to X4 in directory/salvage.h): what each
 * damaged byte costs, in each kind of segment, and files that are cut, missing or swapped.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repair_place.h"

TestSuite(writer_repair_segments, .timeout = 240);

/* Q4: header, table, section header, padding. */
Test(writer_repair_segments, damage_of_headers_tables_and_padding_is_put_right_without_loss)
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
Test(writer_repair_segments, a_damaged_filter_costs_no_key)
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
Test(writer_repair_segments, what_is_beside_a_filter_is_put_right_without_loss)
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
Test(writer_repair_segments, other_damage_costs_little_and_is_told)
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
Test(writer_repair_segments, damage_in_a_perfect_hash_costs_what_it_moved)
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
Test(writer_repair_segments, a_file_that_is_cut_gives_what_is_in_front_of_the_cut)
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

Test(writer_repair_segments, missing_and_swapped_files)
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
