/* Jump consistent hash and the slot table. */
#include <criterion/criterion.h>
#include <string.h>

#include "common/slot.h"

TestSuite(slot, .timeout = 60);

/* Answers that other implementations of the paper's function publish in their tests; the row (256,
 * 100) was computed with the paper's recurrence in Python. */
Test(slot, jump_hash_vectors)
{
        static const struct {
                uint64_t key;
                uint32_t n_buckets, bucket;
        } vectors[] = {
                {0, 1, 0},        {1, 1, 0},      {0xdead10cc, 1, 0},
                {0, 60, 0},       {1, 60, 55},    {2, 60, 46},
                {256, 1024, 520}, {256, 100, 16}, {0xdead10cc, 666, 361},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(vectors); i++)
                cr_expect_eq(lanemap_jump_consistent_hash(vectors[i].key, vectors[i].n_buckets),
                             vectors[i].bucket, "row %zu: %u", i,
                             lanemap_jump_consistent_hash(vectors[i].key, vectors[i].n_buckets));
}

Test(slot, one_more_lane_moves_only_slots_into_it)
{
        for (uint32_t n = 1; n < 200; n++) {
                uint32_t n_moved = 0;

                for (uint32_t slot = 0; slot < LANEMAP_N_SLOTS; slot++) {
                        uint32_t before = lanemap_slot_lane(slot, n);
                        uint32_t after = lanemap_slot_lane(slot, n + 1);

                        cr_assert(before == after || after == n);
                        n_moved += before != after;
                }
                cr_expect_lt(n_moved, 2 * LANEMAP_N_SLOTS / (n + 1) + 40, "%u lanes", n);
        }
}

Test(slot, table_ranks_are_dense_and_bitmaps_partition_the_slots)
{
        static const uint32_t lanes[] = {1, 2, 3, 63, 64, 65, 1024};
        static struct lanemap_slot slots[LANEMAP_N_SLOTS];
        uint64_t bitmap[LANEMAP_SLOT_WORDS];

        for (size_t l = 0; l < LANEMAP_N_ELEMENTS(lanes); l++) {
                uint32_t n_total = 0;

                lanemap_slot_table_init(slots, lanes[l]);
                for (uint32_t lane = 0; lane < lanes[l]; lane++) {
                        uint32_t rank = 0;

                        lanemap_slot_bitmap(slots, lane, bitmap);
                        for (uint32_t slot = 0; slot < LANEMAP_N_SLOTS; slot++) {
                                if (!(bitmap[slot >> 6] >> (slot & 63) & 1))
                                        continue;
                                cr_assert_eq(slots[slot].lane, lane);
                                cr_assert_eq(slots[slot].rank, rank++);
                        }
                        n_total += rank;
                }
                cr_assert_eq(n_total, LANEMAP_N_SLOTS);
        }
}

Test(slot, dense_hash_is_monotone_in_the_hash)
{
        static struct lanemap_slot slots[LANEMAP_N_SLOTS];
        uint64_t last = 0;
        bool first = true;

        lanemap_slot_table_init(slots, 5);
        for (uint32_t slot = 0; slot < LANEMAP_N_SLOTS; slot++) {
                if (slots[slot].lane != 3)
                        continue;
                for (uint64_t low = 0; low < 3; low++) {
                        uint64_t hash = (uint64_t)slot << LANEMAP_SLOT_LOW_BITS | low * 77;
                        uint64_t dense = lanemap_dense_hash(hash, slots[slot].rank);

                        cr_assert(first || dense > last);
                        cr_assert_eq(dense >> LANEMAP_SLOT_LOW_BITS, slots[slot].rank);
                        last = dense;
                        first = false;
                }
        }
}
