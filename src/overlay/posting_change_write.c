/* See posting_change_write.h. */
#include "overlay/posting_change_write.h"

#include <errno.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"

int lanemap_posting_blocks_push(struct lanemap_posting_blocks *blocks, uint64_t off, uint64_t bytes)
{
        int r = lanemap_array_fit((void **)&blocks->items, &blocks->capacity, blocks->n + 1,
                                  sizeof(*blocks->items));

        if (r < 0)
                return r;

        blocks->items[blocks->n++] = (struct lanemap_posting_block){.off = off, .bytes = bytes};
        return 0;
}

void lanemap_posting_blocks_deinit(struct lanemap_posting_blocks *blocks)
{
        lanemap_free(blocks->items);
        *blocks = (struct lanemap_posting_blocks){0};
}

void lanemap_posting_change_init(struct lanemap_posting_change *change, uint64_t old_value,
                                 bool replaces_whole_old)
{
        change->old_value = old_value;
        change->replaces_whole_old = replaces_whole_old;
        change->built_whole_new = false;
        change->n_new_blocks = 0;
        change->n_old_blocks = 0;
        change->more_new = change->more_old = NULL;
        change->n_more_new = change->n_more_old = 0;
}

void lanemap_posting_change_made(struct lanemap_posting_change *change, uint64_t off,
                                 uint64_t bytes)
{
        lanemap_check(change->n_new_blocks < LANEMAP_POSTING_CHANGE_BLOCKS_MAX);
        change->new_blocks[change->n_new_blocks++] =
                (struct lanemap_posting_block){.off = off, .bytes = bytes};
}

void lanemap_posting_change_dropped(struct lanemap_posting_change *change, uint64_t off,
                                    uint64_t bytes)
{
        lanemap_check(change->n_old_blocks < LANEMAP_POSTING_CHANGE_BLOCKS_MAX);
        change->old_blocks[change->n_old_blocks++] =
                (struct lanemap_posting_block){.off = off, .bytes = bytes};
}

uint32_t lanemap_posting_ids_change(uint32_t *ids, uint32_t n_ids, uint32_t id, bool insert)
{
        uint32_t at = 0;

        while (at < n_ids && ids[at] < id)
                at++;

        if (insert) {
                memmove(&ids[at + 1], &ids[at], (n_ids - at) * sizeof(*ids));
                ids[at] = id;
                return n_ids + 1;
        }

        lanemap_check(at < n_ids && ids[at] == id);
        memmove(&ids[at], &ids[at + 1], (n_ids - at - 1) * sizeof(*ids));
        return n_ids - 1;
}
