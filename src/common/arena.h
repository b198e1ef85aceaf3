/*
 * Where the write side gets the memory that readers will see: blocks named by their offset from one
 * base.
 *
 * A block is allocated, filled, and published by whoever allocated it. What was never published is
 * freed; what was published is retired, and keeps its bytes until no reader that began before can
 * be looking, or can no longer believe what it saw (shm/arena.h). A unit test puts plain memory
 * here.
 *
 * Thread: one at a time, under the owner's lock.
 */
#ifndef LANEMAP_COMMON_ARENA_H
#define LANEMAP_COMMON_ARENA_H

#include "common/base.h"

/* Offsets are multiples of this; the low bits of an offset are free for tags. 0 is never a block.
 */
#define LANEMAP_ARENA_ALIGN 16

struct lanemap_arena {
        unsigned char *base; /* does not move during the arena's life */

        /* 0 and *ret_off, or -ENOSPC, -ENOMEM. The block's bytes are undefined. */
        int (*alloc)(struct lanemap_arena *arena, uint64_t bytes, uint64_t *ret_off);
        /* Never published. `bytes` is what was asked for. */
        void (*free)(struct lanemap_arena *arena, uint64_t off, uint64_t bytes);
        /* Published once, and no longer reachable for readers that begin after the batch in
         * progress. */
        void (*retire)(struct lanemap_arena *arena, uint64_t off, uint64_t bytes);
};

LANEMAP_ALWAYS_INLINE void *lanemap_arena_at(const struct lanemap_arena *arena, uint64_t off)
{
        return arena->base + off;
}

#endif
