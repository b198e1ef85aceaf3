/*
 * The engine and a reader beside the model: random operations, flushes, compactions, flips,
 * restarts and kills; after every batch some keys are compared, after every phase everything.
 *
 * LANEMAP_TEST_SEED repeats a run, LANEMAP_TEST_STEPS (batches of each index) makes it longer. A
 * run that saw fewer than 20 flushes, 5 merges, 5 growths of an overlay and 1 flip while lookups
 * were checked fails.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

TestSuite(property, .timeout = 3000);

#define PHASE_BATCHES 60

static void phase_end(struct world *world)
{
        switch (rng_below(&world->rng, 8)) {
        case 0:
                world_request(world, LANEMAP_REQUEST_FLUSH);
                break;
        case 1:
        case 2:
                world_request(world, LANEMAP_REQUEST_COMPACT);
                break;
        case 3:
                world_request(world, LANEMAP_REQUEST_FLIP);
                break;
        case 4:
                world_close(world);
                world_open(world);
                world->seen.n_restarts++;
                break;
        case 5:
                world_kill(world);
                break;
        case 6:
                lanemap_reader_detach(world->reader);
                world_attach(world);
                break;
        default:
                break;
        }
}

/* Adds to many keys, none of them cleared, so that there is something to merge. */
static void batch_grow(struct world *world, uint32_t round)
{
        static struct world_batch batch;

        batch.n = 0;
        for (uint32_t i = 0; i < 1000; i++) {
                char *key = batch.keys[batch.n];

                snprintf(key, WORLD_KEY_BYTES_MAX, "grown=%u", (unsigned)(round * 1000 + i));
                batch.ops[batch.n++] = (struct lanemap_op){LANEMAP_OP_ADD, round, key, strlen(key)};
        }
        world_batch_apply(world, &batch);
}

static void run(struct world *world, uint64_t n_batches)
{
        static struct world_batch batch;

        world_open(world);
        world_attach(world);
        for (uint64_t i = 1; i <= n_batches; i++) {
                world_batch_make(&world->rng, &world->config, &world->model, &batch);
                world_batch_apply(world, &batch);
                world_check_some(world, &batch);
                if (i % PHASE_BATCHES == 0) {
                        phase_end(world);
                        world_check_all(world);
                }
        }

        /* The rarest events are not left to chance. */
        for (uint32_t i = 0; i < 16; i++) {
                batch_grow(world, i);
                if (i >= 10)
                        world_request(world, LANEMAP_REQUEST_COMPACT);
        }
        world_kill(world);
        world_check_all(world);
        world_request(world, LANEMAP_REQUEST_FLIP);
        world_request(world, LANEMAP_REQUEST_COMPACT);
        world_check_all(world);
        world_close(world);
        world_open(world);
        world_check_all(world);
        world_count(world);
        world_assert_seen(world);
}

ParameterizedTestParameters(property, index)
{
        static struct world_config configs[] = {
                /* bits, lanes, flush, hot, cold, ids, policy, immediate reuse, kinds, filter */
                {64, 1, 16 << 10, 40, 4000, 5000, 0, 0},
                {64, 3, 16 << 10, 300, 20000, 600, 1, 0},
                {80, 3, 24 << 10, 12, 3000, 5000, 2, 1},
                {80, 64, 64 << 10, 500, 20000, 60, 0, 0},
                {96, 64, 96 << 10, 60, 6000, 2000, 0, 1},
                {96, 1, 24 << 10, 200, 8000, 8, 2, 0},
                /* each kind of segment as the only one, and both in one lane */
                {64, 3, 16 << 10, 300, 8000, 600, 1, 0, 2, 2},
                {96, 3, 24 << 10, 100, 8000, 600, 2, 1, 3, 3, 3},
                {80, 3, 16 << 10, 200, 8000, 60, 1, 0, 3, 2, 3},
        };

        return cr_make_param_array(struct world_config, configs, LANEMAP_N_ELEMENTS(configs));
}

ParameterizedTest(struct world_config *config, property, index, .timeout = 3000)
{
        struct world world;

        world_init(&world, "index", config,
                   rng_test_seed(20261123) + config->n_lanes * 1000 + config->fingerprint_bits);
        run(&world, rng_test_steps(4000));
        world_deinit(&world);
}
