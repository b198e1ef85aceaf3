/*
 * The allocator of a data object, and the writer's half of protocol P0 (read.h).
 *
 * Blocks up to 2 KiB come from pages that hold one size class, larger ones are runs of pages. Every
 * bit of book-keeping is in the writer's private memory: a freed block keeps its bytes until it is
 * given out again, and nothing that a reader could write is ever followed. The object grows at its
 * end, by posix_fallocate, and is never sparse, punched or shrunk.
 *
 * A retired block goes through a quarantine:
 *
 *      retire -> pending -> (end of batch: E bumped, stamped with it and with the time)
 *             -> waiting -> (old enough, or memory is short: W raised) -> free -> given out again
 *
 * A1. No block is given out in the batch that retired it.
 * A2. W is raised to a block's stamp before the block is given out, with a release fence
 *     between.
 * A3. When nothing is short, no block is given out earlier than quarantine.ns after its batch, nor
 *     earlier than quarantine.linger_ns while all that wait are at most quarantine.linger_bytes. So
 *     a reader has to try again only when it was stopped for that long within one lookup, or when
 *     it decoded the lane's view that long ago (P7 in kept_read.h).
 *
 * Thread: the writer, under its lock.
 */
#ifndef LANEMAP_SHM_ARENA_H
#define LANEMAP_SHM_ARENA_H

#include "common/arena.h"
#include "common/clock.h"
#include "shm/format.h"

#define LANEMAP_SHM_PAGE_BYTES      4096
#define LANEMAP_SHM_QUARANTINE_NONE UINT64_MAX

struct lanemap_shm_arena;

/* The time that a retired block keeps its bytes (A3). */
struct lanemap_shm_quarantine {
        uint64_t ns; /* LANEMAP_SHM_QUARANTINE_NONE: immediate reuse, for tests */
        uint64_t linger_ns;
        uint64_t linger_bytes;
};

struct lanemap_shm_arena_config {
        unsigned char *base;
        uint64_t bytes;     /* size of the object now; a multiple of the page */
        uint64_t bytes_max; /* it may grow to this */
        uint64_t first_off; /* what is below belongs to the head; rounded up to a page */
        struct lanemap_shm_control *control;
        const struct lanemap_clock *clock;
        struct lanemap_shm_quarantine quarantine;
        /* Makes the object `bytes` long and its pages present. 0, -ENOSPC, ... */
        int (*grow)(void *arg, uint64_t bytes);
        void *grow_arg;
};

int lanemap_shm_arena_new(const struct lanemap_shm_arena_config *config,
                          struct lanemap_shm_arena **ret_arena);
/* Another one over the same object, as large as it is now, with nothing allocated: in the place of
 * `arena`, whose blocks nobody but the writer has seen. Return: 0, -ENOMEM. */
int lanemap_shm_arena_renew(const struct lanemap_shm_arena *arena,
                            struct lanemap_shm_arena **ret_arena);
/* Private memory only; the object is the caller's. NULL is fine. */
void lanemap_shm_arena_free(struct lanemap_shm_arena *arena);

/* The arena that the other rooms allocate from. */
struct lanemap_arena *lanemap_shm_arena_base(struct lanemap_shm_arena *arena);

/* Ends a batch: everything retired since the last one is stamped; what has waited long enough is
 * freed. */
void lanemap_shm_arena_end_batch(struct lanemap_shm_arena *arena);

/*
 * Return: whether pages of `bytes` in all are free, growing the object if need be: asked before
 * operations begin, so that a full /dev/shm is met between two of them. Larger runs of pages may
 * still not be had. Return: 0, -ENOSPC, -ENOMEM.
 */
int lanemap_shm_arena_reserve(struct lanemap_shm_arena *arena, uint64_t bytes);

/* Return: how many blocks of so many bytes, 2 KiB at most, share a page. */
uint32_t lanemap_shm_arena_blocks_per_page(uint64_t bytes);

struct lanemap_shm_arena_stats {
        uint64_t bytes;            /* of the object */
        uint64_t used_bytes;       /* allocated, quarantine included */
        uint64_t quarantine_bytes; /* pending or waiting */
        uint64_t leaked_bytes;     /* retired when no private memory was left to remember them */
};
/* Return: the bytes of the most pages that were in use, or reserved, at once since the last
 * call. */
uint64_t lanemap_shm_arena_take_peak(struct lanemap_shm_arena *arena);
void lanemap_shm_arena_get_stats(const struct lanemap_shm_arena *arena,
                                 struct lanemap_shm_arena_stats *ret_stats);

#endif
