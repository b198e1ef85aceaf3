/*
 * The choice of the lanes that a merge takes next: the excess of each group of lanes, counted for
 * lane/policy.h, which decides. All of it runs under the engine's lock.
 */
#include "writer/compact/compact.h"

#include "writer/apply/apply.h"

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

static bool lane_is_busy(const struct writer_lane *lane)
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

static void group_add(struct writer_lane *lane, struct lanemap_lane_policy_group *group)
{
        uint32_t n_sound = lanemap_engine_lane_n_sound(lane);

        if (!lanemap_engine_lane_has_excess(lane, n_sound)) {
                lane->compact_wanted = false;
                return;
        }
        for (uint32_t i = 0; i < n_sound; i++) {
                group->bytes += lane->segments[i]->bytes;
                group->excess_bytes += dead_share_bytes(lane->segments[i]->file);
                if (i + 1 < n_sound)
                        group->excess_bytes += lane->segments[i]->bytes;
        }
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
                if (lane_is_busy(&writer->lanes.items[i]))
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

/* The first lane of the most urgent group, and how many there are in one; or the index's
 * n_lanes. */
uint32_t lanemap_engine_merge_choose(struct lanemap_writer *writer, uint32_t *ret_n_lanes)
{
        struct plan plan = plan_make(writer);
        uint64_t flush_bytes = lanemap_engine_flush_threshold(writer);
        uint32_t chosen = writer->identity.n_lanes;
        uint64_t highest = 0;
        bool is_over;

        writer->pressure.excess_bytes = plan.excess_bytes;
        writer->pressure.excess_max = lanemap_lane_policy_excess_max(plan.index_bytes, flush_bytes);
        /* Segments that a flush is about to take need not be merged before. */
        is_over = !writer->pressure.flush_wanted && plan.excess_bytes > writer->pressure.excess_max;
        for (uint32_t i = 0; i < writer->identity.n_lanes; i += plan.n_lanes) {
                struct lanemap_lane_policy_group group = group_of(writer, i, plan.n_lanes);
                uint64_t priority = lanemap_lane_policy_merge_priority(&group, is_over);

                if (priority > highest) {
                        highest = priority;
                        chosen = i;
                }
        }
        if (ret_n_lanes)
                *ret_n_lanes = plan.n_lanes;
        return chosen;
}
