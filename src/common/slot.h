/*
 * Slots and lanes.
 *
 * The top 12 bits of a hash are its slot. A slot belongs to one lane, by jump consistent hash of
 * the mixed slot number, so that from L to L+1 lanes only 1/(L+1) of the slots move. The map is
 * tabulated once, together with the rank of each slot among its lane's slots; the lookup path pays
 * one load.
 *
 * Inside a lane's segment a hash is read as (rank, remaining 52 bits): the dense hash, rank << 52 |
 * low 52 bits. It is monotone in the hash, so a segment sorted by hash is sorted by dense hash.
 *
 * Source: J. Lamping, E. Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014.
 */
#ifndef LANEMAP_COMMON_SLOT_H
#define LANEMAP_COMMON_SLOT_H

#include "common/base.h"

#define LANEMAP_SLOT_BITS     12
#define LANEMAP_N_SLOTS       (1 << LANEMAP_SLOT_BITS)
#define LANEMAP_SLOT_LOW_BITS (64 - LANEMAP_SLOT_BITS)
#define LANEMAP_SLOT_LOW_MASK ((UINT64_C(1) << LANEMAP_SLOT_LOW_BITS) - 1)
#define LANEMAP_N_LANES_MAX   1024
#define LANEMAP_SLOT_WORDS    (LANEMAP_N_SLOTS / 64)

/* One per slot, 16 KiB together. */
struct lanemap_slot {
        uint16_t lane;
        uint16_t rank; /* of the slot among its lane's slots */
};

LANEMAP_ALWAYS_INLINE uint32_t lanemap_slot_of(uint64_t hash)
{
        return (uint32_t)(hash >> LANEMAP_SLOT_LOW_BITS);
}

LANEMAP_ALWAYS_INLINE uint64_t lanemap_dense_hash(uint64_t hash, uint32_t rank)
{
        return (uint64_t)rank << LANEMAP_SLOT_LOW_BITS | (hash & LANEMAP_SLOT_LOW_MASK);
}

/* Lamping and Veach's function: 0 .. n_buckets - 1. */
uint32_t lanemap_jump_consistent_hash(uint64_t key, uint32_t n_buckets);

/* The lane of a slot, computed. */
uint32_t lanemap_slot_lane(uint32_t slot, uint32_t n_lanes);

/* Fills all LANEMAP_N_SLOTS entries. n_lanes is 1 .. LANEMAP_N_LANES_MAX. */
void lanemap_slot_table_init(struct lanemap_slot *slots, uint32_t n_lanes);

/* The slots of one lane as a bitmap of LANEMAP_SLOT_WORDS words; bit (slot & 63) of word (slot >>
 * 6). */
void lanemap_slot_bitmap(const struct lanemap_slot *slots, uint32_t lane, uint64_t *ret_bitmap);

#endif
