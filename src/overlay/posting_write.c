/*
 * Short arrays and copy-on-write B+ trees of ids. See posting_write.h.
 *
 * The tree works on node contents in buffers: a recursive step loads a node, changes the content,
 * and hands it to the parent, which decides where it goes (one block, two after a split, or
 * together with a neighbour). So every node is allocated once, in its final form. An overfull
 * buffer holds one element more than a node may.
 */
#include "overlay/posting_write.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"

/* A node below a quarter looks for a neighbour; together they may fill three quarters. */
#define NODE_UNDERFULL(max) ((max) / 4)
#define NODE_MERGED(max)    ((max) - (max) / 4)

/* A long posting that shrinks to this becomes short again; well below SHORT_IDS_MAX, so that it
 * does not flutter. */
#define LONG_IDS_MIN 96

struct node_buf {
        uint32_t n;
        uint32_t height;
        union {
                uint32_t ids[LANEMAP_OVERLAY_LEAF_IDS_MAX + 1];
                struct lanemap_overlay_child_shm children[LANEMAP_OVERLAY_INNER_MAX + 1];
        };
};

struct tree_step {
        struct lanemap_arena *arena;
        struct lanemap_posting_change *change;
        uint32_t id;
        bool insert;
};

LANEMAP_ALWAYS_INLINE uint64_t value_kind(uint64_t value)
{
        return value & LANEMAP_OVERLAY_TAG_KIND_MASK;
}

LANEMAP_ALWAYS_INLINE uint64_t value_off(uint64_t value)
{
        return value & ~LANEMAP_OVERLAY_TAG_MASK;
}

LANEMAP_ALWAYS_INLINE uint32_t node_max(uint32_t height)
{
        return height ? LANEMAP_OVERLAY_INNER_MAX : LANEMAP_OVERLAY_LEAF_IDS_MAX;
}

static uint64_t node_bytes(uint32_t height, uint32_t n)
{
        return sizeof(struct lanemap_overlay_node_shm) +
               (uint64_t)n * (height ? sizeof(struct lanemap_overlay_child_shm) : sizeof(uint32_t));
}

static uint64_t short_bytes(size_t n_ids)
{
        return sizeof(struct lanemap_overlay_short_shm) + n_ids * sizeof(uint32_t);
}

static int change_alloc(struct lanemap_arena *arena, struct lanemap_posting_change *change,
                        uint64_t bytes, uint64_t *ret_off)
{
        int r;

        lanemap_check(change->n_new_blocks < LANEMAP_POSTING_CHANGE_BLOCKS_MAX);

        r = arena->alloc(arena, bytes, ret_off);
        if (r < 0)
                return r;

        change->new_blocks[change->n_new_blocks++] =
                (struct lanemap_posting_block){.off = *ret_off, .bytes = bytes};
        return 0;
}

static void change_drop(struct lanemap_posting_change *change, uint64_t off, uint64_t bytes)
{
        lanemap_check(change->n_old_blocks < LANEMAP_POSTING_CHANGE_BLOCKS_MAX);
        change->old_blocks[change->n_old_blocks++] =
                (struct lanemap_posting_block){.off = off, .bytes = bytes};
}

/* Readers load ids one by one with relaxed loads; new blocks are not reachable yet, so plain copies
 * are fine, but a block may be one that a late reader still looks at, hence relaxed stores. */
static void ids_store(uint32_t *to, const uint32_t *from, size_t n)
{
        for (size_t i = 0; i < n; i++)
                lanemap_store_relaxed(&to[i], from[i]);
}

static void node_load(const struct lanemap_arena *arena, uint64_t off, struct node_buf *buf)
{
        const struct lanemap_overlay_node_shm *node = lanemap_arena_at(arena, off);

        buf->n = node->n;
        buf->height = node->height;
        lanemap_check(buf->n <= node_max(buf->height));
        if (buf->height)
                memcpy(buf->children, node + 1, buf->n * sizeof(buf->children[0]));
        else
                memcpy(buf->ids, node + 1, buf->n * sizeof(buf->ids[0]));
}

static void node_store(struct lanemap_arena *arena, uint64_t off, const struct node_buf *buf,
                       uint32_t from, uint32_t n)
{
        struct lanemap_overlay_node_shm *node = lanemap_arena_at(arena, off);
        struct lanemap_overlay_child_shm *children = (void *)(node + 1);

        lanemap_store_relaxed(&node->n, n);
        lanemap_store_relaxed(&node->height, buf->height);
        if (buf->height == 0) {
                ids_store((uint32_t *)(node + 1), buf->ids + from, n);
                return;
        }

        for (uint32_t i = 0; i < n; i++) {
                lanemap_store_relaxed(&children[i].off, buf->children[from + i].off);
                lanemap_store_relaxed(&children[i].first_id, buf->children[from + i].first_id);
                lanemap_store_relaxed(&children[i].reserved, 0);
        }
}

static int node_emit_part(struct tree_step *step, const struct node_buf *buf, uint32_t from,
                          uint32_t n, struct lanemap_overlay_child_shm *ret_child)
{
        uint64_t off;
        int r;

        r = change_alloc(step->arena, step->change, node_bytes(buf->height, n), &off);
        if (r < 0)
                return r;

        node_store(step->arena, off, buf, from, n);
        *ret_child = (struct lanemap_overlay_child_shm){
                .off = off,
                .first_id = buf->height ? buf->children[from].first_id : buf->ids[from],
        };
        return 0;
}

/*
 * Puts a content into one block, or two when it is one element too long. Ids that arrive in
 * ascending order leave full nodes behind them: the split is at the end when the new element is the
 * last.
 */
static int node_emit(struct tree_step *step, const struct node_buf *buf,
                     struct lanemap_overlay_child_shm ret_children[2], uint32_t *ret_n)
{
        uint32_t left = buf->n, max = node_max(buf->height);
        bool appended;
        int r;

        if (buf->n > max) {
                appended = buf->height ? step->id >= buf->children[buf->n - 1].first_id
                                       : step->id == buf->ids[buf->n - 1];
                left = appended ? max : buf->n / 2;
        }

        r = node_emit_part(step, buf, 0, left, &ret_children[0]);
        if (r < 0)
                return r;
        if (left < buf->n) {
                r = node_emit_part(step, buf, left, buf->n - left, &ret_children[1]);
                if (r < 0)
                        return r;
        }

        *ret_n = left < buf->n ? 2 : 1;
        return 0;
}

static void leaf_change(struct node_buf *leaf, uint32_t id, bool insert)
{
        uint32_t at = 0;

        while (at < leaf->n && leaf->ids[at] < id)
                at++;

        if (insert) {
                memmove(&leaf->ids[at + 1], &leaf->ids[at], (leaf->n - at) * sizeof(uint32_t));
                leaf->ids[at] = id;
                leaf->n++;
        } else {
                lanemap_check(at < leaf->n && leaf->ids[at] == id);
                memmove(&leaf->ids[at], &leaf->ids[at + 1], (leaf->n - at - 1) * sizeof(uint32_t));
                leaf->n--;
        }
}

/* Replaces the children [at, at + n_old) of an inner content by n_new others. */
static void inner_splice(struct node_buf *inner, uint32_t at, uint32_t n_old,
                         const struct lanemap_overlay_child_shm *children, uint32_t n_new)
{
        memmove(&inner->children[at + n_new], &inner->children[at + n_old],
                (inner->n - at - n_old) * sizeof(inner->children[0]));
        memcpy(&inner->children[at], children, n_new * sizeof(children[0]));
        inner->n = inner->n - n_old + n_new;
}

/* Joins an underfull child content with a neighbour that has room. Return: whether one was taken
 * in; *at and *n_old are the children that the result replaces. */
static bool child_join(struct tree_step *step, const struct node_buf *inner, uint32_t *at,
                       uint32_t *n_old, struct node_buf *child)
{
        uint32_t max = node_max(child->height), neighbour;
        size_t size = child->height ? sizeof(child->children[0]) : sizeof(child->ids[0]);
        char *data = (char *)(child->height ? (void *)child->children : (void *)child->ids);
        struct node_buf other;
        char *other_data;

        if (child->n >= NODE_UNDERFULL(max) || inner->n < 2)
                return false;

        neighbour = *at + 1 < inner->n ? *at + 1 : *at - 1;
        node_load(step->arena, inner->children[neighbour].off, &other);
        if (other.n + child->n > NODE_MERGED(max))
                return false;

        other_data = (char *)(other.height ? (void *)other.children : (void *)other.ids);
        if (neighbour > *at) {
                memcpy(data + child->n * size, other_data, other.n * size);
        } else {
                memmove(data + other.n * size, data, child->n * size);
                memcpy(data, other_data, other.n * size);
                *at = neighbour;
        }
        change_drop(step->change, inner->children[neighbour].off,
                    node_bytes(other.height, other.n));
        child->n += other.n;
        *n_old = 2;
        return true;
}

/* Loads the node at `off`, applies the step below it, and leaves its new content in *buf. */
static int tree_change(struct tree_step *step, uint64_t off, struct node_buf *buf)
{
        struct lanemap_overlay_child_shm replacement[2];
        uint32_t at = 0, n_old = 1, n_new = 0;
        struct node_buf child;
        int r;

        node_load(step->arena, off, buf);
        change_drop(step->change, off, node_bytes(buf->height, buf->n));

        if (buf->height == 0) {
                leaf_change(buf, step->id, step->insert);
                return 0;
        }

        while (at + 1 < buf->n && buf->children[at + 1].first_id <= step->id)
                at++;

        r = tree_change(step, buf->children[at].off, &child);
        if (r < 0)
                return r;

        if (child.n > 0) {
                child_join(step, buf, &at, &n_old, &child);
                r = node_emit(step, &child, replacement, &n_new);
                if (r < 0)
                        return r;
        }

        inner_splice(buf, at, n_old, replacement, n_new);
        return 0;
}

/* Gives the root content a place and a head. */
static int tree_finish(struct tree_step *step, struct node_buf *root, uint64_t n_ids,
                       uint64_t *ret_head_off)
{
        struct lanemap_overlay_child_shm children[2];
        struct lanemap_overlay_long_shm *head;
        uint64_t root_off, head_off;
        uint32_t n;
        int r;

        if (root->height > 0 && root->n == 1) {
                root_off = root->children[0].off;
        } else {
                r = node_emit(step, root, children, &n);
                if (r < 0)
                        return r;

                if (n == 2) {
                        root->height++;
                        root->n = 2;
                        memcpy(root->children, children, sizeof(children));
                        lanemap_check(root->height <= LANEMAP_OVERLAY_TREE_HEIGHT_MAX);
                        r = node_emit(step, root, children, &n);
                        if (r < 0)
                                return r;
                }
                root_off = children[0].off;
        }

        r = change_alloc(step->arena, step->change, sizeof(*head), &head_off);
        if (r < 0)
                return r;

        head = lanemap_arena_at(step->arena, head_off);
        lanemap_store_relaxed(&head->n_ids, n_ids);
        lanemap_store_relaxed(&head->root_off, root_off);
        *ret_head_off = head_off;
        return 0;
}

static int long_change(struct lanemap_arena *arena, uint64_t old_value, uint32_t id, bool insert,
                       struct lanemap_posting_change *change)
{
        struct tree_step step = {.arena = arena, .change = change, .id = id, .insert = insert};
        const struct lanemap_overlay_long_shm *head = lanemap_arena_at(arena, value_off(old_value));
        struct node_buf root;
        uint64_t head_off;
        int r;

        change_drop(change, value_off(old_value), sizeof(*head));
        r = tree_change(&step, head->root_off, &root);
        if (r < 0)
                return r;

        r = tree_finish(&step, &root, insert ? head->n_ids + 1 : head->n_ids - 1, &head_off);
        if (r < 0)
                return r;

        change->value =
                head_off | LANEMAP_OVERLAY_TAG_LONG | (old_value & LANEMAP_OVERLAY_TAG_FRESH);
        return 0;
}

static int short_build(struct lanemap_arena *arena, const uint32_t *ids, size_t n_ids,
                       struct lanemap_posting_change *change)
{
        struct lanemap_overlay_short_shm *posting;
        uint64_t off;
        int r;

        r = change_alloc(arena, change, short_bytes(n_ids), &off);
        if (r < 0)
                return r;

        posting = lanemap_arena_at(arena, off);
        lanemap_store_relaxed(&posting->n_ids, (uint32_t)n_ids);
        lanemap_store_relaxed(&posting->reserved, 0);
        ids_store(posting->ids, ids, n_ids);
        change->value = off | LANEMAP_OVERLAY_TAG_SHORT;
        return 0;
}

static void tree_walk(struct lanemap_arena *arena, uint64_t off,
                      void (*fn)(struct lanemap_arena *arena, uint64_t off, uint64_t bytes))
{
        const struct lanemap_overlay_node_shm *node = lanemap_arena_at(arena, off);
        const struct lanemap_overlay_child_shm *children = (const void *)(node + 1);

        if (node->height)
                for (uint32_t i = 0; i < node->n; i++)
                        tree_walk(arena, children[i].off, fn);
        fn(arena, off, node_bytes(node->height, node->n));
}

/*
 * Builds a tree bottom up from an array: one level at a time, the children of a level in an array
 * that the next level consumes. Nodes are left at about nine tenths, so that the first inserts do
 * not split every one.
 */
static int level_build(struct tree_step *step, uint32_t height, const uint32_t *ids,
                       const struct lanemap_overlay_child_shm *below, size_t n,
                       struct lanemap_overlay_child_shm *ret_children, size_t *ret_n,
                       size_t *ret_n_consumed)
{
        uint32_t fill = node_max(height) - node_max(height) / 10;
        size_t n_nodes = (n + fill - 1) / fill, at = 0;
        struct node_buf buf;
        int r;

        for (size_t i = 0; i < n_nodes; i++) {
                *ret_n = i;
                *ret_n_consumed = at;
                buf.height = height;
                buf.n = (uint32_t)(n * (i + 1) / n_nodes - at);
                if (height)
                        memcpy(buf.children, below + at, buf.n * sizeof(below[0]));
                else
                        memcpy(buf.ids, ids + at, buf.n * sizeof(ids[0]));
                at += buf.n;

                /* Block lists are for bounded changes: a whole tree is undone by walking it. */
                step->change->n_new_blocks = 0;
                r = node_emit_part(step, &buf, 0, buf.n, &ret_children[i]);
                if (r < 0)
                        return r;
        }

        *ret_n = n_nodes;
        *ret_n_consumed = n;
        return 0;
}

static int long_build(struct lanemap_arena *arena, const uint32_t *ids, size_t n_ids,
                      struct lanemap_posting_change *change);

int lanemap_posting_prepare_build(struct lanemap_arena *arena, uint64_t old_value,
                                  const uint32_t *ids, size_t n_ids, bool fresh,
                                  struct lanemap_posting_change *ret_change)
{
        int r = 0;

        ret_change->old_value = old_value;
        ret_change->replaces_whole_old = old_value != 0;
        ret_change->built_whole_new = false;
        ret_change->n_new_blocks = 0;
        ret_change->n_old_blocks = 0;

        if (n_ids == 0)
                ret_change->value = LANEMAP_OVERLAY_TAG_TOMBSTONE;
        else if (n_ids == 1)
                ret_change->value = (uint64_t)ids[0] << LANEMAP_OVERLAY_INLINE_SHIFT |
                                    LANEMAP_OVERLAY_TAG_INLINE;
        else if (n_ids <= LANEMAP_OVERLAY_SHORT_IDS_MAX)
                r = short_build(arena, ids, n_ids, ret_change);
        else
                r = long_build(arena, ids, n_ids, ret_change);
        if (r < 0) {
                lanemap_posting_abort(arena, ret_change);
                return r;
        }

        if (fresh)
                ret_change->value |= LANEMAP_OVERLAY_TAG_FRESH;
        return 0;
}

/* Insert and remove on everything but a tree: the ids in an array of at most SHORT_IDS_MAX + 1. */
static int array_change(struct lanemap_arena *arena, uint64_t old_value, uint32_t id, bool insert,
                        struct lanemap_posting_change *change)
{
        struct lanemap_window window = {.base = arena->base, .bytes = UINT64_MAX};
        struct node_buf buf = {.height = 0};
        size_t n_ids;
        int r;

        r = lanemap_overlay_posting_copy(&window, old_value, buf.ids, LANEMAP_OVERLAY_LEAF_IDS_MAX,
                                         &n_ids);
        if (r < 0)
                return r;

        lanemap_check(n_ids <= LANEMAP_OVERLAY_LEAF_IDS_MAX);
        buf.n = (uint32_t)n_ids;
        leaf_change(&buf, id, insert);
        return lanemap_posting_prepare_build(arena, old_value, buf.ids, buf.n,
                                             old_value & LANEMAP_OVERLAY_TAG_FRESH, change);
}

static int posting_prepare_change(struct lanemap_arena *arena, uint64_t old_value, uint32_t id,
                                  bool insert, struct lanemap_posting_change *change)
{
        const struct lanemap_overlay_long_shm *head;
        int r;

        if (value_kind(old_value) != LANEMAP_OVERLAY_TAG_LONG)
                return array_change(arena, old_value, id, insert, change);

        head = lanemap_arena_at(arena, value_off(old_value));
        if (!insert && head->n_ids - 1 <= LONG_IDS_MIN)
                return array_change(arena, old_value, id, insert, change);

        change->old_value = old_value;
        change->replaces_whole_old = false;
        change->built_whole_new = false;
        change->n_new_blocks = 0;
        change->n_old_blocks = 0;
        r = long_change(arena, old_value, id, insert, change);
        if (r < 0)
                lanemap_posting_abort(arena, change);

        return r;
}

int lanemap_posting_prepare_insert(struct lanemap_arena *arena, uint64_t old_value, uint32_t id,
                                   struct lanemap_posting_change *ret_change)
{
        return posting_prepare_change(arena, old_value, id, true, ret_change);
}

int lanemap_posting_prepare_remove(struct lanemap_arena *arena, uint64_t old_value, uint32_t id,
                                   struct lanemap_posting_change *ret_change)
{
        return posting_prepare_change(arena, old_value, id, false, ret_change);
}

static void posting_walk(struct lanemap_arena *arena, uint64_t value,
                         void (*fn)(struct lanemap_arena *arena, uint64_t off, uint64_t bytes))
{
        const struct lanemap_overlay_short_shm *posting;
        const struct lanemap_overlay_long_shm *head;

        switch (value_kind(value)) {
        case LANEMAP_OVERLAY_TAG_SHORT:
                posting = lanemap_arena_at(arena, value_off(value));
                fn(arena, value_off(value), short_bytes(posting->n_ids));
                break;
        case LANEMAP_OVERLAY_TAG_LONG:
                head = lanemap_arena_at(arena, value_off(value));
                tree_walk(arena, head->root_off, fn);
                fn(arena, value_off(value), sizeof(*head));
                break;
        default:
                break;
        }
}

void lanemap_posting_retire(struct lanemap_arena *arena, uint64_t value)
{
        posting_walk(arena, value, arena->retire);
}

static uint64_t tree_bytes(const struct lanemap_arena *arena, uint64_t off)
{
        const struct lanemap_overlay_node_shm *node = lanemap_arena_at(arena, off);
        const struct lanemap_overlay_child_shm *children = (const void *)(node + 1);
        uint64_t bytes = node_bytes(node->height, node->n);

        if (node->height)
                for (uint32_t i = 0; i < node->n; i++)
                        bytes += tree_bytes(arena, children[i].off);
        return bytes;
}

uint64_t lanemap_posting_bytes(const struct lanemap_arena *arena, uint64_t value)
{
        const struct lanemap_overlay_short_shm *posting;
        const struct lanemap_overlay_long_shm *head;

        switch (value_kind(value)) {
        case LANEMAP_OVERLAY_TAG_SHORT:
                posting = lanemap_arena_at(arena, value_off(value));
                return short_bytes(posting->n_ids);
        case LANEMAP_OVERLAY_TAG_LONG:
                head = lanemap_arena_at(arena, value_off(value));
                return sizeof(*head) + tree_bytes(arena, head->root_off);
        default:
                return 0;
        }
}

int64_t lanemap_posting_commit(struct lanemap_arena *arena, struct lanemap_posting_change *change)
{
        int64_t grown = 0;

        if (change->built_whole_new)
                grown += (int64_t)lanemap_posting_bytes(arena, change->value);
        for (uint32_t i = 0; i < change->n_new_blocks; i++)
                grown += (int64_t)change->new_blocks[i].bytes;

        if (change->replaces_whole_old) {
                grown -= (int64_t)lanemap_posting_bytes(arena, change->old_value);
                lanemap_posting_retire(arena, change->old_value);
        }
        for (uint32_t i = 0; i < change->n_old_blocks; i++) {
                grown -= (int64_t)change->old_blocks[i].bytes;
                arena->retire(arena, change->old_blocks[i].off, change->old_blocks[i].bytes);
        }

        return grown;
}

void lanemap_posting_abort(struct lanemap_arena *arena, struct lanemap_posting_change *change)
{
        if (change->built_whole_new)
                posting_walk(arena, change->value, arena->free);
        for (uint32_t i = 0; i < change->n_new_blocks; i++)
                arena->free(arena, change->new_blocks[i].off, change->new_blocks[i].bytes);

        change->built_whole_new = false;
        change->n_new_blocks = 0;
}

/* See level_build(). `children` is private memory, one per leaf at first; each level is built in
 * place of the one below it, since a parent's index is never above its first child's. */
static int long_build(struct lanemap_arena *arena, const uint32_t *ids, size_t n_ids,
                      struct lanemap_posting_change *change)
{
        struct tree_step step = {.arena = arena, .change = change};
        struct lanemap_overlay_child_shm *children;
        struct lanemap_overlay_long_shm *head;
        uint64_t head_off = 0;
        size_t n_leaves_max = n_ids / (LANEMAP_OVERLAY_LEAF_IDS_MAX / 2) + 2;
        size_t n = n_ids, n_built = 0, n_consumed = 0;
        uint32_t height = 0;
        int r;

        children = lanemap_alloc(n_leaves_max * sizeof(*children));
        if (!children)
                return -ENOMEM;

        do {
                r = level_build(&step, height, ids, children, n, children, &n_built, &n_consumed);
                if (r < 0)
                        break;

                n = n_built;
                height++;
        } while (n > 1);

        change->n_new_blocks = 0;
        if (r == 0)
                r = arena->alloc(arena, sizeof(*head), &head_off);
        if (r == 0) {
                head = lanemap_arena_at(arena, head_off);
                lanemap_store_relaxed(&head->n_ids, (uint64_t)n_ids);
                lanemap_store_relaxed(&head->root_off, children[0].off);
                change->value = head_off | LANEMAP_OVERLAY_TAG_LONG;
                change->built_whole_new = true;
        } else {
                /* children[0 .. n_built) are the level that failed, [n_consumed .. n) what is left
                 * of the one below it; ids are nobody's. */
                for (size_t i = 0; i < n_built; i++)
                        tree_walk(arena, children[i].off, arena->free);
                for (size_t i = n_consumed; height > 0 && i < n; i++)
                        tree_walk(arena, children[i].off, arena->free);
        }

        lanemap_free(children);
        return r;
}
