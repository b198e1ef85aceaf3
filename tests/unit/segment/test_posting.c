/* Posting lists: every length around the block limits, and every malformed spelling. */
#include "model.h"

#include "segment/posting/build.h"

TestSuite(posting, .timeout = 60);

static const uint32_t lengths[] = {2,   3,   4,   63,  126, 127,  128,  129,
                                   130, 255, 256, 257, 384, 1000, 5000, 100000};

/* The list in a block of exactly its size. */
static unsigned char *encode(const uint32_t *ids, uint32_t n_ids, size_t *ret_n_bytes)
{
        size_t n_bytes = lanemap_segment_posting_size(ids, n_ids);
        unsigned char *bytes = malloc(n_bytes);

        cr_assert(bytes);
        cr_assert_eq(lanemap_segment_posting_encode(bytes, ids, n_ids), bytes + n_bytes);
        *ret_n_bytes = n_bytes;
        return bytes;
}

/* The ids of a list in chunks. Return: how many, or a negative errno. */
static int64_t walk(const struct lanemap_segment_posting *posting, uint32_t *ids)
{
        struct lanemap_segment_posting_walk walk;
        uint32_t chunk[LANEMAP_SEGMENT_POSTING_BLOCK], n = 0;
        int64_t n_ids = 0;
        int r;

        r = lanemap_segment_posting_walk_begin(posting, &walk);
        if (r < 0)
                return r;
        while ((r = lanemap_segment_posting_walk_next(&walk, chunk, &n)) == 1) {
                cr_assert(n > 0 && n_ids + n <= posting->n_ids);
                memcpy(ids + n_ids, chunk, n * sizeof(*ids));
                n_ids += n;
        }
        return r < 0 ? r : n_ids;
}

/* From the block of ids[at] on. */
static void expect_suffix(const struct lanemap_segment_posting *posting, const uint32_t *ids,
                          uint32_t at, uint32_t from)
{
        struct lanemap_segment_posting_walk walk;
        uint32_t chunk[LANEMAP_SEGMENT_POSTING_BLOCK], n = 0;
        int r;

        cr_assert_eq(lanemap_segment_posting_walk_begin(posting, &walk), 0);
        cr_assert_eq(lanemap_segment_posting_walk_seek(&walk, from), 0);
        cr_assert_leq(walk.n_left,
                      posting->n_ids -
                              at / LANEMAP_SEGMENT_POSTING_BLOCK * LANEMAP_SEGMENT_POSTING_BLOCK +
                              LANEMAP_SEGMENT_POSTING_BLOCK);
        while ((r = lanemap_segment_posting_walk_next(&walk, chunk, &n)) == 1)
                for (uint32_t i = 0; i < n; i++)
                        if (chunk[i] >= from)
                                cr_assert(at < posting->n_ids && chunk[i] == ids[at++]);
        cr_assert_eq(r, 0);
        cr_assert_eq(at, posting->n_ids);
}

static void expect_list(const uint32_t *ids, uint32_t n_ids)
{
        uint32_t *copy = malloc((size_t)n_ids * sizeof(*copy));
        struct lanemap_segment_posting posting;
        size_t n_bytes, end;
        unsigned char *bytes = encode(ids, n_ids, &n_bytes);

        cr_assert_eq(lanemap_segment_posting_open(bytes, n_bytes, 0, n_ids, &posting), 0);
        cr_assert_eq(posting.n_ids, n_ids);
        cr_assert_eq(lanemap_segment_posting_copy_end(&posting, copy, &end), 0);
        cr_assert_eq(memcmp(copy, ids, (size_t)n_ids * sizeof(*ids)), 0);
        cr_assert_eq(posting.bytes + end, bytes + n_bytes);
        memset(copy, 0, (size_t)n_ids * sizeof(*copy));
        cr_assert_eq(walk(&posting, copy), n_ids);
        cr_assert_eq(memcmp(copy, ids, (size_t)n_ids * sizeof(*ids)), 0);
        for (uint32_t i = 0; i < n_ids; i += 1 + n_ids / 500) {
                cr_assert_eq(lanemap_segment_posting_contains(&posting, ids[i]), 1);
                if (i % 7 == 0)
                        expect_suffix(&posting, ids, i, ids[i]);
                if (i > 0 && ids[i - 1] != ids[i] - 1)
                        cr_assert_eq(lanemap_segment_posting_contains(&posting, ids[i] - 1), 0);
        }
        cr_assert_eq(lanemap_segment_posting_contains(&posting, ids[n_ids - 1] + 1), 0);
        cr_assert_eq(lanemap_segment_posting_contains(&posting, UINT32_MAX), 0);
        expect_suffix(&posting, ids, 0, 0);
        expect_suffix(&posting, ids, n_ids, ids[n_ids - 1] + 1);
        if (ids[0] > 0)
                cr_assert_eq(lanemap_segment_posting_contains(&posting, ids[0] - 1), 0);
        cr_assert_eq(lanemap_segment_posting_open(bytes, n_bytes, 0, n_ids - 1, &posting),
                     -EBADMSG);
        free(copy);
        free(bytes);
}

Test(posting, lists_of_every_length_come_back)
{
        uint64_t seed = 1;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(lengths); i++) {
                uint32_t *ids = ids_random(lengths[i], 0xffffffff, &seed);

                expect_list(ids, lengths[i]);
                free(ids);

                ids = ids_random(lengths[i], lengths[i], &seed); /* 0, 1, 2, ... */
                expect_list(ids, lengths[i]);
                for (uint32_t k = 0; k < lengths[i]; k++)
                        ids[k] = UINT32_MAX - lengths[i] + k; /* ... up to the last legal id */
                expect_list(ids, lengths[i]);
                free(ids);
        }
}

Test(posting, a_dense_list_takes_about_a_byte_an_id)
{
        uint64_t seed = 2;
        uint32_t *ids = ids_random(100000, 100000 * 30, &seed);

        cr_expect_leq(lanemap_segment_posting_size(ids, 100000), 107000);
        free(ids);
}

/* A list that ends before its window does, at every place: an error, and nothing read behind. */
Test(posting, truncation_is_noticed_everywhere)
{
        static const uint32_t some[] = {2, 128, 129, 300};
        uint64_t seed = 3;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(some); i++) {
                uint32_t *ids = ids_random(some[i], 0xffffffff, &seed), copy[300];
                size_t n_bytes;
                unsigned char *bytes = encode(ids, some[i], &n_bytes);

                for (size_t n = 0; n < n_bytes; n++) {
                        unsigned char *cut = malloc(n ? n : 1);
                        struct lanemap_segment_posting posting;
                        int r;

                        memcpy(cut, bytes, n);
                        r = lanemap_segment_posting_open(cut, n, 0, 5000, &posting);
                        if (r == 0) {
                                cr_assert_eq(lanemap_segment_posting_copy(&posting, copy),
                                             -EBADMSG);
                                cr_assert_neq(
                                        lanemap_segment_posting_contains(&posting, UINT32_MAX), 1);
                        } else {
                                cr_assert_eq(r, -EBADMSG);
                        }
                        free(cut);
                }
                free(bytes);
                free(ids);
        }
}

static int decode(const unsigned char *from, size_t n_bytes, uint32_t *ids)
{
        struct lanemap_segment_posting posting;
        unsigned char *bytes = malloc(n_bytes);
        int r;

        memcpy(bytes, from, n_bytes);
        r = lanemap_segment_posting_open(bytes, n_bytes, 0, 1000, &posting);
        if (r == 0) {
                r = lanemap_segment_posting_copy(&posting, ids);
                cr_assert_eq(walk(&posting, ids), r < 0 ? r : (int64_t)posting.n_ids);
        }
        free(bytes);
        return r;
}

Test(posting, other_spellings_are_refused)
{
        static const unsigned char good[] = {2, 5, 0}; /* 5 and 6 */
        static const unsigned char overlong_count[] = {0x82, 0, 5, 0};
        static const unsigned char overlong_gap[] = {2, 5, 0x80, 0};
        static const unsigned char five_bytes[] = {2, 5, 0xff, 0xff, 0xff, 0xff, 0x1f};
        static const unsigned char six_bytes[] = {2, 5, 0x80, 0x80, 0x80, 0x80, 0x80, 1};
        static const unsigned char past_the_last_id[] = {2, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0};
        static const unsigned char first_too_large[] = {2, 0xff, 0xff, 0xff, 0xff, 0x0f, 0};
        static const unsigned char last_legal[] = {2, 0xfd, 0xff, 0xff, 0xff, 0x0f, 0};
        static const unsigned char none[] = {0, 5, 0}, one[] = {1, 5, 0};
        uint32_t ids[1000];

        cr_expect_eq(decode(good, sizeof(good), ids), 0);
        cr_expect(ids[0] == 5 && ids[1] == 6);
        cr_expect_eq(decode(last_legal, sizeof(last_legal), ids), 0);
        cr_expect_eq(ids[1], UINT32_MAX - 1);
        cr_expect_eq(decode(overlong_count, sizeof(overlong_count), ids), -EBADMSG);
        cr_expect_eq(decode(overlong_gap, sizeof(overlong_gap), ids), -EBADMSG);
        cr_expect_eq(decode(five_bytes, sizeof(five_bytes), ids), -EBADMSG);
        cr_expect_eq(decode(six_bytes, sizeof(six_bytes), ids), -EBADMSG);
        cr_expect_eq(decode(past_the_last_id, sizeof(past_the_last_id), ids), -EBADMSG);
        cr_expect_eq(decode(first_too_large, sizeof(first_too_large), ids), -EBADMSG);
        cr_expect_eq(decode(none, sizeof(none), ids), -EBADMSG);
        cr_expect_eq(decode(one, sizeof(one), ids), -EBADMSG);
}

/* Skip records that fall, point behind the list, or do not meet the block they name. */
Test(posting, bad_skip_records_are_refused)
{
        uint64_t seed = 4;
        uint32_t *ids = ids_random(300, 1000000, &seed), copy[300];
        struct lanemap_segment_posting posting;
        size_t n_bytes;
        unsigned char *bytes = encode(ids, 300, &n_bytes), *skip = bytes + 2;

        cr_assert_eq(lanemap_segment_posting_open(bytes, n_bytes, 0, 300, &posting), 0);

        lanemap_store_le32(skip + 8 + 4, lanemap_load_le32(skip + 8 + 4) + 1);
        cr_expect_eq(lanemap_segment_posting_copy(&posting, copy), -EBADMSG);
        lanemap_store_le32(skip + 8 + 4, UINT32_MAX);
        cr_expect_eq(lanemap_segment_posting_copy(&posting, copy), -EBADMSG);
        cr_expect_eq(lanemap_segment_posting_contains(&posting, ids[0]), -EBADMSG);
        cr_expect_eq(lanemap_segment_posting_contains(&posting, ids[200]), -EBADMSG);
        free(bytes);

        bytes = encode(ids, 300, &n_bytes), skip = bytes + 2;
        cr_assert_eq(lanemap_segment_posting_open(bytes, n_bytes, 0, 300, &posting), 0);
        lanemap_store_le32(skip + 8, ids[127]);
        cr_expect_eq(lanemap_segment_posting_copy(&posting, copy), -EBADMSG, "a block that falls");
        lanemap_store_le32(skip + 8, UINT32_MAX);
        cr_expect_eq(lanemap_segment_posting_copy(&posting, copy), -EBADMSG, "no id");
        free(bytes);
        free(ids);
}

Test(posting, inline_ids_and_tombstones)
{
        struct lanemap_segment_posting one = {.n_ids = 1, .id = 7}, none = {.n_ids = 0};
        uint32_t ids[1] = {99};

        cr_expect_eq(lanemap_segment_posting_copy(&none, ids), 0);
        cr_expect_eq(ids[0], 99);
        cr_expect_eq(lanemap_segment_posting_contains(&none, 0), 0);
        cr_expect_eq(lanemap_segment_posting_copy(&one, ids), 0);
        cr_expect_eq(ids[0], 7);
        cr_expect_eq(lanemap_segment_posting_contains(&one, 7), 1);
        cr_expect_eq(lanemap_segment_posting_contains(&one, 0), 0);
}
