/*
 * Reading what surrounds the sections of a segment file: its header, its table, its name. The bytes
 * are described in format.h. Guarantees G1 to G3 of read.h hold here too.
 */
#ifndef LANEMAP_SEGMENT_FILE_READ_H
#define LANEMAP_SEGMENT_FILE_READ_H

#include "segment/read.h"

/* A validated file header and table. */
struct lanemap_segment_file {
        const unsigned char *bytes;
        uint64_t n_bytes;
        uint64_t file_number;
        uint32_t n_sections;
        uint32_t fingerprint_bits;
        unsigned char uuid[LANEMAP_SEGMENT_UUID_BYTES];
        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];
};

struct lanemap_segment_file_section {
        uint32_t lane; /* when it was written */
        uint32_t kind;
        uint32_t level;
        uint64_t offset; /* of the section in the file */
        uint64_t n_bytes;
        uint64_t n_keys; /* entries, tombstones among them */
        uint64_t n_pairs;
};

/*
 * Validates header and table of a file: magic, version, sizes, check value, that the sections lie
 * in ascending order inside the file. Not their content, and not the checksum.
 *
 * n_bytes      the size of the file; one that differs from what the header says is -EBADMSG
 *
 * Return: 0. Errors: -EBADMSG, -EPROTONOSUPPORT (version or incompatible bits).
 * Thread: any. Cost: a microsecond, and 50 ns a section.
 */
int lanemap_segment_file_open(struct lanemap_segment_file *ret_file, const void *bytes,
                              size_t n_bytes);

/* Record `index` of the table. Return: 0. Errors: -EINVAL no such section. */
int lanemap_segment_file_section(const struct lanemap_segment_file *file, uint32_t index,
                                 struct lanemap_segment_file_section *ret_section);

/* Formats a file's name, NUL-terminated. */
void lanemap_segment_file_name(uint64_t file_number, const unsigned char *checksum,
                               char ret_name[LANEMAP_SEGMENT_NAME_BYTES]);

/* The other way. Return: 0. Errors: -EINVAL not such a name. */
int lanemap_segment_file_name_parse(const char *name, uint64_t *ret_file_number,
                                    uint64_t *ret_checksum_start);

#endif
