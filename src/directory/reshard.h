/*
 * Another number of lanes for the index in a data directory, while no writer has it.
 *
 *   1. the directory's lock; the manifest; every segment file that it names read and checked
 *   2. for each group of new lanes a segment file with one bottom section for each: written,
 *      synced, renamed; the directory synced
 *   3. the new manifest
 *
 *   H1  Until 3 the old index is in force, after 3 the resharded one. Files that a crash leaves,
 *       and that no manifest names, are unlinked by the next start.
 *   H2  The files of before stay until the next writer has published: readers that go on looking
 *       into the last generation may still open them.
 *   H3  Counts are counted: keys and pairs of the new lanes are those that the old manifest has, or
 *       nothing is changed.
 *   H4  The log is not touched. No record knows of lanes, and all lanes are as of one position,
 *       which stays: the next start replays the later records into the new lanes.
 *
 * Every lane is written anew, also those that keep all their slots. A lane's entries are read slot
 * by slot, each slot from the segments of the one old lane that has it, and without reading what
 * lies between (lanemap_segment_cursor_init_slot()); one section at a time is in memory.
 */
#ifndef LANEMAP_DIRECTORY_RESHARD_H
#define LANEMAP_DIRECTORY_RESHARD_H

#include <lanemap/writer.h>

#include "common/file.h"
#include "common/slot.h"
#include "lane/read.h"
#include "segment/build.h"
#include "store/manifest_read.h"

#define LANEMAP_RESHARD_E_SAME 1 /* the index has that many lanes */

struct lanemap_reshard_options {
        const struct lanemap_files *files;
        const char *directory;
        uint32_t n_lanes; /* 1 .. LANEMAP_N_LANES_MAX */
};

struct lanemap_reshard_report {
        uint32_t n_lanes_before;
        uint32_t n_files; /* written */
        uint64_t n_bytes; /* of them */
        uint64_t n_keys;  /* live, as of the log position that segments cover */
        uint64_t n_pairs;
};

/*
 * ret_report     written also on failure
 * error          may be NULL; says what is wrong and what to do
 *
 * Return: 0: done; LANEMAP_RESHARD_E_SAME: nothing was to be done, nothing was changed. Errors, and
 * then the index is what it was (but for an error while the manifest is put in force: either):
 * -EBUSY a writer lives; -EBADMSG a file is damaged or missing; -EINVAL n_lanes; -ENOENT,
 * -EPROTONOSUPPORT, -EFBIG, -ENOSPC, -ENOMEM, ...
 * Thread: any. Cost: reads every file twice and writes the index once; besides that the largest new
 * section in memory, once (packed) or twice.
 */
int lanemap_reshard_directory(const struct lanemap_reshard_options *options,
                              struct lanemap_reshard_report *ret_report,
                              struct lanemap_error *error);

/* The parts, inside the room. */

/* Memory that a cursor over the i-th segment of any old lane needs. */
struct lanemap_reshard_room {
        size_t ids_capacity;
        size_t scratch_bytes;
};

struct lanemap_reshard {
        const struct lanemap_reshard_options *options;
        struct lanemap_reshard_report *report;
        struct lanemap_error *error;
        int dir_fd;
        struct lanemap_manifest before;
        struct lanemap_manifest after;      /* in the making */
        struct lanemap_lane_file **sources; /* per file of `before`, mapped */
        struct lanemap_slot *slots_before;
        struct lanemap_slot *slots_after;
        struct lanemap_reshard_room rooms[LANEMAP_LANE_SEGMENTS_MAX];
};

/* directory/reshard_build.c: the new lanes' files, written, in the manifest in the making, and in
 * the directory. Return: 0 or a negative errno; error says why. */
int lanemap_reshard_build(struct lanemap_reshard *reshard);

#endif
