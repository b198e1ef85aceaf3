/* Value words and postings, as bytes that may be anything. See read.h. */
#include "overlay/read.h"

LANEMAP_ALWAYS_INLINE uint64_t value_kind(uint64_t value)
{
        return value & LANEMAP_OVERLAY_TAG_KIND_MASK;
}

LANEMAP_ALWAYS_INLINE uint64_t value_off(uint64_t value)
{
        return value & ~LANEMAP_OVERLAY_TAG_MASK;
}

LANEMAP_ALWAYS_INLINE uint32_t value_inline_id(uint64_t value)
{
        return (uint32_t)(value >> LANEMAP_OVERLAY_INLINE_SHIFT);
}

/* The ids of a short posting and how many there are, or NULL. */
static const uint32_t *short_ids(const struct lanemap_window *window, uint64_t value,
                                 uint32_t *ret_n_ids)
{
        const struct lanemap_overlay_short_shm *posting =
                lanemap_window_at(window, value_off(value), sizeof(*posting), 8);
        uint32_t n_ids;

        if (!posting)
                return NULL;

        n_ids = lanemap_load_relaxed(&posting->n_ids);
        if (n_ids > LANEMAP_OVERLAY_SHORT_IDS_MAX ||
            !lanemap_window_at(window, value_off(value), sizeof(*posting) + 4 * (uint64_t)n_ids, 8))
                return NULL;

        *ret_n_ids = n_ids;
        return posting->ids;
}

/* A node whose whole content is inside the window, with its height checked, or NULL. */
static const struct lanemap_overlay_node_shm *
node_at(const struct lanemap_window *window, uint64_t off, uint32_t *ret_n, uint32_t *ret_height)
{
        const struct lanemap_overlay_node_shm *node =
                lanemap_window_at(window, off, sizeof(*node), 8);
        uint64_t bytes;

        if (!node)
                return NULL;

        *ret_n = lanemap_load_relaxed(&node->n);
        *ret_height = lanemap_load_relaxed(&node->height);
        if (*ret_height > LANEMAP_OVERLAY_TREE_HEIGHT_MAX || *ret_n == 0 ||
            *ret_n > (*ret_height ? LANEMAP_OVERLAY_INNER_MAX : LANEMAP_OVERLAY_LEAF_IDS_MAX))
                return NULL;

        bytes = *ret_n *
                (*ret_height ? sizeof(struct lanemap_overlay_child_shm) : sizeof(uint32_t));
        return lanemap_window_at(window, off, sizeof(*node) + bytes, 8) ? node : NULL;
}

static void ids_copy(uint32_t *to, const uint32_t *from, size_t n)
{
        for (size_t i = 0; i < n; i++)
                to[i] = lanemap_load_relaxed(&from[i]);
}

/* Index of the last of n ascending ids that is <= id, or n when there is none. `stride` in bytes.
 */
static uint32_t ids_search(const unsigned char *first, size_t stride, uint32_t n, uint32_t id)
{
        uint32_t low = 0, high = n;

        while (low < high) {
                uint32_t middle = low + (high - low) / 2;

                if (lanemap_load_relaxed(
                            (const uint32_t *)(const void *)(first + middle * stride)) <= id)
                        low = middle + 1;
                else
                        high = middle;
        }

        return low == 0 ? n : low - 1;
}

/* Appends the ids below a node. At most `room` are written; more is -EBADMSG, since the head said
 * how many. */
static int tree_copy(const struct lanemap_window *window, uint64_t off, uint32_t height_max,
                     uint32_t *ids, size_t room, size_t *n_copied)
{
        const struct lanemap_overlay_node_shm *node;
        const struct lanemap_overlay_child_shm *children;
        uint32_t n, height;
        int r;

        node = node_at(window, off, &n, &height);
        if (!node || height > height_max)
                return -EBADMSG;

        if (height == 0) {
                if (n > room - *n_copied)
                        return -EBADMSG;

                ids_copy(ids + *n_copied, (const uint32_t *)(node + 1), n);
                *n_copied += n;
                return 0;
        }

        children = (const void *)(node + 1);
        for (uint32_t i = 0; i < n; i++) {
                r = tree_copy(window, lanemap_load_relaxed(&children[i].off), height - 1, ids, room,
                              n_copied);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int tree_contains(const struct lanemap_window *window, uint64_t off, uint32_t id)
{
        uint32_t height_max = LANEMAP_OVERLAY_TREE_HEIGHT_MAX;

        for (;;) {
                const struct lanemap_overlay_node_shm *node;
                const struct lanemap_overlay_child_shm *children;
                uint32_t n, height, at;

                node = node_at(window, off, &n, &height);
                if (!node || height > height_max)
                        return -EBADMSG;

                if (height == 0) {
                        const uint32_t *ids = (const uint32_t *)(node + 1);

                        at = ids_search((const unsigned char *)ids, sizeof(*ids), n, id);
                        return at < n && lanemap_load_relaxed(&ids[at]) == id;
                }

                children = (const void *)(node + 1);
                at = ids_search((const unsigned char *)&children[0].first_id, sizeof(*children), n,
                                id);
                if (at == n)
                        return 0;

                off = lanemap_load_relaxed(&children[at].off);
                height_max = height - 1;
        }
}

int lanemap_overlay_posting_count(const struct lanemap_window *window, uint64_t value,
                                  uint64_t *ret_n_ids)
{
        const struct lanemap_overlay_long_shm *head;
        uint32_t n_ids;

        switch (value_kind(value)) {
        case LANEMAP_OVERLAY_TAG_TOMBSTONE:
                *ret_n_ids = 0;
                return 0;
        case LANEMAP_OVERLAY_TAG_INLINE:
                *ret_n_ids = 1;
                return 0;
        case LANEMAP_OVERLAY_TAG_SHORT:
                if (!short_ids(window, value, &n_ids))
                        return -EBADMSG;

                *ret_n_ids = n_ids;
                return 0;
        case LANEMAP_OVERLAY_TAG_LONG:
                head = lanemap_window_at(window, value_off(value), sizeof(*head), 8);
                if (!head)
                        return -EBADMSG;

                *ret_n_ids = lanemap_load_relaxed(&head->n_ids);
                return 0;
        default:
                return -EBADMSG;
        }
}

static int long_copy(const struct lanemap_window *window, uint64_t value, uint32_t *ids,
                     size_t capacity, size_t *ret_n_ids)
{
        const struct lanemap_overlay_long_shm *head =
                lanemap_window_at(window, value_off(value), sizeof(*head), 8);
        size_t n_copied = 0;
        uint64_t n_ids;
        int r;

        if (!head)
                return -EBADMSG;

        n_ids = lanemap_load_relaxed(&head->n_ids);
        if (n_ids > (uint64_t)UINT32_MAX)
                return -EBADMSG;

        if (n_ids <= capacity) {
                r = tree_copy(window, lanemap_load_relaxed(&head->root_off),
                              LANEMAP_OVERLAY_TREE_HEIGHT_MAX, ids, (size_t)n_ids, &n_copied);
                if (r < 0)
                        return r;
                if (n_copied != n_ids)
                        return -EBADMSG;
        }

        *ret_n_ids = (size_t)n_ids;
        return 0;
}

int lanemap_overlay_posting_copy(const struct lanemap_window *window, uint64_t value, uint32_t *ids,
                                 size_t capacity, size_t *ret_n_ids)
{
        const uint32_t *from;
        uint32_t n_ids;

        switch (value_kind(value)) {
        case LANEMAP_OVERLAY_TAG_TOMBSTONE:
                *ret_n_ids = 0;
                return 0;
        case LANEMAP_OVERLAY_TAG_INLINE:
                if (capacity > 0)
                        ids[0] = value_inline_id(value);

                *ret_n_ids = 1;
                return 0;
        case LANEMAP_OVERLAY_TAG_SHORT:
                from = short_ids(window, value, &n_ids);
                if (!from)
                        return -EBADMSG;
                if (n_ids <= capacity)
                        ids_copy(ids, from, n_ids);

                *ret_n_ids = n_ids;
                return 0;
        case LANEMAP_OVERLAY_TAG_LONG:
                return long_copy(window, value, ids, capacity, ret_n_ids);
        default:
                return -EBADMSG;
        }
}

/* ---- in place ---- */

int lanemap_overlay_walk_begin(const struct lanemap_window *window, uint64_t value,
                               struct lanemap_overlay_walk *ret_walk)
{
        const struct lanemap_overlay_long_shm *head;
        struct lanemap_overlay_walk *walk = ret_walk;
        uint32_t n_ids;

        walk->n_left = 0;
        walk->ids = NULL;
        walk->root_off = 0;
        walk->is_part = false;
        walk->depth = 0;
        switch (value_kind(value)) {
        case LANEMAP_OVERLAY_TAG_TOMBSTONE:
                return 0;
        case LANEMAP_OVERLAY_TAG_INLINE:
                walk->inline_id = value_inline_id(value);
                walk->ids = &walk->inline_id;
                walk->n_left = 1;
                return 0;
        case LANEMAP_OVERLAY_TAG_SHORT:
                walk->ids = short_ids(window, value, &n_ids);
                if (!walk->ids)
                        return -EBADMSG;

                walk->n_left = n_ids;
                return 0;
        case LANEMAP_OVERLAY_TAG_LONG:
                head = lanemap_window_at(window, value_off(value), sizeof(*head), 8);
                if (!head)
                        return -EBADMSG;

                walk->n_left = lanemap_load_relaxed(&head->n_ids);
                walk->root_off = lanemap_load_relaxed(&head->root_off);
                return walk->n_left == 0 || walk->n_left > UINT32_MAX || walk->root_off == 0
                               ? -EBADMSG
                               : 0;
        default:
                return -EBADMSG;
        }
}

/* Down to the first leaf below a node; each step is to a smaller height. */
static int walk_descend(const struct lanemap_window *window, struct lanemap_overlay_walk *walk,
                        uint64_t off, uint32_t height_max, const uint32_t **ret_ids,
                        uint32_t *ret_n_ids)
{
        for (;;) {
                const struct lanemap_overlay_node_shm *node;
                const struct lanemap_overlay_child_shm *children;
                uint32_t n, height;

                node = node_at(window, off, &n, &height);
                if (!node || height > height_max)
                        return -EBADMSG;

                if (height == 0) {
                        *ret_ids = (const uint32_t *)(node + 1);
                        *ret_n_ids = n;
                        return 1;
                }

                children = (const void *)(node + 1);
                walk->path[walk->depth].children = children;
                walk->path[walk->depth].at = 0;
                walk->path[walk->depth].n = n;
                walk->path[walk->depth].height = height;
                walk->depth++;
                off = lanemap_load_relaxed(&children[0].off);
                height_max = height - 1;
        }
}

/* The leaf after the one before. Return: 1, 0 there is none, -EBADMSG. */
static int walk_leaf(const struct lanemap_window *window, struct lanemap_overlay_walk *walk,
                     const uint32_t **ret_ids, uint32_t *ret_n_ids)
{
        uint64_t off = walk->root_off;
        uint32_t depth;

        if (off) {
                walk->root_off = 0;
                return walk_descend(window, walk, off, LANEMAP_OVERLAY_TREE_HEIGHT_MAX, ret_ids,
                                    ret_n_ids);
        }

        while (walk->depth > 0 && ++walk->path[walk->depth - 1].at == walk->path[walk->depth - 1].n)
                walk->depth--;
        if (walk->depth == 0)
                return 0;

        depth = walk->depth - 1;
        off = lanemap_load_relaxed(&walk->path[depth].children[walk->path[depth].at].off);
        return walk_descend(window, walk, off, walk->path[depth].height - 1, ret_ids, ret_n_ids);
}

/* The path to that leaf, as if the leaf before it had just been walked. */
int lanemap_overlay_walk_seek(const struct lanemap_window *window,
                              struct lanemap_overlay_walk *walk, uint32_t from)
{
        uint32_t height_max = LANEMAP_OVERLAY_TREE_HEIGHT_MAX;
        uint64_t off = walk->root_off;

        while (off) {
                const struct lanemap_overlay_node_shm *node;
                const struct lanemap_overlay_child_shm *children;
                uint32_t n, height, at;

                node = node_at(window, off, &n, &height);
                if (!node || height > height_max)
                        return -EBADMSG;
                if (height == 0) /* the root is the one leaf */
                        return 0;

                children = (const void *)(node + 1);
                at = ids_search((const unsigned char *)&children[0].first_id, sizeof(*children), n,
                                from);
                at = at == n ? 0 : at;
                off = height > 1 ? lanemap_load_relaxed(&children[at].off) : 0;
                walk->path[walk->depth].children = children;
                walk->path[walk->depth].at = height > 1 ? at : at - 1; /* the next one is `at` */
                walk->path[walk->depth].n = n;
                walk->path[walk->depth].height = height;
                walk->depth++;
                walk->root_off = 0;
                walk->is_part = true;
                if (height > 1 && off == 0)
                        return -EBADMSG;
                height_max = height - 1;
        }

        return 0;
}

int lanemap_overlay_walk_next(const struct lanemap_window *window,
                              struct lanemap_overlay_walk *walk, const uint32_t **ret_ids,
                              uint32_t *ret_n_ids)
{
        const uint32_t *ids;
        uint32_t n_ids;
        int r;

        if (walk->ids) {
                *ret_ids = walk->ids;
                *ret_n_ids = (uint32_t)walk->n_left;
                walk->ids = NULL;
                walk->n_left = 0;
                return *ret_n_ids > 0;
        }

        r = walk_leaf(window, walk, &ids, &n_ids);
        if (r < 0)
                return r;
        /* The head said how many: not one more, not one less. */
        if (r == 0 || n_ids > walk->n_left)
                return r == 0 && (walk->n_left == 0 || walk->is_part) ? 0 : -EBADMSG;

        walk->n_left -= n_ids;
        *ret_ids = ids;
        *ret_n_ids = n_ids;
        return 1;
}

int lanemap_overlay_posting_contains(const struct lanemap_window *window, uint64_t value,
                                     uint32_t id)
{
        const struct lanemap_overlay_long_shm *head;
        const uint32_t *ids;
        uint32_t n_ids, at;

        switch (value_kind(value)) {
        case LANEMAP_OVERLAY_TAG_TOMBSTONE:
                return 0;
        case LANEMAP_OVERLAY_TAG_INLINE:
                return value_inline_id(value) == id;
        case LANEMAP_OVERLAY_TAG_SHORT:
                ids = short_ids(window, value, &n_ids);
                if (!ids)
                        return -EBADMSG;

                at = ids_search((const unsigned char *)ids, sizeof(*ids), n_ids, id);
                return at < n_ids && lanemap_load_relaxed(&ids[at]) == id;
        case LANEMAP_OVERLAY_TAG_LONG:
                head = lanemap_window_at(window, value_off(value), sizeof(*head), 8);
                return head ? tree_contains(window, lanemap_load_relaxed(&head->root_off), id)
                            : -EBADMSG;
        default:
                return -EBADMSG;
        }
}
