/* What only `packed` has: groups and their width, tags, sizes near the information limit. What
 * holds for every kind is in test_kinds.c. */
#include "expect.h"

#include "segment/packed/build.h"

TestSuite(packed, .timeout = 100);

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
        lanemap_packed_layout(lanemap_packed_n_groups(LANEMAP_N_SLOTS, 50), 1000000, 72, 0,
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

static void expect_match(const unsigned char *tags, uint8_t tag)
{
        uint32_t expected = 0;

        for (uint32_t i = 0; i < LANEMAP_TAG_MATCH_BYTES; i++)
                expected |= (uint32_t)(tags[i] == tag) << i;
        cr_assert_eq(lanemap_tag_match_plain(tags, tag), expected, "plain, tag %u", tag);
        cr_assert_eq(lanemap_tag_match(tags, tag), expected, "tag %u", tag);
}

/* Near misses by one bit, and every value beside every other: no carry, no sign, no lane of a
 * register may matter. */
Test(packed, tag_compare_is_the_same_in_every_form)
{
        unsigned char room[LANEMAP_TAG_MATCH_BYTES + 16];
        uint64_t seed = 12;

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

/* expect_same() asks in plain C too. */
Test(packed, sections_answer_the_same_in_every_form)
{
        static const size_t sizes[] = {0, 1, 31, 32, 33, 97, 255, 1000, 20000};
        uint64_t seed = 30;
        struct model model;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(sizes); i++) {
                uint64_t slots[LANEMAP_SLOT_WORDS], seed_of_size = 13 + i;

                slots_random(slots, 64, &seed_of_size);
                model_init(&model, i % 2 ? 64 : 80, slots, sizes[i]);
                model_fill(&model, sizes[i], IDS_ALL, 100000, &seed_of_size);
                expect_same(&model, &seed_of_size);
                model_deinit(&model);
        }

        /* All in one sub-block: 255 tags, eight compares. */
        consecutive(&model, 255, UINT64_C(0x123456789abc0000), 1, &seed);
        expect_same(&model, &seed);
        model_deinit(&model);
}
