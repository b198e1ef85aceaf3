/*
 * A manifest that is right, and edits of its text, each of which says what reading it answers: what
 * the unit test asserts, and what the fuzzer's corpus begins with.
 */
#ifndef LANEMAP_TESTS_MANIFEST_EDITS_H
#define LANEMAP_TESTS_MANIFEST_EDITS_H

#include "store/manifest_read.h"

void manifest_sample(uint32_t n_lanes, uint32_t n_segments, struct lanemap_manifest *ret_manifest);

struct manifest_edit {
        const char *name;
        const char *from; /* the first place where this stands */
        const char *to;
        int r;            /* what lanemap_manifest_parse() answers */
        const char *said; /* in the error's text */
};

extern const struct manifest_edit manifest_edits[];
extern const size_t manifest_n_edits;

/* The text of manifest_sample(2, 2), edited, with the right checksum. Owner: the caller, free(). */
char *manifest_edited(const struct manifest_edit *edit, size_t *ret_bytes);

#endif
