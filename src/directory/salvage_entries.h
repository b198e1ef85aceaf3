/*
 * The entries of a damaged section that validate, as a stream in their order (X2 and X3 in
 * directory/salvage.h). Inside the room only.
 */
#ifndef LANEMAP_DIRECTORY_SALVAGE_ENTRIES_H
#define LANEMAP_DIRECTORY_SALVAGE_ENTRIES_H

#include "common/alloc.h"
#include "segment/read.h"

/* Pages of 4096 bytes of a file that could not be read. */
struct lanemap_salvage_holes {
        unsigned char *pages; /* 1: not read */
        bool any;
};

bool lanemap_salvage_readable(const struct lanemap_salvage_holes *holes, uint64_t offset,
                              uint64_t n_bytes);

/* One entry without its ids. */
struct lanemap_salvage_entry {
        struct lanemap_fingerprint fingerprint;
        uint64_t value;
        bool good;
};

struct lanemap_salvage_entries {
        struct lanemap_cursor cursor; /* first */
        struct lanemap_segment segment;
        uint64_t section_off; /* in the file */
        const struct lanemap_salvage_holes *holes;
        const uint64_t *slot_bitmap;
        uint16_t *slot_of_rank;
        uint32_t *ids;
        uint64_t sub;       /* the next sub-block, counted over all groups, or bucket */
        uint64_t group_end; /* of the last group that was believed; UINT64_MAX: of none */
        bool group_good;    /* the group of the sub-block at hand */
        uint32_t at, n;     /* in block */
        struct lanemap_salvage_entry *block; /* of a sub-block, or a bucket */
        uint64_t n_good; /* since the last rewind, entries of other slots among them */
};

/* Kept: slot_bitmap, holes. Owner: the heap. Return: 0, -ENOMEM. */
int lanemap_salvage_entries_new(struct lanemap_heap *heap, const struct lanemap_segment *segment,
                                uint64_t section_off, const struct lanemap_salvage_holes *holes,
                                const uint64_t *slot_bitmap,
                                struct lanemap_salvage_entries **ret_entries);

#endif
