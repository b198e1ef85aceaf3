/*
 * A change of a posting in the making: the value word it ends in, the blocks that are new for it
 * and those that it replaces. The posting itself is changed in posting_write.c, a tree in
 * posting_tree_write.c.
 *
 * Thread: the writer, under its lock.
 */
#ifndef LANEMAP_OVERLAY_POSTING_CHANGE_WRITE_H
#define LANEMAP_OVERLAY_POSTING_CHANGE_WRITE_H

#include "common/arena.h"
#include "overlay/format.h"

struct lanemap_posting_block {
        uint64_t off;
        uint64_t bytes;
};

/* A list of blocks that grows, in private memory: those of a change of many ids, or of many
 * changes. */
struct lanemap_posting_blocks {
        struct lanemap_posting_block *items;
        size_t n;
        size_t capacity;
};

/* Return: 0, -ENOMEM. */
int lanemap_posting_blocks_push(struct lanemap_posting_blocks *blocks, uint64_t off,
                                uint64_t bytes);
/* Frees the list, not the blocks. */
void lanemap_posting_blocks_deinit(struct lanemap_posting_blocks *blocks);

/* Two nodes a level can be new (a split) or old (a merge), and the heads. */
#define LANEMAP_POSTING_CHANGE_BLOCKS_MAX (2 * (LANEMAP_OVERLAY_TREE_HEIGHT_MAX + 2) + 2)

struct lanemap_posting_change {
        uint64_t old_value;      /* 0: there was none in this overlay */
        uint64_t value;          /* to be stored */
        bool replaces_whole_old; /* every block of old_value goes, not only old_blocks */
        bool built_whole_new;    /* every block of value is new, not only new_blocks */
        uint32_t n_new_blocks;
        uint32_t n_old_blocks;
        /* More of both, of a change of many ids; the list is its maker's. */
        const struct lanemap_posting_block *more_new;
        const struct lanemap_posting_block *more_old;
        size_t n_more_new;
        size_t n_more_old;
        struct lanemap_posting_block new_blocks[LANEMAP_POSTING_CHANGE_BLOCKS_MAX];
        struct lanemap_posting_block old_blocks[LANEMAP_POSTING_CHANGE_BLOCKS_MAX];
};

void lanemap_posting_change_init(struct lanemap_posting_change *change, uint64_t old_value,
                                 bool replaces_whole_old);

/* Notes a block that is new, or one that is replaced; bounded (lanemap_check). */
void lanemap_posting_change_made(struct lanemap_posting_change *change, uint64_t off,
                                 uint64_t bytes);
void lanemap_posting_change_dropped(struct lanemap_posting_change *change, uint64_t off,
                                    uint64_t bytes);

/* An ascending array with one id more, for which there is room, or one less. Return: its length. */
uint32_t lanemap_posting_ids_change(uint32_t *ids, uint32_t n_ids, uint32_t id, bool insert);

#endif
