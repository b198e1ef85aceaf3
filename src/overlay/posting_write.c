/*
 * Postings of every kind, and what changes one into another. See posting_write.h.
 *
 *      0 ids        1 id      2 .. SHORT_IDS_MAX    more
 *      tombstone    inline    short array           tree (posting_tree_write.h)
 *
 * Everything but a tree is copied whole. A change never touches a block that is published.
 */
#include "overlay/posting_write.h"

#include <string.h>

#include "common/check.h"
#include "overlay/posting_node_write.h"
#include "overlay/posting_tree_write.h"

/* A long posting that shrinks to this becomes short again; well below SHORT_IDS_MAX, so that it
 * does not flutter. */
#define LONG_IDS_MIN 96

LANEMAP_ALWAYS_INLINE uint64_t value_kind(uint64_t value)
{
        return value & LANEMAP_OVERLAY_TAG_KIND_MASK;
}

LANEMAP_ALWAYS_INLINE uint64_t value_off(uint64_t value)
{
        return value & ~LANEMAP_OVERLAY_TAG_MASK;
}

static uint64_t short_bytes(size_t n_ids)
{
        return sizeof(struct lanemap_overlay_short_shm) + n_ids * sizeof(uint32_t);
}

/* ---- from an array ---- */

static int short_build(struct lanemap_arena *arena, const uint32_t *ids, size_t n_ids,
                       struct lanemap_posting_change *change)
{
        struct lanemap_overlay_short_shm *posting;
        uint64_t off;
        int r;

        r = arena->alloc(arena, short_bytes(n_ids), &off);
        if (r < 0)
                return r;

        posting = lanemap_arena_at(arena, off);
        lanemap_store_relaxed(&posting->n_ids, (uint32_t)n_ids);
        lanemap_store_relaxed(&posting->reserved, 0);
        lanemap_posting_ids_store(posting->ids, ids, n_ids);
        change->built_whole_new = true;
        change->value = off | LANEMAP_OVERLAY_TAG_SHORT;
        return 0;
}

static int long_build(struct lanemap_arena *arena, const uint32_t *ids, size_t n_ids,
                      struct lanemap_posting_change *change)
{
        uint64_t head_off;
        int r;

        r = lanemap_posting_tree_build(arena, ids, n_ids, &head_off);
        if (r < 0)
                return r;

        change->built_whole_new = true;
        change->value = head_off | LANEMAP_OVERLAY_TAG_LONG;
        return 0;
}

int lanemap_posting_prepare_build(struct lanemap_arena *arena, uint64_t old_value,
                                  const uint32_t *ids, size_t n_ids, bool fresh,
                                  struct lanemap_posting_change *ret_change)
{
        int r = 0;

        lanemap_posting_change_init(ret_change, old_value, old_value != 0);
        if (n_ids == 0)
                ret_change->value = LANEMAP_OVERLAY_TAG_TOMBSTONE;
        else if (n_ids == 1)
                ret_change->value = (uint64_t)ids[0] << LANEMAP_OVERLAY_INLINE_SHIFT |
                                    LANEMAP_OVERLAY_TAG_INLINE;
        else if (n_ids <= LANEMAP_OVERLAY_SHORT_IDS_MAX)
                r = short_build(arena, ids, n_ids, ret_change);
        else
                r = long_build(arena, ids, n_ids, ret_change);
        if (r < 0)
                return r;

        if (fresh)
                ret_change->value |= LANEMAP_OVERLAY_TAG_FRESH;
        return 0;
}

/* ---- one id more or less ---- */

/* Of everything that is copied whole: a tree only when it becomes short. */
static int array_change(struct lanemap_arena *arena, uint64_t old_value, uint32_t id, bool insert,
                        struct lanemap_posting_change *change)
{
        struct lanemap_window window = {.base = arena->base, .bytes = UINT64_MAX};
        uint32_t ids[LANEMAP_OVERLAY_SHORT_IDS_MAX + 1];
        size_t n_ids;
        int r;

        r = lanemap_overlay_posting_copy(&window, old_value, ids, LANEMAP_OVERLAY_SHORT_IDS_MAX,
                                         &n_ids);
        if (r < 0)
                return r;

        lanemap_check(n_ids <= LANEMAP_OVERLAY_SHORT_IDS_MAX);
        n_ids = lanemap_posting_ids_change(ids, (uint32_t)n_ids, id, insert);
        return lanemap_posting_prepare_build(arena, old_value, ids, n_ids,
                                             old_value & LANEMAP_OVERLAY_TAG_FRESH, change);
}

static int tree_change(struct lanemap_arena *arena, uint64_t old_value, uint32_t id, bool insert,
                       struct lanemap_posting_change *change)
{
        uint64_t head_off;
        int r;

        lanemap_posting_change_init(change, old_value, false);
        r = lanemap_posting_tree_change(arena, value_off(old_value), id, insert, change, &head_off);
        if (r < 0) {
                lanemap_posting_abort(arena, change);
                return r;
        }

        change->value =
                head_off | LANEMAP_OVERLAY_TAG_LONG | (old_value & LANEMAP_OVERLAY_TAG_FRESH);
        return 0;
}

static bool stays_long(const struct lanemap_arena *arena, uint64_t value, bool insert)
{
        const struct lanemap_overlay_long_shm *head;

        if (value_kind(value) != LANEMAP_OVERLAY_TAG_LONG)
                return false;

        head = lanemap_arena_at(arena, value_off(value));
        return insert || head->n_ids - 1 > LONG_IDS_MIN;
}

int lanemap_posting_prepare_insert(struct lanemap_arena *arena, uint64_t old_value, uint32_t id,
                                   struct lanemap_posting_change *ret_change)
{
        return stays_long(arena, old_value, true)
                       ? tree_change(arena, old_value, id, true, ret_change)
                       : array_change(arena, old_value, id, true, ret_change);
}

int lanemap_posting_prepare_remove(struct lanemap_arena *arena, uint64_t old_value, uint32_t id,
                                   struct lanemap_posting_change *ret_change)
{
        return stays_long(arena, old_value, false)
                       ? tree_change(arena, old_value, id, false, ret_change)
                       : array_change(arena, old_value, id, false, ret_change);
}

/* ---- many ids more and less ---- */

bool lanemap_posting_edits_in_place(uint64_t old_value, uint64_t n_after)
{
        return value_kind(old_value) == LANEMAP_OVERLAY_TAG_LONG && n_after > LONG_IDS_MIN;
}

int lanemap_posting_prepare_edit(struct lanemap_arena *arena, uint64_t old_value,
                                 const struct lanemap_posting_edit *edit,
                                 struct lanemap_posting_blocks *made,
                                 struct lanemap_posting_blocks *dropped, uint64_t *ret_value)
{
        size_t n_made = made->n, n_dropped = dropped->n;
        uint64_t head_off;
        int r;

        r = lanemap_posting_tree_edit(arena, value_off(old_value), edit, made, dropped, &head_off);
        if (r < 0) {
                while (made->n > n_made) {
                        made->n--;
                        arena->free(arena, made->items[made->n].off, made->items[made->n].bytes);
                }
                dropped->n = n_dropped;
                return r;
        }

        *ret_value = head_off | LANEMAP_OVERLAY_TAG_LONG | (old_value & LANEMAP_OVERLAY_TAG_FRESH);
        return 0;
}

/* ---- every block of a value ---- */

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
                lanemap_posting_node_walk(arena, head->root_off, fn);
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
                return sizeof(*head) + lanemap_posting_subtree_bytes(arena, head->root_off);
        default:
                return 0;
        }
}

/* ---- the end of a change ---- */

int64_t lanemap_posting_commit(struct lanemap_arena *arena, struct lanemap_posting_change *change)
{
        int64_t grown = 0;

        if (change->built_whole_new)
                grown += (int64_t)lanemap_posting_bytes(arena, change->value);
        for (uint32_t i = 0; i < change->n_new_blocks; i++)
                grown += (int64_t)change->new_blocks[i].bytes;
        for (size_t i = 0; i < change->n_more_new; i++)
                grown += (int64_t)change->more_new[i].bytes;

        if (change->replaces_whole_old) {
                grown -= (int64_t)lanemap_posting_bytes(arena, change->old_value);
                lanemap_posting_retire(arena, change->old_value);
        }
        for (uint32_t i = 0; i < change->n_old_blocks; i++) {
                grown -= (int64_t)change->old_blocks[i].bytes;
                arena->retire(arena, change->old_blocks[i].off, change->old_blocks[i].bytes);
        }
        for (size_t i = 0; i < change->n_more_old; i++) {
                grown -= (int64_t)change->more_old[i].bytes;
                arena->retire(arena, change->more_old[i].off, change->more_old[i].bytes);
        }

        return grown;
}

void lanemap_posting_abort(struct lanemap_arena *arena, struct lanemap_posting_change *change)
{
        if (change->built_whole_new)
                posting_walk(arena, change->value, arena->free);
        for (uint32_t i = 0; i < change->n_new_blocks; i++)
                arena->free(arena, change->new_blocks[i].off, change->new_blocks[i].bytes);
        for (size_t i = 0; i < change->n_more_new; i++)
                arena->free(arena, change->more_new[i].off, change->more_new[i].bytes);

        change->built_whole_new = false;
        change->n_new_blocks = 0;
        change->n_more_new = 0;
}
