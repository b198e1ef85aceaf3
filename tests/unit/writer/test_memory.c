/* A small /dev/shm is a slow writer, not a failing one: what the overlays hold comes back by flushes. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "support/engine.h"

TestSuite(writer_memory, .timeout = 120);

Test(writer_memory, adds_far_beyond_shared_memory_are_all_taken)
{
        struct lanemap_writer_options options;
        struct lanemap_writer_stats stats;
        struct lanemap_op ops[256];
        struct lanemap_writer *writer;
        struct scratch scratch;
        char keys[256][16];

        scratch_init(&scratch, "memory");
        engine_options_init(&options, &scratch, NULL);
        options.n_lanes = 64;
        options.flush_bytes = 0;
        options.shared_bytes_max = 640 * 1024;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);

        for (uint32_t batch = 0; batch < 400; batch++) {
                for (uint32_t i = 0; i < 256; i++) {
                        int n = snprintf(keys[i], sizeof(keys[i]), "k%u", batch * 256 + i);

                        ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, i, keys[i], (size_t)n};
                }
                cr_assert_eq(lanemap_writer_apply(writer, ops, 256, NULL, NULL, NULL), 0,
                             "batch %u", batch);
        }

        engine_stats(writer, &stats);
        cr_expect_eq(stats.n_keys, 400 * 256);
        cr_expect_leq(stats.shared_bytes, 640 * 1024 + 4096);
        cr_expect_gt(stats.n_flushes, 3);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}
