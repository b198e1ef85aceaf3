/* See plain_arena.h. Freed memory is never given out again, so a use after retirement shows as
 * poison. */
#include "plain_arena.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "common/check.h"

#define PLAIN_ARENA_BYTES (UINT64_C(4) << 30)

static int plain_alloc(struct lanemap_arena *base, uint64_t bytes, uint64_t *ret_off)
{
        struct plain_arena *arena = LANEMAP_CONTAINER_OF(base, struct plain_arena, arena);
        uint64_t size = LANEMAP_ALIGN_UP(bytes, (uint64_t)LANEMAP_ARENA_ALIGN);

        if (arena->fail_after > 0 && --arena->fail_after == 0)
                return -ENOSPC;
        if (arena->used_bytes + size > PLAIN_ARENA_BYTES)
                return -ENOSPC;

        *ret_off = arena->used_bytes;
        arena->used_bytes += size;
        arena->live_bytes += bytes;
        arena->n_live++;
        return 0;
}

static void plain_release(struct plain_arena *arena, uint64_t off, uint64_t bytes)
{
        lanemap_check(arena->n_live > 0 && arena->live_bytes >= bytes);
        arena->n_live--;
        arena->live_bytes -= bytes;
        memset(arena->arena.base + off, 0xdd, bytes);
}

static void plain_free(struct lanemap_arena *base, uint64_t off, uint64_t bytes)
{
        plain_release(LANEMAP_CONTAINER_OF(base, struct plain_arena, arena), off, bytes);
}

static void plain_retire(struct lanemap_arena *base, uint64_t off, uint64_t bytes)
{
        struct plain_arena *arena = LANEMAP_CONTAINER_OF(base, struct plain_arena, arena);

        arena->n_retired++;
        plain_release(arena, off, bytes);
}

void plain_arena_init(struct plain_arena *arena)
{
        void *base = mmap(NULL, PLAIN_ARENA_BYTES, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        lanemap_check(base != MAP_FAILED);
        *arena = (struct plain_arena){
                .arena = {.base = base,
                          .alloc = plain_alloc,
                          .free = plain_free,
                          .retire = plain_retire},
                .used_bytes = LANEMAP_ARENA_ALIGN,
        };
}

void plain_arena_deinit(struct plain_arena *arena)
{
        munmap(arena->arena.base, PLAIN_ARENA_BYTES);
}
