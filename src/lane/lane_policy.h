/*
 * When to flush, and what to merge: pure functions from numbers to decisions, with no I/O and no
 * clock.
 *
 * A lane's segments, newest first, are young ones (what flushes left), at most one middle one and a
 * bottom. A flush takes young segments into its output where they are not much larger than it, so
 * that the number of segments stays at LANEMAP_LANE_POLICY_SEGMENTS_MAX or below without a merge
 * for each flush. A merge joins the two oldest when the upper of them has grown to a tenth of the
 * bottom.
 *
 * Write amplification for uniform churn: about 4 for the young levels and 10 for the bottom;
 * perf/index counts it.
 */
#ifndef LANEMAP_LANE_LANE_POLICY_H
#define LANEMAP_LANE_LANE_POLICY_H

#include "common/base.h"

#define LANEMAP_LANE_POLICY_SEGMENTS_MAX 4
#define LANEMAP_LANE_POLICY_SIZE_RATIO   10

/* With fewer keys a filter's padding would be as much as the filter. */
#define LANEMAP_LANE_POLICY_FILTER_KEYS_MIN 128

/* Filter policies. */
#define LANEMAP_LANE_FILTER_NEVER  1
#define LANEMAP_LANE_FILTER_AUTO   2
#define LANEMAP_LANE_FILTER_ALWAYS 3

struct lanemap_lane_policy_range {
        uint32_t first; /* segment index, 0 is the newest */
        uint32_t n;     /* 0: nothing to do */
};

/*
 * How many of the newest segments a flush of `new_keys` entries takes into its output.
 *
 * n_keys       entries of each segment, newest first
 * n_takeable   how many of the newest are not being merged right now
 */
uint32_t lanemap_lane_policy_flush_takes(uint64_t new_keys, const uint64_t *n_keys,
                                         uint32_t n_segments, uint32_t n_takeable);

/* Which adjacent segments to merge now, if any. `settle`: the lane is quiet, so make it one
 * segment. */
struct lanemap_lane_policy_range lanemap_lane_policy_merge(const uint64_t *n_keys,
                                                           uint32_t n_segments, bool settle);

/*
 * Whether a segment gets a filter. `auto` is the measured answer (perf/segments): in front of a
 * perfect hash a miss costs a tenth of what it does without, in memory and in cache; `packed` has its
 * tags, which refuse nearly all misses after a line as well. The level does not matter: most lookups miss at the
 * bottom, and all others miss above it.
 *
 * kind         LANEMAP_SEGMENT_KIND_*
 */
bool lanemap_lane_policy_filter(uint32_t policy, uint32_t kind, uint64_t n_keys);

/*
 * At how many bytes the active overlays of all lanes together are flushed: enough for about 1.5 %
 * of the live keys of a large index, never so little that a flush (two files, four syncs) is mostly
 * overhead.
 */
uint64_t lanemap_lane_policy_flush_bytes(uint64_t n_live_keys, uint32_t cell_bytes);

#endif
