/*
 * The choice of the lanes that a merge takes next: the excess of each group of lanes, counted for
 * lane/policy.h, which decides. All of it runs under the engine's lock.
 */
#include "writer/compact/compact.h"

#include "writer/apply/apply.h"

/* Without the bottom, a lane of fewer has nothing to merge. */
#define MIDDLE_SEGMENTS_MIN 3

/* So many merges for the young segments of all lanes. */
#define MIDDLE_JOBS 4

bool lanemap_engine_file_is_all_live(const struct writer_file *file)
{
        return file->n_refs >= file->mapped->n_sections;
}

/*
 * Bytes of a file's sections that nobody uses, for each one that somebody does. They count when
 * most of the file is dead: until then the lanes that are left are likely to leave by themselves,
 * young sections at the next flush, bottoms with their group.
 */
static uint64_t dead_share_bytes(const struct writer_file *file)
{
        uint32_t n_sections = file->mapped->n_sections;

        if (2 * file->n_refs >= n_sections)
                return 0;
        return file->mapped->n_bytes * (n_sections - file->n_refs) / n_sections / file->n_refs;
}

/* The number of newest segments that can be merged: those above a damaged one. */
uint32_t lanemap_engine_lane_n_sound(const struct writer_lane *lane)
{
        uint32_t n = 0;

        while (n < lane->n_segments && !lane->segments[n]->file->damaged)
                n++;
        return n;
}

bool lanemap_engine_lane_is_busy(const struct writer_lane *lane)
{
        for (uint32_t i = 0; i < lane->n_segments; i++)
                if (lane->segments[i]->busy)
                        return true;
        return false;
}

/* Return: true if a merge has anything to do for it: a lane that is compacted leaves no dead
 * section. */
bool lanemap_engine_lane_has_excess(const struct writer_lane *lane, uint32_t n_sound)
{
        const struct writer_file *file = n_sound == 1 ? lane->segments[0]->file : NULL;

        return n_sound > 1 ||
               (file && (lane->compact_wanted ? !lanemap_engine_file_is_all_live(file)
                                              : dead_share_bytes(file) > 0));
}

static uint64_t lane_bytes(const struct writer_lane *lane)
{
        uint64_t bytes = 0;

        for (uint32_t i = 0; i < lane->n_segments; i++)
                bytes += lane->segments[i]->bytes;
        return bytes;
}

/* Of a lane whose segments are all sound. */
static uint64_t lane_excess_bytes(const struct writer_lane *lane)
{
        struct lanemap_lane_policy_young young = {0};
        uint64_t n_keys = 0, n_pairs = 0;

        for (uint32_t i = 0; i < lane->n_segments; i++) {
                const struct writer_segment *segment = lane->segments[i];

                n_keys += segment->segment->n_keys;
                n_pairs += segment->n_pairs;
                if (i + 1 == lane->n_segments)
                        break;
                young.bytes += segment->bytes;
                young.n_keys += segment->segment->n_keys;
                young.n_pairs += segment->n_pairs;
        }
        young.n_useless_keys = n_keys - LANEMAP_MIN(n_keys, lane->position_n_keys);
        young.n_useless_pairs = n_pairs - LANEMAP_MIN(n_pairs, lane->position_n_pairs);
        return lanemap_lane_policy_excess_bytes(&young);
}

uint32_t lanemap_engine_lane_n_young(const struct writer_lane *lane)
{
        return lane->n_segments > 0 && lanemap_engine_lane_n_sound(lane) == lane->n_segments
                       ? lane->n_segments - 1
                       : 0;
}

/* Return: the newest segments that are merged without the bottom; 0: none. */
uint32_t lanemap_engine_lane_middle_takes(const struct writer_lane *lane)
{
        uint64_t n_keys[LANEMAP_LANE_SEGMENTS_MAX];
        uint32_t n;

        if (lane->n_segments < MIDDLE_SEGMENTS_MIN || lanemap_engine_lane_is_busy(lane) ||
            lanemap_engine_lane_n_sound(lane) < lane->n_segments)
                return 0;

        for (uint32_t i = 0; i < lane->n_segments; i++)
                n_keys[i] = lane->segments[i]->segment->n_keys;
        n = lanemap_lane_policy_merge_takes(n_keys, lane->n_segments);
        return n < lane->n_segments ? n : 0;
}

static void group_add(struct writer_lane *lane, struct lanemap_lane_policy_group *group)
{
        uint32_t n_sound = lanemap_engine_lane_n_sound(lane);
        bool is_sound = n_sound == lane->n_segments;

        if (!lanemap_engine_lane_has_excess(lane, n_sound)) {
                lane->compact_wanted = false;
                return;
        }
        for (uint32_t i = 0; i < n_sound; i++) {
                group->bytes += lane->segments[i]->bytes;
                group->excess_bytes += dead_share_bytes(lane->segments[i]->file);
                if (!is_sound && i + 1 < n_sound)
                        group->excess_bytes += lane->segments[i]->bytes;
        }
        if (is_sound)
                group->excess_bytes += lane_excess_bytes(lane);
        /* Above a damaged segment there is room for one. */
        group->n_segments = LANEMAP_MAX(group->n_segments, n_sound > 1 ? lane->n_segments : 1);
        group->is_asked |= lane->compact_wanted;
}

struct plan {
        uint32_t n_lanes; /* of a group */
        uint64_t index_bytes;
        uint64_t excess_bytes; /* of groups that no job is at */
};

static struct lanemap_lane_policy_group group_of(struct lanemap_writer *writer, uint32_t first,
                                                 uint32_t n_lanes)
{
        struct lanemap_lane_policy_group group = {0}, none = {0};

        for (uint32_t i = first; i < LANEMAP_MIN(first + n_lanes, writer->identity.n_lanes); i++) {
                if (lanemap_engine_lane_is_busy(&writer->lanes.items[i]))
                        return none;
                group_add(&writer->lanes.items[i], &group);
        }
        return group;
}

static struct plan plan_make(struct lanemap_writer *writer)
{
        struct plan plan = {0};

        for (uint32_t i = 0; i < writer->identity.n_lanes; i++)
                plan.index_bytes += lane_bytes(&writer->lanes.items[i]);
        plan.n_lanes = lanemap_lane_policy_group_lanes(plan.index_bytes, writer->identity.n_lanes);
        for (uint32_t i = 0; i < writer->identity.n_lanes; i += plan.n_lanes)
                plan.excess_bytes += group_of(writer, i, plan.n_lanes).excess_bytes;
        return plan;
}

/* A merge of young segments is one of a quarter of the lanes: so few merges make room for a flush,
 * and the file that it leaves ends with the merges of a few groups into their bottoms. */
static bool middle_choose(const struct lanemap_writer *writer, uint32_t n_group,
                          struct writer_merge_choice *ret)
{
        uint32_t n = LANEMAP_MAX(writer->identity.n_lanes / MIDDLE_JOBS, n_group);

        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                const struct writer_lane *lane = &writer->lanes.items[i];

                if (lane->n_segments < LANEMAP_LANE_POLICY_SEGMENTS_MAX ||
                    lanemap_engine_lane_middle_takes(lane) == 0)
                        continue;
                *ret = (struct writer_merge_choice){i / n * n, n, WRITER_MERGE_MIDDLE};
                return true;
        }
        return false;
}

/* What a merge of a group's young segments alone gets rid of: dead sections beside them. */
static struct lanemap_lane_policy_group young_of(const struct lanemap_writer *writer,
                                                 uint32_t first, uint32_t n_lanes)
{
        struct lanemap_lane_policy_group group = {0}, none = {0};

        for (uint32_t i = first; i < LANEMAP_MIN(first + n_lanes, writer->identity.n_lanes); i++) {
                const struct writer_lane *lane = &writer->lanes.items[i];

                if (lanemap_engine_lane_is_busy(lane))
                        return none;
                for (uint32_t s = 0; s < lanemap_engine_lane_n_young(lane); s++) {
                        group.bytes += lane->segments[s]->bytes;
                        group.excess_bytes += dead_share_bytes(lane->segments[s]->file);
                }
        }
        return group;
}

bool lanemap_engine_merge_choose(struct lanemap_writer *writer, struct writer_merge_choice *ret)
{
        struct plan plan = plan_make(writer);
        uint64_t flush_bytes = lanemap_engine_flush_threshold(writer), highest = 0;
        bool is_over;

        writer->pressure.excess_bytes = plan.excess_bytes;
        writer->pressure.excess_max = lanemap_lane_policy_excess_max(plan.index_bytes, flush_bytes);
        /* Segments that a flush is about to take need not be merged before. */
        is_over = !writer->pressure.flush_wanted && plan.excess_bytes > writer->pressure.excess_max;
        if (middle_choose(writer, plan.n_lanes, ret))
                return true;
        for (uint32_t i = 0; i < writer->identity.n_lanes; i += plan.n_lanes) {
                struct lanemap_lane_policy_group group = group_of(writer, i, plan.n_lanes);
                uint64_t priority = lanemap_lane_policy_merge_priority(&group, is_over);

                if (priority > highest) {
                        highest = priority;
                        *ret = (struct writer_merge_choice){i, plan.n_lanes, WRITER_MERGE_ALL};
                }
                group = young_of(writer, i, plan.n_lanes);
                priority = lanemap_lane_policy_merge_priority(&group, is_over);
                if (priority > highest) {
                        highest = priority;
                        *ret = (struct writer_merge_choice){i, plan.n_lanes, WRITER_MERGE_YOUNG};
                }
        }
        return highest > 0;
}
