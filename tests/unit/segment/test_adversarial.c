/*
 * Sets of fingerprints that no hash makes, as every kind of section, with each filter and without:
 * built, with every answer that of the sorted array, or refused with -ERANGE where the kind has no
 * room for them; never anything else. (Duplicates are in test_kinds.c: no set has them.)
 */
#include "expect.h"

#include <errno.h>

TestSuite(adversarial, .timeout = 100);

/* Bit k: kind segment_kinds[k] has room for the set. */
#define PACKED   1u
#define RECSPLIT 2u
#define BBHASH   4u
#define ALL      (PACKED | RECSPLIT | BBHASH)

struct set {
        const char *what;
        size_t n;
        uint64_t first;
        uint64_t step;     /* between hashes */
        uint32_t ext_step; /* between the bits past 64; wider fingerprints where it is not 0 */
        uint32_t fits;
        bool one_slot; /* the section has no other slot than the first hash's */
        bool mirrored; /* the second half ends at the other end of the space */
};

static const struct set sets[] = {
        {"one place", 200, UINT64_C(0x123456789abc0000), 1, 0, ALL, false, false},
        {"a full group", 255, UINT64_C(0x123456789abc0000), 1, 0, ALL, false, false},
        {"one more", 256, UINT64_C(0x123456789abc0000), 1, 0, RECSPLIT | BBHASH, false, false},
        {"a full bucket of recsplit", LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX, 77, 1, 0,
         RECSPLIT | BBHASH, false, false},
        {"one more", LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX + 1, 77, 1, 0, BBHASH, false, false},
        {"a full bucket of bbhash", LANEMAP_BBHASH_BUCKET_ENTRIES_MAX, 77, 1, 0, BBHASH, false,
         false},
        {"one more", LANEMAP_BBHASH_BUCKET_ENTRIES_MAX + 1, 77, 1, 0, 0, false, false},
        {"the end of the space", 255, UINT64_MAX - 254, 1, 0, ALL, false, false},
        {"both ends of the space", 400, 0, 1, 0, ALL, false, true},
        {"one slot of 4096", 3000, UINT64_C(7) << 52, UINT64_C(1) << 40, 0, BBHASH, false, false},
        {"all slots there are", 3000, UINT64_C(7) << 52, UINT64_C(1) << 40, 0, ALL, true, false},
        {"an eighth of the space", 2000, UINT64_C(1) << 63, UINT64_C(1) << 50, 0, ALL, false,
         false},
        {"a hash for each slot", 4096, 5, UINT64_C(1) << 52, 0, ALL, false, false},
        {"too close for narrower groups", 1000, 0, UINT64_C(1) << 40, 0, RECSPLIT | BBHASH, false,
         false},
        {"no high bits but one", 1000, UINT64_C(1) << 63, 3, 0, RECSPLIT | BBHASH, false, false},
        {"equal hashes", 200, 77, 0, 3, ALL, false, false},
        {"equal hashes, more than a group", 256, 77, 0, 1, RECSPLIT | BBHASH, false, false},
        {"equal hashes, more than a bucket", LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX + 1, 77, 0, 1,
         BBHASH, false, false},
};

static void set_fill(const struct set *set, struct model *model, uint64_t *seed)
{
        uint64_t slots[LANEMAP_SLOT_WORDS] = {0};

        slots[set->first >> 58] = UINT64_C(1) << (set->first >> 52 & 63);
        if (!set->one_slot)
                slots_all(slots);
        model_init(model, set->ext_step ? 80 : 64, slots, set->n);
        for (size_t i = 0; i < set->n; i++) {
                struct lanemap_fingerprint fp = {.hash = set->first + i * set->step,
                                                 .ext = (uint32_t)i * set->ext_step};

                if (set->mirrored && i >= set->n / 2)
                        fp.hash = UINT64_MAX - (set->n - 1 - i) * set->step;
                model_add(model, fp, i % 3, ids_random(i % 3, 1000, seed));
        }
}

/* Return: whether it was built. */
static bool set_run(const struct set *set, uint32_t kind, uint32_t filter, uint64_t seed)
{
        struct built built;
        struct model model;
        int r;

        set_fill(set, &model, &seed);
        model.kind = kind;
        model.options.filter = filter;
        r = model_build(&model, &built);
        cr_assert(r == 0 || r == -ERANGE, "%s, kind %u, filter %u: %d", set->what, kind, filter, r);
        if (r == 0) {
                free(built.bytes);
                expect_same(&model, &seed);
        }
        model_deinit(&model);
        return r == 0;
}

static void sets_run(uint32_t k)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(sets); i++)
                for (size_t f = 0; f < LANEMAP_N_ELEMENTS(filter_kinds); f++)
                        cr_expect_eq(set_run(&sets[i], segment_kinds[k], filter_kinds[f], i),
                                     (sets[i].fits >> k & 1) != 0, "%s (%zu), filter %u",
                                     sets[i].what, sets[i].n, filter_kinds[f]);
}

Test(adversarial, packed)
{
        sets_run(0);
}

Test(adversarial, recsplit)
{
        sets_run(1);
}

Test(adversarial, bbhash)
{
        sets_run(2);
}
