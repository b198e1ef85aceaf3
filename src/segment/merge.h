/*
 * Several streams of entries as one: of entries with one fingerprint the newest is kept, the others
 * are dropped. Streaming: nothing is allocated, an entry is handed through as its input gave it.
 */
#ifndef LANEMAP_SEGMENT_MERGE_H
#define LANEMAP_SEGMENT_MERGE_H

#include "common/entry.h"
#include "common/slot.h"

#define LANEMAP_SEGMENT_MERGE_INPUTS_MAX 8

/* All members may be 0. */
struct lanemap_segment_merge_options {
        bool drop_tombstones;      /* only when nothing older can hold any of these keys */
        const uint64_t *slot_mask; /* LANEMAP_SLOT_WORDS words: only entries of these slots; NULL:
                                      all. Kept. */
};

/* An input and what was read of it: entries [at, n) are still to be merged. */
struct lanemap_segment_merge_input {
        struct lanemap_cursor *cursor;
        struct lanemap_fingerprint last; /* of the batch before */
        uint32_t at;
        uint32_t n;
        struct lanemap_entry entries[LANEMAP_CURSOR_BATCH];
};

struct lanemap_segment_merge {
        struct lanemap_cursor cursor; /* first: the merged stream */
        struct lanemap_segment_merge_options options;
        uint8_t live[LANEMAP_SEGMENT_MERGE_INPUTS_MAX]; /* inputs not at their end, newest first */
        uint32_t n_inputs;
        uint32_t n_live;
        bool is_begun; /* an input has been read since the last rewind */
        struct lanemap_segment_merge_input inputs[LANEMAP_SEGMENT_MERGE_INPUTS_MAX];
};

/*
 * inputs       newest first, 0 .. 8 of them, rewound here; kept until the merge is done
 *
 * Return: 0. Errors: -EINVAL too many inputs; what rewinding answers. next() answers -EINVAL when
 * an input is not strictly ascending, and the errors of the inputs.
 * Thread: one. Owner: the caller; nothing to give back. Cost: about 3 ns an entry
 * and input; the merge itself is 17 KB.
 */
int lanemap_segment_merge_init(struct lanemap_segment_merge *merge,
                               struct lanemap_cursor *const *inputs, uint32_t n_inputs,
                               const struct lanemap_segment_merge_options *options);

#endif
