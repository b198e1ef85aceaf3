/*
 * One id more or less in a copy-on-write B+ tree. See posting_tree_write.h.
 *
 * A recursive step loads a node, changes the content in private memory, and hands it to the parent,
 * which decides where it goes: into one block, two after a split, or one together with a neighbour.
 * So every block is allocated once, in its final form.
 */
#include "overlay/posting_tree_write.h"

#include <errno.h>
#include <string.h>

#include "overlay/posting_node_write.h"

struct tree_step {
        struct lanemap_arena *arena;
        struct lanemap_posting_change *change;
        uint32_t id;
        bool insert;
};

static void *node_elements(struct posting_node *node)
{
        return node->height ? (void *)node->children : (void *)node->ids;
}

/* ---- contents into blocks ---- */

/* The elements [from, from + n) of a content. */
static int part_emit(struct tree_step *step, const struct posting_node *node, uint32_t from,
                     uint32_t n, struct lanemap_overlay_child_shm *ret_child)
{
        int r;

        if (node->height)
                r = lanemap_posting_inner_new(step->arena, node->height, node->children + from, n,
                                              ret_child);
        else
                r = lanemap_posting_leaf_new(step->arena, node->ids + from, n, ret_child);
        if (r < 0)
                return r;

        lanemap_posting_change_made(step->change, ret_child->off,
                                    lanemap_posting_node_bytes(node->height, n));
        return 0;
}

/* Where a content that is one element too long is cut. Ids that arrive in ascending order leave
 * full nodes after them: at the end when the new element is the last. */
static uint32_t split_at(const struct tree_step *step, const struct posting_node *node)
{
        uint32_t max = lanemap_posting_node_max(node->height);
        bool appended = node->height ? step->id >= node->children[node->n - 1].first_id
                                     : step->id == node->ids[node->n - 1];

        if (node->n <= max)
                return node->n;

        return appended ? max : node->n / 2;
}

/* Into one block, or two. */
static int node_emit(struct tree_step *step, const struct posting_node *node,
                     struct lanemap_overlay_child_shm ret_children[2], uint32_t *ret_n)
{
        uint32_t left = split_at(step, node);
        int r;

        r = part_emit(step, node, 0, left, &ret_children[0]);
        if (r == 0 && left < node->n)
                r = part_emit(step, node, left, node->n - left, &ret_children[1]);
        if (r < 0)
                return r;

        *ret_n = left < node->n ? 2 : 1;
        return 0;
}

/* ---- contents ---- */

static uint32_t child_find(const struct posting_node *inner, uint32_t id)
{
        uint32_t at = 0;

        while (at + 1 < inner->n && inner->children[at + 1].first_id <= id)
                at++;

        return at;
}

/* Replaces the children [at, at + n_old) by n_new others. */
static void inner_splice(struct posting_node *inner, uint32_t at, uint32_t n_old,
                         const struct lanemap_overlay_child_shm *children, uint32_t n_new)
{
        memmove(&inner->children[at + n_new], &inner->children[at + n_old],
                (inner->n - at - n_old) * sizeof(inner->children[0]));
        memcpy(&inner->children[at], children, n_new * sizeof(children[0]));
        inner->n = inner->n - n_old + n_new;
}

/* Puts the elements of `other` before or after those of `node`. */
static void node_append(struct posting_node *node, struct posting_node *other, bool before)
{
        size_t size = lanemap_posting_node_element_bytes(node->height);
        unsigned char *elements = node_elements(node);

        if (before) {
                memmove(elements + other->n * size, elements, node->n * size);
                memcpy(elements, node_elements(other), other->n * size);
        } else {
                memcpy(elements + node->n * size, node_elements(other), other->n * size);
        }
        node->n += other->n;
}

/* Joins the underfull content of child *at with a neighbour that has room. Return: how many
 * children, from *at on, the content now stands for. */
static uint32_t child_join(struct tree_step *step, const struct posting_node *inner, uint32_t *at,
                           struct posting_node *child)
{
        uint32_t max = lanemap_posting_node_max(child->height), neighbour;
        struct posting_node other;

        if (child->n >= LANEMAP_POSTING_NODE_UNDERFULL(max) || inner->n < 2)
                return 1;

        neighbour = *at + 1 < inner->n ? *at + 1 : *at - 1;
        lanemap_posting_node_load(step->arena, inner->children[neighbour].off, &other);
        if (other.n + child->n > LANEMAP_POSTING_NODE_MERGED(max))
                return 1;

        lanemap_posting_change_dropped(step->change, inner->children[neighbour].off,
                                       lanemap_posting_node_bytes(other.height, other.n));
        node_append(child, &other, neighbour < *at);
        *at = LANEMAP_MIN(*at, neighbour);
        return 2;
}

/* ---- from the leaf to the head ---- */

/* Loads the node at `off`, applies the step below it, and leaves its new content in *node. */
static int path_change(struct tree_step *step, uint64_t off, struct posting_node *node)
{
        struct lanemap_overlay_child_shm replacement[2];
        uint32_t at, n_old = 1, n_new = 0;
        struct posting_node child;
        int r;

        lanemap_posting_node_load(step->arena, off, node);
        lanemap_posting_change_dropped(step->change, off,
                                       lanemap_posting_node_bytes(node->height, node->n));
        if (node->height == 0) {
                node->n = lanemap_posting_ids_change(node->ids, node->n, step->id, step->insert);
                return 0;
        }

        at = child_find(node, step->id);
        r = path_change(step, node->children[at].off, &child);
        if (r < 0)
                return r;

        if (child.n > 0) {
                n_old = child_join(step, node, &at, &child);
                r = node_emit(step, &child, replacement, &n_new);
                if (r < 0)
                        return r;
        }

        inner_splice(node, at, n_old, replacement, n_new);
        return 0;
}

/* The block of a root's content: one level less where it has one child, one more after a split. */
static int root_emit(struct tree_step *step, struct posting_node *root, uint64_t *ret_off)
{
        struct lanemap_overlay_child_shm children[2];
        uint32_t n;
        int r;

        if (root->height > 0 && root->n == 1) {
                *ret_off = root->children[0].off;
                return 0;
        }

        r = node_emit(step, root, children, &n);
        if (r == 0 && n == 2) {
                /* Readers follow no higher tree. */
                if (root->height == LANEMAP_OVERLAY_TREE_HEIGHT_MAX)
                        return -ENOSPC;

                root->height++;
                root->n = 2;
                memcpy(root->children, children, sizeof(children));
                r = part_emit(step, root, 0, 2, &children[0]);
        }
        if (r < 0)
                return r;

        *ret_off = children[0].off;
        return 0;
}

int lanemap_posting_tree_change(struct lanemap_arena *arena, uint64_t head_off, uint32_t id,
                                bool insert, struct lanemap_posting_change *change,
                                uint64_t *ret_head_off)
{
        struct tree_step step = {.arena = arena, .change = change, .id = id, .insert = insert};
        const struct lanemap_overlay_long_shm *head = lanemap_arena_at(arena, head_off);
        struct posting_node root;
        uint64_t root_off, off;
        int r;

        lanemap_posting_change_dropped(change, head_off, sizeof(*head));
        r = path_change(&step, head->root_off, &root);
        if (r == 0)
                r = root_emit(&step, &root, &root_off);
        if (r == 0)
                r = lanemap_posting_head_new(arena, insert ? head->n_ids + 1 : head->n_ids - 1,
                                             root_off, &off);
        if (r < 0)
                return r;

        lanemap_posting_change_made(change, off, sizeof(*head));
        *ret_head_off = off;
        return 0;
}
