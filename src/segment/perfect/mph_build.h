/*
 * Building the kinds `recsplit` and `bbhash`: what perfect/mph_build.c asks of both. Buckets are
 * placed by any number of threads, in any order; what they find is appended to the index in the
 * order of the buckets, by one. So the bytes do not depend on the threads.
 */
#ifndef LANEMAP_SEGMENT_PERFECT_MPH_BUILD_H
#define LANEMAP_SEGMENT_PERFECT_MPH_BUILD_H

#include "segment/intake.h"
#include "segment/kind_build.h"
#include "segment/perfect/mph_read.h"

/* A perfect hash in the making. */
struct lanemap_mph_method {
        /*
         * One bucket: n keys (lanemap_mph_key()), distinct, in the order of their fingerprints.
         * Writes a permutation of 0 .. n - 1, and what append() needs.
         *
         * workspace    workspace_bytes bytes, of this call alone
         * piece        piece_bytes(n) bytes
         *
         * Return: how many bytes of the piece were written. Errors: -ERANGE no seed fits. Thread:
         * any, several at once: it reads the method and changes nothing in it.
         */
        int64_t (*place)(const struct lanemap_mph_method *method, const uint64_t *keys, uint32_t n,
                         void *workspace, uint32_t *ret_positions, unsigned char *piece);
        uint64_t (*piece_bytes)(const struct lanemap_mph_method *method, uint32_t n);
        /* The next bucket's piece, empty or not. Return: 0. Errors: -ERANGE, -ENOMEM. */
        int (*append)(struct lanemap_mph_method *method, uint32_t n, const unsigned char *piece,
                      uint64_t n_bytes);
        /* After the last bucket: the finished index, which is the method's, and the kind's fields
         * of the header. Without any bucket the index is empty. Return: 0. Errors: -ERANGE,
         * -ENOMEM. */
        int (*seal)(struct lanemap_mph_method *method, struct lanemap_segment_section_file *header,
                    struct lanemap_build_buffer *ret_index);
        void (*free)(struct lanemap_mph_method *method);
        size_t workspace_bytes;
        uint32_t bucket_entries;
        uint32_t bucket_entries_max; /* what place() takes at most */
};

/*
 * The building functions that the rows of both kinds share.
 *
 * method_new   Return: 0. Errors: -EINVAL a bad option; -ENOMEM. Owner: the caller, until
 *              method->free()
 */
int lanemap_mph_build(struct lanemap_heap *heap,
                      const struct lanemap_segment_build_options *options,
                      int (*method_new)(const struct lanemap_segment_build_options *options,
                                        struct lanemap_mph_method **ret_method),
                      struct lanemap_cursor *cursor, struct lanemap_segment_built *ret_built);

void lanemap_mph_sizes(const struct lanemap_segment *segment, struct lanemap_segment_sizes *ret);

/* The fullest bucket is as full as the header says: that is what cursors make room for. ops: the
 * kind's. Return: 0. Errors: -EBADMSG. */
int lanemap_mph_verify_buckets(const struct lanemap_segment *segment,
                               const struct lanemap_segment_ops *ops,
                               struct lanemap_segment_report *report);

#endif
