/*
 * What only the kinds made of perfect hashes have: buckets, leaves, levels, an index that is as
 * small as promised. test_kinds.c tests every kind.
 */
#include "expect.h"

#include <errno.h>

TestSuite(mph, .timeout = 100);

#define RECSPLIT LANEMAP_SEGMENT_KIND_RECSPLIT
#define BBHASH   LANEMAP_SEGMENT_KIND_BBHASH

static const uint32_t kinds[] = {RECSPLIT, BBHASH};

Test(mph, every_leaf_and_bucket_size)
{
        static const uint32_t buckets[] = {1, 2, 7, 100, 512};
        uint64_t seed = 1;

        for (uint32_t leaf = LANEMAP_RECSPLIT_LEAF_MIN; leaf <= LANEMAP_RECSPLIT_LEAF_MAX; leaf++) {
                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(buckets); i++) {
                        struct model model;

                        model_filled(&model, RECSPLIT, 0, 64, leaf > 9 ? 600 : 2500, IDS_ALL,
                                     &seed);
                        model.options.leaf_entries = leaf;
                        model.options.bucket_entries = buckets[i];
                        expect_same(&model, &seed);
                        model_deinit(&model);
                }
        }
}

Test(mph, every_gamma_and_bucket_size)
{
        static const uint32_t gammas[] = {256, 300, 512, 1024, 2560},
                              buckets[] = {1, 30, 2048, 8192};
        uint64_t seed = 2;

        for (size_t g = 0; g < LANEMAP_N_ELEMENTS(gammas); g++) {
                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(buckets); i++) {
                        struct model model;

                        model_filled(&model, BBHASH, 0, 64, 10000, IDS_SINGLE, &seed);
                        model.options.gamma = gammas[g];
                        model.options.bucket_entries = buckets[i];
                        expect_same(&model, &seed);
                        model_deinit(&model);
                }
        }
}

Test(mph, uneven_hashes)
{
        uint64_t seed = 7;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(kinds); i++) {
                struct model model;

                /* 900 keys at one end, one at the other: every bucket between is empty. */
                consecutive(&model, 900, 0, UINT64_C(1) << 40, &seed);
                model_add(&model, (struct lanemap_fingerprint){.hash = UINT64_MAX - 7}, 1,
                          ids_random(1, 1000, &seed));
                model.kind = kinds[i];
                expect_same(&model, &seed);
                model_deinit(&model);
        }
}

/* Seeds, ranks and widths are the format: these check values change only with its version. */
Test(mph, the_bytes_are_those_of_version_1)
{
        static const struct {
                uint32_t kind;
                uint64_t check;
        } rows[] = {{RECSPLIT, UINT64_C(0x5ea23bfa4484bc9)},
                    {BBHASH, UINT64_C(0x130c34fb3933fc81)}};

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                uint64_t seed = 9, check;
                struct built built;
                struct model model;

                model_filled(&model, rows[i].kind, 0, 80, 5000, IDS_ALL, &seed);
                cr_assert_eq(model_build(&model, &built), 0);
                check = lanemap_segment_check_of(built.bytes, built.n_bytes);
                cr_expect_eq(check, rows[i].check, "kind %u: %#llx", rows[i].kind,
                             (unsigned long long)check);
                free(built.bytes);
                model_deinit(&model);
        }
}

static double index_bits_per_key(uint32_t kind, struct lanemap_segment_build_options options,
                                 size_t n)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 14;
        struct lanemap_segment_section_file header;
        struct built built;
        struct model model;

        slots_all(slots);
        model_init(&model, 64, slots, n);
        model_fill(&model, n, IDS_SINGLE, UINT64_C(0xffffffff), &seed);
        model.kind = kind;
        model.options = options;
        cr_assert_eq(model_build(&model, &built), 0);
        memcpy(&header, built.bytes, sizeof(header));
        cr_expect_eq(le32toh(header.entry_bits),
                     32 + lanemap_mph_remainder_bits((uint32_t)lanemap_mph_n_buckets(
                                                             n, le32toh(header.bucket_entries)),
                                                     LANEMAP_N_SLOTS));
        free(built.bytes);
        model_deinit(&model);
        return (double)le64toh(header.index_bytes) * 8 / (double)n;
}

Test(mph, the_index_is_as_small_as_promised)
{
        struct lanemap_segment_build_options gamma_1 = {.gamma = 256}, none = {0};
        double bits;

        bits = index_bits_per_key(RECSPLIT, none, 100000);
        cr_expect_leq(bits, 1.85, "recsplit: %.3f", bits);
        bits = index_bits_per_key(BBHASH, gamma_1, 100000);
        cr_expect_leq(bits, 3.2, "bbhash, gamma 1: %.3f", bits);
        bits = index_bits_per_key(BBHASH, none, 100000);
        cr_expect_leq(bits, 3.75, "bbhash, gamma 2: %.3f", bits);
}

/* What an entry stores could be put together to a hash of another bucket. */
Test(mph, an_entry_of_another_bucket_ends_cursor_and_walk)
{
        uint64_t seed = 17;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(kinds); i++) {
                struct walked walked = {.fps = calloc(251, sizeof(*walked.fps))};
                struct lanemap_segment_report report;
                struct lanemap_segment_cursor cursor;
                struct lanemap_segment segment;
                struct lanemap_entry entry;
                struct built built;
                struct model model;

                model_filled(&model, kinds[i], 0, 64, 250, IDS_SINGLE, &seed);
                model.options.bucket_entries = 100;
                cr_assert_eq(model_build(&model, &built), 0);
                cr_assert_eq(lanemap_segment_open(&segment, built.bytes, built.n_bytes, 64), 0);

                /* three buckets in a range that two bits divide: all ones are behind the first */
                lanemap_bits_put(built.bytes + (segment.mph.entries - built.bytes), 0,
                                 segment.mph.remainder_bits,
                                 lanemap_bits_mask(segment.mph.remainder_bits));
                cr_assert_eq(cursor_init(&cursor, &segment), 0);
                cr_expect_eq(cursor.cursor.next(&cursor.cursor, &entry), -EBADMSG);
                cr_expect_eq(lanemap_segment_walk(&segment, walked_add, &walked), -EBADMSG);
                cr_expect_eq(lanemap_segment_verify(built.bytes, built.n_bytes, 64, &report),
                             -EBADMSG);
                cursor_deinit(&cursor);
                free(walked.fps);
                free(built.bytes);
                model_deinit(&model);
        }
}
