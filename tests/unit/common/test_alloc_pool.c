/* Blocks of many threads, side by side: whose they are, where they go when they are freed, and what
 * a forked child does with them. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/alloc_pool.h"
#include "support/rng.h"

TestSuite(alloc_pool, .timeout = 60);

#define N_BLOCKS  512
#define N_THREADS 4

struct block {
        unsigned char *bytes;
        size_t n_bytes;
        unsigned char fill;
};

static void block_check(const struct block *block)
{
        for (size_t i = 0; i < block->n_bytes; i++)
                cr_assert_eq(block->bytes[i], block->fill, "byte %zu of %zu", i, block->n_bytes);
}

static void block_take(struct block *block, struct rng *rng)
{
        block->n_bytes = 1 + rng_below(rng, rng_below(rng, 3) ? 200 : LANEMAP_ALLOC_POOL_BYTES_MAX);
        block->fill = (unsigned char)rng_below(rng, 256);
        block->bytes = lanemap_alloc_pool_take(block->n_bytes);
        cr_assert_not_null(block->bytes);
        cr_assert_eq((uintptr_t)block->bytes % 16, 0);
        cr_assert(lanemap_alloc_pool_owns(block->bytes));
        cr_assert_geq(lanemap_alloc_pool_usable(block->bytes), block->n_bytes);
        cr_assert_leq(lanemap_alloc_pool_usable(block->bytes), block->n_bytes * 3 / 2 + 16);
        memset(block->bytes, block->fill, block->n_bytes);
}

static void *storm(void *arg)
{
        struct block blocks[N_BLOCKS] = {{0}};
        struct rng rng;

        rng_init(&rng, (uint64_t)(uintptr_t)arg);
        for (uint32_t i = 0; i < 100000; i++) {
                struct block *block = &blocks[rng_below(&rng, N_BLOCKS)];

                if (block->bytes) {
                        block_check(block);
                        lanemap_alloc_pool_give(block->bytes);
                        block->bytes = NULL;
                } else {
                        block_take(block, &rng);
                }
        }
        for (uint32_t i = 0; i < N_BLOCKS; i++)
                if (blocks[i].bytes) {
                        block_check(&blocks[i]);
                        lanemap_alloc_pool_give(blocks[i].bytes);
                }

        return NULL;
}

Test(alloc_pool, blocks_are_whoevers_took_them)
{
        pthread_t threads[N_THREADS];

        for (uintptr_t i = 0; i < N_THREADS; i++)
                cr_assert_eq(pthread_create(&threads[i], NULL, storm, (void *)(i + 1)), 0);
        for (uint32_t i = 0; i < N_THREADS; i++)
                cr_assert_eq(pthread_join(threads[i], NULL), 0);
}

/* Pages of this process that have memory, from this one on. */
static size_t n_present(const unsigned char *from, size_t n_pages)
{
        FILE *file = fopen("/proc/self/pagemap", "re");
        uint64_t words[1024];
        size_t n = 0;

        cr_assert(file && n_pages <= 1024);
        cr_assert_eq(fseek(file, (long)((uintptr_t)from / 4096 * 8), SEEK_SET), 0);
        cr_assert_eq(fread(words, 8, n_pages, file), n_pages);
        fclose(file);
        for (size_t i = 0; i < n_pages; i++)
                n += words[i] >> 63;
        return n;
}

/* Two blocks of the largest size have a page: its memory goes back when both are freed, but for a
 * few pages; and it is the first to be used again, also for another size. */
Test(alloc_pool, what_is_freed_goes_back)
{
        static unsigned char *blocks[2000];
        unsigned char *lowest, *highest, *again;

        lowest = highest = blocks[0] = lanemap_alloc_pool_take(LANEMAP_ALLOC_POOL_BYTES_MAX);
        for (size_t i = 1; i < 2000; i++) {
                blocks[i] = lanemap_alloc_pool_take(LANEMAP_ALLOC_POOL_BYTES_MAX);
                lowest = blocks[i] < lowest ? blocks[i] : lowest;
                highest = blocks[i] > highest ? blocks[i] : highest;
        }
        for (size_t i = 0; i < 2000; i++)
                memset(blocks[i], 1, LANEMAP_ALLOC_POOL_BYTES_MAX);
        cr_expect_geq(n_present(lowest, 1000), 1000);

        for (size_t i = 0; i < 2000; i++)
                lanemap_alloc_pool_give(blocks[i]);
        cr_expect_leq(n_present(lowest, 1000), 4);
        for (size_t i = 0; i < 10000; i++) {
                again = lanemap_alloc_pool_take(32);
                cr_assert(again >= lowest - 4096 && again <= highest + 4096);
        }
}

/* The parent may have held the lock, or been in the midst of a page. */
Test(alloc_pool, a_child_begins_anew)
{
        struct block inherited[64], own[64];
        struct rng rng;
        int status;
        pid_t pid;

        rng_init(&rng, 7);
        for (size_t i = 0; i < 64; i++)
                block_take(&inherited[i], &rng);
        pid = fork();
        if (pid == 0) {
                for (size_t i = 0; i < 64; i++)
                        block_take(&own[i], &rng);
                for (size_t i = 0; i < 64; i++) {
                        block_check(&inherited[i]);
                        lanemap_alloc_pool_give(inherited[i].bytes);
                }
                for (size_t i = 0; i < 64; i++) {
                        struct block more;

                        block_take(&more, &rng);
                        for (size_t k = 0; k < 64; k++)
                                if (more.bytes == inherited[k].bytes)
                                        _exit(1);
                        block_check(&own[i]);
                        lanemap_alloc_pool_give(own[i].bytes);
                }
                _exit(0);
        }
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_expect_eq(status, 0);
        for (size_t i = 0; i < 64; i++) {
                block_check(&inherited[i]);
                lanemap_alloc_pool_give(inherited[i].bytes);
        }
}
