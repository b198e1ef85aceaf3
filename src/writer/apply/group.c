/* See group.h. */
#include "writer/apply/group.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "writer/apply/apply.h"
#include "writer/apply/group_keys.h"
#include "writer/core/core.h"

/* Keys whose cache lines are requested together. */
#define PREFETCH 16

/* ---- one key ---- */

static void step_push(struct writer_net *net, uint32_t code, uint32_t id)
{
        net->steps[net->n_steps++] = (struct writer_net_step){.code = code, .id = id};
}

/* The operations of the key; and a clear wherever there are some between them, since each empties
 * it. */
static int steps_collect(struct writer_group *group, const struct group_key *key)
{
        struct writer_net *net = &group->net;
        uint32_t n_clears = 0;
        int r;

        r = lanemap_engine_net_fit(net,
                                   group->n_clears > 0 ? 2 * (size_t)key->n_ops + 1 : key->n_ops);
        if (r < 0)
                return r;

        net->n_steps = 0;
        for (uint32_t at = key->first; at != WRITER_GROUP_NONE; at = group->next[at]) {
                if (group->n_clears > 0 && group->clears_before[at] > n_clears)
                        step_push(net, LANEMAP_OP_CLEAR, 0);
                n_clears = group->n_clears > 0 ? group->clears_before[at] : 0;
                step_push(net, group->ops[at].code, group->ops[at].id);
        }
        if (group->n_clears > n_clears)
                step_push(net, LANEMAP_OP_CLEAR, 0);
        return 0;
}

static void steps_answer(struct writer_group *group, const struct group_key *key)
{
        const struct writer_net_step *step = group->net.steps;

        for (uint32_t at = key->first; at != WRITER_GROUP_NONE; at = group->next[at], step++) {
                while (step->code == LANEMAP_OP_CLEAR)
                        step++;
                group->results[at] = step->result;
        }
}

/* Which of the ids of the steps the key has. *ret_copied: its posting is in the scratch, too. */
static int was_fill(struct lanemap_writer *writer, const struct writer_key *state,
                    struct writer_net *net, bool *ret_copied) LANEMAP_REQUIRES(writer->lanes.lock)
{
        const uint32_t *ids;
        size_t at = 0;
        int r = 0;

        *ret_copied = false;
        if (state->n_ids == 0) {
                memset(net->was, 0, net->n_ids * sizeof(*net->was));
                return 0;
        }
        /* A search for each, or all of the posting once. */
        if (net->n_ids < state->n_ids / 8) {
                for (size_t i = 0; i < net->n_ids && r == 0; i++)
                        r = lanemap_engine_key_contains(writer, state, net->ids[i], &net->was[i]);
                return r;
        }

        r = lanemap_engine_key_copy(writer, state, net->n_steps);
        if (r < 0)
                return r;
        ids = writer->lanes.scratch;
        for (size_t i = 0; i < net->n_ids; i++) {
                while (at < state->n_ids && ids[at] < net->ids[i])
                        at++;
                net->was[i] = at < state->n_ids && ids[at] == net->ids[i];
        }
        *ret_copied = true;
        return 0;
}

/* What was prepared for one key. */
static void key_take(struct group_key *key, const struct lanemap_posting_change *change)
{
        key->value = change->value;
        key->replaces_whole_old = change->replaces_whole_old;
        key->built_whole_new = change->built_whole_new;
}

/* A posting built of all its ids, in place of all that the overlay had. */
static int key_build(struct lanemap_writer *writer, struct group_key *key, const uint32_t *ids,
                     size_t n_ids, bool fresh) LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct lanemap_posting_change change;
        int r;

        r = lanemap_posting_prepare_build(lanemap_engine_arena(writer), key->old_value, ids, n_ids,
                                          fresh, &change);
        if (r == 0)
                key_take(key, &change);
        return r;
}

/* The tree that the overlay has, with the touched nodes anew. */
static int key_edit(struct lanemap_writer *writer, struct writer_group *group,
                    struct group_key *key) LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct lanemap_posting_edit edit = {group->net.added, group->net.n_added,
                                            group->net.removed, group->net.n_removed};
        int r;

        r = lanemap_posting_prepare_edit(lanemap_engine_arena(writer), key->old_value, &edit,
                                         &group->made, &group->dropped, &key->value);
        key->n_made = (uint32_t)(group->made.n - key->made_first);
        key->n_dropped = (uint32_t)(group->dropped.n - key->dropped_first);
        return r;
}

/* The posting that the steps leave. */
static int key_prepare_net(struct lanemap_writer *writer, struct writer_group *group,
                           struct group_key *key, const struct writer_key *state, bool copied)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        const struct writer_net *net = &group->net;
        bool fresh = state->value ? state->value & LANEMAP_OVERLAY_TAG_FRESH : state->n_ids == 0;
        int r = 0;

        key->n_after = net->n_after;
        if (lanemap_engine_posting_is_too_long(writer, state->n_ids, net->n_after))
                return -ENOSPC;
        if (group->n_clears > 0) {
                /* Into the overlays that a clear begins. */
                key->n_before = key->old_value = 0;
                lanemap_check(net->is_whole);
                return net->n_after > 0 ? key_build(writer, key, net->added, net->n_added, true)
                                        : 0;
        }
        if (net->is_whole)
                return key_build(writer, key, net->added, net->n_added, fresh);
        if (net->n_added + net->n_removed == 0)
                return 0;
        if (lanemap_posting_edits_in_place(state->value, net->n_after))
                return key_edit(writer, group, key);

        if (!copied)
                r = lanemap_engine_key_copy(writer, state, net->n_added);
        if (r < 0)
                return r;
        return key_build(writer, key, writer->lanes.scratch,
                         lanemap_engine_net_merge(net, writer->lanes.scratch, state->n_ids), fresh);
}

static int key_prepare_many(struct lanemap_writer *writer, struct writer_group *group,
                            struct group_key *key, const struct writer_key *state)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        bool copied;
        int r;

        r = steps_collect(group, key);
        if (r < 0)
                return r;

        lanemap_engine_net_sort(&group->net);
        r = was_fill(writer, state, &group->net, &copied);
        if (r < 0)
                return r;

        lanemap_engine_net_run(&group->net, state->n_ids);
        steps_answer(group, key);
        return key_prepare_net(writer, group, key, state, copied);
}

static int blocks_move(struct lanemap_posting_blocks *to, const struct lanemap_posting_block *from,
                       uint32_t n)
{
        int r = 0;

        for (uint32_t i = 0; i < n && r == 0; i++)
                r = lanemap_posting_blocks_push(to, from[i].off, from[i].bytes);
        return r;
}

/* The one operation of the key. */
static int key_prepare_one(struct lanemap_writer *writer, struct writer_group *group,
                           struct group_key *key, struct writer_key *state)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        const struct lanemap_log_op *op = &group->ops[key->first];
        struct lanemap_op_result *result = &group->results[key->first];
        struct lanemap_posting_change change;
        int r;

        r = lanemap_engine_key_op(writer, state, op->code, op->id, result, &change);
        key->n_after = result->n_ids;
        if (r <= 0)
                return r;

        r = blocks_move(&group->made, change.new_blocks, change.n_new_blocks);
        if (r == 0)
                r = blocks_move(&group->dropped, change.old_blocks, change.n_old_blocks);
        if (r < 0) {
                group->made.n = key->made_first;
                group->dropped.n = key->dropped_first;
                lanemap_posting_abort(lanemap_engine_arena(writer), &change);
                return r;
        }

        key_take(key, &change);
        key->n_made = change.n_new_blocks;
        key->n_dropped = change.n_old_blocks;
        return 0;
}

static int key_prepare(struct lanemap_writer *writer, struct writer_group *group,
                       struct group_key *key) LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct writer_key state;
        int r;

        r = lanemap_engine_key_find(writer, key->fp, &state);
        if (r < 0)
                return r;

        key->lane = state.lane;
        key->n_before = state.n_ids;
        key->old_value = state.value;
        key->made_first = group->made.n;
        key->dropped_first = group->dropped.n;
        if (key->n_ops == 1 && group->n_clears == 0)
                r = key_prepare_one(writer, group, key, &state);
        else
                r = key_prepare_many(writer, group, key, &state);
        /* A table that grows forgets fresh tombstones: their keys may be new in it. */
        if (r == 0 && key->value && !lanemap_overlay_value_is_kept(key->old_value))
                group->lane_keys[key->lane]++;
        return r;
}

/* ---- all of them ---- */

static void keys_prefetch(struct lanemap_writer *writer, const struct writer_group *group, size_t i)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        size_t end = LANEMAP_MIN(i + PREFETCH, group->n_keys);

        if (i % PREFETCH != 0)
                return;

        /* In two stages, as apply.c. */
        for (size_t p = i == 0 ? 0 : end; p < LANEMAP_MIN(i + 2 * PREFETCH, group->n_keys); p++)
                lanemap_engine_lane_prefetch(writer, group->keys[p].fp);
        for (size_t p = i; p < end; p++)
                lanemap_engine_lane_prefetch_entries(writer, group->keys[p].fp);
}

/* Room for the new keys: a table that grows holds what it held, so that changes nothing. */
static int tables_prepare(struct lanemap_writer *writer, struct writer_group *group)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        int r = 0;

        if (group->n_clears > 0) {
                for (uint32_t i = 0; i < writer->identity.n_lanes; i++)
                        group->starts[i].log2_cells = group->starts[i].log2_cells_least =
                                lanemap_overlay_log2_cells_for(group->lane_keys[i]);
                return lanemap_engine_lane_starts_alloc(writer, group->starts);
        }

        for (uint32_t i = 0; i < writer->identity.n_lanes && r == 0; i++)
                if (group->lane_keys[i] > 0)
                        r = lanemap_engine_lane_fit(writer, i, group->lane_keys[i]);
        return r;
}

static struct lanemap_posting_change key_change(const struct writer_group *group,
                                                const struct group_key *key)
{
        struct lanemap_posting_change change;

        lanemap_posting_change_init(&change, key->old_value, key->replaces_whole_old);
        change.value = key->value;
        change.built_whole_new = key->built_whole_new;
        change.more_new = key->n_made ? group->made.items + key->made_first : NULL;
        change.n_more_new = key->n_made;
        change.more_old = key->n_dropped ? group->dropped.items + key->dropped_first : NULL;
        change.n_more_old = key->n_dropped;
        return change;
}

static void keys_abort(struct lanemap_writer *writer, struct writer_group *group)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        for (size_t i = 0; i < group->n_keys; i++) {
                struct lanemap_posting_change change;

                if (!group->keys[i].value)
                        continue;
                change = key_change(group, &group->keys[i]);
                lanemap_posting_abort(lanemap_engine_arena(writer), &change);
        }
}

static int group_prepare(struct lanemap_writer *writer, struct writer_group *group)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        int r = 0;

        for (size_t i = 0; i < group->n_keys && r == 0; i++) {
                keys_prefetch(writer, group, i);
                r = key_prepare(writer, group, &group->keys[i]);
        }
        if (r == 0)
                r = tables_prepare(writer, group);
        if (r < 0)
                keys_abort(writer, group);
        return r;
}

/* ---- what cannot fail ---- */

static void key_publish(struct lanemap_writer *writer, const struct writer_group *group,
                        const struct group_key *key, uint64_t position)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct lanemap_posting_change change = key_change(group, key);
        struct writer_key state = {.fp = key->fp, .lane = key->lane, .n_ids = key->n_before};

        state.cell =
                lanemap_overlay_cell(&writer->lanes.items[key->lane].active, key->fp, &state.value);
        lanemap_check(state.value == key->old_value ||
                      (!state.value && !lanemap_overlay_value_is_kept(key->old_value)));
        lanemap_engine_key_publish(writer, &state, &change, key->n_after, position);
}

/* What a clear answers: the pairs that there were then. */
static void clears_answer(struct writer_group *group, uint64_t n_pairs)
{
        for (size_t i = 0; group->n_clears > 0 && i < group->n_ops; i++) {
                struct lanemap_op_result *result = &group->results[i];

                switch (group->ops[i].code) {
                case LANEMAP_OP_ADD:
                        n_pairs += result->n_changed;
                        break;
                case LANEMAP_OP_CLEAR:
                        *result = (struct lanemap_op_result){
                                .n_changed = (uint32_t)LANEMAP_MIN(n_pairs, (uint64_t)UINT32_MAX)};
                        n_pairs = 0;
                        break;
                case LANEMAP_OP_MARK:
                        break;
                default:
                        n_pairs -= result->n_changed;
                        break;
                }
        }
}

static void group_publish(struct lanemap_writer *writer, struct writer_group *group,
                          uint64_t position) LANEMAP_REQUIRES(writer->lanes.lock)
{
        const struct lanemap_arena *arena = lanemap_engine_arena(writer);

        clears_answer(group, writer->lanes.n_pairs);
        if (group->n_clears > 0)
                lanemap_engine_clear_publish(writer, group->starts, position);
        for (size_t i = 0; i < group->n_keys; i++) {
                if (i + PREFETCH < group->n_keys) {
                        const struct group_key *next = &group->keys[i + PREFETCH];
                        const struct lanemap_overlay_table *table =
                                &writer->lanes.items[next->lane].active.table;

                        lanemap_overlay_prefetch(lanemap_overlay_own_cells(arena, table),
                                                 table->cell_bytes, next->fp);
                }
                if (group->keys[i].value)
                        key_publish(writer, group, &group->keys[i], position);
        }
        for (size_t i = 0; i < group->n_ops; i++)
                if (group->ops[i].code == LANEMAP_OP_MARK) {
                        lanemap_engine_mark_set(writer, &group->ops[i], position);
                        group->results[i] = (struct lanemap_op_result){0};
                }
}

int lanemap_engine_group_apply(struct lanemap_writer *writer, const struct lanemap_log_op *ops,
                               size_t n_ops, uint64_t position,
                               const struct lanemap_op_result **ret_results)
{
        struct writer_group *group = lanemap_engine_group_get(writer);
        int r;

        if (!group)
                return -ENOMEM;

        r = lanemap_engine_group_collect(writer, group, ops, n_ops);
        if (r == 0)
                r = group_prepare(writer, group);
        if (r < 0)
                return r;

        group_publish(writer, group, position);
        *ret_results = group->results;
        return 0;
}
