/*
 * The allocator of shared memory beside a list of blocks: no two overlap, and what was retired
 * comes back only as A1, A2 and A3 of shm/arena.h say. Time is the test's own.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "shm/arena.h"
#include "support/rng.h"

TestSuite(shm_arena, .timeout = 60);

#define PAGE         LANEMAP_SHM_PAGE_BYTES
#define FIRST_OFF    (3 * PAGE)
#define N_BLOCKS_MAX 4000
#define QUARANTINE   1000

struct fake_clock {
        struct lanemap_clock clock;
        uint64_t ns;
};

enum block_state { BLOCK_GONE, BLOCK_LIVE, BLOCK_PENDING, BLOCK_WAITING };

struct block {
        enum block_state state;
        uint64_t off, bytes;
        uint64_t epoch; /* stamped */
        uint64_t since_ns;
        unsigned char fill;
};

struct bench {
        struct lanemap_shm_control control;
        struct fake_clock clock;
        struct lanemap_shm_arena *shm;
        struct lanemap_arena *arena;
        unsigned char *base;
        uint64_t bytes;     /* of the object, as grow made it */
        uint64_t bytes_max; /* as grow allows */
        uint64_t n_grown;
        struct block blocks[N_BLOCKS_MAX];
        size_t n;
        uint64_t seed, step;
};

static uint64_t fake_now_ns(const struct lanemap_clock *clock)
{
        return LANEMAP_CONTAINER_OF((struct lanemap_clock *)(uintptr_t)clock, struct fake_clock,
                                    clock)
                ->ns;
}

static int bench_grow(void *arg, uint64_t bytes)
{
        struct bench *bench = arg;

        cr_assert_eq(bytes % PAGE, 0);
        if (bytes > bench->bytes_max)
                return -ENOSPC;

        cr_assert_geq(bytes, bench->bytes);
        bench->bytes = bytes;
        bench->n_grown++;
        return 0;
}

static struct bench *bench_new_with(uint64_t bytes_max, struct lanemap_shm_quarantine quarantine)
{
        struct bench *bench = calloc(1, sizeof(*bench));
        struct lanemap_shm_arena_config config = {
                .bytes = FIRST_OFF,
                .bytes_max = bytes_max,
                .first_off = FIRST_OFF,
                .quarantine = quarantine,
                .grow = bench_grow,
        };

        cr_assert(bench);
        bench->base = calloc(1, bytes_max);
        cr_assert(bench->base);
        bench->clock.clock.now_ns = fake_now_ns;
        bench->clock.ns = 1000 * 1000;
        bench->control.epoch = 1;
        bench->bytes = FIRST_OFF;
        bench->bytes_max = bytes_max;
        config.base = bench->base;
        config.control = &bench->control;
        config.clock = &bench->clock.clock;
        config.grow_arg = bench;
        cr_assert_eq(lanemap_shm_arena_new(&config, &bench->shm), 0);
        bench->arena = lanemap_shm_arena_base(bench->shm);
        return bench;
}

static struct bench *bench_new(uint64_t bytes_max, uint64_t quarantine_ns)
{
        return bench_new_with(bytes_max, (struct lanemap_shm_quarantine){.ns = quarantine_ns});
}

static void bench_free(struct bench *bench)
{
        lanemap_shm_arena_free(bench->shm);
        free(bench->base);
        free(bench);
}

static bool overlap(const struct block *a, const struct block *b)
{
        return a->off < b->off + b->bytes && b->off < a->off + a->bytes;
}

static void expect_filled(const struct bench *bench, const struct block *block)
{
        cr_assert(bench->base[block->off] == block->fill &&
                          bench->base[block->off + block->bytes - 1] == block->fill,
                  "seed %" PRIu64 " step %" PRIu64 ": bytes of a block at %" PRIu64 " were changed",
                  bench->seed, bench->step, block->off);
}

/* A new block against all the others: A1, A2, A3. */
static void new_block_check(struct bench *bench, const struct block *block, bool is_short)
{
        cr_assert_eq(block->off % LANEMAP_ARENA_ALIGN, 0);
        cr_assert_geq(block->off, FIRST_OFF);
        cr_assert_leq(block->off + block->bytes, bench->bytes);
        for (size_t i = 0; i < bench->n; i++) {
                struct block *other = &bench->blocks[i];

                if (other->state == BLOCK_GONE || !overlap(block, other))
                        continue;

                cr_assert_eq(other->state, BLOCK_WAITING,
                             "seed %" PRIu64 " step %" PRIu64 ": given out in state %d",
                             bench->seed, bench->step, (int)other->state);
                cr_assert_geq(bench->control.watermark, other->epoch);
                cr_assert(is_short || bench->clock.ns - other->since_ns >= QUARANTINE,
                          "seed %" PRIu64 " step %" PRIu64 ": given out after %" PRIu64 " ns",
                          bench->seed, bench->step, bench->clock.ns - other->since_ns);
                expect_filled(bench, other);
                other->state = BLOCK_GONE;
        }
}

/* Return: what alloc answered. */
static int bench_alloc(struct bench *bench, uint64_t bytes)
{
        struct block block = {.state = BLOCK_LIVE, .bytes = bytes};
        struct lanemap_shm_arena_stats before, after;
        bool is_short;
        int r;

        lanemap_shm_arena_get_stats(bench->shm, &before);
        r = bench->arena->alloc(bench->arena, bytes, &block.off);
        if (r < 0)
                return r;

        /* Memory was short if what waited was given back though nobody's time had come. */
        lanemap_shm_arena_get_stats(bench->shm, &after);
        is_short = after.quarantine_bytes < before.quarantine_bytes ||
                   bench->bytes == bench->bytes_max;
        new_block_check(bench, &block, is_short);
        block.fill = (unsigned char)(bench->step + bench->n);
        memset(bench->base + block.off, block.fill, block.bytes);
        if (bench->n == N_BLOCKS_MAX) {
                size_t kept = 0;

                for (size_t i = 0; i < bench->n; i++)
                        if (bench->blocks[i].state != BLOCK_GONE)
                                bench->blocks[kept++] = bench->blocks[i];
                cr_assert_lt(kept, N_BLOCKS_MAX);
                bench->n = kept;
        }
        bench->blocks[bench->n++] = block;
        return 0;
}

static void bench_give_back(struct bench *bench, struct block *block, bool retire)
{
        expect_filled(bench, block);
        if (retire)
                bench->arena->retire(bench->arena, block->off, block->bytes);
        else
                bench->arena->free(bench->arena, block->off, block->bytes);
        block->state = retire ? BLOCK_PENDING : BLOCK_GONE;
}

static void bench_end_batch(struct bench *bench)
{
        uint64_t epoch = bench->control.epoch;
        bool any = false;

        for (size_t i = 0; i < bench->n; i++)
                any |= bench->blocks[i].state == BLOCK_PENDING;
        lanemap_shm_arena_end_batch(bench->shm);
        cr_assert_eq(bench->control.epoch, epoch + any);
        cr_assert_leq(bench->control.watermark, bench->control.epoch);
        for (size_t i = 0; i < bench->n; i++) {
                struct block *block = &bench->blocks[i];

                if (block->state != BLOCK_PENDING)
                        continue;
                block->state = BLOCK_WAITING;
                block->epoch = epoch + 1;
                block->since_ns = bench->clock.ns;
        }
}

static void expect_stats(struct bench *bench)
{
        uint64_t live = 0, retired = 0;
        struct lanemap_shm_arena_stats stats;

        lanemap_shm_arena_get_stats(bench->shm, &stats);
        for (size_t i = 0; i < bench->n; i++) {
                const struct block *block = &bench->blocks[i];

                live += block->state == BLOCK_LIVE ? block->bytes : 0;
                retired += block->state == BLOCK_PENDING ? block->bytes : 0;
        }
        cr_assert_eq(stats.bytes, bench->bytes);
        cr_assert_eq(stats.used_bytes - stats.quarantine_bytes, live);
        cr_assert_geq(stats.quarantine_bytes, retired);
        cr_assert_eq(stats.leaked_bytes, 0);
}

static uint64_t random_bytes(struct rng *rng)
{
        switch (rng_below(rng, 10)) {
        case 0:
                return 1 + rng_below(rng, 5 * PAGE);
        case 1:
                return 1 + rng_below(rng, 2048 + 100);
        default:
                return 1 + rng_below(rng, 300);
        }
}

struct mix {
        uint64_t bytes_max;
        uint64_t quarantine_ns;
        uint32_t alloc_percent; /* of the steps, while there is room */
};

static void step(struct bench *bench, struct rng *rng, const struct mix *mix)
{
        struct block *block;

        bench->step++;
        bench->clock.ns += rng_below(rng, 40);
        if (bench->n == 0 || rng_chance(rng, mix->alloc_percent)) {
                int r = bench_alloc(bench, random_bytes(rng));

                cr_assert(r == 0 || r == -ENOSPC, "%d", r);
                if (r == 0)
                        return;
        }
        if (rng_chance(rng, 20))
                bench_end_batch(bench);
        for (int i = 0; i < 3 && bench->n > 0; i++) {
                block = &bench->blocks[rng_below(rng, bench->n)];
                if (block->state == BLOCK_LIVE) {
                        bench_give_back(bench, block, rng_chance(rng, 60));
                        break;
                }
        }
}

ParameterizedTestParameters(shm_arena, random_work)
{
        static struct mix mixes[] = {
                {4 << 20, QUARANTINE, 55},
                {256 << 10, QUARANTINE, 60}, /* always short */
                {1 << 20, QUARANTINE, 50},
                {512 << 10, LANEMAP_SHM_QUARANTINE_NONE, 60}, /* given back at once */
        };

        return cr_make_param_array(struct mix, mixes, LANEMAP_N_ELEMENTS(mixes));
}

ParameterizedTest(struct mix *mix, shm_arena, random_work, .timeout = 60)
{
        struct bench *bench = bench_new(mix->bytes_max, mix->quarantine_ns);
        uint64_t n_steps = rng_test_steps(30000);
        struct rng rng;

        /* Without a quarantine any block may come back after its batch. */
        bench->seed = rng_test_seed(5);
        rng_init(&rng, bench->seed);
        if (mix->quarantine_ns == LANEMAP_SHM_QUARANTINE_NONE)
                bench->clock.ns = 0;
        for (uint64_t i = 0; i < n_steps; i++) {
                if (mix->quarantine_ns == LANEMAP_SHM_QUARANTINE_NONE)
                        bench->clock.ns += QUARANTINE;
                step(bench, &rng, mix);
                if (i % 1000 == 0)
                        expect_stats(bench);
        }
        cr_expect_gt(bench->n_grown, 0);
        bench_free(bench);
}

Test(shm_arena, freed_pages_join_again)
{
        struct bench *bench = bench_new(1 << 20, QUARANTINE);
        uint64_t off, whole = (1 << 20) - FIRST_OFF;
        struct rng rng;

        rng_init(&rng, 9);
        while (bench_alloc(bench, 1 + rng_below(&rng, 3 * PAGE)) == 0)
                ;
        cr_expect_eq(bench->bytes, 1 << 20);
        for (size_t i = 0; i < bench->n; i++)
                bench_give_back(bench, &bench->blocks[i], i % 2);
        cr_expect_eq(bench->arena->alloc(bench->arena, whole, &off), -ENOSPC, "still retired");
        bench_end_batch(bench);
        cr_expect_eq(bench->arena->alloc(bench->arena, whole, &off), 0, "short: at once");
        cr_expect_eq(off, FIRST_OFF);
        cr_expect_eq(bench->control.watermark, bench->control.epoch);
        cr_expect_eq(bench->arena->alloc(bench->arena, 1, &off), -ENOSPC);
        cr_expect_eq(bench->arena->alloc(bench->arena, UINT64_MAX, &off), -ENOSPC);
        bench->arena->free(bench->arena, FIRST_OFF, whole);
        cr_expect_eq(bench->arena->alloc(bench->arena, 1, &off), 0);
        bench_free(bench);
}

Test(shm_arena, quarantine_lasts_as_long_as_it_says)
{
        struct bench *bench = bench_new(1 << 20, QUARANTINE);
        uint64_t first, off;

        cr_assert_eq(bench->arena->alloc(bench->arena, 100, &first), 0);
        bench->arena->retire(bench->arena, first, 100);
        cr_assert_eq(bench->arena->alloc(bench->arena, 100, &off), 0);
        cr_expect_neq(off, first, "in the same batch (A1)");
        lanemap_shm_arena_end_batch(bench->shm);
        bench->clock.ns += QUARANTINE - 1;
        lanemap_shm_arena_end_batch(bench->shm);
        cr_assert_eq(bench->arena->alloc(bench->arena, 100, &off), 0);
        cr_expect_neq(off, first, "too early (A3)");
        cr_expect_eq(bench->control.watermark, 0);

        bench->clock.ns += 2;
        lanemap_shm_arena_end_batch(bench->shm);
        cr_expect_eq(bench->control.watermark, 2, "%" PRIu64, bench->control.watermark);
        cr_assert_eq(bench->arena->alloc(bench->arena, 100, &off), 0);
        cr_expect_eq(off, first);
        bench_free(bench);
}

/* What waits stays longer than it must while it is little (A3). */
Test(shm_arena, little_lingers)
{
        struct bench *bench = bench_new_with(
                4 << 20, (struct lanemap_shm_quarantine){.ns = QUARANTINE,
                                                         .linger_ns = 50 * QUARANTINE,
                                                         .linger_bytes = 8192});
        struct lanemap_shm_arena_stats stats;
        uint64_t offs[3];

        for (int i = 0; i < 3; i++)
                cr_assert_eq(bench->arena->alloc(bench->arena, 4096, &offs[i]), 0);
        for (int i = 0; i < 3; i++) {
                bench->arena->retire(bench->arena, offs[i], 4096);
                lanemap_shm_arena_end_batch(bench->shm);
        }
        lanemap_shm_arena_get_stats(bench->shm, &stats);
        cr_expect_eq(stats.quarantine_bytes, 3 * 4096, "none earlier than the quarantine");

        bench->clock.ns += 2 * QUARANTINE;
        lanemap_shm_arena_end_batch(bench->shm);
        lanemap_shm_arena_get_stats(bench->shm, &stats);
        cr_expect_eq(stats.quarantine_bytes, 8192, "the oldest one went");
        cr_expect_eq(bench->control.watermark, 2, "and only readers older than it go again");

        bench->clock.ns += 47 * QUARANTINE;
        lanemap_shm_arena_end_batch(bench->shm);
        cr_expect_eq(bench->control.watermark, 2);
        bench->clock.ns += 2 * QUARANTINE;
        lanemap_shm_arena_end_batch(bench->shm);
        cr_expect_eq(bench->control.watermark, 4);
        lanemap_shm_arena_get_stats(bench->shm, &stats);
        cr_expect_eq(stats.quarantine_bytes, 0);
        bench_free(bench);
}

/* Growing refuses, without the arena losing anything. */
Test(shm_arena, a_full_file_system)
{
        struct bench *bench = bench_new(4 << 20, QUARANTINE);
        uint64_t off;
        int r = 0;

        bench->bytes_max = 128 << 10; /* less than the arena may take */
        while (r == 0)
                r = bench_alloc(bench, 1000);
        cr_expect_eq(r, -ENOSPC);
        cr_expect_eq(lanemap_shm_arena_reserve(bench->shm, 1 << 20), -ENOSPC);
        expect_stats(bench);
        bench->bytes_max = 2 << 20;
        cr_expect_eq(bench_alloc(bench, 1000), 0);
        cr_expect_eq(lanemap_shm_arena_reserve(bench->shm, 1 << 20), 0);
        cr_expect_eq(bench->arena->alloc(bench->arena, 1 << 20, &off), 0);
        bench_free(bench);
}

/* Book-keeping that could not be had is asked for again, also for less. */
Test(shm_arena, growing_without_memory)
{
        for (uint64_t nth = 1; nth <= 2; nth++) {
                struct bench *bench = bench_new(64 << 20, QUARANTINE);

                cr_assert_eq(bench_alloc(bench, 1000), 0);
                lanemap_alloc_fail_after(nth);
                cr_expect_eq(lanemap_shm_arena_reserve(bench->shm, 48 << 20), -ENOMEM, "at %u",
                             (unsigned)nth);
                lanemap_alloc_fail_after(0);
                for (uint32_t i = 0; i < 2000; i++)
                        cr_assert_eq(bench_alloc(bench, 1000), 0);
                expect_stats(bench);
                bench_free(bench);
        }
}

/* No private memory to remember what was retired: its bytes are lost, never given out too early. */
Test(shm_arena, retiring_without_memory)
{
        struct bench *bench = bench_new(1 << 20, QUARANTINE);
        struct lanemap_shm_arena_stats stats;
        uint64_t off, again;

        cr_assert_eq(bench->arena->alloc(bench->arena, 640, &off), 0);
        lanemap_alloc_fail_after(1);
        bench->arena->retire(bench->arena, off, 640);
        lanemap_alloc_fail_after(0);
        lanemap_shm_arena_get_stats(bench->shm, &stats);
        cr_expect_eq(stats.leaked_bytes, 640);
        lanemap_shm_arena_end_batch(bench->shm);
        bench->clock.ns += 10 * QUARANTINE;
        lanemap_shm_arena_end_batch(bench->shm);
        cr_assert_eq(bench->arena->alloc(bench->arena, 640, &again), 0);
        cr_expect_neq(again, off);
        bench_free(bench);
}
