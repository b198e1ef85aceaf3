/*
 * The keys of a group of operations: which operations each of them has, in their order. Memory is
 * kept for the next group. See group.h.
 */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "writer/apply/apply.h"
#include "writer/apply/group.h"
#include "writer/apply/group_keys.h"

/* Operations of a group whose memory is kept for the next. */
#define KEEP_OPS ((size_t)16384)

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

        if (!group || (group->next_capacity <= KEEP_OPS && group->table_capacity <= 2 * KEEP_OPS))
                return;

        lanemap_engine_group_free(writer->lanes.group);
        writer->lanes.group = NULL;
}

struct writer_group *lanemap_engine_group_get(struct lanemap_writer *writer)
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
        size_t n_table = 64;
        uint32_t *table;

        while (n_table < n_least)
                n_table *= 2;
        if (n_table <= group->table_capacity) {
                memset(group->table, 0, n_table * sizeof(*group->table));
                group->n_table = n_table;
                return 0;
        }

        table = lanemap_alloc_zero(n_table * sizeof(*table));
        if (!table)
                return -ENOMEM;

        lanemap_free(group->table);
        group->table = table;
        group->table_capacity = group->n_table = n_table;
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
                r = lanemap_array_fit((void **)&group->next, &group->next_capacity, n_ops,
                                      sizeof(*group->next));
        if (r == 0)
                r = lanemap_array_fit((void **)&group->results, &group->results_capacity, n_ops,
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
                r = lanemap_array_fit((void **)&group->keys, &group->keys_capacity,
                                      group->n_keys + 1, sizeof(*group->keys));
        if (r < 0)
                return r;

        cell = table_cell(group, fp);
        if (*cell == 0) {
                group->keys[group->n_keys] =
                        (struct group_key){.fp = fp, .first = WRITER_GROUP_NONE};
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
                if (!lanemap_engine_op_has_key(op->code))
                        continue;

                if (!key || !lanemap_fingerprint_equal(key->fp, op->fingerprint)) {
                        int r = key_find_or_add(group, op->fingerprint, &key);

                        if (r < 0)
                                return r;
                }
                if (key->first == WRITER_GROUP_NONE)
                        key->first = (uint32_t)i;
                else
                        group->next[key->last] = (uint32_t)i;
                key->last = (uint32_t)i;
                key->n_ops++;
                group->next[i] = WRITER_GROUP_NONE;
        }

        return 0;
}

static int clears_count(struct writer_group *group)
{
        uint32_t n = 0;

        if (group->n_clears == 0)
                return 0;
        if (lanemap_array_fit((void **)&group->clears_before, &group->clears_before_capacity,
                              group->n_ops, sizeof(*group->clears_before)) < 0)
                return -ENOMEM;

        for (size_t i = 0; i < group->n_ops; i++) {
                group->clears_before[i] = n;
                n += group->ops[i].code == LANEMAP_OP_CLEAR;
        }
        return 0;
}

int lanemap_engine_group_collect(struct lanemap_writer *writer, struct writer_group *group,
                                 const struct lanemap_log_op *ops, size_t n_ops)
{
        int r;

        r = group_begin(writer, group, ops, n_ops);
        if (r == 0)
                r = keys_collect(group);
        return r == 0 ? clears_count(group) : r;
}

bool lanemap_engine_group_has_repeats(struct lanemap_writer *writer,
                                      const struct lanemap_log_op *ops, size_t n_ops)
{
        struct writer_group *group = lanemap_engine_group_get(writer);
        uint32_t *cell, tag;
        size_t mask;

        if (!group || table_begin(group, 2 * n_ops) < 0)
                return false; /* one by one, then */

        mask = group->n_table - 1;
        for (size_t i = 0; i < n_ops; i++) {
                if (!lanemap_engine_op_has_key(ops[i].code))
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
