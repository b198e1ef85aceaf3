/* Building a section and finding everything in it, and nothing else, against a sorted array. */
#include "expect.h"

TestSuite(packed, .timeout = 100);

Test(packed, all_sizes_64_bits_all_slots)
{
        sizes_run(LANEMAP_SEGMENT_KIND_PACKED, 64, LANEMAP_N_SLOTS);
}

Test(packed, all_sizes_64_bits_one_slot)
{
        sizes_run(LANEMAP_SEGMENT_KIND_PACKED, 64, 1);
}

Test(packed, all_sizes_64_bits_64_slots)
{
        sizes_run(LANEMAP_SEGMENT_KIND_PACKED, 64, 64);
}

Test(packed, all_sizes_80_bits_65_slots)
{
        sizes_run(LANEMAP_SEGMENT_KIND_PACKED, 80, 65);
}

Test(packed, all_sizes_96_bits_all_slots)
{
        sizes_run(LANEMAP_SEGMENT_KIND_PACKED, 96, LANEMAP_N_SLOTS);
}

Test(packed, all_sizes_96_bits_3_slots)
{
        sizes_run(LANEMAP_SEGMENT_KIND_PACKED, 96, 3);
}

Test(packed, slots_without_any_hold_nothing)
{
        uint64_t slots[LANEMAP_SLOT_WORDS] = {0};
        struct lanemap_segment_posting posting;
        struct lanemap_segment segment;
        struct built built;
        struct model model;

        model_init(&model, 64, slots, 0);
        cr_assert_eq(model_build(&model, &built), 0);
        cr_assert_eq(lanemap_segment_open(&segment, built.bytes, built.n_bytes, 64), 0);
        cr_expect_eq(lanemap_segment_find(&segment, (struct lanemap_fingerprint){.hash = 5},
                                          LANEMAP_SEGMENT_RANK_UNKNOWN, &posting),
                     LANEMAP_SEGMENT_E_ABSENT);
        cr_expect_eq(lanemap_segment_find(&segment, (struct lanemap_fingerprint){.hash = 5}, 0,
                                          &posting),
                     LANEMAP_SEGMENT_E_ABSENT);
        free(built.bytes);
        model_deinit(&model);
}

/* First and last hash of the space, with ids at both ends of theirs. */
Test(packed, the_ends_of_the_ranges_come_back)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 1;
        struct model model;

        slots_all(slots);
        model_init(&model, 96, slots, 4);
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

/* Entries that differ in ext alone, more than a sub-block of them with one tag. */
Test(packed, equal_hashes_with_different_ext_are_different_keys)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 2;
        struct model model;

        slots_all(slots);
        model_init(&model, 80, slots, 200);
        for (uint32_t i = 0; i < 200; i++)
                model_add(&model, (struct lanemap_fingerprint){.hash = 77, .ext = i * 3}, 1,
                          ids_random(1, 1000, &seed));
        expect_same(&model, &seed);
        model_deinit(&model);
}

Test(packed, consecutive_hashes_fit_while_a_group_holds_them)
{
        uint64_t seed = 3;
        struct built built;
        struct model model;

        consecutive(&model, 255, UINT64_C(0x123456789abcdef0), 1, &seed);
        expect_same(&model, &seed);
        model_deinit(&model);

        consecutive(&model, 256, UINT64_C(0x123456789abcde00), 1, &seed);
        cr_expect_eq(model_build(&model, &built), -ERANGE);
        model_deinit(&model);
}

/* More than 16 times the directory would be needed: these are no hashes. */
Test(packed, hashes_that_cluster_too_much_are_refused)
{
        uint64_t seed = 13;
        struct built built;
        struct model model;

        consecutive(&model, 1000, 0, UINT64_C(1) << 40, &seed);
        cr_expect_eq(model_build(&model, &built), -ERANGE);
        model_deinit(&model);
}

/* All in one bin, but spread enough for narrower groups: these are made. */
Test(packed, uneven_hashes_get_narrower_groups)
{
        uint64_t seed = 4;
        struct model model;

        consecutive(&model, 1000, 0, UINT64_C(1) << 51, &seed);
        expect_same(&model, &seed);
        model_deinit(&model);

        /* 2000 keys in an eighth of the space */
        consecutive(&model, 2000, UINT64_C(1) << 63, UINT64_C(1) << 50, &seed);
        expect_same(&model, &seed);
        model_deinit(&model);
}

Test(packed, the_same_entries_give_the_same_bytes)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 5;
        struct built a, b;
        struct model model;

        slots_random(slots, 64, &seed);
        model_init(&model, 64, slots, 3000);
        model_fill(&model, 3000, IDS_ALL, 100000, &seed);
        cr_assert_eq(model_build(&model, &a), 0);
        cr_assert_eq(model_build(&model, &b), 0);
        cr_expect_eq(a.n_bytes, b.n_bytes);
        cr_expect_eq(memcmp(a.bytes, b.bytes, a.n_bytes), 0);
        free(a.bytes);
        free(b.bytes);
        model_deinit(&model);
}

/* A wrong rank finds nothing, and a rank out of range is not followed. */
Test(packed, wrong_ranks_find_nothing)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 6;
        struct lanemap_segment_posting posting;
        struct lanemap_segment segment;
        struct built built;
        struct model model;

        slots_random(slots, 64, &seed);
        model_init(&model, 64, slots, 1000);
        model_fill(&model, 1000, IDS_SINGLE, 1000, &seed);
        cr_assert_eq(model_build(&model, &built), 0);
        cr_assert_eq(lanemap_segment_open(&segment, built.bytes, built.n_bytes, 64), 0);
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

static void expect_refused(struct model *model, int error, const char *what)
{
        struct built built = {0};

        cr_expect_eq(model_build(model, &built), error, "%s", what);
        cr_expect_null(built.bytes);
}

Test(packed, entries_that_are_not_a_run_are_refused)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 7;
        struct lanemap_entry kept;
        uint32_t bad[3] = {4, 4, 9};
        struct model model;

        slots_random(slots, 64, &seed);
        model_init(&model, 80, slots, 100);
        model_fill(&model, 100, IDS_SINGLE, 1000, &seed);

        kept = model.entries[50];
        model.entries[50].fingerprint = model.entries[49].fingerprint;
        expect_refused(&model, -EINVAL, "a duplicate");
        model.entries[50].fingerprint = model.entries[52].fingerprint;
        expect_refused(&model, -EINVAL, "out of order");
        model.entries[50] = kept;
        model.entries[50].fingerprint.ext |= 1u << 16;
        expect_refused(&model, -EINVAL, "too many fingerprint bits");
        model.entries[50] = kept;
        model.entries[50].ids = bad;
        model.entries[50].n_ids = 3;
        expect_refused(&model, -EINVAL, "ids that repeat");
        bad[1] = 3;
        expect_refused(&model, -EINVAL, "ids that fall");
        bad[1] = 5, bad[2] = UINT32_MAX;
        expect_refused(&model, -EINVAL, "an id above the limit");
        model.entries[50] = kept;
        model.slots[lanemap_slot_of(kept.fingerprint.hash) >> 6] = 0;
        expect_refused(&model, -EINVAL, "a slot that is not there");
        model_deinit(&model);
}

Test(packed, bad_options_are_refused)
{
        struct lanemap_heap *heap = lanemap_heap_new();
        uint64_t slots[LANEMAP_SLOT_WORDS] = {0};
        struct lanemap_segment_build_options options = {
                .kind = LANEMAP_SEGMENT_KIND_PACKED, .fingerprint_bits = 64, .slot_bitmap = slots};
        struct lanemap_segment_built built;
        struct model model;

        model_init(&model, 64, slots, 0);
        options.kind = 9;
        cr_expect_eq(lanemap_segment_build(heap, &options, &model.cursor, &built), -EINVAL);
        options.kind = LANEMAP_SEGMENT_KIND_PACKED;
        options.fingerprint_bits = 65;
        cr_expect_eq(lanemap_segment_build(heap, &options, &model.cursor, &built), -EINVAL);
        options.fingerprint_bits = 64;
        options.slot_bitmap = NULL;
        cr_expect_eq(lanemap_segment_build(heap, &options, &model.cursor, &built), -EINVAL);
        lanemap_heap_free(heap);
        model_deinit(&model);
}

Test(packed, a_cursor_that_changes_its_mind_is_refused)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 8;
        struct lanemap_segment_build_options options = {
                .kind = LANEMAP_SEGMENT_KIND_PACKED, .fingerprint_bits = 64, .slot_bitmap = slots};
        static const int mixes[] = {IDS_SINGLE, IDS_WITH_TOMBSTONES, IDS_LISTS, IDS_ALL};
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_segment_built built;
        struct model models[8];

        slots_random(slots, 7, &seed);
        for (int i = 0; i < 8; i++) {
                size_t n = i < 4 ? 500 : 900;

                model_init(&models[i], 64, slots, n);
                model_fill(&models[i], n, (enum ids_mix)mixes[i % 4], i == 0 ? 10 : 1000000, &seed);
        }
        for (int i = 0; i < 8; i++) {
                for (int j = 0; j < 8; j++) {
                        struct fickle fickle = {.cursor = {fickle_next, fickle_rewind},
                                                .first = &models[i],
                                                .second = &models[j],
                                                .fail_at = -1};

                        cr_expect_eq(lanemap_segment_build(heap, &options, &fickle.cursor, &built),
                                     i == j ? 0 : -EINVAL, "%d, then %d", i, j);
                        fickle.now = NULL;
                        fickle.fail_at = j % 2;
                        cr_expect_eq(lanemap_segment_build(heap, &options, &fickle.cursor, &built),
                                     -EIO);
                }
        }
        lanemap_heap_free(heap);
        for (int i = 0; i < 8; i++)
                model_deinit(&models[i]);
}

/* The same number of entries, but wider ids, or all in one group. */
Test(packed, a_second_pass_that_does_not_fit_is_refused)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 14;
        struct lanemap_segment_build_options options = {
                .kind = LANEMAP_SEGMENT_KIND_PACKED, .fingerprint_bits = 64, .slot_bitmap = slots};
        struct lanemap_heap *heap = lanemap_heap_new();
        struct model models[3];

        slots_all(slots);
        for (int i = 0; i < 2; i++) {
                model_init(&models[i], 64, slots, 300);
                model_fill(&models[i], 300, IDS_SINGLE, i ? 100000 : 10, &seed);
        }
        consecutive(&models[2], 300, 5, 1, &seed);
        for (size_t i = 0; i < 300; i++)
                *(uint32_t *)(uintptr_t)models[2].entries[i].ids = 0;
        for (int i = 1; i < 3; i++) {
                struct lanemap_segment_built built;
                struct fickle fickle = {.cursor = {fickle_next, fickle_rewind},
                                        .first = &models[0],
                                        .second = &models[i],
                                        .fail_at = -1};

                cr_expect_eq(lanemap_segment_build(heap, &options, &fickle.cursor, &built), -EINVAL,
                             "%d", i);
        }
        lanemap_heap_free(heap);
        for (int i = 0; i < 3; i++)
                model_deinit(&models[i]);
}

Test(packed, no_memory_is_an_answer)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 9;
        struct lanemap_heap *heap = lanemap_heap_new();
        struct lanemap_segment_build_options options = {
                .kind = LANEMAP_SEGMENT_KIND_PACKED, .fingerprint_bits = 64, .slot_bitmap = slots};
        struct lanemap_segment_built built;
        struct model model;

        slots_all(slots);
        model_init(&model, 64, slots, 10);
        model_fill(&model, 10, IDS_ALL, 1000, &seed);
        lanemap_alloc_fail_after(1);
        cr_expect_eq(lanemap_segment_build(heap, &options, &model.cursor, &built), -ENOMEM);
        lanemap_alloc_fail_after(0);
        lanemap_heap_free(heap);
        model_deinit(&model);
}

/* What the format promises: small when small, and near the information limit when large. */
Test(packed, sizes)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 10;
        struct lanemap_segment_layout layout;
        struct built built;
        struct model model;

        slots_random(slots, 64, &seed);
        model_init(&model, 64, slots, 16);
        cr_assert_eq(model_build(&model, &built), 0);
        cr_expect_eq(built.n_bytes, sizeof(struct lanemap_segment_section_file));
        free(built.bytes);
        model_fill(&model, 16, IDS_SINGLE, 1000, &seed);
        cr_assert_eq(model_build(&model, &built), 0);
        cr_expect_leq(built.n_bytes, 1344, "16 keys: %zu", built.n_bytes);
        free(built.bytes);
        model_deinit(&model);

        /* 10^6 keys in all slots: groups of 2^50, 40 bits of remainder, 32 of id */
        lanemap_segment_layout_packed(lanemap_packed_n_groups(LANEMAP_N_SLOTS, 50), 1000000, 72, 0,
                                      &layout);
        cr_expect_leq(layout.section_bytes, 10270000, "%llu",
                      (unsigned long long)layout.section_bytes);
}

/* The shape that the formula above assumes is the one that is built: 10^5 keys, a bit less dense.
 */
Test(packed, bytes_per_key_at_100000)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 11;
        struct lanemap_segment segment;
        struct built built;
        struct model model;

        slots_all(slots);
        model_init(&model, 64, slots, 100000);
        model_fill(&model, 100000, IDS_SINGLE, UINT64_C(0xffffffff), &seed);
        cr_assert_eq(model_build(&model, &built), 0);
        cr_assert_eq(lanemap_segment_open(&segment, built.bytes, built.n_bytes, 64), 0);
        cr_expect_geq(segment.n_keys / segment.packed.n_groups, 48);
        cr_expect_lt(segment.n_keys / segment.packed.n_groups, 96);
        cr_expect_leq(built.n_bytes, 1060000, "%zu", built.n_bytes);
        free(built.bytes);
        model_deinit(&model);
}

Test(packed, flipped_bytes)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 14;
        struct model model;

        slots_random(slots, 64, &seed);
        model_init(&model, 64, slots, 250);
        model_fill(&model, 250, IDS_ALL, 100000, &seed);
        flips_run(&model, &seed);
        model_deinit(&model);
}

static void expect_match(const unsigned char *tags, uint8_t tag)
{
        uint32_t expected = 0;

        for (uint32_t i = 0; i < LANEMAP_TAG_MATCH_BYTES; i++)
                expected |= (uint32_t)(tags[i] == tag) << i;
        for (uint32_t form = 1; form <= LANEMAP_TAG_MATCH_MAX; form++)
                if (lanemap_tag_match_has(form))
                        cr_assert_eq(lanemap_tag_match_by(form, tags, tag), expected,
                                     "form %u, tag %u", form, tag);
        cr_assert_eq(lanemap_tag_match(tags, tag), expected);
}

/* Near misses by one bit, and every value beside every other: no carry, no sign, no lane of a
 * register may matter. */
Test(packed, tag_compare_is_the_same_in_every_form)
{
        unsigned char room[LANEMAP_TAG_MATCH_BYTES + 16];
        uint64_t seed = 12;

        cr_assert(lanemap_tag_match_has(LANEMAP_TAG_MATCH_PLAIN));
        cr_assert(lanemap_tag_match_has(LANEMAP_TAG_MATCH_INLINE));
        for (int round = 0; round < 20000; round++) {
                unsigned char *tags = room + round % 16;
                uint8_t tag = (uint8_t)random_next(&seed);

                for (uint32_t i = 0; i < LANEMAP_TAG_MATCH_BYTES; i++)
                        tags[i] = (uint8_t)(tag ^ (random_next(&seed) % 4 == 0
                                                           ? 0
                                                           : 1u << random_next(&seed) % 8));
                expect_match(tags, tag);
        }
        for (uint32_t a = 0; a < 256; a++) {
                for (uint32_t b = 0; b < 256; b++) {
                        memset(room, (int)b, sizeof(room));
                        room[a % LANEMAP_TAG_MATCH_BYTES] = (unsigned char)a;
                        expect_match(room, (uint8_t)a);
                        expect_match(room, (uint8_t)b);
                }
        }
}

Test(packed, sections_answer_the_same_by_every_form)
{
        static const size_t sizes[] = {0, 1, 31, 32, 33, 97, 255, 1000, 20000};

        cr_expect_eq(lanemap_tag_match_force(LANEMAP_TAG_MATCH_MAX + 1), -EINVAL);
        cr_expect_eq(lanemap_tag_match_choose(), LANEMAP_TAG_MATCH_INLINE);
        for (uint32_t form = 1; form <= LANEMAP_TAG_MATCH_MAX; form++) {
                if (!lanemap_tag_match_has(form)) {
                        cr_expect_eq(lanemap_tag_match_force(form), -EINVAL);
                        continue;
                }
                cr_assert_eq(lanemap_tag_match_force(form), 0);
                cr_expect_eq(lanemap_tag_match_choose(), form);
                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(sizes); i++) {
                        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 13 + i;
                        struct model model;

                        slots_random(slots, 64, &seed);
                        model_init(&model, i % 2 ? 64 : 80, slots, sizes[i]);
                        model_fill(&model, sizes[i], IDS_ALL, 100000, &seed);
                        expect_same(&model, &seed);
                        model_deinit(&model);
                }

                /* All in one sub-block: 255 tags, eight compares. */
                {
                        uint64_t seed = 30;
                        struct model model;

                        consecutive(&model, 255, UINT64_C(0x123456789abc0000), 1, &seed);
                        expect_same(&model, &seed);
                        model_deinit(&model);
                }
        }
        cr_assert_eq(lanemap_tag_match_force(0), 0);
}
