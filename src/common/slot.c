/* The slot table. See slot.h. */
#include "common/slot.h"

#include <string.h>

uint32_t lanemap_jump_consistent_hash(uint64_t key, uint32_t n_buckets)
{
        int64_t bucket = -1, next = 0;

        while (next < (int64_t)n_buckets) {
                bucket = next;
                key = key * UINT64_C(2862933555777941757) + 1;
                next = (int64_t)((double)(bucket + 1) *
                                 ((double)(INT64_C(1) << 31) / (double)((key >> 33) + 1)));
        }

        return (uint32_t)bucket;
}

/* Slot numbers are small and consecutive; jump hash wants its input mixed (the finaliser of
 * SplitMix64). */
static uint64_t slot_mix(uint64_t x)
{
        x += UINT64_C(0x9e3779b97f4a7c15);
        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return x ^ (x >> 31);
}

uint32_t lanemap_slot_lane(uint32_t slot, uint32_t n_lanes)
{
        return lanemap_jump_consistent_hash(slot_mix(slot), n_lanes);
}

void lanemap_slot_table_init(struct lanemap_slot *slots, uint32_t n_lanes)
{
        uint16_t n_in_lane[LANEMAP_N_LANES_MAX] = {0};

        for (uint32_t slot = 0; slot < LANEMAP_N_SLOTS; slot++) {
                uint32_t lane = lanemap_slot_lane(slot, n_lanes);

                slots[slot].lane = (uint16_t)lane;
                slots[slot].rank = n_in_lane[lane]++;
        }
}

void lanemap_slot_bitmap(const struct lanemap_slot *slots, uint32_t lane, uint64_t *ret_bitmap)
{
        memset(ret_bitmap, 0, LANEMAP_SLOT_WORDS * sizeof(*ret_bitmap));

        for (uint32_t slot = 0; slot < LANEMAP_N_SLOTS; slot++)
                if (slots[slot].lane == lane)
                        ret_bitmap[slot >> 6] |= UINT64_C(1) << (slot & 63);
}
