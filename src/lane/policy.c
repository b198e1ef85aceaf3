/* See policy.h; the table of decisions is tests/unit/lane/test_policy.c. */
#include "lane/policy.h"

#include "lane/format.h"
#include "segment/format.h"

/*
 * A flush takes a segment in when it is at most three and a half times as large as what is new: so
 * it writes at most four and a half times that (one more segment of that size apart), however large
 * the index is. Lanes fill nearly alike, and segments are whole multiples of a flush: half of one
 * between them, and all lanes decide alike, so that files end at once.
 */
#define TAKE_HALVES 7

/* A flush takes young ones in beyond that when there would be more segments than this: merges lag,
 * and lookups come first. Those that are being merged it cannot take: then it leaves one on top. */
#define SEGMENTS_AFTER_FLUSH_MAX (LANEMAP_LANE_POLICY_SEGMENTS_MAX + 1)

/* A merge of young segments takes the next older one as well, where that is at most so many times
 * as large as those before it: each entry is then written a few times, as in a tree of runs. */
#define MERGE_RATIO 3

/* All young segments together are merged into the bottom when they are this share of it. */
#define BOTTOM_SHARE 4

/* Under 256 KiB of tables a flush would be mostly syncs; over 64 MiB recovery would get slow. */
#define FLUSH_BYTES_MIN (UINT64_C(256) << 10)
#define FLUSH_BYTES_MAX (UINT64_C(64) << 20)

/* Old and new exist side by side until a merge is committed, so that is what it costs in memory. */
#define GROUP_SHARE     32
#define GROUP_BYTES_MIN (UINT64_C(256) << 10)
#define GROUP_BYTES_MAX (UINT64_C(16) << 20)

#define EXCESS_SHARE 25

/* A change of a long posting counts as so many bytes, against this share of all of them. */
#define LONG_CHANGE_BYTES UINT64_C(64)
#define LONG_SHARE        16

/* Where so many bytes, and so many times the longest, are in long postings: one change for each of
 * so many bytes. */
#define LONG_BYTES_MAX        (UINT64_C(64) << 20)
#define LONG_POSTINGS_MIN     4
#define LONG_BYTES_PER_CHANGE (UINT64_C(1) << 20)

uint32_t lanemap_lane_policy_flush_takes(uint64_t new_keys, const uint64_t *n_keys,
                                         uint32_t n_segments, uint32_t n_takeable)
{
        uint32_t n = 0;

        while (n < n_takeable &&
               (2 * n_keys[n] <= TAKE_HALVES * new_keys ||
                (n + 1 < n_segments && n_segments - n + 1 > SEGMENTS_AFTER_FLUSH_MAX)))
                n++;

        return n;
}

uint32_t lanemap_lane_policy_merge_takes(const uint64_t *n_keys, uint32_t n_segments)
{
        uint64_t taken_keys = 0;
        uint32_t n = 0;

        while (n + 1 < n_segments && (n < 2 || n_keys[n] <= MERGE_RATIO * taken_keys))
                taken_keys += n_keys[n++];
        if (n + 1 == n_segments && taken_keys * BOTTOM_SHARE >= n_keys[n])
                n++;

        return n;
}

uint64_t lanemap_lane_policy_excess_bytes(const struct lanemap_lane_policy_young *young)
{
        uint64_t n = LANEMAP_MIN(young->n_useless_keys, young->n_keys);
        uint64_t n_pairs = LANEMAP_MIN(young->n_useless_pairs, young->n_pairs);
        uint64_t bytes = 0;

        if (n > 0)
                bytes = (uint64_t)((double)young->bytes * (double)n / (double)young->n_keys);
        if (n_pairs > 0)
                bytes = LANEMAP_MAX(bytes, (uint64_t)((double)young->bytes * (double)n_pairs /
                                                      (double)young->n_pairs));
        return bytes;
}

uint32_t lanemap_lane_policy_group_lanes(uint64_t index_bytes, uint32_t n_lanes)
{
        uint64_t bytes_max = LANEMAP_MIN(LANEMAP_MAX(index_bytes / GROUP_SHARE, GROUP_BYTES_MIN),
                                         GROUP_BYTES_MAX);
        uint32_t n = 1;

        while (n < n_lanes && index_bytes / n_lanes * 2 * n <= bytes_max)
                n *= 2;
        return n;
}

bool lanemap_lane_policy_filter(uint32_t policy, uint32_t kind, uint64_t n_keys)
{
        if (policy == LANEMAP_LANE_FILTER_AUTO)
                return kind != LANEMAP_SEGMENT_KIND_PACKED &&
                       n_keys >= LANEMAP_LANE_POLICY_FILTER_KEYS_MIN;

        return policy == LANEMAP_LANE_FILTER_ALWAYS;
}

uint64_t lanemap_lane_policy_excess_max(uint64_t index_bytes, uint64_t flush_bytes)
{
        return LANEMAP_MAX(index_bytes / EXCESS_SHARE, flush_bytes / 4);
}

uint64_t lanemap_lane_policy_merge_priority(const struct lanemap_lane_policy_group *group,
                                            bool is_over_budget)
{
        uint64_t bytes = group->bytes >> 10, excess = group->excess_bytes >> 10;
        uint64_t ratio = LANEMAP_MIN((excess << 20) / (bytes + 1), (uint64_t)UINT32_MAX - 1) + 1;

        if (group->n_segments >= LANEMAP_LANE_POLICY_SEGMENTS_MAX)
                return (UINT64_C(2) << 32) + ratio;
        if (group->is_asked)
                return (UINT64_C(1) << 32) + ratio;

        return is_over_budget && group->excess_bytes > 0 ? ratio : 0;
}

uint64_t lanemap_lane_policy_overlays_bytes(const struct lanemap_lane_policy_overlays *overlays)
{
        return overlays->bytes + LONG_CHANGE_BYTES * overlays->n_long_changes;
}

uint64_t lanemap_lane_policy_overlays_max(const struct lanemap_lane_policy_overlays *overlays,
                                          uint64_t bytes_max)
{
        return LANEMAP_MAX(bytes_max, overlays->long_bytes / LONG_SHARE);
}

bool lanemap_lane_policy_overlays_exceed(const struct lanemap_lane_policy_overlays *overlays,
                                         uint64_t bytes_max, uint32_t times)
{
        uint64_t changed_bytes = lanemap_lane_policy_overlays_bytes(overlays);
        uint64_t long_max =
                LANEMAP_MAX(LONG_BYTES_MAX, LONG_POSTINGS_MIN * overlays->long_max_bytes);

        return changed_bytes >= times * lanemap_lane_policy_overlays_max(overlays, bytes_max) ||
               (overlays->long_bytes >= times * long_max &&
                overlays->n_long_changes >= overlays->long_bytes / LONG_BYTES_PER_CHANGE);
}

#define DELAY_NS_MIN UINT64_C(125)
#define DELAY_UNITS  UINT64_C(1024) /* of a debt: from the first delay to the longest */

/* How far a number has come from the one to the other, in units. */
static uint64_t debt_units(uint64_t n, uint64_t from, uint64_t to)
{
        if (n <= from)
                return 0;

        return n >= to ? DELAY_UNITS : (n - from) * DELAY_UNITS / (to - from);
}

uint64_t lanemap_lane_policy_delay_ns(const struct lanemap_lane_policy_debt *debt)
{
        uint64_t units = debt_units(debt->overlay_bytes, debt->flush_bytes * 3 / 2,
                                    debt->flush_bytes * 7 / 2);
        uint64_t tenths, delay_ns;

        units = LANEMAP_MAX(units, debt_units(debt->n_segments, LANEMAP_LANE_POLICY_SEGMENTS_MAX,
                                              LANEMAP_LANE_SEGMENTS_MAX));
        units = LANEMAP_MAX(
                units, debt_units(debt->excess_bytes, debt->excess_max * 2, debt->excess_max * 10));
        if (units == 0)
                return 0;

        /* Between two powers of two it rises evenly. */
        tenths = units * 10;
        delay_ns = DELAY_NS_MIN << (tenths / DELAY_UNITS);
        return delay_ns + delay_ns * (tenths % DELAY_UNITS) / DELAY_UNITS;
}

uint64_t lanemap_lane_policy_flush_bytes(uint64_t n_live_keys, uint32_t n_lanes,
                                         uint32_t cell_bytes)
{
        uint64_t lane_bytes = (uint64_t)n_lanes * cell_bytes;
        uint64_t most = LANEMAP_MIN(
                LANEMAP_MAX(n_live_keys * 3 / 200 * cell_bytes * 20 / 11, FLUSH_BYTES_MIN),
                FLUSH_BYTES_MAX);
        uint64_t bytes = lane_bytes;

        while (bytes * 2 <= most)
                bytes *= 2;
        return bytes;
}
