/*
 * Building one lane section from a stream of entries, in two passes over it: the first counts, so
 * that the second writes into one block of exactly the right size. The stream can be a merge, so no
 * copy of the entries is ever made. (The size of a perfect hash is not known before it is made:
 * these kinds write their entries to a block of their own first.)
 *
 * The same entries, slots and options give the same bytes.
 */
#ifndef LANEMAP_SEGMENT_BUILD_H
#define LANEMAP_SEGMENT_BUILD_H

#include "common/alloc.h"
#include "common/entry.h"
#include "common/executor.h"
#include "segment/format.h"

/* Groups are narrowed by up to this many bits for hashes that are not spread evenly: 16 times the
 * directory. Uniform hashes never need the first. */
#define LANEMAP_SEGMENT_NARROWING_MAX 4

struct lanemap_segment_build_options {
        uint32_t kind; /* LANEMAP_SEGMENT_KIND_* */
        uint32_t fingerprint_bits;
        const uint64_t *slot_bitmap; /* LANEMAP_SLOT_WORDS words: the lane's slots */

        /* Of the perfect hashes; 0: the default. */
        uint32_t bucket_entries; /* recsplit: 1 .. 512, 100; bbhash: 1 .. 8192, 2048 */
        uint32_t leaf_entries;   /* recsplit: 2 .. 12, 8; smaller and slower to build with each */
        uint32_t gamma; /* bbhash: bits per key of a level, in 256ths: 256 .. 2560, 512; more bits,
                           fewer levels */

        uint32_t filter; /* LANEMAP_FILTER_* */

        /* recsplit, bbhash: who builds buckets at the same time; NULL: the calling thread. The
         * bytes are the same. */
        struct lanemap_executor *executor;
};

struct lanemap_segment_built {
        const unsigned char *bytes; /* a block of the heap */
        size_t n_bytes;             /* a multiple of 64 */
        uint64_t n_keys;            /* entries, tombstones among them */
        uint64_t n_pairs;
        uint64_t n_tombstones;
        uint64_t filter_bytes;   /* of n_bytes; 0: no filter */
        bool filter_unpopulated; /* one was asked for, and no seed serves: it was left out */
};

/*
 * cursor       read twice: rewound, read to its end, rewound, read to its end
 *
 * Return: 0. Errors: -EINVAL entries that are not strictly ascending, lie in a slot that is not in
 * the bitmap, have ids that are not strictly ascending or are above LANEMAP_ID_MAX, or more
 * fingerprint bits than the index; also a bad option, or a cursor that gave other entries the
 * second time; -ERANGE not a uniform set of hashes: packed: more than 255 share a group after all
 * narrowing; recsplit, bbhash: more than 1024, 16384 share a bucket; -EFBIG more than 2^32 - 1
 * entries, a list of more than 2^29 ids, or lists of more than a terabyte; -ENOMEM; whatever the
 * cursor answers. Thread: any, heap and cursor being its own. Owner: the heap. Cost: packed: 20 to
 * 40 ns an entry beside what the cursor costs, sequential; bbhash: 100 to 200; recsplit: 1.3 us
 * with leaves of 8; both hold their entries twice at the end. A filter: filter/build.h.
 */
int lanemap_segment_build(struct lanemap_heap *heap,
                          const struct lanemap_segment_build_options *options,
                          struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built);

#endif
