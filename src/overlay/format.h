/*
 * The bytes of an overlay: the newest writes of one lane, in shared memory, changed in place by the
 * writer while readers look. src/FORMAT.md, "Overlay", describes the same bytes; change both
 * together.
 *
 *   table         2^n cells of 16 bytes (fingerprints of 64 bits) or 24 (80 and 96), linear
 *                 probing from cell (hash & mask). The lane view says where it is and how many
 *                 cells it has.
 *
 *   cell          hash u64 | value word u64 [| ext u32 | 0 u32]
 *
 *   value word    payload | tag, the tag in the low 4 bits
 *                 0                     empty: never used; ends a probe
 *                 id << 8      | INLINE the key has this one id
 *                 0            | TOMBSTONE the key has no ids, whatever older levels say
 *                 offset       | SHORT  a sorted array (below)
 *                 offset       | LONG   a tree (below)
 *                 and with each: FRESH, no older level has ids of the key. A reader does not
 *                 care; the writer may forget a fresh tombstone.
 *
 *   short posting n_ids u32 | 0 u32 | ids u32[n_ids], ascending; 2 .. SHORT_IDS_MAX ids
 *
 *   long posting  head: n_ids u64 | root offset u64
 *                 inner node: n u32 | height u32 (1 ..)
 *                             | children {offset u64, first id u32, 0 u32}[n]
 *                 leaf:       n u32 | 0 u32 | ids u32[n], ascending
 *
 * Rules that make it safe to read at any moment: a cell's hash and ext are written once in the
 * table's life, before the first value (a release store). The value word is the commit. Postings
 * are immutable once published; a change of a long one copies the path from the changed leaf to the
 * head.
 */
#ifndef LANEMAP_OVERLAY_FORMAT_H
#define LANEMAP_OVERLAY_FORMAT_H

#include <assert.h>

#include "common/base.h"

#define LANEMAP_OVERLAY_TAG_BITS      4
#define LANEMAP_OVERLAY_TAG_MASK      UINT64_C(0xf)
#define LANEMAP_OVERLAY_TAG_KIND_MASK UINT64_C(0x7)
#define LANEMAP_OVERLAY_TAG_INLINE    UINT64_C(1)
#define LANEMAP_OVERLAY_TAG_TOMBSTONE UINT64_C(2)
#define LANEMAP_OVERLAY_TAG_SHORT     UINT64_C(3)
#define LANEMAP_OVERLAY_TAG_LONG      UINT64_C(4)
#define LANEMAP_OVERLAY_TAG_FRESH     UINT64_C(8)
#define LANEMAP_OVERLAY_INLINE_SHIFT  8

/* 2^3 cells of 16 bytes: two cache lines, so that 64 idle lanes cost 8 KiB. */
#define LANEMAP_OVERLAY_LOG2_CELLS_MIN 3
#define LANEMAP_OVERLAY_LOG2_CELLS_MAX 32

struct lanemap_overlay_cell_shm {
        uint64_t hash;
        uint64_t value;
};
static_assert(sizeof(struct lanemap_overlay_cell_shm) == 16, "16-byte cells");

struct lanemap_overlay_wide_cell_shm {
        uint64_t hash;
        uint64_t value;
        uint32_t ext;
        uint32_t reserved;
};
static_assert(sizeof(struct lanemap_overlay_wide_cell_shm) == 24, "24-byte cells");

/* 8 + 4 * 126 = 512 bytes: copied whole for each change, which stays in the tens of nanoseconds. */
#define LANEMAP_OVERLAY_SHORT_IDS_MAX 126

struct lanemap_overlay_short_shm {
        uint32_t n_ids;
        uint32_t reserved;
        uint32_t ids[];
};
static_assert(sizeof(struct lanemap_overlay_short_shm) == 8, "short posting head");

struct lanemap_overlay_long_shm {
        uint64_t n_ids;
        uint64_t root_off;
};
static_assert(sizeof(struct lanemap_overlay_long_shm) == 16, "long posting head");

/* A leaf and an inner node are at most 1 KiB: a change of a 100,000-id posting copies three of
 * them. Six levels above the leaves hold 254 * 63^6 ids, over 2^32 when they are half full; a tree
 * that removals have left emptier than that, and that would have to be higher, takes no id more
 * (-ENOSPC) until a flush has made it anew. */
#define LANEMAP_OVERLAY_LEAF_IDS_MAX    254
#define LANEMAP_OVERLAY_INNER_MAX       63
#define LANEMAP_OVERLAY_TREE_HEIGHT_MAX 6

struct lanemap_overlay_node_shm {
        uint32_t n;
        uint32_t height; /* 0: a leaf */
};
static_assert(sizeof(struct lanemap_overlay_node_shm) == 8, "node head");

struct lanemap_overlay_child_shm {
        uint64_t off;
        uint32_t first_id;
        uint32_t reserved;
};
static_assert(sizeof(struct lanemap_overlay_child_shm) == 16, "child");

LANEMAP_ALWAYS_INLINE uint32_t lanemap_overlay_cell_bytes(uint32_t fingerprint_bits)
{
        return fingerprint_bits == 64 ? 16 : 24;
}

#endif
