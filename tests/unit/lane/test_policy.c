/* What a flush takes in and what is merged, as a table; and that a lane stays shallow under any
 * mixture of flushes and merges. */
#include <criterion/criterion.h>

#include "lane/lane_policy.h"
#include "segment/segment_format.h"
#include "support/rng.h"

TestSuite(lane_policy, .timeout = 60);

Test(lane_policy, flush_takes)
{
        static const struct {
                uint64_t new_keys, n_keys[5];
                uint32_t n_segments, n_takeable, expected;
        } rows[] = {
                {100, {0}, 0, 0, 0},                         /* nothing there */
                {100, {400}, 1, 1, 1},                       /* the bottom, small itself */
                {100, {401}, 1, 1, 0},                       /* too large */
                {100, {100, 10000}, 2, 2, 1},                /* a young one */
                {100, {401, 10000}, 2, 2, 0},                /* a middle one stays */
                {100, {100, 700, 10000}, 3, 3, 2},           /* what was taken counts */
                {100, {100, 801, 100000}, 3, 3, 1},          /* up to four times that */
                {100, {900, 5000, 100000}, 3, 3, 1},         /* or they would become too many */
                {100, {900, 5000, 90000, 1000000}, 4, 4, 2}, /* more so */
                {100, {100, 100, 10000}, 3, 1, 1},           /* a merge is at the others */
                {100, {100, 100, 10000}, 3, 0, 0},           /* at all of them */
                {100, {10, 10, 10, 10}, 4, 4, 4},            /* all small */
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++)
                cr_expect_eq(
                        lanemap_lane_policy_flush_takes(rows[i].new_keys, rows[i].n_keys,
                                                        rows[i].n_segments, rows[i].n_takeable),
                        rows[i].expected, "row %zu: %u", i,
                        lanemap_lane_policy_flush_takes(rows[i].new_keys, rows[i].n_keys,
                                                        rows[i].n_segments, rows[i].n_takeable));
}

Test(lane_policy, merge)
{
        static const struct {
                uint64_t n_keys[5];
                uint32_t n_segments;
                bool settle;
                uint32_t first, n;
        } rows[] = {
                {{0}, 0, false, 0, 0},
                {{5}, 1, true, 0, 0},                /* one is one */
                {{5, 1000}, 2, false, 0, 0},         /* a small one above a large one */
                {{5, 1000}, 2, true, 0, 2},          /* but when it is quiet */
                {{100, 1000}, 2, false, 0, 2},       /* a tenth */
                {{99, 1000}, 2, false, 0, 0},        /* less */
                {{1, 100, 1000}, 3, false, 1, 2},    /* the two oldest */
                {{1, 2, 3, 1000}, 4, false, 0, 3},   /* too many: the young ones */
                {{1, 2, 300, 1000}, 4, false, 2, 2}, /* the bottom first */
                {{1, 2, 3, 1000}, 4, true, 0, 4},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                struct lanemap_lane_policy_range range = lanemap_lane_policy_merge(
                        rows[i].n_keys, rows[i].n_segments, rows[i].settle);

                cr_expect_eq(range.n, rows[i].n, "row %zu: %u", i, range.n);
                if (range.n)
                        cr_expect_eq(range.first, rows[i].first, "row %zu: %u", i, range.first);
        }
}

Test(lane_policy, flush_bytes)
{
        static const struct {
                uint64_t n_keys;
                uint32_t cell_bytes;
                uint64_t least, most;
        } rows[] = {
                {0, 16, 512 << 10, 512 << 10},
                {1000, 24, 512 << 10, 512 << 10},
                {10 * 1000 * 1000, 16, 3 << 20, 10 << 20},
                {10 * 1000 * 1000, 24, 5 << 20, 14 << 20},
                {UINT64_C(1000) * 1000 * 1000, 16, 64 << 20, 64 << 20},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                uint64_t bytes =
                        lanemap_lane_policy_flush_bytes(rows[i].n_keys, rows[i].cell_bytes);

                cr_expect(bytes >= rows[i].least && bytes <= rows[i].most, "row %zu: %lu", i,
                          (unsigned long)bytes);
        }
}

Test(lane_policy, filter)
{
        static const struct {
                uint32_t policy, kind;
                uint64_t n_keys;
                bool wanted;
        } rows[] = {
                {LANEMAP_LANE_FILTER_NEVER, LANEMAP_SEGMENT_KIND_RECSPLIT, 1000000, false},
                {LANEMAP_LANE_FILTER_NEVER, LANEMAP_SEGMENT_KIND_PACKED, 1000000, false},
                {LANEMAP_LANE_FILTER_ALWAYS, LANEMAP_SEGMENT_KIND_PACKED, 1, true},
                {LANEMAP_LANE_FILTER_ALWAYS, LANEMAP_SEGMENT_KIND_BBHASH, 1000000, true},
                {LANEMAP_LANE_FILTER_AUTO, LANEMAP_SEGMENT_KIND_PACKED, 100000000, false},
                {LANEMAP_LANE_FILTER_AUTO, LANEMAP_SEGMENT_KIND_RECSPLIT, 127, false},
                {LANEMAP_LANE_FILTER_AUTO, LANEMAP_SEGMENT_KIND_RECSPLIT, 128, true},
                {LANEMAP_LANE_FILTER_AUTO, LANEMAP_SEGMENT_KIND_BBHASH, 127, false},
                {LANEMAP_LANE_FILTER_AUTO, LANEMAP_SEGMENT_KIND_BBHASH, 100000000, true},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++)
                cr_expect_eq(
                        lanemap_lane_policy_filter(rows[i].policy, rows[i].kind, rows[i].n_keys),
                        rows[i].wanted, "row %zu", i);
}

/* Flushes of any size, merges after each: never more segments than a lookup may probe, and entries
 * are rewritten a bounded number of times. */
Test(lane_policy, a_lane_stays_shallow)
{
        uint64_t n_keys[16] = {0}, written = 0, flushed = 0;
        uint32_t n = 0;
        struct rng rng;

        rng_init(&rng, rng_test_seed(1));
        for (uint32_t round = 0; round < 20000; round++) {
                uint64_t now = 1 + rng_below(&rng, 100);
                uint32_t n_taken = lanemap_lane_policy_flush_takes(now, n_keys, n, n);
                struct lanemap_lane_policy_range range;

                flushed += now;
                for (uint32_t i = 0; i < n_taken; i++)
                        now += n_keys[i];
                written += now;
                for (uint32_t i = n_taken; i < n; i++)
                        n_keys[i - n_taken + 1] = n_keys[i];
                n = n - n_taken + 1;
                n_keys[0] = now;
                cr_assert_leq(n, LANEMAP_LANE_POLICY_SEGMENTS_MAX, "round %u: %u", round, n);

                while ((range = lanemap_lane_policy_merge(n_keys, n, false)).n > 0) {
                        cr_assert_geq(range.n, 2);
                        cr_assert_leq(range.first + range.n, n);
                        for (uint32_t i = 1; i < range.n; i++)
                                n_keys[range.first] += n_keys[range.first + i];
                        written += n_keys[range.first];
                        for (uint32_t i = range.first + range.n; i < n; i++)
                                n_keys[i - range.n + 1] = n_keys[i];
                        n -= range.n - 1;
                }
        }
        cr_expect_leq(written / flushed, 40, "%lu", (unsigned long)(written / flushed));
}
