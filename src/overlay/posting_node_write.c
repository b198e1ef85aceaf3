/* See posting_node_write.h. */
#include "overlay/posting_node_write.h"

#include <string.h>

#include "common/order.h"
#include "common/check.h"

/* Two ids a store: half the work of a long posting's first touch. Readers load ids one by one, and
 * those who see a block in the making will find their answer refused (P0). */
void lanemap_posting_ids_store(uint32_t *to, const uint32_t *from, size_t n)
{
        size_t at = 0;

        for (; at + 2 <= n; at += 2) {
                uint64_t pair;

                memcpy(&pair, &from[at], sizeof(pair));
                lanemap_store_relaxed((uint64_t *)(void *)&to[at], pair);
        }
        if (at < n)
                lanemap_store_relaxed(&to[at], from[at]);
}

static void children_store(struct lanemap_overlay_child_shm *to,
                           const struct lanemap_overlay_child_shm *from, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                lanemap_store_relaxed(&to[i].off, from[i].off);
                lanemap_store_relaxed(&to[i].first_id, from[i].first_id);
                lanemap_store_relaxed(&to[i].reserved, 0);
        }
}

void lanemap_posting_node_load(const struct lanemap_arena *arena, uint64_t off,
                               struct posting_node *ret_node)
{
        const struct lanemap_overlay_node_shm *node = lanemap_arena_at(arena, off);

        ret_node->n = node->n;
        ret_node->height = node->height;
        lanemap_check(node->n <= lanemap_posting_node_max(node->height));
        memcpy(ret_node->ids, node + 1, node->n * lanemap_posting_node_element_bytes(node->height));
}

static int node_new(struct lanemap_arena *arena, uint32_t height, uint32_t n, uint64_t *ret_off)
{
        struct lanemap_overlay_node_shm *node;
        int r;

        r = arena->alloc(arena, lanemap_posting_node_bytes(height, n), ret_off);
        if (r < 0)
                return r;

        node = lanemap_arena_at(arena, *ret_off);
        lanemap_store_relaxed(&node->n, n);
        lanemap_store_relaxed(&node->height, height);
        return 0;
}

int lanemap_posting_leaf_new(struct lanemap_arena *arena, const uint32_t *ids, uint32_t n,
                             struct lanemap_overlay_child_shm *ret_child)
{
        struct lanemap_overlay_node_shm *node;
        uint64_t off;
        int r;

        r = node_new(arena, 0, n, &off);
        if (r < 0)
                return r;

        node = lanemap_arena_at(arena, off);
        lanemap_posting_ids_store((uint32_t *)(node + 1), ids, n);
        *ret_child = (struct lanemap_overlay_child_shm){.off = off, .first_id = ids[0]};
        return 0;
}

int lanemap_posting_inner_new(struct lanemap_arena *arena, uint32_t height,
                              const struct lanemap_overlay_child_shm *children, uint32_t n,
                              struct lanemap_overlay_child_shm *ret_child)
{
        struct lanemap_overlay_node_shm *node;
        uint64_t off;
        int r;

        r = node_new(arena, height, n, &off);
        if (r < 0)
                return r;

        node = lanemap_arena_at(arena, off);
        children_store((struct lanemap_overlay_child_shm *)(node + 1), children, n);
        *ret_child =
                (struct lanemap_overlay_child_shm){.off = off, .first_id = children[0].first_id};
        return 0;
}

int lanemap_posting_head_new(struct lanemap_arena *arena, uint64_t n_ids, uint64_t root_off,
                             uint64_t *ret_off)
{
        struct lanemap_overlay_long_shm *head;
        int r;

        r = arena->alloc(arena, sizeof(*head), ret_off);
        if (r < 0)
                return r;

        head = lanemap_arena_at(arena, *ret_off);
        lanemap_store_relaxed(&head->n_ids, n_ids);
        lanemap_store_relaxed(&head->root_off, root_off);
        return 0;
}

void lanemap_posting_node_walk(struct lanemap_arena *arena, uint64_t off,
                               void (*fn)(struct lanemap_arena *arena, uint64_t off,
                                          uint64_t bytes))
{
        const struct lanemap_overlay_node_shm *node = lanemap_arena_at(arena, off);
        const struct lanemap_overlay_child_shm *children = (const void *)(node + 1);

        for (uint32_t i = 0; node->height && i < node->n; i++)
                lanemap_posting_node_walk(arena, children[i].off, fn);
        fn(arena, off, lanemap_posting_node_bytes(node->height, node->n));
}

uint64_t lanemap_posting_subtree_bytes(const struct lanemap_arena *arena, uint64_t off)
{
        const struct lanemap_overlay_node_shm *node = lanemap_arena_at(arena, off);
        const struct lanemap_overlay_child_shm *children = (const void *)(node + 1);
        uint64_t bytes = lanemap_posting_node_bytes(node->height, node->n);

        for (uint32_t i = 0; node->height && i < node->n; i++)
                bytes += lanemap_posting_subtree_bytes(arena, children[i].off);
        return bytes;
}
