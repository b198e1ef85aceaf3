/* Merging against the model: newest wins, tombstones and masked slots fall when they should. */
#include "model.h"

#include "segment/merge.h"
#include "segment/verify.h"

TestSuite(merge, .timeout = 100);

#define N_INPUTS LANEMAP_SEGMENT_MERGE_INPUTS_MAX

static uint32_t scratch[N_INPUTS][8192];

/* The entry that the newest input knows for a fingerprint, or NULL. */
static const struct lanemap_entry *newest(struct model *models, uint32_t n_models,
                                          struct lanemap_fingerprint fp)
{
        for (uint32_t i = 0; i < n_models; i++) {
                const struct lanemap_entry *entry = model_find(&models[i], fp);

                if (entry)
                        return entry;
        }

        return NULL;
}

static bool wanted(const struct lanemap_entry *entry,
                   const struct lanemap_segment_merge_options *options)
{
        return !(options->drop_tombstones && entry->n_ids == 0) &&
               (!options->slot_mask ||
                slots_have(options->slot_mask, lanemap_slot_of(entry->fingerprint.hash)));
}

/* What the merge must give: every fingerprint of any input, sorted, its newest entry. The entries'
 * ids belong to the inputs. */
static void expected_init(struct model *expected, struct model *models, uint32_t n_models,
                          const struct lanemap_segment_merge_options *options)
{
        size_t n = 0;

        for (uint32_t i = 0; i < n_models; i++)
                n += models[i].n_entries;
        model_init(expected, models[0].fingerprint_bits, models[0].slots, n);
        for (uint32_t i = 0; i < n_models; i++) {
                for (size_t k = 0; k < models[i].n_entries; k++) {
                        const struct lanemap_entry *entry = &models[i].entries[k];

                        if (newest(models, n_models, entry->fingerprint) == entry &&
                            wanted(entry, options))
                                expected->entries[expected->n_entries++] = *entry;
                }
        }
        qsort(expected->entries, expected->n_entries, sizeof(*expected->entries), entry_compare);
}

static void expect_stream(struct lanemap_cursor *cursor, const struct model *expected)
{
        struct lanemap_entry entry;
        size_t n = 0;
        int r;

        while ((r = cursor->next(cursor, &entry)) == 0) {
                cr_assert_lt(n, expected->n_entries);
                cr_assert(entry_equal(&entry, &expected->entries[n]), "entry %zu", n);
                n++;
        }
        cr_assert_eq(r, LANEMAP_CURSOR_END);
        cr_assert_eq(n, expected->n_entries);
        cr_assert_eq(cursor->next(cursor, &entry), LANEMAP_CURSOR_END);
        expect_batches(cursor, expected->entries, expected->n_entries);
        cr_assert_eq(cursor->next(cursor, &entry), LANEMAP_CURSOR_END);
}

/* Inputs that share many fingerprints; half of them sections of all kinds, half of them arrays. */
static void merge_run(uint32_t n_models, size_t n_entries, uint32_t fingerprint_bits,
                      struct lanemap_segment_merge_options options, uint64_t seed)
{
        uint32_t first_kind = (uint32_t)seed;
        struct lanemap_segment_cursor cursors[N_INPUTS];
        struct lanemap_cursor *inputs[N_INPUTS];
        struct lanemap_segment segments[N_INPUTS];
        uint64_t slots[LANEMAP_SLOT_WORDS];
        struct lanemap_segment_merge merge;
        struct built builts[N_INPUTS] = {0}, merged;
        struct model models[N_INPUTS], expected;

        slots_random(slots, 40, &seed);
        for (uint32_t i = 0; i < n_models; i++) {
                size_t n = i == 3 ? 0 : n_entries;

                model_init(&models[i], fingerprint_bits, slots, 2 * n);
                model_fill(&models[i], n, IDS_ALL, 100000, &seed);
                for (size_t k = 0; i > 0 && k < n; k++) {
                        const struct lanemap_entry *older = &models[0].entries[k];

                        if (random_next(&seed) % 3 == 0 && k < models[0].n_entries)
                                model_add(&models[i], older->fingerprint, k % 2,
                                          ids_random(k % 2, 1000, &seed));
                }
                model_sort(&models[i]);
                models[i].kind = LANEMAP_SEGMENT_KIND_PACKED + (first_kind + i / 2) % 3;
                models[i].options.filter = (first_kind + i) % 3;
                inputs[i] = &models[i].cursor;
                if (i % 2) {
                        cr_assert_eq(model_build(&models[i], &builts[i]), 0);
                        cr_assert_eq(lanemap_segment_open(&segments[i], builts[i].bytes,
                                                          builts[i].n_bytes, fingerprint_bits),
                                     0);
                        cr_assert_eq(cursor_init(&cursors[i], &segments[i]), 0);
                        inputs[i] = &cursors[i].cursor;
                }
        }

        expected_init(&expected, models, n_models, &options);
        cr_assert_eq(lanemap_segment_merge_init(&merge, inputs, n_models, &options), 0);
        expect_stream(&merge.cursor, &expected);
        cr_assert_eq(merge.cursor.rewind(&merge.cursor), 0);
        expect_stream(&merge.cursor, &expected);

        /* A section made of the merge is the section made of the model. */
        expected.kind = LANEMAP_SEGMENT_KIND_PACKED + (first_kind + 1) % 3;
        expected.options.filter = n_models % 3;
        cr_assert_eq(model_build(&expected, &builts[0]), 0);
        expected.cursor = merge.cursor;
        {
                struct lanemap_segment_build_options build = {.kind = expected.kind,
                                                              .fingerprint_bits = fingerprint_bits,
                                                              .slot_bitmap = slots,
                                                              .filter = n_models % 3};
                struct lanemap_heap *heap = lanemap_heap_new();

                cr_assert_eq(lanemap_segment_build(heap, &build, &merge.cursor, &merged.counts), 0);
                cr_assert_eq(merged.counts.n_bytes, builts[0].n_bytes);
                cr_assert_eq(memcmp(merged.counts.bytes, builts[0].bytes, builts[0].n_bytes), 0);
                lanemap_heap_free(heap);
        }

        free(expected.entries);
        for (uint32_t i = 0; i < n_models; i++) {
                if (i % 2)
                        cursor_deinit(&cursors[i]);
                model_deinit(&models[i]);
                free(builts[i].bytes);
        }
}

Test(merge, newer_shadows_older)
{
        for (uint32_t n = 1; n <= N_INPUTS; n++)
                merge_run(n, 800, 64, (struct lanemap_segment_merge_options){0}, n);
}

Test(merge, wide_fingerprints)
{
        merge_run(3, 500, 80, (struct lanemap_segment_merge_options){0}, 20);
        merge_run(2, 500, 96, (struct lanemap_segment_merge_options){0}, 21);
}

Test(merge, tombstones_fall_when_nothing_older_is_there)
{
        for (uint32_t n = 1; n <= N_INPUTS; n++)
                merge_run(n, 500, 64,
                          (struct lanemap_segment_merge_options){.drop_tombstones = true}, 100 + n);
}

Test(merge, entries_of_slots_that_left_fall)
{
        uint64_t mask[LANEMAP_SLOT_WORDS], seed = 7;

        slots_random(mask, 2000, &seed);
        merge_run(3, 800, 64, (struct lanemap_segment_merge_options){.slot_mask = mask}, 200);
        merge_run(
                5, 800, 64,
                (struct lanemap_segment_merge_options){.slot_mask = mask, .drop_tombstones = true},
                201);
}

Test(merge, nothing_merges_to_nothing)
{
        struct lanemap_segment_merge merge;
        struct lanemap_cursor *many[N_INPUTS + 1] = {0};
        struct lanemap_entry entry;

        cr_assert_eq(lanemap_segment_merge_init(&merge, NULL, 0, NULL), 0);
        cr_expect_eq(merge.cursor.next(&merge.cursor, &entry), LANEMAP_CURSOR_END);
        cr_expect_eq(lanemap_segment_merge_init(&merge, many, N_INPUTS + 1, NULL), -EINVAL);
}

/* Keys that differ in ext alone are different keys, also to a merge. */
Test(merge, ext_tells_keys_apart)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 8;
        struct lanemap_cursor *inputs[2];
        struct lanemap_segment_merge merge;
        struct model models[2], expected;

        slots_all(slots);
        for (int i = 0; i < 2; i++) {
                model_init(&models[i], 80, slots, 50);
                for (uint32_t k = 0; k < 50; k++)
                        model_add(&models[i],
                                  (struct lanemap_fingerprint){.hash = k / 10,
                                                               .ext = k % 10 * 3 + i * (k % 2)},
                                  1, ids_random(1, 1000, &seed));
                inputs[i] = &models[i].cursor;
        }
        expected_init(&expected, models, 2, &(struct lanemap_segment_merge_options){0});
        cr_assert_eq(expected.n_entries, 75);
        cr_assert_eq(lanemap_segment_merge_init(&merge, inputs, 2, NULL), 0);
        expect_stream(&merge.cursor, &expected);
        free(expected.entries);
        model_deinit(&models[0]);
        model_deinit(&models[1]);
}

Test(merge, inputs_out_of_order_are_refused)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 9;
        struct lanemap_segment_merge merge;
        struct lanemap_cursor *inputs[1];
        struct lanemap_entry entry;
        struct model model;
        int r;

        slots_all(slots);
        model_init(&model, 64, slots, 10);
        model_fill(&model, 10, IDS_SINGLE, 1000, &seed);
        model.entries[5].fingerprint = model.entries[4].fingerprint;
        inputs[0] = &model.cursor;
        cr_assert_eq(lanemap_segment_merge_init(&merge, inputs, 1, NULL), 0);
        do {
                r = merge.cursor.next(&merge.cursor, &entry);
        } while (r == 0);
        cr_expect_eq(r, -EINVAL);
        model_deinit(&model);
}

Test(merge, a_cursor_with_a_mask_gives_these_slots_only)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], mask[LANEMAP_SLOT_WORDS], seed = 10;
        struct lanemap_segment_merge_options options = {.slot_mask = mask};
        struct lanemap_segment_cursor cursor;
        struct lanemap_segment segment;
        struct model model, expected;
        struct built built;

        slots_random(slots, 64, &seed);
        slots_random(mask, 2000, &seed);
        model_init(&model, 64, slots, 5000);
        model_fill(&model, 5000, IDS_ALL, 1000, &seed);
        expected_init(&expected, &model, 1, &options);
        cr_assert_gt(expected.n_entries, 1000);
        cr_assert_lt(expected.n_entries, 4000);
        cr_assert_eq(model_build(&model, &built), 0);
        cr_assert_eq(lanemap_segment_open(&segment, built.bytes, built.n_bytes, 64), 0);
        cr_assert_eq(lanemap_segment_cursor_init(&cursor, &segment, mask, scratch[0],
                                                 segment.ids_max - 1, NULL),
                     -EINVAL);
        cr_assert_eq(lanemap_segment_cursor_init(&cursor, &segment, mask, scratch[0],
                                                 segment.ids_max, NULL),
                     0);
        expect_stream(&cursor.cursor, &expected);
        free(expected.entries);
        free(built.bytes);
        model_deinit(&model);
}
