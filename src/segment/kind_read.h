/*
 * The kinds of segments: one row each. A kind is a room (packed/, perfect/) and a row here;
 * whatever is done by kind goes through the operations of its row. kind_build.h holds the
 * operations of writers.
 *
 *         LANEMAP_SEGMENT_KIND_X, x   ->   lanemap_x_ops         in the room's *read.c
 *                                          lanemap_x_build_ops   in the room's *build.c
 *
 * One kind is known where lookups are compiled: `packed` is inline in read.h, behind one branch. A
 * call through the table would make a hit 168 instructions instead of 147 (perf/DECISIONS.md, "One
 * table of kinds"). The others take 420 to 1,100.
 */
#ifndef LANEMAP_SEGMENT_KIND_READ_H
#define LANEMAP_SEGMENT_KIND_READ_H

#include "common/fingerprint.h"
#include "segment/format.h"

#define LANEMAP_SEGMENT_KINDS(ROW)                   \
        ROW(LANEMAP_SEGMENT_KIND_PACKED, packed)     \
        ROW(LANEMAP_SEGMENT_KIND_RECSPLIT, recsplit) \
        ROW(LANEMAP_SEGMENT_KIND_BBHASH, bbhash)

struct lanemap_segment;
struct lanemap_segment_cursor;
struct lanemap_mph_bucket;

struct lanemap_segment_ops {
        /* The kind's part of an open section: its header fields are checked, its arrays placed.
         * Everything that the kinds share is there. Return: 0. Errors: -EBADMSG. */
        int (*open)(struct lanemap_segment *segment);

        /* Return: 0 and the value field, LANEMAP_SEGMENT_E_ABSENT. Errors: -EBADMSG. Thread: any.
         */
        int (*find)(const struct lanemap_segment *segment, uint64_t dense, uint32_t ext,
                    uint64_t *ret_value);

        /* The two stages before a find: each reads what the one before has requested, and requests
         * what comes after it. packed: inline in read.h. */
        void (*prefetch_index)(const struct lanemap_segment *segment, uint64_t dense, uint32_t ext);
        void (*prefetch_entry)(const struct lanemap_segment *segment, uint64_t dense, uint32_t ext);

        /* Of a cursor. scratch_bytes: memory that it needs. seek: to the sub-block or bucket that
         * holds a dense hash. enter: from there to the first one that holds cursor->position.
         * decode: fills cursor->stored with n entries from there on, all of it. Return: 0. Errors:
         * -EBADMSG. */
        size_t (*cursor_scratch_bytes)(const struct lanemap_segment *segment);
        int (*cursor_seek)(struct lanemap_segment_cursor *cursor, uint64_t dense);
        int (*cursor_enter)(struct lanemap_segment_cursor *cursor);
        void (*cursor_decode)(struct lanemap_segment_cursor *cursor, uint32_t n);

        /* lanemap_segment_walk(). NULL: the cursor needs no scratch, and will do. */
        int (*walk)(const struct lanemap_segment *segment,
                    int (*fn)(void *arg, struct lanemap_fingerprint fingerprint), void *arg);

        /* Of a perfect hash: the entries of a bucket. Return: 0. Errors: -EBADMSG. NULL: there are
         * no buckets. */
        int (*bucket)(const struct lanemap_segment *segment, uint32_t bucket,
                      struct lanemap_mph_bucket *ret_bucket);
};

#define LANEMAP_SEGMENT_OPS_DECLARE(kind, name) \
        extern const struct lanemap_segment_ops lanemap_##name##_ops;
LANEMAP_SEGMENT_KINDS(LANEMAP_SEGMENT_OPS_DECLARE)

/* By kind; NULL where there is none. */
extern const struct lanemap_segment_ops
        *const lanemap_segment_ops_by_kind[LANEMAP_SEGMENT_KIND_MAX + 1];

/* NULL: this library does not know it. */
static inline const struct lanemap_segment_ops *lanemap_segment_ops_of(uint32_t kind)
{
        return kind <= LANEMAP_SEGMENT_KIND_MAX ? lanemap_segment_ops_by_kind[kind] : NULL;
}

#endif
