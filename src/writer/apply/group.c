/* See group.h. */
#include "writer/apply/group.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "writer/apply/apply.h"
#include "writer/apply/net.h"
#include "writer/core/core.h"

#define NONE UINT32_MAX

/* Keys whose cache lines are requested together. */
#define PREFETCH 16

/* Operations of a group whose memory is kept for the next. */
#define KEEP_OPS ((size_t)16384)

/* One key of the group: its operations, then its new posting, which nobody sees yet. */
struct group_key {
        struct lanemap_fingerprint fp;
        uint32_t first; /* of its operations; group->next chains the others */
        uint32_t last;
        uint32_t n_ops;
        uint32_t lane;
        uint64_t n_before;
        uint64_t n_after;
        uint64_t old_value; /* in the active overlay; 0: not there */
        uint64_t value;     /* to be stored; 0: nothing is */
        size_t made_first;  /* its blocks in group->made and group->dropped */
        size_t dropped_first;
        uint32_t n_made;
        uint32_t n_dropped;
        bool replaces_whole_old;
        bool built_whole_new;
};

struct writer_group {
        const struct lanemap_log_op *ops; /* the caller's */
        size_t n_ops;
        uint32_t n_clears;
        uint32_t *clears_before; /* of an operation; only with clears */
        size_t clears_before_capacity;

        struct group_key *keys;
        size_t n_keys;
        size_t keys_capacity;
        uint32_t *next; /* of an operation: the next one of its key, or NONE */
        size_t next_capacity;
        struct lanemap_op_result *results; /* of the operations */
        size_t results_capacity;
        uint32_t *table; /* open addressing, of n_table cells: a key's number + 1 */
        size_t n_table;
        struct writer_lane_start *starts; /* of a clear */
        uint32_t *lane_keys;              /* by lane: keys that are new in the active overlay */

        struct writer_net net;
        struct lanemap_posting_blocks made;
        struct lanemap_posting_blocks dropped;
};

/* ---- memory ---- */

void lanemap_engine_group_free(struct writer_group *group)
{
        if (!group)
                return;

        lanemap_free(group->keys);
        lanemap_free(group->next);
        lanemap_free(group->clears_before);
        lanemap_free(group->results);
        lanemap_free(group->table);
        lanemap_free(group->starts);
        lanemap_free(group->lane_keys);
        lanemap_engine_net_deinit(&group->net);
        lanemap_posting_blocks_deinit(&group->made);
        lanemap_posting_blocks_deinit(&group->dropped);
        lanemap_free(group);
}

void lanemap_engine_group_trim(struct lanemap_writer *writer)
{
        const struct writer_group *group = writer->lanes.group;

        if (!group || (group->next_capacity <= KEEP_OPS && group->n_table <= 2 * KEEP_OPS))
                return;

        lanemap_engine_group_free(writer->lanes.group);
        writer->lanes.group = NULL;
}

/* Room for n elements. Return: 0, -ENOMEM. */
static int array_fit(void **array, size_t *capacity, size_t n, size_t element_bytes)
{
        size_t wanted = LANEMAP_MAX(LANEMAP_MAX(n, *capacity + *capacity / 2), (size_t)64);
        void *grown;

        if (n <= *capacity)
                return 0;

        grown = lanemap_realloc(*array, wanted * element_bytes);
        if (!grown)
                return -ENOMEM;

        *array = grown;
        *capacity = wanted;
        return 0;
}

static struct writer_group *group_get(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        struct writer_group *group = writer->lanes.group;

        if (group)
                return group;

        group = lanemap_alloc_zero(sizeof(*group));
        if (!group)
                return NULL;

        group->lane_keys = lanemap_alloc(writer->identity.n_lanes * sizeof(*group->lane_keys));
        group->starts = lanemap_alloc(writer->identity.n_lanes * sizeof(*group->starts));
        if (!group->lane_keys || !group->starts) {
                lanemap_engine_group_free(group);
                return NULL;
        }

        writer->lanes.group = group;
        return group;
}

/* ---- the keys ---- */

static bool op_has_key(uint32_t code)
{
        return code == LANEMAP_OP_ADD || code == LANEMAP_OP_REMOVE || code == LANEMAP_OP_DELETE;
}

/* The cell of a key, or the empty one where it would go. */
static uint32_t *table_cell(struct writer_group *group, struct lanemap_fingerprint fp)
{
        size_t mask = group->n_table - 1, at = fp.hash & mask;

        while (group->table[at] != 0 &&
               !lanemap_fingerprint_equal(group->keys[group->table[at] - 1].fp, fp))
                at = (at + 1) & mask;

        return &group->table[at];
}

/* An empty table of at least so many cells. */
static int table_begin(struct writer_group *group, size_t n_least)
{
        size_t n_table = group->n_table ? group->n_table : 64;
        uint32_t *table;

        if (n_least <= group->n_table) {
                if (group->table)
                        memset(group->table, 0, group->n_table * sizeof(*group->table));
                return 0;
        }

        while (n_table < n_least)
                n_table *= 2;
        table = lanemap_alloc_zero(n_table * sizeof(*table));
        if (!table)
                return -ENOMEM;

        lanemap_free(group->table);
        group->table = table;
        group->n_table = n_table;
        return 0;
}

/* Half full at most. */
static int table_fit(struct writer_group *group)
{
        int r;

        if (2 * (group->n_keys + 1) <= group->n_table)
                return 0;

        r = table_begin(group, 2 * (group->n_keys + 1));
        if (r < 0)
                return r;

        for (size_t i = 0; i < group->n_keys; i++)
                *table_cell(group, group->keys[i].fp) = (uint32_t)i + 1;
        return 0;
}

static int group_begin(struct lanemap_writer *writer, struct writer_group *group,
                       const struct lanemap_log_op *ops, size_t n_ops)
{
        int r;

        group->ops = ops;
        group->n_ops = n_ops;
        group->n_keys = 0;
        group->n_clears = 0;
        group->made.n = group->dropped.n = 0;
        memset(group->lane_keys, 0, writer->identity.n_lanes * sizeof(*group->lane_keys));
        r = table_begin(group, 0);
        if (r == 0)
                r = array_fit((void **)&group->next, &group->next_capacity, n_ops,
                              sizeof(*group->next));
        if (r == 0)
                r = array_fit((void **)&group->results, &group->results_capacity, n_ops,
                              sizeof(*group->results));
        return r;
}

static int key_find_or_add(struct writer_group *group, struct lanemap_fingerprint fp,
                           struct group_key **ret_key)
{
        uint32_t *cell;
        int r;

        r = table_fit(group);
        if (r == 0)
                r = array_fit((void **)&group->keys, &group->keys_capacity, group->n_keys + 1,
                              sizeof(*group->keys));
        if (r < 0)
                return r;

        cell = table_cell(group, fp);
        if (*cell == 0) {
                group->keys[group->n_keys] = (struct group_key){.fp = fp, .first = NONE};
                *cell = (uint32_t)++group->n_keys;
        }
        *ret_key = &group->keys[*cell - 1];
        return 0;
}

/* Chains the operations of each key. */
static int keys_collect(struct writer_group *group)
{
        struct group_key *key = NULL;

        for (size_t i = 0; i < group->n_ops; i++) {
                const struct lanemap_log_op *op = &group->ops[i];

                group->n_clears += op->code == LANEMAP_OP_CLEAR;
                if (!op_has_key(op->code))
                        continue;

                if (!key || !lanemap_fingerprint_equal(key->fp, op->fingerprint)) {
                        int r = key_find_or_add(group, op->fingerprint, &key);

                        if (r < 0)
                                return r;
                }
                if (key->first == NONE)
                        key->first = (uint32_t)i;
                else
                        group->next[key->last] = (uint32_t)i;
                key->last = (uint32_t)i;
                key->n_ops++;
                group->next[i] = NONE;
        }

        return 0;
}

bool lanemap_engine_group_has_repeats(struct lanemap_writer *writer,
                                      const struct lanemap_log_op *ops, size_t n_ops)
{
        struct writer_group *group = group_get(writer);
        uint32_t *cell, tag;
        size_t mask;

        if (!group || table_begin(group, 2 * n_ops) < 0)
                return false; /* one by one, then */

        mask = group->n_table - 1;
        for (size_t i = 0; i < n_ops; i++) {
                if (!op_has_key(ops[i].code))
                        continue;

                /* Two keys with one tag are taken for one: that costs time only. */
                tag = (uint32_t)(ops[i].fingerprint.hash >> 32) | 1;
                cell = &group->table[ops[i].fingerprint.hash & mask];
                while (*cell != 0 && *cell != tag)
                        cell = &group->table[(size_t)(cell + 1 - group->table) & mask];
                if (*cell == tag)
                        return true;
                *cell = tag;
        }
        return false;
}

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
        for (uint32_t at = key->first; at != NONE; at = group->next[at]) {
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

        for (uint32_t at = key->first; at != NONE; at = group->next[at], step++) {
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

                        lanemap_overlay_prefetch(lanemap_arena_at(arena, table->off), table,
                                                 next->fp);
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

static int clears_count(struct writer_group *group)
{
        uint32_t n = 0;

        if (group->n_clears == 0)
                return 0;
        if (array_fit((void **)&group->clears_before, &group->clears_before_capacity, group->n_ops,
                      sizeof(*group->clears_before)) < 0)
                return -ENOMEM;

        for (size_t i = 0; i < group->n_ops; i++) {
                group->clears_before[i] = n;
                n += group->ops[i].code == LANEMAP_OP_CLEAR;
        }
        return 0;
}

int lanemap_engine_group_apply(struct lanemap_writer *writer, const struct lanemap_log_op *ops,
                               size_t n_ops, uint64_t position,
                               const struct lanemap_op_result **ret_results)
{
        struct writer_group *group = group_get(writer);
        int r;

        if (!group)
                return -ENOMEM;

        r = group_begin(writer, group, ops, n_ops);
        if (r == 0)
                r = keys_collect(group);
        if (r == 0)
                r = clears_count(group);
        if (r == 0)
                r = group_prepare(writer, group);
        if (r < 0)
                return r;

        group_publish(writer, group, position);
        *ret_results = group->results;
        return 0;
}
