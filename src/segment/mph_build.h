/*
 * Building the kinds `recsplit` and `bbhash`. Both get one bucket after the other from mph_build.c,
 * say where each of its keys goes, and keep their index until the last bucket is done.
 */
#ifndef LANEMAP_SEGMENT_MPH_BUILD_H
#define LANEMAP_SEGMENT_MPH_BUILD_H

#include "segment/build_intake.h"
#include "segment/mph_read.h"

/* A perfect hash in the making. */
struct lanemap_mph_method {
        /*
         * The next bucket: n keys (lanemap_mph_key()), distinct, in the order of their
         * fingerprints. Writes a permutation of 0 .. n - 1.
         *
         * Return: 0. Errors: -ERANGE no seed fits; -ENOMEM.
         */
        int (*place)(struct lanemap_mph_method *method, const uint64_t *keys, uint32_t n,
                     uint32_t *ret_positions);
        /* After the last bucket: the finished index, which is the method's, and the kind's fields
         * of the header. Without any bucket the index is empty. Return: 0. Errors: -ERANGE,
         * -ENOMEM. */
        int (*seal)(struct lanemap_mph_method *method, struct lanemap_segment_section_file *header,
                    struct lanemap_build_buffer *ret_index);
        void (*free)(struct lanemap_mph_method *method);
        uint32_t bucket_entries;
        uint32_t bucket_entries_max; /* what place() takes at most */
};

/* Return: 0. Errors: -EINVAL a bad option; -ENOMEM. Owner: the caller, until method->free(). */
int lanemap_recsplit_method_new(const struct lanemap_segment_build_options *options,
                                struct lanemap_mph_method **ret_method);
int lanemap_bbhash_method_new(const struct lanemap_segment_build_options *options,
                              struct lanemap_mph_method **ret_method);

#endif
