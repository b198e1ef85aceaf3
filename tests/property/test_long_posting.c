/* One key to a hundred thousand ids and back, across flushes: long postings in overlays and in
 * segments, beside the model. */
#include <criterion/criterion.h>
#include <string.h>

#include "world.h"

TestSuite(property_long, .timeout = 600);

Test(property_long, one_key_of_a_hundred_thousand_ids)
{
        static const struct world_config config = {64, 3, 1 << 20, 4, 10, 1000, 0, 0};
        static struct world_batch batch;
        struct world world;
        uint32_t next = 0;

        world_init(&world, "long", &config, rng_test_seed(7));
        world_open(&world);
        world_attach(&world);
        for (int round = 0; round < 130; round++) {
                bool adding = round < 105;
                const uint32_t *ids;
                size_t n_ids = model_lookup(&world.model, "long", 4, &ids);

                batch.n = 0;
                for (int i = 0; i < 1000; i++) {
                        uint32_t id = adding ? next++ * UINT32_C(40503)
                                             : ids[rng_below(&world.rng, n_ids)];

                        strcpy(batch.keys[batch.n], "long");
                        batch.ops[batch.n] =
                                (struct lanemap_op){adding ? LANEMAP_OP_ADD : LANEMAP_OP_REMOVE, id,
                                                    batch.keys[batch.n], 4};
                        batch.n++;
                }
                world_batch_apply(&world, &batch);
                if (round % 13 == 12)
                        world_request(&world, LANEMAP_REQUEST_FLUSH);
                if (round % 10 == 0)
                        world_check_all(&world);
        }

        world_request(&world, LANEMAP_REQUEST_COMPACT);
        world_check_all(&world);
        world_close(&world);
        world_open(&world);
        world_check_all(&world);
        world_deinit(&world);
}
