/*
 * A group of operations while it is applied: its keys, and what is prepared for them. For group.c
 * and group_keys.c only.
 */
#ifndef LANEMAP_WRITER_APPLY_GROUP_KEYS_H
#define LANEMAP_WRITER_APPLY_GROUP_KEYS_H

#include "writer/apply/net.h"
#include "writer/core/engine.h"

/* No operation follows. */
#define WRITER_GROUP_NONE UINT32_MAX

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
        uint32_t *next; /* of an operation: the next one of its key, or WRITER_GROUP_NONE */
        size_t next_capacity;
        struct lanemap_op_result *results; /* of the operations */
        size_t results_capacity;
        uint32_t *table; /* open addressing, of n_table cells: a key's number + 1 */
        size_t n_table;  /* in use: a small group clears no more */
        size_t table_capacity;
        struct writer_lane_start *starts; /* of a clear */
        uint32_t *lane_keys;              /* by lane: keys that are new in the active overlay */

        struct writer_net net;
        struct lanemap_posting_blocks made;
        struct lanemap_posting_blocks dropped;
};

/* The one of the engine, made at its first use. Return: NULL: there is no memory. */
struct writer_group *lanemap_engine_group_get(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* Chains the operations of each key. `ops` are the caller's, and stay until the group is applied.
 * Return: 0, -ENOMEM. Cost: O(n_ops). */
int lanemap_engine_group_collect(struct lanemap_writer *writer, struct writer_group *group,
                                 const struct lanemap_log_op *ops, size_t n_ops)
        LANEMAP_REQUIRES(writer->lanes.lock);

#endif
