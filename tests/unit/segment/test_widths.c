/*
 * Every width that ids can have, in every kind and with fingerprints of every width: what is packed
 * comes back, in as many bits as it needs and no more.
 */
#include "expect.h"

#include <lanemap/lanemap.h>

TestSuite(widths, .timeout = 100);

#define N_KEYS 40

/* Ids whose largest has exactly so many bits. */
static uint32_t id_of_width(uint32_t bits, bool largest, uint64_t *seed)
{
        uint64_t max = lanemap_bits_mask(bits);

        if (max > LANEMAP_ID_MAX)
                max = LANEMAP_ID_MAX;
        return (uint32_t)(largest ? max : random_next(seed) % (max + 1));
}

static void model_of_width(struct model *model, uint32_t kind, uint32_t fingerprint_bits,
                           uint32_t id_bits, bool tombstones, uint64_t *seed)
{
        uint64_t slots[LANEMAP_SLOT_WORDS];

        slots_random(slots, 1 + id_bits, seed);
        model_init(model, fingerprint_bits, slots, N_KEYS);
        model->kind = kind;
        for (uint32_t i = 0; i < N_KEYS; i++) {
                uint32_t *ids = malloc(sizeof(*ids));

                ids[0] = id_of_width(id_bits, i == 7, seed);
                model_add(model, fingerprint_random(model, seed), tombstones && i % 5 == 0 ? 0 : 1,
                          ids);
        }
        model_sort(model);
}

static void expect_width(struct model *model, uint32_t id_bits, bool tombstones)
{
        struct lanemap_segment segment;
        struct built built;

        cr_assert_eq(model_build(model, &built), 0);
        cr_assert_eq(
                lanemap_segment_open(&segment, built.bytes, built.n_bytes, model->fingerprint_bits),
                0);
        cr_expect_eq(segment.value_bits, id_bits);
        cr_expect_eq(segment.value_flagged, tombstones);
        free(built.bytes);
}

static void widths_run(uint32_t kind)
{
        static const uint32_t widths[] = {64, 80, 96};
        uint64_t seed = kind;

        for (uint32_t id_bits = 0; id_bits <= 32; id_bits++) {
                for (uint32_t k = 0; k < 6; k++) {
                        struct model model;

                        model_of_width(&model, kind, widths[k % 3], id_bits, k / 3, &seed);
                        expect_width(&model, id_bits, k / 3);
                        expect_same(&model, &seed);
                        model_deinit(&model);
                }
        }
}

Test(widths, packed)
{
        widths_run(LANEMAP_SEGMENT_KIND_PACKED);
}

Test(widths, recsplit)
{
        widths_run(LANEMAP_SEGMENT_KIND_RECSPLIT);
}

Test(widths, bbhash)
{
        widths_run(LANEMAP_SEGMENT_KIND_BBHASH);
}

/* Lists at offsets of every width up to some megabytes, beside inline ids that are narrower. */
Test(widths, offsets_of_lists)
{
        for (uint32_t kind = LANEMAP_SEGMENT_KIND_PACKED; kind <= LANEMAP_SEGMENT_KIND_BBHASH;
             kind++) {
                uint64_t slots[LANEMAP_SLOT_WORDS], seed = 9;

                slots_all(slots);
                for (uint32_t n_ids = 2; n_ids <= 4096; n_ids *= 2) {
                        struct lanemap_segment segment;
                        struct built built;
                        struct model model;

                        model_init(&model, 64, slots, 20);
                        model.kind = kind;
                        for (uint32_t i = 0; i < 20; i++) {
                                uint32_t n = i % 3 ? n_ids : 1;

                                model_add(&model, fingerprint_random(&model, &seed), n,
                                          ids_random(n, LANEMAP_MAX(n, 8), &seed));
                        }
                        model_sort(&model);
                        cr_assert_eq(model_build(&model, &built), 0);
                        cr_assert_eq(lanemap_segment_open(&segment, built.bytes, built.n_bytes, 64),
                                     0);
                        cr_expect_leq(segment.value_bits,
                                      lanemap_bits_width(segment.postings_bytes));
                        expect_same(&model, &seed);
                        free(built.bytes);
                        model_deinit(&model);
                }
        }
}
