/*
 * The shape of a RecSplit tree, which depends on nothing but the number of keys and the leaf size,
 * and what is known of each subtree before it is read: the Rice parameter of its root, how many
 * seeds it has, and how many bits their fixed parts take.
 *
 * These numbers are part of the format. They are computed when the library is built
 * (perfect/recsplit_table_make.c), with multiplications and divisions of doubles only, which give
 * the same result on every machine; so a lookup pays one load for them.
 */
#ifndef LANEMAP_SEGMENT_PERFECT_RECSPLIT_TREE_FORMAT_H
#define LANEMAP_SEGMENT_PERFECT_RECSPLIT_TREE_FORMAT_H

#include "segment/format.h"

struct lanemap_recsplit_subtree {
        uint16_t fixed_bits; /* of all its seeds together */
        uint16_t n_seeds;
        uint16_t part;     /* lanemap_recsplit_part() */
        uint8_t rice_bits; /* of its root's seed */
};

#define LANEMAP_RECSPLIT_N_LEAVES (LANEMAP_RECSPLIT_LEAF_MAX - LANEMAP_RECSPLIT_LEAF_MIN + 1)

/* By leaf size and number of keys. */
extern const struct lanemap_recsplit_subtree
        lanemap_recsplit_subtrees[LANEMAP_RECSPLIT_N_LEAVES]
                                 [LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX + 1];

LANEMAP_ALWAYS_INLINE uint32_t lanemap_recsplit_lower(uint32_t leaf)
{
        uint32_t fanout = (35 * leaf + 50 + 99) / 100;

        return leaf * LANEMAP_MAX(2, fanout);
}

LANEMAP_ALWAYS_INLINE uint32_t lanemap_recsplit_upper(uint32_t leaf)
{
        uint32_t fanout = leaf < 7 ? 2 : (21 * leaf + 90 + 99) / 100;

        return lanemap_recsplit_lower(leaf) * fanout;
}

/* Return: the keys of each part of a node of n keys, the last one excepted. 1 at a leaf. */
LANEMAP_ALWAYS_INLINE uint32_t lanemap_recsplit_part(uint32_t leaf, uint32_t n)
{
        uint32_t lower = lanemap_recsplit_lower(leaf), upper = lanemap_recsplit_upper(leaf);

        if (n <= leaf)
                return 1;
        if (n <= lower)
                return leaf;
        if (n <= upper)
                return lower;

        return (n + 2 * upper - 1) / (2 * upper) * upper;
}

#endif
