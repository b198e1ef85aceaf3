/*
 * The bytes of a lane view: a lane's whole state behind one word. src/FORMAT.md, "Lane view".
 *
 *   view      magic u32 | n_segments u8 | log2 of the active table's cells u8
 *             | log2 of the frozen one's u8 | 0 u8
 *             | active table offset u64 | frozen table offset u64 (0: none) | 0 u64
 *             segments[n_segments], newest first:
 *                 file number u64 | file check u64 | file slot u32 | section u32 | flags u32
 *                 | 0 u32
 *
 * A view is immutable once published. Newer shadows older: active, frozen, segments in order; a
 * lookup stops at the first that knows the key.
 *
 * The file slot is a small number that the writer gives each live file, so that a reader finds its
 * mapping with one indexed load; the file number says whether that slot still means the same file.
 * File number and file check (the first bytes of the checksum) make the file's name.
 */
#ifndef LANEMAP_LANE_FORMAT_H
#define LANEMAP_LANE_FORMAT_H

#include <assert.h>

#include "common/base.h"

#define LANEMAP_LANE_VIEW_MAGIC     UINT32_C(0x7769766c) /* "lviw" */
#define LANEMAP_LANE_SEGMENTS_MAX   8
#define LANEMAP_LANE_FILE_SLOTS_MAX 65536

/* The section's slots are exactly the lane's: the rank in the slot table is the rank in the
 * section. Writers set it always, for readers that look at it; lookups take it for granted, since a
 * rank that is wrong finds nothing. */
#define LANEMAP_LANE_SEGMENT_NATIVE_SLOTS UINT32_C(1)

/* A copy of the file, under the same name, is in the serving directory (shm/format.h). The original
 * is where it always is, so who does not know this flag, or cannot open the copy, uses that. */
#define LANEMAP_LANE_SEGMENT_COPY UINT32_C(2)

struct lanemap_lane_segment_shm {
        uint64_t file_number;
        uint64_t file_check;
        uint32_t file_slot;
        uint32_t section;
        uint32_t flags;
        uint32_t reserved;
};
static_assert(sizeof(struct lanemap_lane_segment_shm) == 32, "two segments a cache line");

struct lanemap_lane_view_shm {
        uint32_t magic;
        uint8_t n_segments;
        uint8_t active_log2_cells;
        uint8_t frozen_log2_cells;
        uint8_t reserved0;
        uint64_t active_off;
        uint64_t frozen_off;
        uint64_t reserved1;
        struct lanemap_lane_segment_shm segments[];
};
static_assert(sizeof(struct lanemap_lane_view_shm) == 32, "view head");

/* The data object holds one per lane: the word that publishes a view. */
struct lanemap_lane_shm {
        uint64_t view_off;
};
static_assert(sizeof(struct lanemap_lane_shm) == 8, "one word a lane");

#endif
