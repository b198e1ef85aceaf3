/*
 * When to flush, and what to merge: pure functions from numbers to decisions, with no I/O and no
 * clock.
 *
 * A lane's segments, newest first, are young ones and a bottom. A flush writes what is new, and
 * takes in young segments of about its own size, so that its work depends on what is new. When a
 * lane has LANEMAP_LANE_POLICY_SEGMENTS_MAX segments, a worker merges the young ones of similar
 * size, and all of them into the bottom when they are a quarter of it.
 *
 * *Excess* is what a large index costs beyond its live entries: entries of young segments that an
 * older one has too, or that remove one; and sections of files that nobody uses any more but whose
 * file still lives. An index that only grows has none. Excess has a budget, a twenty-fifth of the
 * index. When it is over, the one group of lanes goes to the bottom that gets rid of the most
 * excess per byte written. So the sum stays level instead of rising and falling, a group is merged
 * when its own excess is about twice the budget's share, and a bottom is written about twelve times
 * less often than it is flushed to. A group is always the same neighbouring lanes, so that the
 * merge of a group ends the life of the file that the merge before it made.
 *
 * Write amplification per entry: for uniform growth 6 to 7, of which flushes are 2; for uniform
 * churn about 3 for the young levels and 12 for the bottom. perf/latency and perf/index count it.
 */
#ifndef LANEMAP_LANE_POLICY_H
#define LANEMAP_LANE_POLICY_H

#include "common/base.h"

#define LANEMAP_LANE_POLICY_SEGMENTS_MAX 4

/* With fewer keys a filter's padding would be as much as the filter. */
#define LANEMAP_LANE_POLICY_FILTER_KEYS_MIN 128

/* Filter policies. */
#define LANEMAP_LANE_FILTER_NEVER  1
#define LANEMAP_LANE_FILTER_AUTO   2
#define LANEMAP_LANE_FILTER_ALWAYS 3

/*
 * Return: how many of the newest segments a flush of `new_keys` entries takes into its output.
 *
 * n_keys       entries of each segment, newest first
 * n_takeable   how many of the newest are not being merged right now
 */
uint32_t lanemap_lane_policy_flush_takes(uint64_t new_keys, const uint64_t *n_keys,
                                         uint32_t n_segments, uint32_t n_takeable);

/*
 * Return: how many of the newest segments of a lane that has too many a worker merges; all of them:
 * into the bottom.
 *
 * n_keys       entries of each segment, newest first
 * n_segments   3 or more
 */
uint32_t lanemap_lane_policy_merge_takes(const uint64_t *n_keys, uint32_t n_segments);

/* The neighbouring lanes that are merged together: a power of two, so that groups nest. */
uint32_t lanemap_lane_policy_group_lanes(uint64_t index_bytes, uint32_t n_lanes);

/* The excess that an index of so many bytes of segments may have that is flushed at so many bytes
 * of tables: a small one at least about what one flush leaves. */
uint64_t lanemap_lane_policy_excess_max(uint64_t index_bytes, uint64_t flush_bytes);

/* The young segments of a lane. Useless: what the lane's segments have beyond its live keys and
 * pairs, as of its last flush. */
struct lanemap_lane_policy_young {
        uint64_t bytes;
        uint64_t n_keys, n_useless_keys;
        uint64_t n_pairs, n_useless_pairs;
};
/* The bytes of young segments that a merge into the bottom would get rid of, about: the larger of
 * the shares by keys and by pairs, and at most all of them. */
uint64_t lanemap_lane_policy_excess_bytes(const struct lanemap_lane_policy_young *young);

/* The reason to merge a group of lanes. */
struct lanemap_lane_policy_group {
        uint64_t excess_bytes; /* of young segments, and its share of dead sections */
        uint64_t bytes; /* of all its segments: what the merge reads, and about what it writes */
        uint32_t n_segments; /* of its deepest lane */
        bool is_asked;       /* somebody wants each of its lanes to be one segment */
};

/*
 * The urgency of a merge, 0: none; the most urgent group goes first. Deep lanes before all, since
 * they cost every lookup; then what was asked for; then, while the index is over its budget,
 * whatever rids it of the most excess per byte written.
 */
uint64_t lanemap_lane_policy_merge_priority(const struct lanemap_lane_policy_group *group,
                                            bool is_over_budget);

/*
 * Return: true if a segment gets a filter. `auto` is the measured answer (perf/segments): in front
 * of a perfect hash a miss costs a tenth of what it does without, in memory and in cache; `packed`
 * has its tags, which refuse nearly all misses after a line as well. The level does not matter:
 * most lookups miss at the bottom, and all others miss above it.
 *
 * kind         LANEMAP_SEGMENT_KIND_*
 */
bool lanemap_lane_policy_filter(uint32_t policy, uint32_t kind, uint64_t n_keys);

/*
 * At how many bytes of tables the active overlays of all lanes together are flushed: enough for
 * about 1.5 % of the live keys of a large index, never so little that a flush (two files, four
 * syncs) is mostly overhead. Tables are powers of two, and all fill alike, so the flush comes when
 * they are full (LANEMAP_LANE_POLICY_FLUSH_FILL), before most of them double.
 */
uint64_t lanemap_lane_policy_flush_bytes(uint64_t n_live_keys, uint32_t n_lanes,
                                         uint32_t cell_bytes);

/* The used part of tables of that many bytes at which the flush begins. */
#define LANEMAP_LANE_POLICY_FLUSH_FILL(table_bytes) ((table_bytes) / 20 * 11)

/*
 * What active overlays hold. The first change of a long posting after a flush copies all of it into
 * its overlay, and each flush writes all of it: a flush gives those bytes back only until the next
 * change. So they are not counted as bytes, only their changes are.
 */
struct lanemap_lane_policy_overlays {
        uint64_t bytes;          /* of tables and short postings */
        uint64_t long_bytes;     /* of long postings */
        uint64_t long_max_bytes; /* of the longest that was changed, about */
        uint64_t n_long_changes;
};

/*
 * Return: true if overlays have outgrown a budget of so many bytes so many times.
 *
 *   A change of a long posting counts as 64 bytes, and the budget is a sixteenth of the long
 *   postings where that is more. So long postings that are changed often are copied and written
 *   once per as many changes as they have KiB: a change costs 1 KiB of copying at most, a leaf's.
 *
 *   Long postings that are changed seldom would all stay: from 64 MiB on, where a flush gives back
 *   more than the few longest, one change per MiB is enough.
 */
bool lanemap_lane_policy_overlays_exceed(const struct lanemap_lane_policy_overlays *overlays,
                                         uint64_t bytes_max, uint32_t times);

/* What counts of overlays as bytes, and the budget for it where it was to be bytes_max. */
uint64_t lanemap_lane_policy_overlays_bytes(const struct lanemap_lane_policy_overlays *overlays);
uint64_t lanemap_lane_policy_overlays_max(const struct lanemap_lane_policy_overlays *overlays,
                                          uint64_t bytes_max);

/* The work that writes have left to flushes and merges. */
struct lanemap_lane_policy_debt {
        uint64_t
                overlay_bytes; /* in use, of active overlays; a change of a long posting as above */
        uint64_t flush_bytes;  /* in use, at which they are flushed */
        uint32_t n_segments;   /* of the deepest lane */
        uint64_t excess_bytes; /* of groups that no merge is at */
        uint64_t excess_max;   /* their budget */
};

/*
 * Back-pressure: the nanoseconds that each operation is to be delayed by.
 *
 * 0 without debt. It begins where overlays have half as much again as a flush takes, a lane has a
 * segment more than it should, or excess is twice its budget; from there it doubles ten times, to
 * 128 us where overlays have 3.5 times as much, a lane has LANEMAP_LANE_SEGMENTS_MAX segments, or
 * excess is ten times its budget. So writes get as slow as flushes and merges are, whatever the
 * disk, at a debt that depends on the logarithm of their speed.
 */
uint64_t lanemap_lane_policy_delay_ns(const struct lanemap_lane_policy_debt *debt);

#endif
