/*
 * Nodes of the tree that holds a long posting (format.h), as the writer handles them: their
 * content in private memory, and as a block of the arena that nobody can reach yet. A block is
 * written once, in its final form.
 *
 * Thread: the writer, under its lock.
 */
#ifndef LANEMAP_OVERLAY_POSTING_NODE_WRITE_H
#define LANEMAP_OVERLAY_POSTING_NODE_WRITE_H

#include "common/arena.h"
#include "overlay/format.h"

/* A content in the making may have one element more than a node. */
struct posting_node {
        uint32_t n;
        uint32_t height; /* 0: a leaf */
        union {
                uint32_t ids[LANEMAP_OVERLAY_LEAF_IDS_MAX + 1];
                struct lanemap_overlay_child_shm children[LANEMAP_OVERLAY_INNER_MAX + 1];
        };
};

/* A node below a quarter looks for a neighbour; together they may fill three quarters. */
#define LANEMAP_POSTING_NODE_UNDERFULL(max) ((max) / 4)
#define LANEMAP_POSTING_NODE_MERGED(max)    ((max) - (max) / 4)

LANEMAP_ALWAYS_INLINE uint32_t lanemap_posting_node_max(uint32_t height)
{
        return height ? LANEMAP_OVERLAY_INNER_MAX : LANEMAP_OVERLAY_LEAF_IDS_MAX;
}

LANEMAP_ALWAYS_INLINE size_t lanemap_posting_node_element_bytes(uint32_t height)
{
        return height ? sizeof(struct lanemap_overlay_child_shm) : sizeof(uint32_t);
}

/* Of a block. */
LANEMAP_ALWAYS_INLINE uint64_t lanemap_posting_node_bytes(uint32_t height, uint32_t n)
{
        return sizeof(struct lanemap_overlay_node_shm) +
               n * lanemap_posting_node_element_bytes(height);
}

/* To a block that may be one that a late reader still looks at: with relaxed stores. `to` is
 * aligned to 8 bytes. */
void lanemap_posting_ids_store(uint32_t *to, const uint32_t *from, size_t n);

void lanemap_posting_node_load(const struct lanemap_arena *arena, uint64_t off,
                               struct posting_node *ret_node);

/* A new block, and the element of a parent that leads to it. Return: 0, -ENOSPC. */
int lanemap_posting_leaf_new(struct lanemap_arena *arena, const uint32_t *ids, uint32_t n,
                             struct lanemap_overlay_child_shm *ret_child);
int lanemap_posting_inner_new(struct lanemap_arena *arena, uint32_t height,
                              const struct lanemap_overlay_child_shm *children, uint32_t n,
                              struct lanemap_overlay_child_shm *ret_child);

/* The head of a tree. Return: 0, -ENOSPC. */
int lanemap_posting_head_new(struct lanemap_arena *arena, uint64_t n_ids, uint64_t root_off,
                             uint64_t *ret_off);

/* Calls fn for every block of a subtree, children first. */
void lanemap_posting_node_walk(struct lanemap_arena *arena, uint64_t off,
                               void (*fn)(struct lanemap_arena *arena, uint64_t off,
                                          uint64_t bytes));
uint64_t lanemap_posting_subtree_bytes(const struct lanemap_arena *arena, uint64_t off);

#endif
