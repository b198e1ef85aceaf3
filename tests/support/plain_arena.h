/*
 * An arena of plain memory for unit tests: every block on its own, freed and retired blocks
 * poisoned, everything that is still held countable. The n-th allocation can be made to fail.
 */
#ifndef LANEMAP_TESTS_PLAIN_ARENA_H
#define LANEMAP_TESTS_PLAIN_ARENA_H

#include "common/arena.h"

struct plain_arena {
        struct lanemap_arena arena;
        uint64_t used_bytes; /* high-water offset */
        uint64_t live_bytes; /* allocated and neither freed nor retired */
        uint64_t n_live;
        uint64_t n_retired;
        uint64_t fail_after; /* n > 0: the n-th allocation from now fails */
};

void plain_arena_init(struct plain_arena *arena);
void plain_arena_deinit(struct plain_arena *arena);

#endif
