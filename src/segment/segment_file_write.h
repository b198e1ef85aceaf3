/*
 * Writing a segment file: sections that were built in memory become one durable, named file.
 *
 *         temporary name, exclusive -> space -> bytes -> sync -> rename -> (the caller:) directory
 * sync
 *
 * Before the rename nothing has the final name; after a failure nothing is left of the temporary
 * one, as far as the disk lets us remove it. A temporary file that a crash left is replaced.
 */
#ifndef LANEMAP_SEGMENT_SEGMENT_FILE_WRITE_H
#define LANEMAP_SEGMENT_SEGMENT_FILE_WRITE_H

#include "common/file.h"
#include "segment/segment_build.h"

struct lanemap_segment_write_section {
        uint32_t lane;
        uint32_t level;
        uint32_t kind;
        struct lanemap_segment_built built;
};

struct lanemap_segment_write_options {
        uint64_t file_number; /* never given before in this index */
        uint32_t fingerprint_bits;
        unsigned char uuid[LANEMAP_SEGMENT_UUID_BYTES];
        mode_t mode; /* 0: 0640 */
};

struct lanemap_segment_written {
        uint64_t n_bytes;
        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];
        char name[LANEMAP_SEGMENT_NAME_BYTES];
};

/* The temporary name: tmp-seg-<16 hex digits: file number>. For whoever clears a directory up. */
#define LANEMAP_SEGMENT_TEMPORARY_PREFIX "tmp-seg-"

/*
 * sections      in the order in which they come to lie in the file, 0 .. 16384 of them
 * ret_offsets   one per section: where it is in the file
 *
 * Return: 0, and the file has its final name; the directory is not yet synced. Errors: -EINVAL;
 * -ENOSPC and whatever else the file layer answers; -ENOMEM.
 * Thread: any. Cost: one pass for the checksum (1 ns a byte), one write, one fdatasync.
 */
int lanemap_segment_file_write(const struct lanemap_files *files, int dir_fd,
                               const struct lanemap_segment_write_options *options,
                               const struct lanemap_segment_write_section *sections,
                               uint32_t n_sections, uint64_t *ret_offsets,
                               struct lanemap_segment_written *ret_written);

#endif
