/*
 * What holds for every kind of section, against the sorted array: all sizes at which something
 * begins or ends, the ends of all ranges, what is refused, and every failure.
 */
#include "expect.h"

#include <errno.h>

TestSuite(kinds, .timeout = 100);

#define PACKED   LANEMAP_SEGMENT_KIND_PACKED
#define RECSPLIT LANEMAP_SEGMENT_KIND_RECSPLIT
#define BBHASH   LANEMAP_SEGMENT_KIND_BBHASH

Test(kinds, packed_all_sizes_64_bits_all_slots)
{
        sizes_run(PACKED, 64, LANEMAP_N_SLOTS);
}

Test(kinds, packed_all_sizes_64_bits_one_slot)
{
        sizes_run(PACKED, 64, 1);
}

Test(kinds, packed_all_sizes_64_bits_64_slots)
{
        sizes_run(PACKED, 64, 64);
}

Test(kinds, packed_all_sizes_80_bits_65_slots)
{
        sizes_run(PACKED, 80, 65);
}

Test(kinds, packed_all_sizes_96_bits_all_slots)
{
        sizes_run(PACKED, 96, LANEMAP_N_SLOTS);
}

Test(kinds, packed_all_sizes_96_bits_3_slots)
{
        sizes_run(PACKED, 96, 3);
}

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

Test(kinds, slots_without_any_hold_nothing)
{
        static const uint32_t ranks[] = {0, LANEMAP_SEGMENT_RANK_UNKNOWN};
        uint64_t slots[LANEMAP_SLOT_WORDS] = {0};

        for (size_t k = 0; k < LANEMAP_N_ELEMENTS(segment_kinds); k++) {
                struct lanemap_segment_posting posting;
                struct lanemap_segment segment;
                struct built built;
                struct model model;

                model_init(&model, 64, slots, 0);
                model.kind = segment_kinds[k];
                cr_assert_eq(model_build(&model, &built), 0);
                cr_expect_eq(built.n_bytes, sizeof(struct lanemap_segment_section_file));
                cr_assert_eq(section_open(&built, 64, &segment), 0);
                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(ranks); i++)
                        cr_expect_eq(lanemap_segment_find(&segment,
                                                          (struct lanemap_fingerprint){.hash = 5},
                                                          ranks[i], &posting),
                                     LANEMAP_SEGMENT_E_ABSENT);
                free(built.bytes);
                model_deinit(&model);
        }
}

/* First and last hash of the space, with ids at both ends of theirs. */
Test(kinds, the_ends_of_the_ranges_come_back)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 4;

        slots_all(slots);
        for (size_t k = 0; k < LANEMAP_N_ELEMENTS(segment_kinds); k++) {
                struct model model;

                model_init(&model, 96, slots, 4);
                model.kind = segment_kinds[k];
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

/* A wrong rank finds nothing, and a rank out of range is not followed. */
Test(kinds, wrong_ranks_find_nothing)
{
        uint64_t seed = 6;

        for (size_t k = 0; k < LANEMAP_N_ELEMENTS(segment_kinds); k++) {
                struct lanemap_segment_posting posting;
                struct lanemap_segment segment;
                struct built built;
                struct model model;

                model_filled(&model, segment_kinds[k], 0, 64, 1000, IDS_SINGLE, &seed);
                cr_assert_eq(model_build(&model, &built), 0);
                cr_assert_eq(section_open(&built, 64, &segment), 0);
                for (size_t i = 0; i < model.n_entries; i++) {
                        struct lanemap_fingerprint fp = model.entries[i].fingerprint;
                        uint32_t rank = lanemap_segment_rank(&segment, lanemap_slot_of(fp.hash));

                        for (uint32_t other = 0; other < 5000; other += 61)
                                cr_assert_eq(lanemap_segment_find(&segment, fp, other, &posting),
                                             other == rank ? 0 : LANEMAP_SEGMENT_E_ABSENT);
                }
                free(built.bytes);
                model_deinit(&model);
        }
}

Test(kinds, the_same_entries_give_the_same_bytes)
{
        uint64_t seed = 8;

        for (size_t i = 0; i < 9; i++) {
                struct built a, b;
                struct model model;

                model_filled(&model, segment_kinds[i % 3], filter_kinds[i / 3], 80, 3000, IDS_ALL,
                             &seed);
                cr_assert_eq(model_build(&model, &a), 0);
                cr_assert_eq(model_build(&model, &b), 0);
                cr_expect_eq(a.n_bytes, b.n_bytes);
                cr_expect_eq(memcmp(a.bytes, b.bytes, a.n_bytes), 0);
                free(a.bytes);
                free(b.bytes);
                model_deinit(&model);
        }
}

static void expect_refused(struct model *model, int error, const char *what)
{
        struct built built = {0};

        cr_expect_eq(model_build(model, &built), error, "kind %u: %s", model->kind, what);
        cr_expect_null(built.bytes);
}

/* Wherever in a batch of the cursor the two that are equal are, and between batches. */
static void expect_duplicates_refused(struct model *model)
{
        static const size_t places[] = {1, 49, 63, 64, 65, 127, 128, 199};

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(places); i++) {
                struct lanemap_entry kept = model->entries[places[i]];

                model->entries[places[i]].fingerprint = model->entries[places[i] - 1].fingerprint;
                expect_refused(model, -EINVAL, "a duplicate");
                model->entries[places[i]] = kept;
        }
}

static void expect_bad_ids_refused(struct model *model)
{
        static const uint32_t repeated[] = {4, 4, 9}, falling[] = {4, 3, 9},
                              large[] = {4, 5, UINT32_MAX};
        struct lanemap_entry *entry = &model->entries[50], kept = *entry;

        entry->n_ids = 3;
        entry->ids = repeated;
        expect_refused(model, -EINVAL, "ids that repeat");
        entry->ids = falling;
        expect_refused(model, -EINVAL, "ids that fall");
        entry->ids = large;
        expect_refused(model, -EINVAL, "an id above the limit");
        entry->n_ids = 1;
        entry->ids = large + 2;
        expect_refused(model, -EINVAL, "one id, above the limit");
        *entry = kept;
}

Test(kinds, entries_that_are_not_a_run_are_refused)
{
        uint64_t seed = 10;

        for (size_t i = 0; i < 9; i++) {
                struct lanemap_entry kept;
                struct model model;
                uint32_t slot;

                model_filled(&model, segment_kinds[i % 3], filter_kinds[i / 3], 80, 200, IDS_SINGLE,
                             &seed);
                expect_duplicates_refused(&model);
                expect_bad_ids_refused(&model);
                kept = model.entries[50];
                model.entries[50].fingerprint = model.entries[52].fingerprint;
                expect_refused(&model, -EINVAL, "out of order");
                model.entries[50] = kept;
                model.entries[50].fingerprint.ext |= 1u << 16;
                expect_refused(&model, -EINVAL, "too many fingerprint bits");
                model.entries[50] = kept;
                slot = lanemap_slot_of(kept.fingerprint.hash);
                model.slots[slot >> 6] &= ~(UINT64_C(1) << (slot & 63));
                expect_refused(&model, -EINVAL, "a slot that is not there");
                model_deinit(&model);
        }
}

Test(kinds, bad_options_are_refused)
{
        static const struct {
                uint32_t kind;
                struct lanemap_segment_build_options options;
        } rows[] = {
                {9, {0}},
                {0, {0}},
                {PACKED, {.filter = 3}},
                {RECSPLIT, {.leaf_entries = 1}},
                {RECSPLIT, {.leaf_entries = 13}},
                {RECSPLIT, {.bucket_entries = 513}},
                {BBHASH, {.gamma = 255}},
                {BBHASH, {.gamma = 2561}},
                {BBHASH, {.bucket_entries = 8193}},
        };
        uint64_t seed = 11;
        struct model model;

        model_filled(&model, PACKED, 0, 64, 10, IDS_SINGLE, &seed);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                model.kind = rows[i].kind;
                model.options = rows[i].options;
                expect_refused(&model, -EINVAL, "a bad option");
        }
        model_deinit(&model);
}

Test(kinds, bad_fingerprint_bits_and_no_slots_are_refused)
{
        uint64_t slots[LANEMAP_SLOT_WORDS] = {0};
        struct lanemap_heap *heap = lanemap_heap_new();
        struct model model;

        model_init(&model, 64, slots, 0);
        for (size_t k = 0; k < LANEMAP_N_ELEMENTS(segment_kinds); k++) {
                struct lanemap_segment_build_options options = {
                        .kind = segment_kinds[k], .fingerprint_bits = 65, .slot_bitmap = slots};
                struct lanemap_segment_built built;

                cr_expect_eq(lanemap_segment_build(heap, &options, &model.cursor, &built), -EINVAL);
                options.fingerprint_bits = 64;
                options.slot_bitmap = NULL;
                cr_expect_eq(lanemap_segment_build(heap, &options, &model.cursor, &built), -EINVAL);
        }
        lanemap_heap_free(heap);
        model_deinit(&model);
}

#define N_MODELS 8

/* Models of different lengths, mixes and widths of ids: no two need the same room. */
static void models_init(struct model *models, uint64_t *seed)
{
        static const int mixes[] = {IDS_SINGLE, IDS_WITH_TOMBSTONES, IDS_LISTS, IDS_ALL};
        uint64_t slots[LANEMAP_SLOT_WORDS];

        slots_random(slots, 7, seed);
        for (int i = 0; i < N_MODELS; i++) {
                size_t n = i < 4 ? 500 : 900;

                model_init(&models[i], 64, slots, n);
                model_fill(&models[i], n, (enum ids_mix)mixes[i % 4], i == 0 ? 10 : 1000000, seed);
        }
}

Test(kinds, a_cursor_that_changes_its_mind_is_refused)
{
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_segment_built built;
        struct model models[N_MODELS];
        uint64_t seed = 12;

        models_init(models, &seed);
        for (int at = 0; at < 3 * N_MODELS * N_MODELS; at++) {
                int i = at % N_MODELS, j = at / N_MODELS % N_MODELS;
                struct lanemap_segment_build_options options = {
                        .kind = segment_kinds[at / (N_MODELS * N_MODELS)],
                        .fingerprint_bits = 64,
                        .slot_bitmap = models[0].slots};
                struct fickle fickle = {.cursor = {fickle_next, fickle_rewind},
                                        .first = &models[i],
                                        .second = &models[j],
                                        .fail_at = -1};

                cr_expect_eq(lanemap_segment_build(heap, &options, &fickle.cursor, &built),
                             i == j ? 0 : -EINVAL, "kind %u: %d, then %d", options.kind, i, j);
                fickle.now = NULL;
                fickle.fail_at = j % 2;
                cr_expect_eq(lanemap_segment_build(heap, &options, &fickle.cursor, &built), -EIO);
        }
        lanemap_heap_free(heap);
        for (int i = 0; i < N_MODELS; i++)
                model_deinit(&models[i]);
}

/* Whichever allocation fails, the answer is -ENOMEM and nothing is lost. */
Test(kinds, no_memory_is_an_answer)
{
        static const uint64_t allocations_min[] = {1, 10, 10};
        uint64_t seed = 13;

        for (size_t i = 0; i < 9; i++) {
                struct lanemap_segment_build_options options = {.kind = segment_kinds[i % 3],
                                                                .filter = filter_kinds[i / 3],
                                                                .fingerprint_bits = 80};
                struct lanemap_heap *heap = lanemap_heap_new();
                struct lanemap_segment_built built;
                struct model model;
                uint64_t n = 0;
                int r;

                model_filled(&model, options.kind, options.filter, 80, 2000, IDS_ALL, &seed);
                options.slot_bitmap = model.slots;
                do {
                        lanemap_alloc_fail_after(++n);
                        r = lanemap_segment_build(heap, &options, &model.cursor, &built);
                        lanemap_alloc_fail_after(0);
                        cr_assert(r == 0 || r == -ENOMEM, "%d", r);
                } while (r == -ENOMEM);
                cr_expect_gt(n, allocations_min[i % 3] + (options.filter ? 5 : 0));
                lanemap_heap_free(heap);
                model_deinit(&model);
        }
}
