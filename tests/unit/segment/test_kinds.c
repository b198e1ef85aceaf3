/*
 * The kinds made of perfect hashes, against the sorted array: what holds for `packed` holds for
 * them, and their index is as small as promised.
 */
#include "expect.h"

#include <errno.h>

TestSuite(kinds, .timeout = 100);

#define RECSPLIT LANEMAP_SEGMENT_KIND_RECSPLIT
#define BBHASH   LANEMAP_SEGMENT_KIND_BBHASH

static const uint32_t kinds[] = {RECSPLIT, BBHASH};

Test(kinds, recsplit_all_sizes_64_bits_all_slots)
{
        sizes_run(RECSPLIT, 64, LANEMAP_N_SLOTS);
}

Test(kinds, recsplit_all_sizes_80_bits_65_slots)
{
        sizes_run(RECSPLIT, 80, 65);
}

Test(kinds, recsplit_all_sizes_96_bits_3_slots)
{
        sizes_run(RECSPLIT, 96, 3);
}

Test(kinds, bbhash_all_sizes_64_bits_all_slots)
{
        sizes_run(BBHASH, 64, LANEMAP_N_SLOTS);
}

Test(kinds, bbhash_all_sizes_80_bits_65_slots)
{
        sizes_run(BBHASH, 80, 65);
}

Test(kinds, bbhash_all_sizes_96_bits_3_slots)
{
        sizes_run(BBHASH, 96, 3);
}

static void filled(struct model *model, uint32_t kind, uint32_t fingerprint_bits, size_t n,
                   enum ids_mix mix, uint64_t *seed)
{
        uint64_t slots[LANEMAP_SLOT_WORDS];

        slots_random(slots, 64, seed);
        model_init(model, fingerprint_bits, slots, n);
        model->kind = kind;
        model_fill(model, n, mix, 100000, seed);
}

Test(kinds, every_leaf_and_bucket_size)
{
        static const uint32_t buckets[] = {1, 2, 7, 100, 512};
        uint64_t seed = 1;

        for (uint32_t leaf = LANEMAP_RECSPLIT_LEAF_MIN; leaf <= LANEMAP_RECSPLIT_LEAF_MAX; leaf++) {
                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(buckets); i++) {
                        struct model model;

                        filled(&model, RECSPLIT, 64, leaf > 9 ? 600 : 2500, IDS_ALL, &seed);
                        model.options.leaf_entries = leaf;
                        model.options.bucket_entries = buckets[i];
                        expect_same(&model, &seed);
                        model_deinit(&model);
                }
        }
}

Test(kinds, every_gamma_and_bucket_size)
{
        static const uint32_t gammas[] = {256, 300, 512, 1024, 2560},
                              buckets[] = {1, 30, 2048, 8192};
        uint64_t seed = 2;

        for (size_t g = 0; g < LANEMAP_N_ELEMENTS(gammas); g++) {
                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(buckets); i++) {
                        struct model model;

                        filled(&model, BBHASH, 64, 10000, IDS_SINGLE, &seed);
                        model.options.gamma = gammas[g];
                        model.options.bucket_entries = buckets[i];
                        expect_same(&model, &seed);
                        model_deinit(&model);
                }
        }
}

Test(kinds, slots_without_any_hold_nothing)
{
        uint64_t slots[LANEMAP_SLOT_WORDS] = {0}, seed = 3;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(kinds); i++) {
                struct lanemap_segment_posting posting;
                struct lanemap_segment segment;
                struct built built;
                struct model model;

                model_init(&model, 64, slots, 0);
                model.kind = kinds[i];
                cr_assert_eq(model_build(&model, &built), 0);
                cr_expect_eq(built.n_bytes, sizeof(struct lanemap_segment_section_file));
                cr_assert_eq(lanemap_segment_open(&segment, built.bytes, built.n_bytes, 64), 0);
                cr_expect_eq(lanemap_segment_find(&segment,
                                                  (struct lanemap_fingerprint){.hash = seed}, 0,
                                                  &posting),
                             LANEMAP_SEGMENT_E_ABSENT);
                free(built.bytes);
                model_deinit(&model);
        }
}

Test(kinds, the_ends_of_the_ranges_come_back)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 4;

        slots_all(slots);
        for (size_t k = 0; k < LANEMAP_N_ELEMENTS(kinds); k++) {
                struct model model;

                model_init(&model, 96, slots, 4);
                model.kind = kinds[k];
                for (int i = 0; i < 4; i++) {
                        struct lanemap_fingerprint fp = {.hash = i / 2 ? UINT64_MAX : 0,
                                                         .ext = i % 2 ? UINT32_MAX : 0};
                        uint32_t *ids = malloc(sizeof(*ids));

                        ids[0] = i % 2 ? UINT32_MAX - 1 : 0;
                        model_add(&model, fp, 1, ids);
                }
                expect_same(&model, &seed);
                model_deinit(&model);
        }
}

Test(kinds, equal_hashes_with_different_ext_are_different_keys)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 5;

        slots_all(slots);
        for (size_t k = 0; k < LANEMAP_N_ELEMENTS(kinds); k++) {
                struct model model;

                model_init(&model, 80, slots, 200);
                model.kind = kinds[k];
                for (uint32_t i = 0; i < 200; i++)
                        model_add(&model, (struct lanemap_fingerprint){.hash = 77, .ext = i * 3}, 1,
                                  ids_random(1, 1000, &seed));
                expect_same(&model, &seed);
                model_deinit(&model);
        }
}

/* All in one bucket: made as long as a bucket may hold them, refused beyond. */
Test(kinds, consecutive_hashes_fit_while_a_bucket_holds_them)
{
        static const struct {
                uint32_t kind;
                size_t fits;
        } rows[] = {{RECSPLIT, LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX},
                    {BBHASH, LANEMAP_BBHASH_BUCKET_ENTRIES_MAX}};
        uint64_t seed = 6;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                struct built built;
                struct model model;

                consecutive(&model, rows[i].fits, UINT64_C(0x123456789abc0000), 1, &seed);
                model.kind = rows[i].kind;
                expect_same(&model, &seed);
                model_deinit(&model);

                consecutive(&model, rows[i].fits + 1, UINT64_C(0x123456789abc0000), 1, &seed);
                model.kind = rows[i].kind;
                cr_expect_eq(model_build(&model, &built), -ERANGE);
                model_deinit(&model);
        }
}

Test(kinds, uneven_hashes)
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

Test(kinds, the_same_entries_give_the_same_bytes)
{
        uint64_t seed = 8;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(kinds); i++) {
                struct built a, b;
                struct model model;

                filled(&model, kinds[i], 64, 3000, IDS_ALL, &seed);
                cr_assert_eq(model_build(&model, &a), 0);
                cr_assert_eq(model_build(&model, &b), 0);
                cr_expect_eq(a.n_bytes, b.n_bytes);
                cr_expect_eq(memcmp(a.bytes, b.bytes, a.n_bytes), 0);
                free(a.bytes);
                free(b.bytes);
                model_deinit(&model);
        }
}

/* Seeds, ranks and widths are the format: these check values change only with its version. */
Test(kinds, the_bytes_are_those_of_version_1)
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

                filled(&model, rows[i].kind, 80, 5000, IDS_ALL, &seed);
                cr_assert_eq(model_build(&model, &built), 0);
                check = lanemap_segment_check_of(built.bytes, built.n_bytes);
                cr_expect_eq(check, rows[i].check, "kind %u: %#llx", rows[i].kind,
                             (unsigned long long)check);
                free(built.bytes);
                model_deinit(&model);
        }
}

static void expect_refused(struct model *model, int error, const char *what)
{
        struct built built = {0};

        cr_expect_eq(model_build(model, &built), error, "%s", what);
        cr_expect_null(built.bytes);
}

Test(kinds, entries_that_are_not_a_run_are_refused)
{
        uint64_t seed = 10;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(kinds); i++) {
                struct model model;
                struct lanemap_entry kept;

                filled(&model, kinds[i], 80, 100, IDS_SINGLE, &seed);
                kept = model.entries[50];
                model.entries[50].fingerprint = model.entries[49].fingerprint;
                expect_refused(&model, -EINVAL, "a duplicate");
                model.entries[50].fingerprint = model.entries[52].fingerprint;
                expect_refused(&model, -EINVAL, "out of order");
                model.entries[50] = kept;
                model.entries[50].fingerprint.ext |= 1u << 16;
                expect_refused(&model, -EINVAL, "too many fingerprint bits");
                model.entries[50] = kept;
                model_deinit(&model);
        }
}

Test(kinds, bad_options_are_refused)
{
        static const struct lanemap_segment_build_options bad[] = {
                {.leaf_entries = 1}, {.leaf_entries = 13}, {.bucket_entries = 513}};
        static const struct lanemap_segment_build_options also_bad[] = {
                {.gamma = 255}, {.gamma = 2561}, {.bucket_entries = 8193}};
        uint64_t seed = 11;
        struct model model;

        filled(&model, RECSPLIT, 64, 10, IDS_SINGLE, &seed);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(bad); i++) {
                model.options = bad[i];
                expect_refused(&model, -EINVAL, "recsplit");
        }
        model.kind = BBHASH;
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(also_bad); i++) {
                model.options = also_bad[i];
                expect_refused(&model, -EINVAL, "bbhash");
        }
        model_deinit(&model);
}

Test(kinds, a_cursor_that_changes_its_mind_is_refused)
{
        static const int mixes[] = {IDS_SINGLE, IDS_WITH_TOMBSTONES, IDS_LISTS, IDS_ALL};
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 12;
        struct lanemap_segment_build_options options = {.fingerprint_bits = 64,
                                                        .slot_bitmap = slots};
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_segment_built built;
        struct model models[8];

        slots_random(slots, 7, &seed);
        for (int i = 0; i < 8; i++) {
                size_t n = i < 4 ? 500 : 900;

                model_init(&models[i], 64, slots, n);
                model_fill(&models[i], n, (enum ids_mix)mixes[i % 4], i == 0 ? 10 : 1000000, &seed);
        }
        for (int at = 0; at < 128; at++) {
                int i = at % 8, j = at / 8 % 8;
                struct fickle fickle = {.cursor = {fickle_next, fickle_rewind},
                                        .first = &models[i],
                                        .second = &models[j],
                                        .fail_at = -1};

                options.kind = kinds[at / 64];
                cr_expect_eq(lanemap_segment_build(heap, &options, &fickle.cursor, &built),
                             i == j ? 0 : -EINVAL, "%d, then %d", i, j);
                fickle.now = NULL;
                fickle.fail_at = j % 2;
                cr_expect_eq(lanemap_segment_build(heap, &options, &fickle.cursor, &built), -EIO);
        }
        lanemap_heap_free(heap);
        for (int i = 0; i < 8; i++)
                model_deinit(&models[i]);
}

/* Whichever allocation fails, the answer is -ENOMEM and nothing is lost. */
Test(kinds, no_memory_is_an_answer)
{
        uint64_t seed = 13;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(kinds); i++) {
                struct lanemap_segment_build_options options = {.kind = kinds[i],
                                                                .fingerprint_bits = 64};
                struct lanemap_heap *heap = lanemap_heap_new();
                struct lanemap_segment_built built;
                struct model model;
                uint64_t n = 1;
                int r;

                filled(&model, kinds[i], 64, 5000, IDS_ALL, &seed);
                options.slot_bitmap = model.slots;
                do {
                        lanemap_alloc_fail_after(n++);
                        r = lanemap_segment_build(heap, &options, &model.cursor, &built);
                        lanemap_alloc_fail_after(0);
                        cr_assert(r == 0 || r == -ENOMEM, "%d", r);
                } while (r == -ENOMEM);
                cr_expect_gt(n, 10);
                lanemap_heap_free(heap);
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

Test(kinds, the_index_is_as_small_as_promised)
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

static void flips_of(uint32_t kind, uint64_t seed)
{
        struct model model;

        filled(&model, kind, 64, 250, IDS_ALL, &seed);
        flips_run(&model, &seed);
        model_deinit(&model);
}

Test(kinds, flipped_bytes_of_recsplit)
{
        flips_of(RECSPLIT, 15);
}

Test(kinds, flipped_bytes_of_bbhash)
{
        flips_of(BBHASH, 16);
}

/* What an entry stores could be put together to a hash of another bucket. */
Test(kinds, an_entry_of_another_bucket_ends_cursor_and_walk)
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

                filled(&model, kinds[i], 64, 250, IDS_SINGLE, &seed);
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
