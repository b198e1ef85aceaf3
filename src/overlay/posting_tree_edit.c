/*
 * Many ids more and less in a copy-on-write B+ tree, in one pass. See posting_tree_write.h.
 *
 * From the root down, a node takes its part of the edit and leaves, on a stack of children, what
 * its parent has in its place: itself where it has no part; none, one or several new nodes where it
 * has. So an untouched subtree is shared with the old tree, and a touched node is written once.
 *
 *      stack   [ children for the parents above | the children of this node, old and new ]
 *
 * New children are marked in `reserved`, which is 0 in shared memory. Removals may leave nodes that
 * are nearly empty: such a new node is joined with its neighbour.
 */
#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "overlay/posting_node_write.h"
#include "overlay/posting_tree_write.h"

/* Nodes that are split are left at about nine tenths. */
#define NODE_FILL(max) ((max) - (max) / 10)

struct tree_edit {
        struct lanemap_arena *arena;
        struct lanemap_posting_blocks *made;
        struct lanemap_posting_blocks *dropped;
        uint32_t *ids; /* of one leaf and its part of the edit */
        struct lanemap_overlay_child_shm *stack;
        size_t n_stack;
        size_t stack_capacity;
};

static int stack_push(struct tree_edit *tree, struct lanemap_overlay_child_shm child)
{
        int r = lanemap_array_fit((void **)&tree->stack, &tree->stack_capacity, tree->n_stack + 1,
                                  sizeof(*tree->stack));

        if (r < 0)
                return r;

        tree->stack[tree->n_stack++] = child;
        return 0;
}

static const struct lanemap_overlay_node_shm *node_at(const struct tree_edit *tree, uint64_t off)
{
        return lanemap_arena_at(tree->arena, off);
}

/* ---- blocks ---- */

/* The last ones are the likely ones. Return: true if it was new: then it is free again. */
static bool made_free(struct tree_edit *tree, uint64_t off)
{
        struct lanemap_posting_blocks *made = tree->made;

        for (size_t i = made->n; i-- > 0;) {
                if (made->items[i].off != off)
                        continue;

                tree->arena->free(tree->arena, off, made->items[i].bytes);
                made->items[i] = made->items[--made->n];
                return true;
        }

        return false;
}

/* The node is part of the tree no longer. */
static int node_drop(struct tree_edit *tree, uint64_t off, bool is_new)
{
        const struct lanemap_overlay_node_shm *node = node_at(tree, off);

        if (is_new && made_free(tree, off))
                return 0;

        return lanemap_posting_blocks_push(tree->dropped, off,
                                           lanemap_posting_node_bytes(node->height, node->n));
}

/* A block that was just allocated, of a node or the head. */
static int made_note(struct tree_edit *tree, uint64_t off, uint64_t bytes)
{
        int r = lanemap_posting_blocks_push(tree->made, off, bytes);

        if (r < 0)
                tree->arena->free(tree->arena, off, bytes);
        return r;
}

/* n elements, ids or children, into a new node. */
static int node_emit(struct tree_edit *tree, uint32_t height, const void *elements, uint32_t n,
                     struct lanemap_overlay_child_shm *ret_child)
{
        struct lanemap_overlay_child_shm child;
        int r;

        if (height)
                r = lanemap_posting_inner_new(tree->arena, height, elements, n, &child);
        else
                r = lanemap_posting_leaf_new(tree->arena, elements, n, &child);
        if (r == 0)
                r = made_note(tree, child.off, lanemap_posting_node_bytes(height, n));
        if (r < 0)
                return r;

        child.reserved = 1;
        *ret_child = child;
        return 0;
}

/* How many nodes n elements make; `full`: as few as can be. */
static size_t nodes_for(uint32_t max, size_t n, bool full)
{
        uint32_t fill = n <= max || full ? max : NODE_FILL(max);

        return (n + fill - 1) / fill;
}

/* ---- leaves ---- */

/* Return: how many ids the leaf has with its part of the edit. */
static size_t ids_merge(const uint32_t *from, size_t n_from,
                        const struct lanemap_posting_edit *part, uint32_t *to)
{
        size_t at = 0, a = 0, d = 0, n = 0;

        while (at < n_from || a < part->n_added) {
                if (a < part->n_added && (at == n_from || part->added[a] < from[at])) {
                        to[n++] = part->added[a++];
                } else if (d < part->n_removed && part->removed[d] == from[at]) {
                        d++;
                        at++;
                } else {
                        to[n++] = from[at++];
                }
        }

        lanemap_check(d == part->n_removed);
        return n;
}

static int leaf_edit(struct tree_edit *tree, uint64_t off, const struct lanemap_posting_edit *part)
{
        const struct lanemap_overlay_node_shm *leaf = node_at(tree, off);
        const uint32_t *ids = (const uint32_t *)(leaf + 1);
        /* Ids that arrive in ascending order leave full leaves after them. */
        bool appended = part->n_removed == 0 && part->added[0] > ids[leaf->n - 1];
        size_t n = ids_merge(ids, leaf->n, part, tree->ids), n_nodes, at = 0;
        int r;

        n_nodes = nodes_for(LANEMAP_OVERLAY_LEAF_IDS_MAX, n, appended);
        for (size_t i = 0; i < n_nodes; i++) {
                size_t end = appended ? LANEMAP_MIN(at + LANEMAP_OVERLAY_LEAF_IDS_MAX, n)
                                      : n * (i + 1) / n_nodes;
                struct lanemap_overlay_child_shm child;

                r = node_emit(tree, 0, tree->ids + at, (uint32_t)(end - at), &child);
                if (r == 0)
                        r = stack_push(tree, child);
                if (r < 0)
                        return r;
                at = end;
        }

        return node_drop(tree, off, false);
}

/* ---- inner nodes ---- */

/* Two neighbours into one node, in the place of the left one. */
static int children_join(struct tree_edit *tree, struct lanemap_overlay_child_shm *left,
                         const struct lanemap_overlay_child_shm *right)
{
        struct lanemap_overlay_child_shm joined;
        struct posting_node node, other;
        size_t size;
        int r;

        lanemap_posting_node_load(tree->arena, left->off, &node);
        lanemap_posting_node_load(tree->arena, right->off, &other);
        size = lanemap_posting_node_element_bytes(node.height);
        memcpy((unsigned char *)node.ids + node.n * size, other.ids, other.n * size);
        r = node_emit(tree, node.height, node.ids, node.n + other.n, &joined);
        if (r == 0)
                r = node_drop(tree, left->off, left->reserved);
        if (r == 0)
                r = node_drop(tree, right->off, right->reserved);
        if (r == 0)
                *left = joined;
        return r;
}

/* Return: true if one of the two is new and nearly empty, and both fit into one. */
static bool children_are_to_join(const struct tree_edit *tree,
                                 const struct lanemap_overlay_child_shm *left,
                                 const struct lanemap_overlay_child_shm *right)
{
        const struct lanemap_overlay_node_shm *a, *b;
        uint32_t max;

        if (!left->reserved && !right->reserved)
                return false;

        a = node_at(tree, left->off);
        b = node_at(tree, right->off);
        max = lanemap_posting_node_max(a->height);
        return ((left->reserved && a->n < LANEMAP_POSTING_NODE_UNDERFULL(max)) ||
                (right->reserved && b->n < LANEMAP_POSTING_NODE_UNDERFULL(max))) &&
               a->n + b->n <= LANEMAP_POSTING_NODE_MERGED(max);
}

static int stack_join(struct tree_edit *tree, size_t first)
{
        size_t to = first;

        for (size_t i = first; i < tree->n_stack; i++) {
                struct lanemap_overlay_child_shm *left = to > first ? &tree->stack[to - 1] : NULL;

                if (left && children_are_to_join(tree, left, &tree->stack[i])) {
                        int r = children_join(tree, left, &tree->stack[i]);

                        if (r < 0)
                                return r;
                        continue;
                }
                tree->stack[to++] = tree->stack[i];
        }

        tree->n_stack = to;
        return 0;
}

/* The children from `first` on become nodes of that height, in their place. */
static int stack_pack(struct tree_edit *tree, size_t first, uint32_t height)
{
        size_t n = tree->n_stack - first, n_nodes, at = 0;

        n_nodes = nodes_for(LANEMAP_OVERLAY_INNER_MAX, n, false);
        for (size_t i = 0; i < n_nodes; i++) {
                size_t end = n * (i + 1) / n_nodes;
                struct lanemap_overlay_child_shm node;
                int r;

                r = node_emit(tree, height, tree->stack + first + at, (uint32_t)(end - at), &node);
                if (r < 0)
                        return r;
                tree->stack[first + i] = node;
                at = end;
        }

        tree->n_stack = first + n_nodes;
        return 0;
}

/* Takes the ids below `end` from the front of the edit. */
static struct lanemap_posting_edit edit_take(struct lanemap_posting_edit *edit, uint64_t end)
{
        struct lanemap_posting_edit part = *edit;

        part.n_added = part.n_removed = 0;
        while (part.n_added < edit->n_added && edit->added[part.n_added] < end)
                part.n_added++;
        while (part.n_removed < edit->n_removed && edit->removed[part.n_removed] < end)
                part.n_removed++;

        /* An edit may have no list of one kind. */
        if (part.n_added > 0)
                edit->added += part.n_added;
        edit->n_added -= part.n_added;
        if (part.n_removed > 0)
                edit->removed += part.n_removed;
        edit->n_removed -= part.n_removed;
        return part;
}

static int node_edit(struct tree_edit *tree, uint64_t off, struct lanemap_posting_edit edit)
{
        const struct lanemap_overlay_node_shm *node = node_at(tree, off);
        const struct lanemap_overlay_child_shm *children = (const void *)(node + 1);
        bool removes = edit.n_removed > 0;
        size_t first = tree->n_stack;
        int r = 0;

        if (node->height == 0)
                return leaf_edit(tree, off, &edit);

        for (uint32_t i = 0; i < node->n && r == 0; i++) {
                struct lanemap_posting_edit part =
                        edit_take(&edit, i + 1 < node->n ? children[i + 1].first_id : UINT64_MAX);
                struct lanemap_overlay_child_shm child = children[i];

                child.reserved = 0;
                if (part.n_added + part.n_removed == 0)
                        r = stack_push(tree, child);
                else
                        r = node_edit(tree, child.off, part);
        }
        if (r == 0 && removes)
                r = stack_join(tree, first);
        if (r == 0)
                r = stack_pack(tree, first, node->height);
        return r < 0 ? r : node_drop(tree, off, false);
}

/* ---- the root and the head ---- */

/* One root over all that is on the stack, and none that has one child. */
static int root_make(struct tree_edit *tree, uint32_t height, uint64_t *ret_off)
{
        const struct lanemap_overlay_node_shm *root;
        uint64_t off;
        int r;

        while (tree->n_stack > 1) {
                /* Readers follow no higher tree. */
                if (height == LANEMAP_OVERLAY_TREE_HEIGHT_MAX)
                        return -ENOSPC;

                r = stack_pack(tree, 0, ++height);
                if (r < 0)
                        return r;
        }

        lanemap_check(tree->n_stack == 1);
        off = tree->stack[0].off;
        for (root = node_at(tree, off); root->height > 0 && root->n == 1;
             root = node_at(tree, off)) {
                uint64_t child_off = ((const struct lanemap_overlay_child_shm *)(root + 1))->off;

                r = node_drop(tree, off, true);
                if (r < 0)
                        return r;
                off = child_off;
        }

        *ret_off = off;
        return 0;
}

static int tree_edit_run(struct tree_edit *tree, uint64_t head_off,
                         const struct lanemap_posting_edit *edit, uint64_t *ret_head_off)
{
        const struct lanemap_overlay_long_shm *head = lanemap_arena_at(tree->arena, head_off);
        uint64_t root_off, off;
        int r;

        r = node_edit(tree, head->root_off, *edit);
        if (r == 0)
                r = root_make(tree, node_at(tree, head->root_off)->height, &root_off);
        if (r == 0)
                r = lanemap_posting_head_new(
                        tree->arena, head->n_ids + edit->n_added - edit->n_removed, root_off, &off);
        if (r == 0)
                r = made_note(tree, off, sizeof(*head));
        if (r == 0)
                r = lanemap_posting_blocks_push(tree->dropped, head_off, sizeof(*head));
        if (r < 0)
                return r;

        *ret_head_off = off;
        return 0;
}

int lanemap_posting_tree_edit(struct lanemap_arena *arena, uint64_t head_off,
                              const struct lanemap_posting_edit *edit,
                              struct lanemap_posting_blocks *made,
                              struct lanemap_posting_blocks *dropped, uint64_t *ret_head_off)
{
        struct tree_edit tree = {.arena = arena, .made = made, .dropped = dropped};
        int r;

        tree.ids =
                lanemap_alloc((LANEMAP_OVERLAY_LEAF_IDS_MAX + edit->n_added) * sizeof(*tree.ids));
        if (!tree.ids)
                return -ENOMEM;

        r = tree_edit_run(&tree, head_off, edit, ret_head_off);
        lanemap_free(tree.stack);
        lanemap_free(tree.ids);
        return r;
}
