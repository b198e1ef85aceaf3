/*
 * Long postings as the writer makes and changes them: trees that are immutable once published.
 *
 *   build    bottom up from an array, O(n): the first touch of a posting after a flush
 *   change   one id in or out, by copying the path from its leaf to the head: at most two blocks a
 *            level, whatever the length of the posting
 *   edit     many ids in and out: each node on the way to one of them is copied once
 *
 * Thread: the writer, under its lock.
 */
#ifndef LANEMAP_OVERLAY_POSTING_TREE_WRITE_H
#define LANEMAP_OVERLAY_POSTING_TREE_WRITE_H

#include "overlay/posting_change_write.h"

/* posting_tree_build.c: a tree of n_ids ascending ids and its head. Return: 0, -ENOSPC, -ENOMEM:
 * then nothing is left of it. */
int lanemap_posting_tree_build(struct lanemap_arena *arena, const uint32_t *ids, size_t n_ids,
                               uint64_t *ret_head_off);

/*
 * posting_tree_write.c: the tree at head_off with one id more, which is not there, or one less,
 * which is. New blocks and those they replace are noted in the change, also on failure: the caller
 * aborts it.
 *
 * Return: 0; -ENOSPC no room, or the tree is as high as it may be.
 */
int lanemap_posting_tree_change(struct lanemap_arena *arena, uint64_t head_off, uint32_t id,
                                bool insert, struct lanemap_posting_change *change,
                                uint64_t *ret_head_off);

/* Both ascending, without a common id. */
struct lanemap_posting_edit {
        const uint32_t *added; /* not there */
        size_t n_added;
        const uint32_t *removed; /* there */
        size_t n_removed;
};

/*
 * posting_tree_edit.c: the tree at head_off with these ids more and less, at least one id left. New
 * blocks and those they replace are added to the lists, also on failure: the caller frees the new
 * ones.
 *
 * Return: 0; -ENOSPC no room, or the tree would be too high; -ENOMEM.
 */
int lanemap_posting_tree_edit(struct lanemap_arena *arena, uint64_t head_off,
                              const struct lanemap_posting_edit *edit,
                              struct lanemap_posting_blocks *made,
                              struct lanemap_posting_blocks *dropped, uint64_t *ret_head_off);

#endif
