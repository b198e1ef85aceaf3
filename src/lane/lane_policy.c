/* See lane_policy.h; the table of decisions is tests/unit/lane/test_policy.c. */
#include "lane/lane_policy.h"

#include "segment/segment_format.h"

/* A flush takes a young segment in when it is at most this many times as large as what it already
 * has. */
#define TAKE_RATIO 4

/* Young and middle segments together, beside the bottom and one that a flush may just have put on
 * top. */
#define SEGMENTS_AFTER_FLUSH_MAX (LANEMAP_LANE_POLICY_SEGMENTS_MAX - 1)

/* Under 512 KiB of overlays a flush would be mostly syncs; over 64 MiB recovery would get slow. */
#define FLUSH_BYTES_MIN (UINT64_C(512) << 10)
#define FLUSH_BYTES_MAX (UINT64_C(64) << 20)

uint32_t lanemap_lane_policy_flush_takes(uint64_t new_keys, const uint64_t *n_keys,
                                         uint32_t n_segments, uint32_t n_takeable)
{
        uint64_t taken_keys = new_keys;
        uint32_t n = 0;

        while (n < n_takeable && (n_keys[n] <= TAKE_RATIO * taken_keys ||
                                  n_segments - n + 1 > SEGMENTS_AFTER_FLUSH_MAX)) {
                /* The bottom is rewritten by a flush only when it is small itself. */
                if (n + 1 == n_segments && n_keys[n] > TAKE_RATIO * taken_keys)
                        break;

                taken_keys += n_keys[n];
                n++;
        }

        return n;
}

struct lanemap_lane_policy_range lanemap_lane_policy_merge(const uint64_t *n_keys,
                                                           uint32_t n_segments, bool settle)
{
        struct lanemap_lane_policy_range none = {0};

        if (n_segments < 2)
                return none;
        if (settle)
                return (struct lanemap_lane_policy_range){.first = 0, .n = n_segments};
        if (n_keys[n_segments - 2] * LANEMAP_LANE_POLICY_SIZE_RATIO >= n_keys[n_segments - 1])
                return (struct lanemap_lane_policy_range){.first = n_segments - 2, .n = 2};
        if (n_segments >= LANEMAP_LANE_POLICY_SEGMENTS_MAX)
                return (struct lanemap_lane_policy_range){.first = 0, .n = n_segments - 1};

        return none;
}

bool lanemap_lane_policy_filter(uint32_t policy, uint32_t kind, uint64_t n_keys)
{
        if (policy == LANEMAP_LANE_FILTER_AUTO)
                return kind != LANEMAP_SEGMENT_KIND_PACKED &&
                       n_keys >= LANEMAP_LANE_POLICY_FILTER_KEYS_MIN;

        return policy == LANEMAP_LANE_FILTER_ALWAYS;
}

uint64_t lanemap_lane_policy_flush_bytes(uint64_t n_live_keys, uint32_t cell_bytes)
{
        /* A table is about half full on average: two cells a key. */
        uint64_t bytes = n_live_keys * 3 / 200 * 2 * cell_bytes;

        return LANEMAP_MIN(LANEMAP_MAX(bytes, FLUSH_BYTES_MIN), FLUSH_BYTES_MAX);
}
