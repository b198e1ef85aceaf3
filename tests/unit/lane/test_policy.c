/* What a flush takes in and what is merged, as a table; and that a lane stays shallow under any
 * mixture of flushes and merges. */
#include <criterion/criterion.h>
#include <string.h>

#include "lane/policy.h"
#include "segment/format.h"
#include "support/rng.h"

TestSuite(lane_policy, .timeout = 60);

Test(lane_policy, flush_takes)
{
        static const struct {
                uint64_t new_keys, n_keys[6];
                uint32_t n_segments, n_takeable, expected;
        } rows[] = {
                {100, {0}, 0, 0, 0},                        /* nothing there */
                {100, {350}, 1, 1, 1},                      /* the bottom, small itself */
                {100, {351}, 1, 1, 0},                      /* too large */
                {100, {350, 10000}, 2, 2, 1},               /* a young one */
                {100, {351, 10000}, 2, 2, 0},               /* a larger one stays */
                {100, {100, 300, 100000}, 3, 3, 2},         /* what is new counts */
                {100, {300, 351, 100000}, 3, 3, 1},         /* and not what is taken */
                {100, {300, 200, 200}, 3, 3, 3},            /* all small */
                {100, {999, 999, 999, 9999}, 4, 4, 0},      /* five are left while merges lag */
                {100, {999, 999, 999, 999, 9999}, 5, 5, 1}, /* and no more */
                {100, {999, 999, 999, 999, 999, 9999}, 6, 6, 2},
                {100, {999, 999, 999, 999, 9999}, 5, 0, 0}, /* but for those being merged */
                {100, {100, 100, 10000}, 3, 1, 1},          /* a merge is at the others */
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++)
                cr_expect_eq(
                        lanemap_lane_policy_flush_takes(rows[i].new_keys, rows[i].n_keys,
                                                        rows[i].n_segments, rows[i].n_takeable),
                        rows[i].expected, "row %zu: %u", i,
                        lanemap_lane_policy_flush_takes(rows[i].new_keys, rows[i].n_keys,
                                                        rows[i].n_segments, rows[i].n_takeable));
}

Test(lane_policy, merge_takes)
{
        static const struct {
                uint64_t n_keys[5];
                uint32_t n_segments, expected;
        } rows[] = {
                {{10, 10, 1000}, 3, 2},        /* the young ones */
                {{10, 240, 1000}, 3, 3},       /* a quarter of the bottom: all */
                {{10, 239, 1000}, 3, 2},       /* two at least, whatever they are like */
                {{10, 10, 60, 1000}, 4, 3},    /* three times those before */
                {{10, 10, 61, 1000}, 4, 2},    /* a larger one stays */
                {{100, 100, 100, 1000}, 4, 4}, /* all young ones, and the bottom */
                {{100, 100, 700, 1000}, 4, 2}, /* not without the one between */
                {{40, 40, 40, 40, 1000}, 5, 4},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++)
                cr_expect_eq(lanemap_lane_policy_merge_takes(rows[i].n_keys, rows[i].n_segments),
                             rows[i].expected, "row %zu", i);
}

Test(lane_policy, excess_bytes)
{
        static const struct {
                struct lanemap_lane_policy_young young;
                uint64_t expected;
        } rows[] = {
                {{0, 0, 0, 0, 0}, 0},
                {{1000, 100, 0, 100, 0}, 0},       /* all new */
                {{1000, 100, 50, 100, 50}, 500},   /* half of them are elsewhere, too */
                {{1000, 100, 200, 0, 100}, 1000},  /* all remove a key */
                {{1000, 100, 1, 5000, 4500}, 900}, /* one key, with most of the ids */
                {{1000, 100, 0, 0, 7}, 0},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++)
                cr_expect_eq(lanemap_lane_policy_excess_bytes(&rows[i].young), rows[i].expected,
                             "row %zu", i);
}

/* W12. */
Test(lane_policy, overlays_exceed)
{
        static const uint64_t kib = 1 << 10, mib = 1 << 20;
        static const struct {
                struct lanemap_lane_policy_overlays overlays;
                uint64_t bytes_max;
                uint32_t times;
                bool expected;
        } rows[] = {
                {{99, 0, 0, 0}, 100, 1, false},
                {{100, 0, 0, 0}, 100, 1, true},
                {{399, 0, 0, 0}, 100, 4, false},
                {{400, 0, 0, 0}, 100, 4, true},
                /* a long posting: its changes are counted, 64 bytes each */
                {{0, 4 * kib, 4 * kib, 3}, 200, 1, false},
                {{0, 4 * kib, 4 * kib, 4}, 200, 1, true},
                {{136, 3 * kib, 3 * kib, 1}, 200, 1, true},
                /* as many changes as it has KiB, if that is more */
                {{0, 4 * mib, 4 * mib, 4095}, 200, 1, false},
                {{0, 4 * mib, 4 * mib, 4096}, 200, 1, true},
                {{200, 4 * mib, 4 * mib, 0}, 200, 1, false},
                {{0, 4 * mib, 4 * mib, 4 * 4096 - 1}, 200, 4, false},
                /* many that are changed seldom: from 64 MiB on */
                {{0, 63 * mib, mib, 100}, 200, 1, false},
                {{0, 64 * mib, mib, 63}, 200, 1, false},
                {{0, 64 * mib, mib, 64}, 200, 1, true},
                {{0, 255 * mib, mib, 1000}, 200, 4, false},
                {{0, 256 * mib, mib, 1000}, 200, 4, true},
                /* a few that are changed often: a flush gives nothing back for long */
                {{0, 399 * mib, 100 * mib, 1000}, 200, 1, false},
                {{0, 400 * mib, 100 * mib, 1000}, 200, 1, true},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++)
                cr_expect_eq(lanemap_lane_policy_overlays_exceed(&rows[i].overlays,
                                                                 rows[i].bytes_max, rows[i].times),
                             rows[i].expected, "row %zu", i);
}

/* None without debt, the same from any of its kinds, doubling ten times, and never less for
 * more. */
Test(lane_policy, delay)
{
        static const struct {
                struct lanemap_lane_policy_debt debt;
                uint64_t expected;
        } rows[] = {
                {{0, 0, 0, 0, 0}, 0},
                {{1500, 1000, 4, 200, 100}, 0},  /* as much as there may be */
                {{2500, 1000, 0, 0, 100}, 4000}, /* half way: five doublings of 125 ns */
                {{0, 1000, 6, 0, 100}, 4000},
                {{0, 1000, 0, 600, 100}, 4000},
                {{3500, 1000, 0, 0, 100}, 128000},
                {{99999, 1000, 0, 0, 100}, 128000}, /* a stall takes over */
                {{0, 1000, 8, 0, 100}, 128000},
                {{0, 1000, 0, 1000, 100}, 128000},
                {{1600, 1000, 6, 300, 100}, 4000}, /* the largest counts */
                {{2600, 1000, 0, 0, 100}, 5992},   /* evenly between two doublings */
        };
        uint64_t before = 0;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++)
                cr_expect_eq(lanemap_lane_policy_delay_ns(&rows[i].debt), rows[i].expected,
                             "row %zu: %lu", i,
                             (unsigned long)lanemap_lane_policy_delay_ns(&rows[i].debt));
        for (uint64_t bytes = 0; bytes < 4000; bytes++) {
                struct lanemap_lane_policy_debt debt = {.overlay_bytes = bytes, 1000};
                uint64_t delay_ns = lanemap_lane_policy_delay_ns(&debt);

                cr_assert_geq(delay_ns, before);
                cr_assert_eq(delay_ns == 0, bytes <= 1500 + 2000 / 1024, "%lu",
                             (unsigned long)bytes);
                before = delay_ns;
        }
}

Test(lane_policy, group_lanes)
{
        static const struct {
                uint64_t index_bytes;
                uint32_t n_lanes, expected;
        } rows[] = {
                {0, 64, 64},                /* nothing: all at once */
                {60 << 10, 64, 64},         /* a small tenant too */
                {1 << 20, 64, 16},          /* a quarter of a megabyte */
                {10 << 20, 64, 2},          /* a thirty-second of the index */
                {100 << 20, 64, 2},         /* at any size */
                {UINT64_C(1) << 30, 64, 1}, /* but 16 MiB is the most */
                {UINT64_C(1) << 40, 64, 1}, /* or a lane */
                {UINT64_C(1) << 30, 1024, 16},
                {100 << 20, 1, 1},
                {0, 3, 4}, /* a power of two, past the end */
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++)
                cr_expect_eq(lanemap_lane_policy_group_lanes(rows[i].index_bytes, rows[i].n_lanes),
                             rows[i].expected, "row %zu: %u", i,
                             lanemap_lane_policy_group_lanes(rows[i].index_bytes, rows[i].n_lanes));
}

Test(lane_policy, excess_max)
{
        cr_expect_eq(lanemap_lane_policy_excess_max(0, 4096), 1024);
        cr_expect_eq(lanemap_lane_policy_excess_max(100 << 10, 256 << 10), 64 << 10);
        cr_expect_eq(lanemap_lane_policy_excess_max(100 << 20, 256 << 10), 4 << 20);
}

/* The order of urgency: each row before the next one; 0 are those that nobody merges. */
Test(lane_policy, merge_priority)
{
        static const struct {
                struct lanemap_lane_policy_group group;
                bool is_over, is_none;
        } rows[] = {
                {{.n_segments = 4, .excess_bytes = 9 << 10, .bytes = 90 << 10}, false, false},
                {{.n_segments = 4, .excess_bytes = 8 << 10, .bytes = 90 << 10}, true, false},
                {{.n_segments = 2, .excess_bytes = 50 << 10, .bytes = 90 << 10, .is_asked = true},
                 false,
                 false},
                {{.n_segments = 3, .excess_bytes = 9 << 10, .bytes = 90 << 10, .is_asked = true},
                 true,
                 false},
                {{.n_segments = 1, .excess_bytes = 0, .bytes = 90 << 10, .is_asked = true},
                 false,
                 false},
                {{.n_segments = 2, .excess_bytes = 90 << 10, .bytes = 100 << 10}, true, false},
                {{.n_segments = 3, .excess_bytes = 90 << 10, .bytes = 900 << 10}, true, false},
                {{.n_segments = 1, .excess_bytes = 1 << 10, .bytes = 900 << 10}, true, false},
                {{.n_segments = 1, .excess_bytes = 1, .bytes = UINT64_C(1) << 50}, true, false},
                {{.n_segments = 3, .excess_bytes = 90 << 10, .bytes = 90 << 10}, false, true},
                {{.n_segments = 1, .excess_bytes = 0, .bytes = 90 << 10}, true, true},
                {{.n_segments = 0}, true, true},
        };
        uint64_t before = UINT64_MAX;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                uint64_t priority =
                        lanemap_lane_policy_merge_priority(&rows[i].group, rows[i].is_over);

                cr_expect_eq(priority == 0, rows[i].is_none, "row %zu", i);
                if (!rows[i].is_none)
                        cr_expect_lt(priority, before, "row %zu", i);
                before = priority;
        }
}

Test(lane_policy, flush_bytes)
{
        static const struct {
                uint64_t n_keys;
                uint32_t n_lanes, cell_bytes;
                uint64_t expected;
        } rows[] = {
                {0, 64, 16, 256 << 10},
                {1000, 64, 24, 192 << 10},
                {1000 * 1000, 64, 16, 256 << 10},
                {10 * 1000 * 1000, 64, 16, 4 << 20},
                {10 * 1000 * 1000, 64, 24, 6 << 20},
                {10 * 1000 * 1000, 1, 16, 4 << 20},
                {UINT64_C(100) * 1000 * 1000, 64, 16, 32 << 20},
                {UINT64_C(1000) * 1000 * 1000, 64, 16, 64 << 20},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                uint64_t bytes = lanemap_lane_policy_flush_bytes(rows[i].n_keys, rows[i].n_lanes,
                                                                 rows[i].cell_bytes);
                uint64_t n_entries = LANEMAP_LANE_POLICY_FLUSH_FILL(bytes) / rows[i].cell_bytes;

                cr_expect_eq(bytes, rows[i].expected, "row %zu: %lu", i, (unsigned long)bytes);
                /* A large index: between 0.75 and 1.5 % of the keys. */
                if (rows[i].n_keys >= 1000 * 1000 && rows[i].n_keys <= 100 * 1000 * 1000)
                        cr_expect(n_entries * 400 >= rows[i].n_keys * 3 &&
                                          n_entries * 200 <= rows[i].n_keys * 3,
                                  "row %zu: %lu entries", i, (unsigned long)n_entries);
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

/*
 * An index of lanes under the policy: the flusher flushes, one worker merges, nothing else. Half of
 * the lanes gets nine tenths of the entries. Bounds: segments of a lane; entries rewritten for each
 * one that was flushed; excess.
 */
#define LANES       64
#define ENTRY_BYTES 10

struct sim {
        uint64_t n_keys[LANES][8]; /* newest first */
        uint32_t n[LANES];
        uint64_t flushed, written, bottoms_written, excess_max;
};

static void sim_take(struct sim *sim, uint32_t lane, uint32_t n_taken, uint64_t n_new)
{
        uint64_t *n_keys = sim->n_keys[lane];

        for (uint32_t i = 0; i < n_taken; i++)
                n_new += n_keys[i];
        memmove(&n_keys[1], &n_keys[n_taken], (sim->n[lane] - n_taken) * sizeof(*n_keys));
        n_keys[0] = n_new;
        sim->n[lane] -= n_taken - 1;
        sim->written += n_new;
}

static void sim_flush(struct sim *sim, uint64_t n_entries, struct rng *rng)
{
        for (uint32_t i = 0; i < LANES; i++) {
                uint64_t n_new = n_entries / LANES * (i % 2 ? 18 : 2) / 10 + rng_below(rng, 10);

                sim->flushed += n_new;
                sim_take(sim, i,
                         lanemap_lane_policy_flush_takes(n_new, sim->n_keys[i], sim->n[i],
                                                         sim->n[i]),
                         n_new);
                cr_assert_leq(sim->n[i], LANEMAP_LANE_POLICY_SEGMENTS_MAX);
        }
}

static void sim_flush_evenly(struct sim *sim, uint64_t n_entries)
{
        for (uint32_t i = 0; i < LANES; i++) {
                uint64_t n_new = n_entries / LANES;

                sim->flushed += n_new;
                sim_take(sim, i,
                         lanemap_lane_policy_flush_takes(n_new, sim->n_keys[i], sim->n[i],
                                                         sim->n[i]),
                         n_new);
                cr_assert_leq(sim->n[i], LANEMAP_LANE_POLICY_SEGMENTS_MAX);
        }
}

static struct lanemap_lane_policy_group sim_group(const struct sim *sim, uint32_t first, uint32_t n)
{
        struct lanemap_lane_policy_group group = {0};

        for (uint32_t i = first; i < first + n; i++)
                for (uint32_t s = 0; s < sim->n[i]; s++) {
                        group.bytes += sim->n_keys[i][s] * ENTRY_BYTES;
                        if (s + 1 < sim->n[i])
                                group.excess_bytes += sim->n_keys[i][s] * ENTRY_BYTES;
                        group.n_segments = LANEMAP_MAX(group.n_segments, sim->n[i]);
                }
        return group;
}

static bool sim_merge_young(struct sim *sim, uint32_t lane)
{
        uint32_t n_taken = sim->n[lane];

        if (sim->n[lane] >= 3)
                n_taken = lanemap_lane_policy_merge_takes(sim->n_keys[lane], sim->n[lane]);
        if (n_taken == sim->n[lane])
                return false;

        sim_take(sim, lane, n_taken, 0);
        return true;
}

static bool sim_merge(struct sim *sim, uint64_t live_keys, uint64_t flush_bytes)
{
        struct lanemap_lane_policy_group all = sim_group(sim, 0, LANES);
        uint32_t n = lanemap_lane_policy_group_lanes(all.bytes, LANES), chosen = LANES;
        bool any = false;
        bool is_over = all.excess_bytes > lanemap_lane_policy_excess_max(all.bytes, flush_bytes);
        uint64_t highest = 0;

        if (all.n_segments >= LANEMAP_LANE_POLICY_SEGMENTS_MAX)
                for (uint32_t i = 0; i < LANES; i++)
                        any |= sim_merge_young(sim, i);
        if (any)
                return true;
        for (uint32_t i = 0; i < LANES; i += n) {
                struct lanemap_lane_policy_group group = sim_group(sim, i, n);
                uint64_t priority = lanemap_lane_policy_merge_priority(&group, is_over);

                if (priority > highest) {
                        highest = priority;
                        chosen = i;
                }
        }
        if (chosen == LANES)
                return false;

        for (uint32_t i = chosen; i < chosen + n; i++) {
                if (sim->n[i] < 2)
                        continue;
                sim_take(sim, i, sim->n[i], 0);
                sim->bottoms_written++;
                /* Half of the entries replace, and tombstones fall: the lane stays as large. */
                sim->n_keys[i][0] = LANEMAP_MIN(sim->n_keys[i][0], live_keys / LANES);
        }
        return true;
}

Test(lane_policy, churn_is_bounded)
{
        static const uint64_t sizes[] = {50000, 1000000, 10000000};

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(sizes); i++) {
                uint64_t flush_bytes = lanemap_lane_policy_flush_bytes(sizes[i], LANES, 16);
                uint64_t n_entries = LANEMAP_LANE_POLICY_FLUSH_FILL(flush_bytes) / 16;
                struct sim sim = {0};
                struct rng rng;

                rng_init(&rng, rng_test_seed(1));
                for (uint32_t l = 0; l < LANES; l++) {
                        sim.n_keys[l][0] = sizes[i] / LANES;
                        sim.n[l] = 1;
                }
                for (uint32_t round = 0; round < 500; round++) {
                        struct lanemap_lane_policy_group all;

                        sim_flush(&sim, n_entries, &rng);
                        while (sim_merge(&sim, sizes[i], flush_bytes))
                                ;
                        all = sim_group(&sim, 0, LANES);
                        cr_assert_leq(all.excess_bytes,
                                      lanemap_lane_policy_excess_max(all.bytes, flush_bytes));
                }
                cr_expect_leq(sim.written, 20 * sim.flushed, "%lu keys: %.1f written per entry",
                              (unsigned long)sizes[i], (double)sim.written / (double)sim.flushed);
                /* A bottom is not rewritten for each flush. */
                if (sizes[i] >= 1000000)
                        cr_expect_leq(sim.bottoms_written, 500 * LANES / 3);
        }
}

/* Nothing is excess of an index that only grows: a bottom is written when its lane has too many
 * segments, and they are a quarter of it. */
static double growth_cost(uint64_t n_keys, uint64_t n_keys_end)
{
        struct sim sim = {0};

        for (uint32_t l = 0; l < LANES; l++) {
                sim.n_keys[l][0] = n_keys / LANES;
                sim.n[l] = 1;
        }
        while (n_keys < n_keys_end) {
                uint64_t bytes = lanemap_lane_policy_flush_bytes(n_keys, LANES, 16);
                uint64_t n_entries = LANEMAP_LANE_POLICY_FLUSH_FILL(bytes) / 16;
                uint64_t written = sim.written;

                sim_flush_evenly(&sim, n_entries);
                /* W12: a flush costs what is new. */
                cr_assert_leq(sim.written - written, 5 * n_entries);
                n_keys += n_entries;
                for (uint32_t i = 0; i < LANES; i++)
                        if (sim.n[i] >= LANEMAP_LANE_POLICY_SEGMENTS_MAX &&
                            !sim_merge_young(&sim, i))
                                sim_take(&sim, i, sim.n[i], 0);
        }
        return (double)sim.written / (double)sim.flushed;
}

Test(lane_policy, growth_is_cheap)
{
        static const struct {
                uint64_t from, to;
                double most;
        } rows[] = {
                {10000000, 16000000, 7},
                {10000000, 100000000, 8},
                {1000000, 3000000, 8},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++)
                cr_expect_leq(growth_cost(rows[i].from, rows[i].to), rows[i].most,
                              "row %zu: %.2f written per entry", i,
                              growth_cost(rows[i].from, rows[i].to));
}
