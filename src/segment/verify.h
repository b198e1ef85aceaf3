/*
 * Verification: every byte of a segment file is checked. Lookups trust what they can bound and
 * no more; this reads it all: the checksum, each section's layout, order, ranges, zeros, widths,
 * and a recount of what the headers state.
 */
#ifndef LANEMAP_SEGMENT_VERIFY_H
#define LANEMAP_SEGMENT_VERIFY_H

#include "segment/file_read.h"

#define LANEMAP_SEGMENT_LANE_NONE UINT32_MAX

struct lanemap_segment_report {
        const char *what; /* static text; NULL: nothing is wrong */
        uint64_t offset;  /* in the file (or in the section, when one is verified alone) */
        uint32_t lane;    /* LANEMAP_SEGMENT_LANE_NONE: it concerns the file */
        uint32_t kind;    /* of the last section that was opened */
        uint64_t n_keys;  /* counted so far, tombstones among them */
        uint64_t n_pairs;
        uint64_t n_tombstones;
};

/* Notes what is wrong; `what` is static text. Return: -EBADMSG. For the kinds, inside the room. */
static inline int lanemap_segment_wrong(struct lanemap_segment_report *report, uint64_t offset,
                                        const char *what)
{
        report->what = what;
        report->offset = offset;
        return -EBADMSG;
}

/*
 * report       always written: what is wrong first and where
 *
 * Return: 0. Errors: -EBADMSG, -EPROTONOSUPPORT; -ENOMEM: nothing is known.
 * Thread: any. Cost: 1 ns a byte and 15 ns an entry; room for the longest list.
 */
int lanemap_segment_file_verify(const void *bytes, size_t n_bytes,
                                struct lanemap_segment_report *report);

/* One section alone; n_bytes is exactly its size. */
int lanemap_segment_verify(const void *section, size_t n_bytes, uint32_t fingerprint_bits,
                           struct lanemap_segment_report *report);

#endif
