/* Segment files as bytes in memory, for tests that damage them. */
#ifndef LANEMAP_TESTS_SEGMENT_FILE_BYTES_H
#define LANEMAP_TESTS_SEGMENT_FILE_BYTES_H

#include "model.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "segment/file_read.h"
#include "segment/file_write.h"

/* A file of one section, lane 5, as the code that writes real ones makes it; 64 bytes of room
 * after it. */
static inline unsigned char *file_of(const struct built *built, uint32_t kind,
                                     uint32_t fingerprint_bits, size_t *ret_n_bytes)
{
        struct lanemap_segment_write_section section = {
                .lane = 5, .kind = kind, .built = built->counts};
        struct lanemap_segment_write_options options = {.file_number = 1,
                                                        .fingerprint_bits = fingerprint_bits};
        struct lanemap_segment_written written;
        char path[] = "/tmp/lanemap-file-XXXXXX";
        unsigned char *bytes;
        uint64_t offset;
        int dir_fd, fd;

        cr_assert(mkdtemp(path));
        dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cr_assert_eq(lanemap_segment_file_write(&lanemap_files_posix, dir_fd, &options, &section, 1,
                                                &offset, &written),
                     0);
        fd = openat(dir_fd, written.name, O_RDONLY | O_CLOEXEC);
        bytes = malloc(written.n_bytes + 64);
        cr_assert(bytes);
        cr_assert_eq(read(fd, bytes, written.n_bytes), (ssize_t)written.n_bytes);
        close(fd);
        unlinkat(dir_fd, written.name, 0);
        close(dir_fd);
        rmdir(path);
        *ret_n_bytes = written.n_bytes;
        return bytes;
}

/* The check values of header, table and sections, made right again, so that what is behind them is
 * reached; not the checksum. */
static inline void file_recheck(unsigned char *bytes, size_t n_bytes)
{
        const size_t head = sizeof(struct lanemap_segment_header_file);
        struct lanemap_segment_header_file *header =
                (struct lanemap_segment_header_file *)(void *)bytes;
        size_t table_bytes =
                le32toh(header->n_sections) * sizeof(struct lanemap_segment_table_file);

        if (table_bytes <= n_bytes - head)
                header->table_check = htole64(lanemap_segment_check_of(bytes + head, table_bytes));
        header->check = 0;
        header->check = htole64(lanemap_segment_check_of(header, head));
        for (size_t at = LANEMAP_ALIGN_UP(head, (size_t)64);
             at + sizeof(struct lanemap_segment_section_file) <= n_bytes; at += 64)
                if (lanemap_load_le64(bytes + at) == LANEMAP_SEGMENT_SECTION_MAGIC)
                        section_sign(bytes + at);
}

#endif
