/*
 * A tree from an array, one level at a time: the children of a level are in an array that the next
 * level consumes. Nodes are left at about nine tenths, so that the first inserts do not split every
 * one.
 *
 * One array serves all levels: a node takes the place of its first child or of one before it.
 *
 *      children    [0, n_built)                    nodes of the level in the making
 *                  [n_consumed, n_below)           nodes of the level below that have no parent yet
 */
#include <errno.h>

#include "common/alloc.h"
#include "overlay/posting_node_write.h"
#include "overlay/posting_tree_write.h"

struct tree_build {
        struct lanemap_arena *arena;
        const uint32_t *ids;
        struct lanemap_overlay_child_shm *children;
        uint32_t height;
        size_t n_below; /* ids, for the leaves */
        size_t n_consumed;
        size_t n_built;
};

static int level_build(struct tree_build *build)
{
        uint32_t max = lanemap_posting_node_max(build->height), fill = max - max / 10;
        size_t n_nodes = (build->n_below + fill - 1) / fill;

        build->n_built = build->n_consumed = 0;
        while (build->n_built < n_nodes) {
                size_t at = build->n_consumed,
                       end = build->n_below * (build->n_built + 1) / n_nodes;
                struct lanemap_overlay_child_shm node;
                int r;

                if (build->height)
                        r = lanemap_posting_inner_new(build->arena, build->height,
                                                      build->children + at, (uint32_t)(end - at),
                                                      &node);
                else
                        r = lanemap_posting_leaf_new(build->arena, build->ids + at,
                                                     (uint32_t)(end - at), &node);
                if (r < 0)
                        return r;

                build->children[build->n_built++] = node;
                build->n_consumed = end;
        }

        return 0;
}

/* Every node that was built, through those that have no parent. */
static void build_undo(struct tree_build *build)
{
        struct lanemap_arena *arena = build->arena;

        for (size_t i = 0; i < build->n_built; i++)
                lanemap_posting_node_walk(arena, build->children[i].off, arena->free);
        for (size_t i = build->n_consumed; build->height > 0 && i < build->n_below; i++)
                lanemap_posting_node_walk(arena, build->children[i].off, arena->free);
}

static int tree_build(struct tree_build *build, size_t n_ids, uint64_t *ret_head_off)
{
        int r;

        build->n_below = n_ids;
        for (;; build->height++) {
                r = level_build(build);
                if (r < 0)
                        break;
                if (build->n_built == 1) {
                        r = lanemap_posting_head_new(build->arena, n_ids, build->children[0].off,
                                                     ret_head_off);
                        break;
                }
                build->n_below = build->n_built;
        }
        if (r < 0)
                build_undo(build);

        return r;
}

int lanemap_posting_tree_build(struct lanemap_arena *arena, const uint32_t *ids, size_t n_ids,
                               uint64_t *ret_head_off)
{
        size_t n_leaves_max = n_ids / (LANEMAP_OVERLAY_LEAF_IDS_MAX / 2) + 2;
        struct tree_build build = {.arena = arena, .ids = ids};
        int r;

        build.children = lanemap_alloc(n_leaves_max * sizeof(*build.children));
        if (!build.children)
                return -ENOMEM;

        r = tree_build(&build, n_ids, ret_head_off);
        lanemap_free(build.children);
        return r;
}
