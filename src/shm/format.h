/*
 * The bytes of the shared objects. src/FORMAT.md, "Shared objects", describes the same bytes;
 * change both together.
 *
 *   /dev/shm/lanemap.NAME          the control object: 4 KiB, permanent, written by the writer
 *                                  only. Its layout is frozen for ever.
 *   /dev/shm/lanemap.NAME.<gen>    a data object, gen in 16 hex digits: one generation of the
 *                                  index's changing part.
 *   /dev/shm/lanemap.NAME.lock     0600: whoever holds an OFD write lock on it is the writer, or
 *                                  removes the index (directory/remove.h).
 *   /dev/shm/lanemap.NAME.spare    0600, zeros: room for the data object of a writer that takes
 *                                  over, which renames it.
 *
 * These are the names that shm_open(3) gives objects on Linux.
 *
 *   control   0    magic, version, index uuid
 *             64   the control line: everything that a lookup loads of it, in one cache line
 *             128  the name of the data object that the writer is about to create
 *
 *   data      0    magic, version, layout hash, uuid, generation, sizes, hash key
 *             256  counters
 *             512  directory of the segment files, NUL-terminated; then the directory of their
 *                  copies, NUL-terminated, empty if there is none
 *             then the slot table, the lanes' words, and the arena
 */
#ifndef LANEMAP_SHM_FORMAT_H
#define LANEMAP_SHM_FORMAT_H

#include <assert.h>
#include <stddef.h>

#include "common/slot.h"
#include "lane/format.h"

#define LANEMAP_SHM_CONTROL_BYTES   4096
#define LANEMAP_SHM_CONTROL_MAGIC   UINT64_C(0x6c72746370616d6c) /* "lmapctrl" */
#define LANEMAP_SHM_CONTROL_VERSION 1
#define LANEMAP_SHM_DATA_MAGIC      UINT64_C(0x6174616470616d6c) /* "lmapdata" */
#define LANEMAP_SHM_DATA_VERSION    1

/* A different value on a machine of the other byte order, or where the compiler lays the structs
 * out otherwise. */
#define LANEMAP_SHM_LAYOUT_HASH                                                 \
        (UINT64_C(0x1a9e000000000000) ^ sizeof(struct lanemap_shm_data) << 32 ^ \
         sizeof(struct lanemap_lane_view_shm) << 24 ^                           \
         sizeof(struct lanemap_lane_segment_shm) << 16 ^                        \
         offsetof(struct lanemap_shm_data, slots_off) << 8 ^ LANEMAP_SLOT_BITS)

struct lanemap_shm_control {
        uint64_t magic;
        uint32_t version;
        uint32_t reserved0;
        unsigned char uuid[16];
        unsigned char reserved1[32];

        /* The control line. Epoch and watermark rise for ever, across writers. */
        uint64_t epoch;      /* E: bumped once per batch that unlinked something */
        uint64_t watermark;  /* W: blocks that were unlinked at or before it may have been reused */
        uint64_t generation; /* the data object in force; 0: none yet */
        uint32_t state;      /* enum lanemap_state */
        uint32_t reserved2;
        uint64_t heartbeat; /* counts up several times a second while the writer lives */
        unsigned char reserved3[24];

        unsigned char reserved4[LANEMAP_SHM_CONTROL_BYTES - 128];
};
static_assert(sizeof(struct lanemap_shm_control) == LANEMAP_SHM_CONTROL_BYTES, "one page");
static_assert(offsetof(struct lanemap_shm_control, epoch) == 64, "the control line");
static_assert(offsetof(struct lanemap_shm_control, reserved4) == 128, "after the line");

#define LANEMAP_SHM_DIRECTORY_BYTES 3584

struct lanemap_shm_data {
        uint64_t magic;
        uint32_t version;
        uint32_t incompatible; /* unknown bits: -EPROTONOSUPPORT */
        uint64_t layout_hash;
        uint64_t generation;
        unsigned char uuid[16];
        unsigned char hash_key[16];
        uint32_t fingerprint_bits;
        uint32_t n_lanes;
        uint64_t bytes_max; /* the object never grows past this */
        uint64_t slots_off; /* struct lanemap_slot[LANEMAP_N_SLOTS], never changed */
        uint64_t lanes_off; /* struct lanemap_lane_shm[n_lanes] */
        unsigned char reserved0[160];

        /* For people and for status; each exact on its own after every batch. */
        uint64_t n_keys;
        uint64_t n_pairs;
        uint32_t degraded;
        uint32_t reserved1;
        unsigned char reserved2[232];

        char directory[LANEMAP_SHM_DIRECTORY_BYTES]; /* two paths, one after the other */
};
static_assert(offsetof(struct lanemap_shm_data, n_keys) == 256, "the counters");
static_assert(sizeof(struct lanemap_shm_data) == 4096, "one page");

/* "lanemap." NAME "." 16 hex digits, and the NUL */
#define LANEMAP_SHM_OBJECT_NAME_BYTES (8 + 64 + 1 + 16 + 1)

#endif
