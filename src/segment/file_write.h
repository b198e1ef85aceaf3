/*
 * Writing a segment file: sections that were built in memory become one durable, named file.
 *
 *         temporary name, exclusive -> space, bytes -> read back -> sync -> rename
 *         -> (the caller:) directory sync
 *
 * Before the rename nothing has the final name; after a failure nothing is left of the temporary
 * one, as far as the disk lets us remove it. A temporary file that a crash left is replaced.
 */
#ifndef LANEMAP_SEGMENT_FILE_WRITE_H
#define LANEMAP_SEGMENT_FILE_WRITE_H

#include "common/file.h"
#include "segment/build.h"

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
 * Thread: any. Cost: one write, one read (of what is in the page cache) for the checksum (1 ns a
 * byte), one fdatasync.
 */
int lanemap_segment_file_write(const struct lanemap_files *files, int dir_fd,
                               const struct lanemap_segment_write_options *options,
                               const struct lanemap_segment_write_section *sections,
                               uint32_t n_sections, uint64_t *ret_offsets,
                               struct lanemap_segment_written *ret_written);

/*
 * The same a section at a time, so that only one of them need be in memory. The checksum is over
 * the table too, which is known last: so the sections are read back for it, and must be what was
 * added.
 *
 *         open -> add, n_sections times -> finish
 *
 * After open, end it with finish or abandon; finish ends it whatever it answers.
 */
struct lanemap_segment_file_writer {
        const struct lanemap_files *files;
        struct lanemap_segment_write_options options;
        int dir_fd;
        int fd;
        uint32_t n_sections;
        uint32_t n_added;
        unsigned char *head; /* header, table, zeros */
        size_t head_bytes;
        uint64_t file_bytes; /* so far */
        uint64_t *checks;    /* one per section: what it was when it was added */
};

/* Return: 0. Errors: as lanemap_segment_file_write(). */
int lanemap_segment_file_writer_open(struct lanemap_segment_file_writer *writer,
                                     const struct lanemap_files *files, int dir_fd,
                                     const struct lanemap_segment_write_options *options,
                                     uint32_t n_sections);
/* The section's bytes are not needed afterwards. */
int lanemap_segment_file_writer_add(struct lanemap_segment_file_writer *writer,
                                    const struct lanemap_segment_write_section *section,
                                    uint64_t *ret_offset);
/* Return: 0. Errors: -EINVAL sections are missing; -EIO other bytes came back than were written;
 * and as above. */
int lanemap_segment_file_writer_finish(struct lanemap_segment_file_writer *writer,
                                       struct lanemap_segment_written *ret_written);
void lanemap_segment_file_writer_abandon(struct lanemap_segment_file_writer *writer);

#endif
