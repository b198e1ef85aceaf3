/* What must hold of a section, whatever its kind, against the model; and cursors that misbehave. */
#ifndef LANEMAP_TESTS_SEGMENT_EXPECT_H
#define LANEMAP_TESTS_SEGMENT_EXPECT_H

#include "model.h"

#include "segment/verify.h"
#include "support/plain_segment.h"

static uint32_t scratch[8192];

static inline bool posting_is(const struct lanemap_segment_posting *a,
                              const struct lanemap_segment_posting *b)
{
        return a->n_ids == b->n_ids && a->id == b->id && a->bytes == b->bytes;
}

/* A lookup, whose answer in plain C must be the same. */
static inline int find(const struct lanemap_segment *segment, struct lanemap_fingerprint fp,
                       uint32_t rank, struct lanemap_segment_posting *ret_posting)
{
        struct lanemap_segment_posting plain;
        int r = lanemap_segment_find(segment, fp, rank, ret_posting);

        cr_assert_eq(plain_segment_find(segment, fp, rank, &plain), r);
        cr_assert(r != 0 || posting_is(ret_posting, &plain));
        return r;
}

static inline void expect_found(const struct lanemap_segment *segment,
                                const struct lanemap_entry *entry, uint32_t rank)
{
        struct lanemap_segment_posting posting;
        uint32_t n = entry->n_ids;

        cr_assert_eq(find(segment, entry->fingerprint, rank, &posting), 0);
        cr_assert_eq(posting.n_ids, n);
        cr_assert_eq(lanemap_segment_posting_copy(&posting, scratch), 0);
        cr_assert(n == 0 || memcmp(scratch, entry->ids, n * sizeof(*scratch)) == 0);
        for (uint32_t i = 0; i < n; i += 1 + n / 7) {
                cr_assert_eq(lanemap_segment_posting_contains(&posting, entry->ids[i]), 1);
                cr_assert_eq(lanemap_segment_posting_contains(&posting, entry->ids[i] + 1),
                             i + 1 < n && entry->ids[i + 1] == entry->ids[i] + 1);
        }
}

/* A fingerprint that the model may or may not know; both must agree. */
static inline void expect_agreement(const struct lanemap_segment *segment,
                                    const struct model *model, struct lanemap_fingerprint fp)
{
        const struct lanemap_entry *entry = model_find(model, fp);
        struct lanemap_segment_posting posting;

        if (entry)
                expect_found(segment, entry, LANEMAP_SEGMENT_RANK_UNKNOWN);
        else
                cr_assert_eq(find(segment, fp, LANEMAP_SEGMENT_RANK_UNKNOWN, &posting),
                             LANEMAP_SEGMENT_E_ABSENT);
}

static inline void expect_near_misses(const struct lanemap_segment *segment,
                                      const struct model *model, struct lanemap_fingerprint fp)
{
        for (uint32_t bit = 0; bit < model->fingerprint_bits; bit++) {
                struct lanemap_fingerprint other = fp;

                if (bit < 64)
                        other.hash ^= UINT64_C(1) << bit;
                else
                        other.ext ^= 1u << (bit - 64);
                expect_agreement(segment, model, other);
        }
}

/* A cursor over one slot: what the model has there, twice; and nothing of a slot that is empty or
 * not the section's. */
static inline void expect_slot(const struct lanemap_segment *segment, const struct model *model,
                               uint32_t slot)
{
        struct lanemap_segment_cursor all, cursor;
        struct lanemap_entry entry;

        cr_assert_eq(cursor_init(&all, segment), 0);
        cr_assert_eq(lanemap_segment_cursor_init_slot(&cursor, segment, slot, all.ids,
                                                      all.ids_capacity, all.bucket),
                     0);
        for (int round = 0; round < 2; round++) {
                for (size_t n = 0; n < model->n_entries; n++) {
                        if (lanemap_slot_of(model->entries[n].fingerprint.hash) != slot)
                                continue;
                        cr_assert_eq(cursor.cursor.next(&cursor.cursor, &entry), 0);
                        cr_assert(entry_equal(&entry, &model->entries[n]), "slot %u", slot);
                }
                cr_assert_eq(cursor.cursor.next(&cursor.cursor, &entry), LANEMAP_CURSOR_END);
                cr_assert_eq(cursor.cursor.rewind(&cursor.cursor), 0);
        }
        cursor_deinit(&all);
}

static inline void expect_slots(const struct lanemap_segment *segment, const struct model *model)
{
        uint32_t last = UINT32_MAX;

        expect_slot(segment, model, 0);
        expect_slot(segment, model, LANEMAP_N_SLOTS - 1);
        for (size_t i = 0; i < model->n_entries; i += 1 + model->n_entries / 50) {
                uint32_t slot = lanemap_slot_of(model->entries[i].fingerprint.hash);

                if (slot != last)
                        expect_slot(segment, model, slot);
                last = slot;
                expect_slot(segment, model, (slot + 1) % LANEMAP_N_SLOTS);
        }
}

static inline void expect_iteration(const struct lanemap_segment *segment,
                                    const struct model *model)
{
        struct lanemap_segment_cursor cursor;
        struct lanemap_entry entry;
        size_t n = 0;

        cr_assert_eq(cursor_init(&cursor, segment), 0);
        while (cursor.cursor.next(&cursor.cursor, &entry) == 0) {
                cr_assert_lt(n, model->n_entries);
                cr_assert(entry_equal(&entry, &model->entries[n]), "entry %zu", n);
                n++;
        }
        cr_assert_eq(n, model->n_entries);
        cr_assert_eq(cursor.cursor.next(&cursor.cursor, &entry), LANEMAP_CURSOR_END);
        expect_batches(&cursor.cursor, model->entries, model->n_entries);
        cursor_deinit(&cursor);
}

struct walked {
        struct lanemap_fingerprint *fps;
        size_t n;
};

static inline int walked_add(void *arg, struct lanemap_fingerprint fp)
{
        struct walked *walked = arg;

        walked->fps[walked->n++] = fp;
        return 0;
}

static inline int fingerprint_order(const void *a, const void *b)
{
        const struct lanemap_fingerprint *left = a, *right = b;

        return lanemap_fingerprint_compare(*left, *right);
}

/* The walk gives the same fingerprints, in any order. */
static inline void expect_walk(const struct lanemap_segment *segment, const struct model *model)
{
        struct walked walked = {.fps = calloc(model->n_entries + 1, sizeof(*walked.fps))};

        cr_assert_eq(lanemap_segment_walk(segment, walked_add, &walked), 0);
        cr_assert_eq(walked.n, model->n_entries);
        qsort(walked.fps, walked.n, sizeof(*walked.fps), fingerprint_order);
        for (size_t i = 0; i < walked.n; i++)
                cr_assert(lanemap_fingerprint_equal(walked.fps[i], model->entries[i].fingerprint));
        free(walked.fps);
}

static inline void expect_same(struct model *model, uint64_t *seed)
{
        size_t step = 1 + model->n_entries / 3000;
        struct lanemap_segment_report report;
        struct lanemap_segment segment;
        struct built built;

        cr_assert_eq(model_build(model, &built), 0);
        cr_assert_eq(
                lanemap_segment_open(&segment, built.bytes, built.n_bytes, model->fingerprint_bits),
                0);
        cr_assert_eq(segment.n_keys, model->n_entries);
        cr_assert_eq(built.counts.n_keys, model->n_entries);

        for (size_t i = 0; i < model->n_entries; i += step) {
                const struct lanemap_entry *entry = &model->entries[i];
                uint32_t slot = lanemap_slot_of(entry->fingerprint.hash);

                expect_found(&segment, entry, LANEMAP_SEGMENT_RANK_UNKNOWN);
                expect_found(&segment, entry, lanemap_segment_rank(&segment, slot));
                if (i % 16 == 0)
                        expect_near_misses(&segment, model, entry->fingerprint);
        }
        for (int i = 0; i < 2000; i++) {
                struct lanemap_fingerprint fp = {.hash = random_next(seed)};

                expect_agreement(&segment, model, fp);
                expect_agreement(&segment, model, fingerprint_random(model, seed));
        }
        expect_iteration(&segment, model);
        expect_slots(&segment, model);
        expect_walk(&segment, model);
        cr_assert_eq(lanemap_segment_verify(built.bytes, built.n_bytes, model->fingerprint_bits,
                                            &report),
                     0, "%s at %llu", report.what, (unsigned long long)report.offset);
        cr_assert_eq(report.n_pairs, built.counts.n_pairs);
        free(built.bytes);
}

/* A model of that size, filled: as many ids and bits of ids as `mix` and `span` say. */
static inline void size_run(uint32_t kind, uint32_t fingerprint_bits, uint32_t n_slots, size_t n,
                            enum ids_mix mix, uint64_t *seed)
{
        uint64_t slots[LANEMAP_SLOT_WORDS];
        struct model model;

        if (n_slots == LANEMAP_N_SLOTS)
                slots_all(slots);
        else
                slots_random(slots, n_slots, seed);
        model_init(&model, fingerprint_bits, slots, n);
        model.kind = kind;
        model_fill(&model, n, mix, n % 2 ? 1000 : UINT64_C(0xffffffff), seed);
        expect_same(&model, seed);
        model_deinit(&model);
}

/* Few, around the numbers at which a kind has one group, node, level or bucket more, and many. */
static inline void sizes_run(uint32_t kind, uint32_t fingerprint_bits, uint32_t n_slots)
{
        static const size_t few[] = {0, 1, 2, 3, 7, 8, 9, 511, 1000};
        static const size_t boundaries[][12] = {
                /* groups of 48 to 96; 255 in one */
                [LANEMAP_SEGMENT_KIND_PACKED] = {47, 48, 49, 95, 96, 97, 191, 192, 193, 255, 256,
                                                 257},
                /* parts of 32 and 96 keys; buckets of 100 */
                [LANEMAP_SEGMENT_KIND_RECSPLIT] = {31, 32, 33, 95, 96, 97, 99, 100, 101, 199, 200,
                                                   201},
                /* blocks of 496 bits, two a key and what the levels add; buckets of 2048 */
                [LANEMAP_SEGMENT_KIND_BBHASH] = {15, 16, 17, 149, 150, 151, 2047, 2048, 2049, 4095,
                                                 4096, 4097},
        };
        uint64_t seed = fingerprint_bits * 1000 + n_slots;

        for (int mix = IDS_SINGLE; mix <= IDS_ALL; mix++) {
                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(few); i++)
                        size_run(kind, fingerprint_bits, n_slots, few[i], (enum ids_mix)mix, &seed);
                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(boundaries[0]); i++)
                        size_run(kind, fingerprint_bits, n_slots, boundaries[kind][i],
                                 (enum ids_mix)mix, &seed);
        }
        size_run(kind, fingerprint_bits, n_slots, 100000, n_slots == 1 ? IDS_SINGLE : IDS_ALL,
                 &seed);
}

static inline void consecutive(struct model *model, size_t n, uint64_t first, uint64_t step,
                               uint64_t *seed)
{
        uint64_t slots[LANEMAP_SLOT_WORDS];

        slots_all(slots);
        model_init(model, 64, slots, n);
        for (size_t i = 0; i < n; i++)
                model_add(model, (struct lanemap_fingerprint){.hash = first + i * step}, 1,
                          ids_random(1, 1000, seed));
}

/* A cursor that changes its mind between the passes. */
struct fickle {
        struct lanemap_cursor cursor;
        struct model *first;
        struct model *second;
        struct model *now;
        int fail_at; /* rewinds before rewinding fails */
};

static inline int fickle_next(struct lanemap_cursor *cursor, struct lanemap_entry *ret_entry)
{
        struct fickle *fickle = (struct fickle *)cursor;

        return model_next(&fickle->now->cursor, ret_entry);
}

static inline int fickle_rewind(struct lanemap_cursor *cursor)
{
        struct fickle *fickle = (struct fickle *)cursor;

        if (fickle->fail_at-- == 0)
                return -EIO;

        fickle->now = fickle->now ? fickle->second : fickle->first;
        return model_rewind(&fickle->now->cursor);
}

#endif
