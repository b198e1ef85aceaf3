/*
 * Filters after sections of every kind: nothing that a section holds is ever refused, nearly all
 * else is, and whoever does not look at the filter gets the same answers.
 */
#include "expect.h"

#include <errno.h>

#include "segment/filter/build.h"
#include "segment/merge.h"

TestSuite(filter, .timeout = 100);

#define FUSE8 LANEMAP_FILTER_FUSE8
#define XOR8  LANEMAP_FILTER_XOR8

static const uint32_t filters[] = {FUSE8, XOR8};

static void filled(struct model *model, uint32_t kind, uint32_t filter, uint32_t fingerprint_bits,
                   size_t n, uint64_t *seed)
{
        model_filled(model, kind, filter, fingerprint_bits, n, IDS_ALL, seed);
}

/* Every size up to where rounding matters, and some larger ones; all widths. */
Test(filter, sections_of_every_size_have_the_answers_of_the_model)
{
        static const size_t sizes[] = {0, 1, 2, 3, 7, 8, 9, 49, 97, 256, 1000, 20000};
        static const uint32_t widths[] = {64, 80, 96};
        uint64_t seed = 1;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(sizes); i++) {
                for (size_t k = 0; k < 6; k++) {
                        struct lanemap_segment segment;
                        struct built built;
                        struct model model;

                        filled(&model, segment_kinds[k % 3], filters[k / 3], widths[(i + k) % 3],
                               sizes[i], &seed);
                        expect_same(&model, &seed);
                        cr_assert_eq(model_build(&model, &built), 0);
                        cr_assert_eq(section_open(&built, model.fingerprint_bits, &segment), 0);
                        cr_expect_eq(segment.has_filter, sizes[i] > 0, "%zu keys", sizes[i]);
                        cr_expect_eq(built.counts.filter_bytes > 0, sizes[i] > 0);
                        cr_expect_eq(built.counts.filter_unpopulated, false);
                        free(built.bytes);
                        model_deinit(&model);
                }
        }
}

/* The numbers of keys for which the paper's sizes fail often are between 11480 and 11521. */
Test(filter, any_number_of_keys_can_be_populated)
{
        uint64_t seed = 2;

        for (size_t n = 1; n < 11530; n += n < 600 ? 1 : n < 11470 ? 1209 : 2) {
                for (size_t k = 0; k < LANEMAP_N_ELEMENTS(filters); k++) {
                        struct built built;
                        struct model model;
                        uint64_t slots[LANEMAP_SLOT_WORDS];

                        slots_all(slots);
                        model_init(&model, 64, slots, n);
                        model.options.filter = filters[k];
                        model_fill(&model, n, IDS_SINGLE, 1000, &seed);
                        cr_assert_eq(model_build(&model, &built), 0);
                        cr_expect_gt(built.counts.filter_bytes, 0, "%zu keys", n);
                        cr_expect_leq(built.counts.filter_bytes,
                                      lanemap_filter_room(filters[k], n));
                        free(built.bytes);
                        model_deinit(&model);
                }
        }
}

Test(filter, one_stranger_in_256_passes_and_a_key_costs_less_than_ten_bits)
{
        static const double bits_max[] = {9.6, 9.9};
        uint64_t seed = 3;

        for (size_t k = 0; k < LANEMAP_N_ELEMENTS(filters); k++) {
                const size_t n = 100000, n_absent = 200000;
                struct lanemap_segment segment;
                uint64_t slots[LANEMAP_SLOT_WORDS], dense;
                uint32_t n_passed = 0;
                struct built built;
                struct model model;
                double bits;

                slots_all(slots);
                model_init(&model, 64, slots, n);
                model.options.filter = filters[k];
                model_fill(&model, n, IDS_SINGLE, 1000, &seed);
                cr_assert_eq(model_build(&model, &built), 0);
                cr_assert_eq(section_open(&built, 64, &segment), 0);
                for (size_t i = 0; i < n_absent; i++) {
                        struct lanemap_fingerprint fp = fingerprint_random(&model, &seed);

                        cr_assert_eq(lanemap_segment_dense(&segment, fp.hash,
                                                           LANEMAP_SEGMENT_RANK_UNKNOWN, &dense),
                                     0);
                        n_passed += lanemap_filter_passes(&segment.filter, dense, 0);
                }
                bits = (double)built.counts.filter_bytes * 8 / (double)n;
                cr_expect_leq(n_passed, n_absent / 256 * 115 / 100, "%u", n_passed);
                cr_expect_geq(n_passed, n_absent / 256 * 85 / 100, "%u", n_passed);
                cr_expect_leq(bits, bits_max[k], "%.2f", bits);
                free(built.bytes);
                model_deinit(&model);
        }
}

/* A compatible feature: nothing else of the section differs, and nobody has to look at it. */
Test(filter, a_reader_that_ignores_it_is_right)
{
        uint64_t seed = 4;

        for (size_t k = 0; k < LANEMAP_N_ELEMENTS(segment_kinds); k++) {
                const size_t head = sizeof(struct lanemap_segment_section_file);
                struct lanemap_segment segment;
                struct lanemap_segment_report report;
                struct built with, without;
                struct model model;

                filled(&model, segment_kinds[k], FUSE8, 80, 800, &seed);
                cr_assert_eq(model_build(&model, &with), 0);
                model.options.filter = LANEMAP_FILTER_NONE;
                cr_assert_eq(model_build(&model, &without), 0);
                cr_expect_eq(with.n_bytes, without.n_bytes + with.counts.filter_bytes);
                cr_expect_eq(
                        memcmp(with.bytes + head, without.bytes + head, without.n_bytes - head), 0);

                /* A kind of filter that is not known yet is as good as none to a reader. */
                with.bytes[SECTION_OFF(filter_kind)] = 7;
                section_sign(with.bytes);
                cr_assert_eq(section_open(&with, 80, &segment), 0);
                cr_expect_eq(segment.has_filter, 0);
                for (size_t i = 0; i < model.n_entries; i++)
                        expect_found(&segment, &model.entries[i], LANEMAP_SEGMENT_RANK_UNKNOWN);
                expect_iteration(&segment, &model);
                cr_expect_eq(lanemap_segment_verify(with.bytes, with.n_bytes, 80, &report),
                             -EPROTONOSUPPORT);
                free(with.bytes);
                free(without.bytes);
                model_deinit(&model);
        }
}

/* Two keys whose three places are the same whatever the seed: no order takes both away. (A
 * Fibonacci number times the golden ratio is nearly a whole number, so their hashes are neighbours
 * too.) */
Test(filter, keys_that_cannot_be_told_apart_end_without_a_filter)
{
        const uint32_t fibonacci = 1836311903;
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 5;

        slots_all(slots);
        for (size_t k = 0; k < LANEMAP_N_ELEMENTS(filters); k++) {
                const uint64_t hash = UINT64_C(1) << 63;
                struct lanemap_segment segment;
                struct built built;
                struct model model;

                model_init(&model, 96, slots, 2);
                model.options.filter = filters[k];
                model_add(&model, (struct lanemap_fingerprint){.hash = hash}, 1,
                          ids_random(1, 1000, &seed));
                model_add(&model,
                          (struct lanemap_fingerprint){.hash = hash -
                                                               fibonacci * LANEMAP_SEGMENT_GOLDEN,
                                                       .ext = fibonacci},
                          1, ids_random(1, 1000, &seed));
                model_sort(&model);
                cr_assert_eq(model_build(&model, &built), 0);
                cr_expect(built.counts.filter_unpopulated);
                cr_expect_eq(built.counts.filter_bytes, 0);
                cr_assert_eq(section_open(&built, 96, &segment), 0);
                cr_expect_eq(segment.has_filter, 0);
                free(built.bytes);
                expect_same(&model, &seed);
                model_deinit(&model);
        }
}

/* The array's last byte is asked for at a section's very end, in a block of exactly its size. */
Test(filter, parameters_that_do_not_fit_are_refused)
{
        const struct {
                const char *what;
                size_t at;
                size_t n_bytes;
                uint64_t value;
        } rows[] = {
                {"a segment of one byte", SECTION_OFF(filter_shift), 1, 1},
                {"segments too long", SECTION_OFF(filter_shift), 1, 19},
                {"longer than there is", SECTION_OFF(filter_shift), 1, 18},
                {"no segments", SECTION_OFF(filter_blocks), 4, 0},
                {"more than there is", SECTION_OFF(filter_blocks), 4, UINT32_MAX},
                {"xor8 with segments", SECTION_OFF(filter_kind), 1, XOR8},
                {"nowhere", SECTION_OFF(filter_off), 8, 0},
                {"in the header", SECTION_OFF(filter_off), 8, 64},
                {"past the end", SECTION_OFF(filter_off), 8, UINT64_MAX - 63},
                {"not aligned", SECTION_OFF(filter_off), 8, 833},
        };
        struct lanemap_segment_report report;
        struct lanemap_segment segment;
        uint64_t seed = 8;
        struct built built;
        struct model model;

        filled(&model, LANEMAP_SEGMENT_KIND_PACKED, FUSE8, 64, 500, &seed);
        cr_assert_eq(model_build(&model, &built), 0);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                unsigned char kept[8], value[8];

                lanemap_store_le64(value, rows[i].value);
                memcpy(kept, built.bytes + rows[i].at, rows[i].n_bytes);
                memcpy(built.bytes + rows[i].at, value, rows[i].n_bytes);
                section_sign(built.bytes);
                cr_expect_eq(section_open(&built, 64, &segment), -EBADMSG, "%s", rows[i].what);
                cr_expect_eq(lanemap_segment_verify(built.bytes, built.n_bytes, 64, &report),
                             -EBADMSG, "%s", rows[i].what);
                memcpy(built.bytes + rows[i].at, kept, rows[i].n_bytes);
        }
        section_sign(built.bytes);
        cr_expect_eq(section_open(&built, 64, &segment), 0);
        free(built.bytes);
        model_deinit(&model);
}

Test(filter, verification_asks_for_every_key)
{
        struct lanemap_segment_report report;
        struct lanemap_segment segment;
        struct lanemap_filter_places places;
        uint64_t seed = 20, dense;
        struct built built;
        struct model model;

        filled(&model, LANEMAP_SEGMENT_KIND_PACKED, FUSE8, 64, 500, &seed);
        cr_assert_eq(model_build(&model, &built), 0);
        cr_assert_eq(section_open(&built, 64, &segment), 0);
        cr_assert_eq(lanemap_segment_dense(&segment, model.entries[77].fingerprint.hash,
                                           LANEMAP_SEGMENT_RANK_UNKNOWN, &dense),
                     0);
        places = lanemap_filter_places(&segment.filter, dense, 0);
        built.bytes[segment.filter.bytes - built.bytes + (ptrdiff_t)places.at[1]] ^= 4;
        cr_expect_eq(lanemap_segment_verify(built.bytes, built.n_bytes, 64, &report), -EBADMSG);
        cr_expect_str_eq(report.what, "filter: an entry is not let through");
        free(built.bytes);
        model_deinit(&model);
}

/* Inputs with other filters than the output, or none: the filter is made anew from what is left. */
Test(filter, a_merge_gives_the_bytes_of_a_build)
{
        uint64_t seed = 23;

        for (uint32_t k = 0; k < 6; k++) {
                struct lanemap_segment_cursor cursors[2];
                struct lanemap_cursor *inputs[2];
                struct lanemap_segment segments[2];
                struct lanemap_segment_merge merge;
                struct built builts[2], expected;
                struct model models[2], all;

                filled(&all, segment_kinds[k % 3], filters[k / 3], 80, 3000, &seed);
                for (uint32_t i = 0; i < 2; i++) {
                        model_init(&models[i], 80, all.slots, all.n_entries);
                        models[i].kind = segment_kinds[(k + i) % 3];
                        models[i].options.filter = (k + i) % 3;
                        for (size_t at = i; at < all.n_entries; at += 2)
                                models[i].entries[models[i].n_entries++] = all.entries[at];
                        cr_assert_eq(model_build(&models[i], &builts[i]), 0);
                        cr_assert_eq(section_open(&builts[i], 80, &segments[i]), 0);
                        cr_assert_eq(cursor_init(&cursors[i], &segments[i]), 0);
                        inputs[i] = &cursors[i].cursor;
                }
                cr_assert_eq(model_build(&all, &expected), 0);
                cr_assert_eq(lanemap_segment_merge_init(&merge, inputs, 2, NULL), 0);
                {
                        struct lanemap_segment_build_options options = {.kind = all.kind,
                                                                        .fingerprint_bits = 80,
                                                                        .slot_bitmap = all.slots,
                                                                        .filter =
                                                                                all.options.filter};
                        struct lanemap_heap *heap = lanemap_heap_new();
                        struct lanemap_segment_built merged;

                        cr_assert_eq(lanemap_segment_build(heap, &options, &merge.cursor, &merged),
                                     0);
                        cr_assert_eq(merged.n_bytes, expected.n_bytes);
                        cr_expect_eq(memcmp(merged.bytes, expected.bytes, merged.n_bytes), 0);
                        lanemap_heap_free(heap);
                }
                for (uint32_t i = 0; i < 2; i++) {
                        cursor_deinit(&cursors[i]);
                        free(models[i].entries); /* the ids are those of `all` */
                        free(builts[i].bytes);
                }
                free(expected.bytes);
                model_deinit(&all);
        }
}
