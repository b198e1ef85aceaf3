/*
 * Building a RecSplit index. See format.h for the bytes and perfect/recsplit_tree_format.h for the
 * trees.
 *
 * Seeds are searched by trying: the chance that one fits is small but known, and SEEDS_MAX is so
 * far above what uniform keys need that reaching it means they are none: -ERANGE.
 *
 * Source: E. Esposito, T. Mueller Graf, S. Vigna, "RecSplit: Minimal Perfect Hashing via Recursive
 * Splitting", ALENEX 2020.
 */
#include <stdlib.h>
#include <string.h>

#include "segment/perfect/mph_build.h"
#include "segment/perfect/recsplit_read.h"

#define LEAF_DEFAULT   8
#define BUCKET_DEFAULT 100
#define SEEDS_MAX      (1u << 20)

#define COUNT_BITS 12 /* of a part's keys, several in a word: at most five parts */

struct item {
        uint64_t key;
        uint32_t index; /* in the bucket, by fingerprint */
};

struct seed {
        uint32_t n_keys;
        uint32_t x;
};

/* A bucket's place in both lists. */
struct place {
        uint64_t cum;
        uint64_t pos;
};

struct recsplit {
        struct lanemap_mph_method method; /* first */
        const struct lanemap_recsplit_subtree *subtrees;
        uint32_t leaf;
        uint64_t n_keys;
        uint64_t code_bits;
        uint64_t n_places;
        struct lanemap_build_buffer codes;
        struct lanemap_build_buffer places; /* struct place per bucket begun, and the end */
        struct lanemap_build_buffer index;
};

/* One bucket in the making. */
struct search {
        const struct recsplit *recsplit;
        struct seed *seeds; /* the piece: found so far, in preorder */
        uint32_t n_seeds;
        struct item items[LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX];
        struct item moved[LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX];
};

/* ---- trees ---- */

static uint32_t place_of(const struct item *item, uint32_t level, uint32_t x, uint32_t n)
{
        return lanemap_mph_place(item->key, lanemap_recsplit_salt(level, x), n);
}

/* Most seeds fail early: the first half of the keys is tried alone. */
static bool leaf_fits(const struct item *items, uint32_t n, uint32_t level, uint32_t x)
{
        uint32_t half = (n + 1) / 2, taken = 0;

        for (uint32_t i = 0; i < half; i++)
                taken |= 1u << place_of(&items[i], level, x, n);
        if ((uint32_t)__builtin_popcount(taken) != half)
                return false;

        for (uint32_t i = half; i < n; i++)
                taken |= 1u << place_of(&items[i], level, x, n);
        return taken == (1u << n) - 1;
}

static int leaf_search(const struct item *items, uint32_t n, uint32_t level, uint32_t *ret_x)
{
        for (uint32_t x = 0; x < SEEDS_MAX; x++) {
                if (leaf_fits(items, n, level, x)) {
                        *ret_x = x;
                        return 0;
                }
        }

        return -ERANGE;
}

/* place / size for places below 2^12, which is what this costs in the search. */
static uint32_t inverse_of(uint32_t size)
{
        return (1u << 20) / size + 1;
}

static uint32_t part_of(uint32_t place, uint32_t inverse)
{
        return place * inverse >> 20;
}

static int split_search(const struct item *items, uint32_t n, uint32_t size, uint32_t level,
                        uint32_t *ret_x)
{
        uint32_t inverse = inverse_of(size);
        uint64_t wanted = 0;

        for (uint32_t i = 0; i * size < n; i++)
                wanted |= (uint64_t)LANEMAP_MIN(size, n - i * size) << (i * COUNT_BITS);

        for (uint32_t x = 0; x < SEEDS_MAX; x++) {
                uint64_t counts = 0;

                for (uint32_t i = 0; i < n; i++)
                        counts += UINT64_C(1)
                                  << (part_of(place_of(&items[i], level, x, n), inverse) *
                                      COUNT_BITS);
                if (counts == wanted) {
                        *ret_x = x;
                        return 0;
                }
        }

        return -ERANGE;
}

/* Stable, so that the same keys give the same bytes. */
static void split_move(struct search *search, struct item *items, uint32_t n, uint32_t size,
                       uint32_t level, uint32_t x)
{
        uint32_t ends[8] = {0}, inverse = inverse_of(size);

        for (uint32_t i = 0; i * size < n; i++)
                ends[i] = i * size;
        for (uint32_t i = 0; i < n; i++) {
                uint32_t part = part_of(place_of(&items[i], level, x, n), inverse);

                search->moved[ends[part]++] = items[i];
        }
        memcpy(items, search->moved, n * sizeof(*items));
}

/* Seeds of a subtree, in preorder. Recurses as deep as the tree is: ten levels at most. */
static int tree_build(struct search *search, struct item *items, uint32_t n, uint32_t first,
                      uint32_t level, uint32_t *ret_positions)
{
        uint32_t leaf = search->recsplit->leaf, size = lanemap_recsplit_part(leaf, n), x = 0;
        int r = 0;

        if (n > 1) {
                r = n <= leaf ? leaf_search(items, n, level, &x)
                              : split_search(items, n, size, level, &x);
                if (r < 0)
                        return r;
                search->seeds[search->n_seeds++] = (struct seed){.n_keys = n, .x = x};
        }
        if (n <= leaf) {
                for (uint32_t i = 0; i < n; i++)
                        ret_positions[items[i].index] =
                                first + (n > 1 ? place_of(&items[i], level, x, n) : 0);
                return 0;
        }

        split_move(search, items, n, size, level, x);
        for (uint32_t at = 0; at < n && r == 0; at += size)
                r = tree_build(search, items + at, LANEMAP_MIN(size, n - at), first + at, level + 1,
                               ret_positions);

        return r;
}

/* ---- codes ---- */

static int code_put(struct recsplit *recsplit, uint32_t n, const struct seed *seeds,
                    uint64_t n_seeds)
{
        uint64_t fixed_at = recsplit->code_bits;
        uint64_t unary_at = fixed_at + recsplit->subtrees[n].fixed_bits, end = unary_at, need;
        int r;

        for (uint64_t i = 0; i < n_seeds; i++) {
                const struct seed *seed = &seeds[i];

                end += (seed->x >> recsplit->subtrees[seed->n_keys].rice_bits) + 1;
        }
        if (end - recsplit->code_bits > LANEMAP_RECSPLIT_BUCKET_BITS_MAX)
                return -ERANGE;

        need = end / 8 + 17; /* what lanemap_bits_put() may touch */
        if (need > recsplit->codes.n_bytes) {
                r = lanemap_build_buffer_extend(&recsplit->codes, need - recsplit->codes.n_bytes);
                if (r < 0)
                        return r;
        }

        for (uint64_t i = 0; i < n_seeds; i++) {
                const struct seed *seed = &seeds[i];
                uint32_t rice_bits = recsplit->subtrees[seed->n_keys].rice_bits;

                lanemap_bits_put(recsplit->codes.bytes, fixed_at, rice_bits,
                                 seed->x & lanemap_bits_mask(rice_bits));
                fixed_at += rice_bits;
                unary_at += seed->x >> rice_bits;
                recsplit->codes.bytes[unary_at >> 3] |= (unsigned char)(1u << (unary_at & 7));
                unary_at++;
        }

        recsplit->code_bits = end;
        return 0;
}

/* Notes where the next bucket begins. */
static int place_put(struct recsplit *recsplit)
{
        int r = lanemap_build_buffer_extend(&recsplit->places, sizeof(struct place));

        if (r < 0)
                return r;

        ((struct place *)(void *)recsplit->places.bytes)[recsplit->n_places++] =
                (struct place){.cum = recsplit->n_keys, .pos = recsplit->code_bits};
        return 0;
}

static uint64_t recsplit_piece_bytes(const struct lanemap_mph_method *method, uint32_t n)
{
        return n * sizeof(struct seed);
}

static int64_t recsplit_place(const struct lanemap_mph_method *method, const uint64_t *keys,
                              uint32_t n, void *workspace, uint32_t *ret_positions,
                              unsigned char *piece)
{
        struct search *search = workspace;
        int r;

        search->recsplit = (const struct recsplit *)method;
        search->seeds = (struct seed *)(void *)piece;
        search->n_seeds = 0;
        for (uint32_t i = 0; i < n; i++)
                search->items[i] = (struct item){.key = keys[i], .index = i};

        r = tree_build(search, search->items, n, 0, 0, ret_positions);
        return r < 0 ? r : (int64_t)(search->n_seeds * sizeof(struct seed));
}

static int recsplit_append(struct lanemap_mph_method *method, uint32_t n,
                           const unsigned char *piece, uint64_t n_bytes)
{
        struct recsplit *recsplit = LANEMAP_CONTAINER_OF(method, struct recsplit, method);
        int r;

        r = place_put(recsplit);
        if (r == 0)
                r = code_put(recsplit, n, (const struct seed *)(const void *)piece,
                             n_bytes / sizeof(struct seed));

        recsplit->n_keys += n;
        return r;
}

/* ---- the two lists ---- */

struct lists {
        struct lanemap_recsplit_numbers numbers;
        struct lanemap_recsplit_layout layout;
        const struct place *places; /* n_buckets + 1 */
};

static int64_t residual(const struct place *place, uint32_t pos_slope)
{
        return (int64_t)(place->pos - lanemap_recsplit_predicted(place->cum, pos_slope));
}

/* The low bits that make an Elias-Fano list of n numbers up to `last` short. */
static uint32_t low_bits_of(uint64_t last, uint64_t n)
{
        uint32_t bits = last >= n ? lanemap_bits_width(last / n) - 1 : 0;

        return LANEMAP_MIN(bits, LANEMAP_RECSPLIT_LOW_BITS_MAX);
}

static int lists_shape(struct lists *lists)
{
        struct lanemap_recsplit_numbers *numbers = &lists->numbers;
        int64_t cum_step = INT64_MAX, pos_step = INT16_MAX;
        uint64_t n = numbers->n_buckets, slope, cum_last;
        int64_t pos_last;

        slope = (numbers->code_bits << LANEMAP_RECSPLIT_SLOPE_BITS) / numbers->n_keys;
        numbers->pos_slope = (uint32_t)LANEMAP_MIN(slope, UINT16_MAX);
        for (uint64_t i = 0; i < n; i++) {
                const struct place *place = &lists->places[i];
                int64_t cum = (int64_t)(place[1].cum - place->cum);
                int64_t pos = residual(place + 1, numbers->pos_slope) -
                              residual(place, numbers->pos_slope);

                cum_step = LANEMAP_MIN(cum_step, cum);
                pos_step = LANEMAP_MIN(pos_step, pos);
        }

        if (pos_step < INT16_MIN)
                return -ERANGE;

        numbers->cum_step = (uint32_t)cum_step;
        numbers->pos_step = (int32_t)pos_step;
        cum_last = numbers->n_keys - n * numbers->cum_step;
        pos_last = residual(&lists->places[n], numbers->pos_slope) - (int64_t)n * pos_step;
        numbers->cum_low_bits = low_bits_of(cum_last, n + 1);
        numbers->pos_low_bits = low_bits_of((uint64_t)pos_last, n + 1);
        return lanemap_recsplit_layout(numbers, &lists->layout) < 0 ? -ERANGE : 0;
}

static void bit_set(unsigned char *words, uint64_t at)
{
        words[at >> 3] |= (unsigned char)(1u << (at & 7));
}

static void lists_put(const struct lists *lists, unsigned char *index)
{
        const struct lanemap_recsplit_numbers *numbers = &lists->numbers;
        uint32_t cum_bits = numbers->cum_low_bits, pos_bits = numbers->pos_low_bits;

        for (uint64_t i = 0; i <= numbers->n_buckets; i++) {
                const struct place *place = &lists->places[i];
                uint64_t cum = place->cum - i * numbers->cum_step;
                uint64_t pos = (uint64_t)(residual(place, numbers->pos_slope) -
                                          (int64_t)i * numbers->pos_step);
                uint64_t at = lists->layout.lows * 64 + i * (cum_bits + pos_bits);

                lanemap_bits_put(index, at, cum_bits, cum & lanemap_bits_mask(cum_bits));
                lanemap_bits_put(index, at + cum_bits, pos_bits, pos & lanemap_bits_mask(pos_bits));
                cum = (cum >> cum_bits) + i;
                pos = (pos >> pos_bits) + i;
                bit_set(index + lists->layout.cum_high * 8, cum);
                bit_set(index + lists->layout.pos_high * 8, pos);
                if (i % LANEMAP_RECSPLIT_SAMPLE_BUCKETS == 0) {
                        unsigned char *sample = index + i / LANEMAP_RECSPLIT_SAMPLE_BUCKETS *
                                                                LANEMAP_RECSPLIT_SAMPLE_BYTES;

                        lanemap_store_le32(sample, (uint32_t)cum);
                        lanemap_store_le32(sample + 4, (uint32_t)pos);
                }
        }
}

static int recsplit_seal(struct lanemap_mph_method *method,
                         struct lanemap_segment_section_file *header,
                         struct lanemap_build_buffer *ret_index)
{
        struct recsplit *recsplit = LANEMAP_CONTAINER_OF(method, struct recsplit, method);
        const struct lanemap_recsplit_numbers *numbers;
        struct lists lists = {0};
        int r;

        header->recsplit.leaf_entries = htole32(recsplit->leaf);
        *ret_index = recsplit->index;
        if (recsplit->n_keys == 0)
                return 0;

        lists.numbers.n_buckets = (uint32_t)recsplit->n_places;
        lists.numbers.n_keys = (uint32_t)recsplit->n_keys;
        lists.numbers.code_bits = recsplit->code_bits;
        r = place_put(recsplit);
        if (r < 0)
                return r;

        lists.places = (const struct place *)(const void *)recsplit->places.bytes;
        r = lists_shape(&lists);
        if (r < 0)
                return r;

        r = lanemap_build_buffer_extend(&recsplit->index,
                                        lists.layout.n_words * 8 + LANEMAP_BITS_PADDING);
        if (r < 0)
                return r;

        recsplit->index.n_bytes = lists.layout.n_words * 8;
        lists_put(&lists, recsplit->index.bytes);
        memcpy(recsplit->index.bytes + lists.layout.codes * 8, recsplit->codes.bytes,
               (recsplit->code_bits + 7) / 8);

        numbers = &lists.numbers;
        header->recsplit.cum_low_bits = (uint8_t)numbers->cum_low_bits;
        header->recsplit.pos_low_bits = (uint8_t)numbers->pos_low_bits;
        header->recsplit.pos_slope = htole16((uint16_t)numbers->pos_slope);
        header->recsplit.cum_step = htole32(numbers->cum_step);
        header->recsplit.pos_step = (int32_t)htole32((uint32_t)numbers->pos_step);
        header->recsplit.code_bits = htole64(numbers->code_bits);
        *ret_index = recsplit->index;
        return 0;
}

static void recsplit_free(struct lanemap_mph_method *method)
{
        struct recsplit *recsplit = LANEMAP_CONTAINER_OF(method, struct recsplit, method);

        lanemap_free(recsplit->codes.bytes);
        lanemap_free(recsplit->places.bytes);
        lanemap_free(recsplit->index.bytes);
        lanemap_free(recsplit);
}

static int method_new(const struct lanemap_segment_build_options *options,
                      struct lanemap_mph_method **ret_method)
{
        uint32_t leaf = options->leaf_entries ? options->leaf_entries : LEAF_DEFAULT;
        uint32_t bucket = options->bucket_entries ? options->bucket_entries : BUCKET_DEFAULT;
        struct recsplit *recsplit;

        if (leaf < LANEMAP_RECSPLIT_LEAF_MIN || leaf > LANEMAP_RECSPLIT_LEAF_MAX ||
            bucket > LANEMAP_RECSPLIT_BUCKET_MAX)
                return -EINVAL;

        recsplit = lanemap_alloc_zero(sizeof(*recsplit));
        if (!recsplit)
                return -ENOMEM;

        recsplit->method = (struct lanemap_mph_method){
                .place = recsplit_place,
                .piece_bytes = recsplit_piece_bytes,
                .append = recsplit_append,
                .seal = recsplit_seal,
                .free = recsplit_free,
                .workspace_bytes = sizeof(struct search),
                .bucket_entries = bucket,
                .bucket_entries_max = LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX,
        };
        recsplit->leaf = leaf;
        recsplit->subtrees = lanemap_recsplit_subtrees[leaf - LANEMAP_RECSPLIT_LEAF_MIN];
        *ret_method = &recsplit->method;
        return 0;
}

/* ---- the row ---- */

static int recsplit_build(struct lanemap_heap *heap,
                          const struct lanemap_segment_build_options *options,
                          struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built)
{
        return lanemap_mph_build(heap, options, method_new, cursor, ret_built);
}

static int recsplit_verify_index(const struct lanemap_segment *segment,
                                 struct lanemap_segment_report *report)
{
        return lanemap_mph_verify_buckets(segment, &lanemap_recsplit_ops, report);
}

const struct lanemap_segment_build_ops lanemap_recsplit_build_ops = {
        .build = recsplit_build,
        .sizes = lanemap_mph_sizes,
        .verify_index = recsplit_verify_index,
        .reserved_off = offsetof(struct lanemap_segment_section_file, recsplit.reserved),
};
