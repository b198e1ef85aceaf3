/*
 * A data directory with something of everything in it, and ways to damage it, for the tests of
 * verify, scrub and repair.
 */
#ifndef LANEMAP_TESTS_DAMAGE_H
#define LANEMAP_TESTS_DAMAGE_H

#include "support/engine.h"
#include "verify/verify.h"

#define DAMAGE_LANES            4
#define DAMAGE_SECTION_KEYS_MIN 6

/*
 * Makes an index, the model of it, and dies: two segments in each lane, the newer with tombstones
 * and changed postings, and records in the log that no segment covers. Each section has
 * DAMAGE_SECTION_KEYS_MIN keys or more, and a list.
 */
void damage_index_make(const struct scratch *scratch, struct model *model);

/* The same operations on any writer: parts 0 to 2, with flushes behind 0 and 1. Part 3 undoes what
 * part 1 did to the keys, and the other way round, so that either changes some forty of them. */
void damage_index_apply(struct lanemap_writer *writer, struct model *model, uint32_t part);

/* A section of the i-th segment file, by what the file says of itself. */
struct damage_section {
        uint32_t lane;
        uint64_t offset; /* of the section in the file */
        uint64_t directory_off, tags_off, payload_off, postings_off; /* in the file */
        uint64_t postings_bytes, n_keys;
        uint64_t filter_off; /* in the file; 0: no filter */
        uint64_t end_off;
        uint32_t n_beside; /* sections in the file */
};
/* The i-th segment file in sorted order. Return: false: there is none. */
bool damage_segment_path(const char *directory, uint32_t i, char *ret_path, size_t path_bytes);
void damage_section_of(const char *path, uint32_t section, struct damage_section *ret_section);

/* Where the n-th record lies that no segment covers. */
struct damage_record {
        char path[512]; /* of the log file */
        uint64_t offset;
        uint64_t seq;
};
void damage_record_find(const char *directory, uint32_t n, struct damage_record *ret_record);

/* Flips bits of one byte, through a descriptor of its own. */
void damage_flip(const char *path, uint64_t offset, unsigned char bits);
uint64_t damage_file_bytes(const char *path);

/* Verifies, and gives the report; an error ends the test. */
void damage_verify(const char *directory, struct lanemap_verify_report *ret_report);

#endif
