/*
 * The slow, obvious model: an array of entries, sorted; and what the segment tests share. Each test
 * process makes its own; nothing here is freed before the process ends except by model_deinit().
 */
#ifndef LANEMAP_TESTS_SEGMENT_MODEL_H
#define LANEMAP_TESTS_SEGMENT_MODEL_H

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "segment/build.h"
#include "segment/read.h"

struct model {
        struct lanemap_cursor cursor; /* first */
        struct lanemap_entry *entries;
        size_t n_entries;
        size_t position;
        uint32_t fingerprint_bits;
        uint32_t kind;                                /* of the section that is built */
        struct lanemap_segment_build_options options; /* what is not said elsewhere here */
        uint64_t slots[LANEMAP_SLOT_WORDS];
};

/* A section in a block of exactly its size, so that ASan sees every byte read past it. */
struct built {
        unsigned char *bytes;
        size_t n_bytes;
        struct lanemap_segment_built counts;
};

static inline uint64_t random_next(uint64_t *seed)
{
        uint64_t x = *seed += UINT64_C(0x9e3779b97f4a7c15);

        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

static inline void slots_all(uint64_t *slots)
{
        memset(slots, 0xff, LANEMAP_SLOT_WORDS * sizeof(*slots));
}

static inline bool slots_have(const uint64_t *slots, uint32_t slot)
{
        return slots[slot >> 6] >> (slot & 63) & 1;
}

/* n different slots. */
static inline void slots_random(uint64_t *slots, uint32_t n, uint64_t *seed)
{
        memset(slots, 0, LANEMAP_SLOT_WORDS * sizeof(*slots));
        while (n > 0) {
                uint32_t slot = (uint32_t)(random_next(seed) % LANEMAP_N_SLOTS);

                if (slots_have(slots, slot))
                        continue;
                slots[slot >> 6] |= UINT64_C(1) << (slot & 63);
                n--;
        }
}

static inline uint32_t slot_pick(const uint64_t *slots, uint64_t *seed)
{
        uint32_t slot;

        do {
                slot = (uint32_t)(random_next(seed) % LANEMAP_N_SLOTS);
        } while (!slots_have(slots, slot));

        return slot;
}

static inline int model_next(struct lanemap_cursor *cursor, struct lanemap_entry *ret_entry)
{
        struct model *model = (struct model *)cursor;

        if (model->position == model->n_entries)
                return LANEMAP_CURSOR_END;

        *ret_entry = model->entries[model->position++];
        return 0;
}

static inline int model_rewind(struct lanemap_cursor *cursor)
{
        ((struct model *)cursor)->position = 0;
        return 0;
}

static inline void model_init(struct model *model, uint32_t fingerprint_bits, const uint64_t *slots,
                              size_t capacity)
{
        *model = (struct model){.cursor = {.next = model_next, .rewind = model_rewind},
                                .fingerprint_bits = fingerprint_bits,
                                .kind = LANEMAP_SEGMENT_KIND_PACKED};
        memcpy(model->slots, slots, sizeof(model->slots));
        model->entries = calloc(capacity + 1, sizeof(*model->entries));
        cr_assert(model->entries);
}

static inline void model_deinit(struct model *model)
{
        for (size_t i = 0; i < model->n_entries; i++)
                free((void *)(uintptr_t)model->entries[i].ids);
        free(model->entries);
}

static inline bool entry_equal(const struct lanemap_entry *a, const struct lanemap_entry *b)
{
        return lanemap_fingerprint_equal(a->fingerprint, b->fingerprint) && a->n_ids == b->n_ids &&
               (a->n_ids == 0 || memcmp(a->ids, b->ids, a->n_ids * sizeof(*a->ids)) == 0);
}

/* All entries of a cursor, read in batches of all sizes, are these. Looks at a batch when it has
 * it whole. */
static inline void expect_batches(struct lanemap_cursor *cursor,
                                  const struct lanemap_entry *expected, size_t n_expected)
{
        struct lanemap_entry entries[LANEMAP_CURSOR_BATCH];
        uint32_t n, n_max = LANEMAP_CURSOR_BATCH;
        size_t n_seen = 0;
        int r;

        cr_assert_eq(cursor->rewind(cursor), 0);
        while ((r = cursor->next_batch(cursor, entries, n_max, &n)) == 0) {
                cr_assert(n >= 1 && n <= n_max && n <= n_expected - n_seen);
                for (uint32_t i = 0; i < n; i++)
                        cr_assert(entry_equal(&entries[i], &expected[n_seen + i]), "entry %zu",
                                  n_seen + i);
                n_seen += n;
                n_max = (n_max + 13) % LANEMAP_CURSOR_BATCH + 1;
        }
        cr_assert_eq(r, LANEMAP_CURSOR_END);
        cr_assert_eq(n_seen, n_expected);
}

/* n_ids ids, ascending, spread over [0, span). */
static inline uint32_t *ids_random(uint32_t n_ids, uint64_t span, uint64_t *seed)
{
        uint32_t *ids = malloc(((size_t)n_ids + 1) * sizeof(*ids));
        uint64_t step = n_ids ? span / n_ids : 0;

        cr_assert(ids);
        for (uint32_t i = 0; i < n_ids; i++)
                ids[i] = (uint32_t)(i * step + random_next(seed) % step);
        return ids;
}

static inline void model_add(struct model *model, struct lanemap_fingerprint fp, uint32_t n_ids,
                             uint32_t *ids)
{
        model->entries[model->n_entries++] =
                (struct lanemap_entry){.fingerprint = fp, .n_ids = n_ids, .ids = ids};
}

static inline int entry_compare(const void *a, const void *b)
{
        return lanemap_fingerprint_compare(((const struct lanemap_entry *)a)->fingerprint,
                                           ((const struct lanemap_entry *)b)->fingerprint);
}

/* Sorts, and drops all but the first of equals. */
static inline void model_sort(struct model *model)
{
        size_t n = 0;

        qsort(model->entries, model->n_entries, sizeof(*model->entries), entry_compare);
        for (size_t i = 0; i < model->n_entries; i++) {
                if (n > 0 && entry_compare(&model->entries[n - 1], &model->entries[i]) == 0)
                        free((void *)(uintptr_t)model->entries[i].ids);
                else
                        model->entries[n++] = model->entries[i];
        }
        model->n_entries = n;
}

static inline struct lanemap_fingerprint fingerprint_random(const struct model *model,
                                                            uint64_t *seed)
{
        struct lanemap_fingerprint fp;
        uint32_t ext_bits = lanemap_fingerprint_ext_bits(model->fingerprint_bits);

        fp.hash = (uint64_t)slot_pick(model->slots, seed) << LANEMAP_SLOT_LOW_BITS |
                  (random_next(seed) & LANEMAP_SLOT_LOW_MASK);
        fp.ext = (uint32_t)(random_next(seed) & lanemap_bits_mask(ext_bits));
        return fp;
}

/* Each kind of section, and of filter (0: none). */
static const uint32_t segment_kinds[] = {LANEMAP_SEGMENT_KIND_PACKED, LANEMAP_SEGMENT_KIND_RECSPLIT,
                                         LANEMAP_SEGMENT_KIND_BBHASH};
static const uint32_t filter_kinds[] = {LANEMAP_FILTER_NONE, LANEMAP_FILTER_FUSE8,
                                        LANEMAP_FILTER_XOR8};

enum ids_mix { IDS_SINGLE, IDS_WITH_TOMBSTONES, IDS_LISTS, IDS_ALL };

static inline void model_fill(struct model *model, size_t n, enum ids_mix mix, uint64_t span,
                              uint64_t *seed)
{
        static const uint32_t lengths[] = {2, 3, 4, 5, 17, 127, 128, 129, 300};

        while (model->n_entries < n) {
                struct lanemap_fingerprint fp = fingerprint_random(model, seed);
                uint64_t dice = random_next(seed) % 100;
                uint32_t n_ids = 1;

                if ((mix == IDS_WITH_TOMBSTONES || mix == IDS_ALL) && dice < 10)
                        n_ids = 0;
                else if ((mix == IDS_LISTS || mix == IDS_ALL) && dice < 20)
                        n_ids = lengths[random_next(seed) % LANEMAP_N_ELEMENTS(lengths)];
                model_add(model, fp, n_ids, ids_random(n_ids, LANEMAP_MAX(span, n_ids), seed));
                if (model->n_entries == n)
                        model_sort(model);
        }
        model_sort(model);
}

/* A model of n entries in 64 slots: to be built as a section of this kind, with that filter. */
static inline void model_filled(struct model *model, uint32_t kind, uint32_t filter,
                                uint32_t fingerprint_bits, size_t n, enum ids_mix mix,
                                uint64_t *seed)
{
        uint64_t slots[LANEMAP_SLOT_WORDS];

        slots_random(slots, 64, seed);
        model_init(model, fingerprint_bits, slots, n);
        model->kind = kind;
        model->options.filter = filter;
        model_fill(model, n, mix, 100000, seed);
}

static inline int model_build(struct model *model, struct built *ret_built)
{
        struct lanemap_segment_build_options options = model->options;
        struct lanemap_heap *heap = lanemap_heap_new();
        int r;

        cr_assert(heap);
        options.kind = model->kind;
        options.fingerprint_bits = model->fingerprint_bits;
        options.slot_bitmap = model->slots;
        r = lanemap_segment_build(heap, &options, &model->cursor, &ret_built->counts);
        if (r == 0) {
                ret_built->n_bytes = ret_built->counts.n_bytes;
                ret_built->bytes = malloc(ret_built->n_bytes);
                cr_assert(ret_built->bytes);
                memcpy(ret_built->bytes, ret_built->counts.bytes, ret_built->n_bytes);
                ret_built->counts.bytes = ret_built->bytes;
        }
        lanemap_heap_free(heap);
        return r;
}

static inline const struct lanemap_entry *model_find(const struct model *model,
                                                     struct lanemap_fingerprint fp)
{
        struct lanemap_entry key = {.fingerprint = fp};

        return bsearch(&key, model->entries, model->n_entries, sizeof(key), entry_compare);
}

#define SECTION_OFF(member) offsetof(struct lanemap_segment_section_file, member)

/* Makes the check value of a section's header right, whatever the header says. */
static inline void section_sign(unsigned char *bytes)
{
        lanemap_store_le64(bytes + SECTION_OFF(check), 0);
        lanemap_store_le64(
                bytes + SECTION_OFF(check),
                lanemap_segment_check_of(bytes, sizeof(struct lanemap_segment_section_file)));
}

static inline int section_open(const struct built *built, uint32_t fingerprint_bits,
                               struct lanemap_segment *ret_segment)
{
        return lanemap_segment_open(ret_segment, built->bytes, built->n_bytes, fingerprint_bits);
}

/* A cursor over a section with memory of its own; cursor_deinit() gives it back. */
static inline int cursor_init(struct lanemap_segment_cursor *cursor,
                              const struct lanemap_segment *segment)
{
        /* Room for one list in a batch, or for some. */
        size_t ids_capacity = (size_t)segment->ids_max * (1 + segment->n_keys % 3);
        uint32_t *ids = malloc((ids_capacity + 1) * sizeof(*ids));
        size_t scratch_bytes = lanemap_segment_cursor_scratch_bytes(segment);
        void *scratch = scratch_bytes ? malloc(scratch_bytes) : NULL;

        cr_assert(ids);
        return lanemap_segment_cursor_init(cursor, segment, NULL, ids, ids_capacity, scratch);
}

static inline void cursor_deinit(struct lanemap_segment_cursor *cursor)
{
        free(cursor->ids);
        free(cursor->bucket);
}

#endif
