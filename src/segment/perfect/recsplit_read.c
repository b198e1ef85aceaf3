/*
 * See perfect/recsplit_read.h.
 *
 * The index is foreign bytes. Every word that is read lies between the first and the last word of
 * its array; a search for a set bit gives up after SCAN_WORDS_MAX words; a tree has as many levels
 * as its number of keys allows, and that number is at most 1024.
 */
#include "segment/section_read.h"

/* More than 64 buckets of an honest section can span. */
#define SCAN_WORDS_MAX 2048

static uint64_t word_at(const unsigned char *index, uint64_t word)
{
        return lanemap_load_le64(index + word * 8);
}

/*
 * The place of the set bit that comes after `skip` others, from bit `from` on, in the words up to
 * `end`. Return: 0. Errors: -EBADMSG there is none, or it is too far away.
 */
static int bit_find(const unsigned char *index, uint64_t end, uint64_t from, uint32_t skip,
                    uint64_t *ret_at)
{
        uint64_t word = from >> 6, bits;

        if (LANEMAP_UNLIKELY(word >= end))
                return -EBADMSG;

        bits = word_at(index, word) & UINT64_MAX << (from & 63);
        for (uint32_t i = 0; i < SCAN_WORDS_MAX; i++) {
                uint32_t n = lanemap_mph_popcount(bits);

                if (n > skip) {
                        *ret_at = word * 64 + lanemap_mph_select(bits, skip);
                        return 0;
                }
                skip -= n;
                if (LANEMAP_UNLIKELY(++word == end))
                        return -EBADMSG;
                bits = word_at(index, word);
        }

        return -EBADMSG;
}

static uint64_t words_of(uint64_t n_bits)
{
        return (n_bits + 63) / 64;
}

int lanemap_recsplit_layout(const struct lanemap_recsplit_numbers *numbers,
                            struct lanemap_recsplit_layout *ret_layout)
{
        uint64_t n = numbers->n_buckets, n_samples = n / LANEMAP_RECSPLIT_SAMPLE_BUCKETS + 1;
        uint32_t low_bits = numbers->cum_low_bits + numbers->pos_low_bits;
        uint64_t cum_last = numbers->n_keys - n * numbers->cum_step;
        uint64_t predicted = lanemap_recsplit_predicted(numbers->n_keys, numbers->pos_slope);
        uint64_t pos_last = numbers->code_bits - predicted - n * (uint64_t)numbers->pos_step;

        /* A wrapped number is far above these limits. */
        if (numbers->cum_low_bits > LANEMAP_RECSPLIT_LOW_BITS_MAX ||
            numbers->pos_low_bits > LANEMAP_RECSPLIT_LOW_BITS_MAX ||
            numbers->cum_step > LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX ||
            numbers->pos_slope > UINT16_MAX || numbers->pos_step < INT16_MIN ||
            numbers->pos_step > INT16_MAX || numbers->code_bits > UINT64_C(1) << 37 ||
            cum_last > UINT32_MAX || pos_last > UINT64_C(1) << 50)
                return -EBADMSG;

        ret_layout->lows = n_samples * LANEMAP_RECSPLIT_SAMPLE_BYTES / 8;
        ret_layout->cum_high = ret_layout->lows + words_of((n + 1) * low_bits);
        ret_layout->pos_high =
                ret_layout->cum_high + words_of((cum_last >> numbers->cum_low_bits) + n + 1);
        ret_layout->codes =
                ret_layout->pos_high + words_of((pos_last >> numbers->pos_low_bits) + n + 1);
        ret_layout->n_words = ret_layout->codes + words_of(numbers->code_bits);
        return ret_layout->n_words > UINT32_MAX ? -EBADMSG : 0;
}

/* The next set bit: the same with nothing to skip, which is most of what is asked. */
static int bit_next(const unsigned char *index, uint64_t end, uint64_t from, uint64_t *ret_at)
{
        uint64_t word = from >> 6, bits;

        if (LANEMAP_UNLIKELY(word >= end))
                return -EBADMSG;

        bits = word_at(index, word) & UINT64_MAX << (from & 63);
        if (LANEMAP_UNLIKELY(bits == 0))
                return bit_find(index, end, from, 0, ret_at);

        *ret_at = word * 64 + (uint32_t)__builtin_ctzll(bits);
        return 0;
}

/* The unary parts of both lists at a bucket, and the first one's at the next. */
static int bucket_highs(const struct lanemap_recsplit *recsplit, uint32_t bucket, uint64_t *ret_cum,
                        uint64_t *ret_cum_next, uint64_t *ret_pos)
{
        const unsigned char *index = recsplit->mph.index;
        uint64_t sample = word_at(index, bucket / LANEMAP_RECSPLIT_SAMPLE_BUCKETS);
        uint64_t cum_at = (uint64_t)recsplit->cum_high * 64, cum, next, pos;
        uint64_t pos_at = (uint64_t)recsplit->pos_high * 64;
        uint32_t skip = bucket % LANEMAP_RECSPLIT_SAMPLE_BUCKETS;
        int r;

        r = bit_find(index, recsplit->pos_high, cum_at + (sample & UINT32_MAX), skip, &cum);
        if (r < 0)
                return r;

        r = bit_next(index, recsplit->pos_high, cum + 1, &next);
        if (r < 0)
                return r;

        r = bit_find(index, recsplit->codes, pos_at + (sample >> 32), skip, &pos);
        if (r < 0)
                return r;

        /* From the sample on there is a bit for each bucket; before it, the sample is believed. */
        *ret_cum = cum - cum_at - bucket;
        *ret_cum_next = next - cum_at - bucket - 1;
        *ret_pos = pos - pos_at - bucket;
        return 0;
}

/* The entries of a bucket, and the first bit of its code (from the first code). Return: 0.
 * Errors: -EBADMSG. Cost: in cache, 15 ns. */
static int recsplit_bucket(const struct lanemap_recsplit *recsplit, uint32_t bucket,
                           struct lanemap_mph_bucket *ret_bucket, uint64_t *ret_code_at)
{
        uint32_t cum_bits = recsplit->cum_low_bits, pos_bits = recsplit->pos_low_bits;
        uint64_t at = bucket * (uint64_t)(cum_bits + pos_bits), cum, next, pos, lows;
        uint64_t n_samples = recsplit->mph.n_buckets / LANEMAP_RECSPLIT_SAMPLE_BUCKETS + 1;
        int r;

        r = bucket_highs(recsplit, bucket, &cum, &next, &pos);
        if (LANEMAP_UNLIKELY(r < 0))
                return r;

        lows = lanemap_bits_get(recsplit->mph.index + n_samples * LANEMAP_RECSPLIT_SAMPLE_BYTES, at,
                                cum_bits + pos_bits + cum_bits);
        cum = (cum << cum_bits | (lows & lanemap_bits_mask(cum_bits))) +
              bucket * (uint64_t)recsplit->cum_step;
        next = (next << cum_bits | lows >> (cum_bits + pos_bits)) +
               (bucket + UINT64_C(1)) * recsplit->cum_step;
        pos = (pos << pos_bits | (lows >> cum_bits & lanemap_bits_mask(pos_bits))) +
              lanemap_recsplit_predicted(cum, recsplit->pos_slope) +
              bucket * (uint64_t)recsplit->pos_step;
        if (LANEMAP_UNLIKELY(cum > next || next > recsplit->mph.n_entries ||
                             next - cum > recsplit->mph.bucket_entries_max ||
                             pos > (uint64_t)(recsplit->codes_end - recsplit->codes) * 64))
                return -EBADMSG;

        ret_bucket->first = cum;
        ret_bucket->n = (uint32_t)(next - cum);
        *ret_code_at = pos;
        return 0;
}

/* Walking down a tree: where the next seed's parts are. */
struct walk {
        const struct lanemap_recsplit_subtree *subtrees;
        const unsigned char *index;
        uint64_t end; /* the word after the codes */
        uint64_t fixed_at;
        uint64_t unary_at;
        uint64_t key;
        uint32_t level;
};

/* Reads the seed of the node at hand, of n keys, and places the key with it. */
static int walk_place(struct walk *walk, uint32_t n, uint32_t *ret_place)
{
        uint32_t rice_bits = walk->subtrees[n].rice_bits, x;
        uint64_t one;
        int r;

        r = bit_next(walk->index, walk->end, walk->unary_at, &one);
        if (LANEMAP_UNLIKELY(r < 0))
                return r;

        x = (uint32_t)(one - walk->unary_at) << rice_bits |
            (uint32_t)lanemap_bits_get(walk->index, walk->fixed_at, rice_bits);
        walk->unary_at = one + 1;
        walk->fixed_at += rice_bits;
        *ret_place = lanemap_mph_place(walk->key, lanemap_recsplit_salt(walk->level, x), n);
        walk->level++;
        return 0;
}

/* Passes over n_parts subtrees of n keys each. */
static int walk_skip(struct walk *walk, uint32_t n, uint32_t n_parts)
{
        uint32_t n_seeds = walk->subtrees[n].n_seeds * n_parts;
        uint64_t last;
        int r;

        if (n_seeds == 0)
                return 0;

        r = bit_find(walk->index, walk->end, walk->unary_at, n_seeds - 1, &last);
        if (LANEMAP_UNLIKELY(r < 0))
                return r;

        walk->unary_at = last + 1;
        walk->fixed_at += (uint64_t)walk->subtrees[n].fixed_bits * n_parts;
        return 0;
}

/* Each step goes to a part that is smaller than the whole, so there are at most ten. */
static int walk_down(struct walk *walk, uint32_t leaf, uint32_t n, uint32_t *ret_position)
{
        uint32_t position = 0;

        while (n > 1) {
                uint32_t size = walk->subtrees[n].part, place, part;
                int r;

                r = walk_place(walk, n, &place);
                if (LANEMAP_UNLIKELY(r < 0))
                        return r;
                if (n <= leaf) {
                        position += place;
                        break;
                }

                part = place / size;
                r = walk_skip(walk, size, part);
                if (LANEMAP_UNLIKELY(r < 0))
                        return r;

                position += part * size;
                n = LANEMAP_MIN(size, n - part * size);
        }

        *ret_position = position;
        return 0;
}

/* Which entry a fingerprint can be. Return: 0, LANEMAP_SEGMENT_E_ABSENT. Errors: -EBADMSG. */
static int recsplit_position(const struct lanemap_recsplit *recsplit, uint64_t dense, uint32_t ext,
                             uint64_t *ret_position)
{
        uint32_t position, leaf = recsplit->mph.leaf;
        struct lanemap_mph_bucket bucket;
        struct walk walk;
        uint64_t code_at;
        int r;

        if (recsplit->mph.n_buckets == 0)
                return LANEMAP_SEGMENT_E_ABSENT;

        r = recsplit_bucket(recsplit, lanemap_mph_bucket_of(&recsplit->mph, dense), &bucket,
                            &code_at);
        if (LANEMAP_UNLIKELY(r < 0))
                return r;
        if (bucket.n == 0)
                return LANEMAP_SEGMENT_E_ABSENT;

        walk = (struct walk){
                .subtrees = lanemap_recsplit_subtrees[leaf - LANEMAP_RECSPLIT_LEAF_MIN],
                .index = recsplit->mph.index,
                .end = recsplit->codes_end,
                .fixed_at = (uint64_t)recsplit->codes * 64 + code_at,
                .key = lanemap_mph_key(dense, ext),
        };
        walk.unary_at = walk.fixed_at + walk.subtrees[bucket.n].fixed_bits;
        r = walk_down(&walk, leaf, bucket.n, &position);
        if (LANEMAP_UNLIKELY(r < 0))
                return r;

        *ret_position = bucket.first + position;
        return 0;
}

/* ---- the row ---- */

static int recsplit_open(struct lanemap_segment *segment)
{
        const unsigned char *p = segment->section;
        struct lanemap_recsplit *recsplit = &segment->recsplit;
        struct lanemap_recsplit_numbers numbers;
        struct lanemap_recsplit_layout layout;
        uint32_t leaf = LANEMAP_SECTION32(p, recsplit.leaf_entries);
        int r;

        r = lanemap_mph_open(segment, LANEMAP_RECSPLIT_BUCKET_MAX,
                             LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX, &recsplit->mph);
        if (r < 0)
                return r;

        numbers = (struct lanemap_recsplit_numbers){
                .code_bits = LANEMAP_SECTION64(p, recsplit.code_bits),
                .n_buckets = recsplit->mph.n_buckets,
                .n_keys = segment->n_keys,
                .cum_step = LANEMAP_SECTION32(p, recsplit.cum_step),
                .pos_step = (int32_t)LANEMAP_SECTION32(p, recsplit.pos_step),
                .pos_slope = LANEMAP_SECTION16(p, recsplit.pos_slope),
                .cum_low_bits = LANEMAP_SECTION8(p, recsplit.cum_low_bits),
                .pos_low_bits = LANEMAP_SECTION8(p, recsplit.pos_low_bits),
        };
        r = lanemap_recsplit_layout(&numbers, &layout);
        if (r < 0)
                return r;
        if (leaf < LANEMAP_RECSPLIT_LEAF_MIN || leaf > LANEMAP_RECSPLIT_LEAF_MAX ||
            LANEMAP_SECTION64(p, index_bytes) != (segment->n_keys ? layout.n_words * 8 : 0))
                return -EBADMSG;

        recsplit->mph.leaf = (uint8_t)leaf;
        recsplit->cum_high = (uint32_t)layout.cum_high;
        recsplit->pos_high = (uint32_t)layout.pos_high;
        recsplit->codes = (uint32_t)layout.codes;
        recsplit->codes_end = (uint32_t)layout.n_words;
        recsplit->pos_step = (int16_t)numbers.pos_step;
        recsplit->cum_step = (uint16_t)numbers.cum_step;
        recsplit->pos_slope = (uint16_t)numbers.pos_slope;
        recsplit->cum_low_bits = (uint8_t)numbers.cum_low_bits;
        recsplit->pos_low_bits = (uint8_t)numbers.pos_low_bits;
        return 0;
}

static int recsplit_find(const struct lanemap_segment *segment, uint64_t dense, uint32_t ext,
                         uint64_t *ret_value)
{
        uint64_t position;
        int r;

        r = recsplit_position(&segment->recsplit, dense, ext, &position);
        if (r != 0)
                return r;

        return lanemap_mph_entry_is(&segment->mph, position, dense, ext, ret_value)
                       ? 0
                       : LANEMAP_SEGMENT_E_ABSENT;
}

/* The code's line. */
static void recsplit_prefetch_index(const struct lanemap_segment *segment, uint64_t dense,
                                    uint32_t ext)
{
        const struct lanemap_recsplit *recsplit = &segment->recsplit;
        struct lanemap_mph_bucket bucket;
        uint64_t code_at;

        if (recsplit->mph.n_buckets > 0 &&
            recsplit_bucket(recsplit, lanemap_mph_bucket_of(&recsplit->mph, dense), &bucket,
                            &code_at) == 0)
                lanemap_prefetch(recsplit->mph.index + (uint64_t)recsplit->codes * 8 +
                                 (code_at >> 3));
}

static void recsplit_prefetch_entry(const struct lanemap_segment *segment, uint64_t dense,
                                    uint32_t ext)
{
        uint64_t position;

        if (recsplit_position(&segment->recsplit, dense, ext, &position) == 0)
                lanemap_mph_prefetch_entry(&segment->mph, position);
}

static int recsplit_bucket_of(const struct lanemap_segment *segment, uint32_t bucket,
                              struct lanemap_mph_bucket *ret_bucket)
{
        uint64_t code_at;

        return recsplit_bucket(&segment->recsplit, bucket, ret_bucket, &code_at);
}

static int recsplit_seek(struct lanemap_segment_cursor *cursor, uint64_t dense)
{
        return lanemap_mph_cursor_seek(cursor, dense, &lanemap_recsplit_ops);
}

static int recsplit_enter(struct lanemap_segment_cursor *cursor)
{
        return lanemap_mph_cursor_enter(cursor, &lanemap_recsplit_ops);
}

static int recsplit_walk(const struct lanemap_segment *segment,
                         int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg)
{
        return lanemap_mph_walk(segment, &lanemap_recsplit_ops, fn, arg);
}

const struct lanemap_segment_ops lanemap_recsplit_ops = {
        .open = recsplit_open,
        .find = recsplit_find,
        .prefetch_index = recsplit_prefetch_index,
        .prefetch_entry = recsplit_prefetch_entry,
        .cursor_scratch_bytes = lanemap_mph_cursor_scratch_bytes,
        .cursor_seek = recsplit_seek,
        .cursor_enter = recsplit_enter,
        .cursor_decode = lanemap_mph_cursor_decode,
        .walk = recsplit_walk,
        .bucket = recsplit_bucket_of,
};
