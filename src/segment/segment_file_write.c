/*
 * See segment_file_write.h. The head of the file (header, table, zeros) is made in memory, so that
 * checksum and check values are known before the first byte is written.
 */
#include "segment/segment_file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "segment/segment_read.h"

#define TEMPORARY_NAME_BYTES (sizeof(LANEMAP_SEGMENT_TEMPORARY_PREFIX) + 16)

struct head {
        unsigned char *bytes;
        size_t n_bytes;
        uint64_t file_bytes;
};

static int head_check(const struct lanemap_segment_write_section *sections, uint32_t n_sections)
{
        if (n_sections > LANEMAP_SEGMENT_N_SECTIONS_MAX)
                return -EINVAL;

        for (uint32_t i = 0; i < n_sections; i++)
                if (!sections[i].built.bytes ||
                    sections[i].built.n_bytes % LANEMAP_SEGMENT_ALIGN != 0)
                        return -EINVAL;

        return 0;
}

static void head_table(struct head *head, const struct lanemap_segment_write_section *sections,
                       uint32_t n_sections)
{
        unsigned char *p = head->bytes + sizeof(struct lanemap_segment_header_file);
        uint64_t offset = head->n_bytes;

        for (uint32_t i = 0; i < n_sections; i++) {
                struct lanemap_segment_table_file record = {
                        .lane = htole32(sections[i].lane),
                        .kind = htole32(sections[i].kind),
                        .level = htole32(sections[i].level),
                        .offset = htole64(offset),
                        .bytes = htole64(sections[i].built.n_bytes),
                        .n_keys = htole64(sections[i].built.n_keys),
                        .n_pairs = htole64(sections[i].built.n_pairs),
                };

                memcpy(p, &record, sizeof(record));
                p += sizeof(record);
                offset += sections[i].built.n_bytes;
        }

        head->file_bytes = offset;
}

static int head_checksum(const struct head *head,
                         const struct lanemap_segment_write_section *sections, uint32_t n_sections,
                         unsigned char *ret_checksum)
{
        crypto_generichash_state state;

        if (sodium_init() < 0 ||
            crypto_generichash_init(&state, NULL, 0, LANEMAP_SEGMENT_CHECKSUM_BYTES) < 0)
                return -EIO;

        crypto_generichash_update(&state, head->bytes, head->n_bytes);
        for (uint32_t i = 0; i < n_sections; i++)
                crypto_generichash_update(&state, sections[i].built.bytes,
                                          sections[i].built.n_bytes);

        crypto_generichash_final(&state, ret_checksum, LANEMAP_SEGMENT_CHECKSUM_BYTES);
        return 0;
}

/* The checksum is taken while it and `check` are still zeros; `check` covers the checksum. */
static int head_header(struct head *head, const struct lanemap_segment_write_options *options,
                       const struct lanemap_segment_write_section *sections, uint32_t n_sections)
{
        const unsigned char *table = head->bytes + sizeof(struct lanemap_segment_header_file);
        struct lanemap_segment_header_file header = {
                .magic = htole64(LANEMAP_SEGMENT_FILE_MAGIC),
                .version = htole32(LANEMAP_SEGMENT_FORMAT_VERSION),
                .n_sections = htole32(n_sections),
                .fingerprint_bits = htole32(options->fingerprint_bits),
                .file_number = htole64(options->file_number),
                .file_bytes = htole64(head->file_bytes),
                .table_check = htole64(lanemap_segment_check_of(
                        table, n_sections * sizeof(struct lanemap_segment_table_file))),
        };
        int r;

        memcpy(header.uuid, options->uuid, sizeof(header.uuid));
        memcpy(head->bytes, &header, sizeof(header));
        r = head_checksum(head, sections, n_sections, header.checksum);
        if (r < 0)
                return r;

        header.check = htole64(lanemap_segment_check_of(&header, sizeof(header)));
        memcpy(head->bytes, &header, sizeof(header));
        return 0;
}

static int head_make(struct head *head, const struct lanemap_segment_write_options *options,
                     const struct lanemap_segment_write_section *sections, uint32_t n_sections)
{
        int r;

        r = head_check(sections, n_sections);
        if (r < 0)
                return r;

        head->n_bytes = LANEMAP_ALIGN_UP(sizeof(struct lanemap_segment_header_file) +
                                                 (size_t)n_sections *
                                                         sizeof(struct lanemap_segment_table_file),
                                         LANEMAP_SEGMENT_ALIGN);
        head->bytes = lanemap_alloc_zero(head->n_bytes);
        if (!head->bytes)
                return -ENOMEM;

        head_table(head, sections, n_sections);
        r = head_header(head, options, sections, n_sections);
        if (r < 0)
                lanemap_free(head->bytes);

        return r;
}

/* A file of that name is what a crash left: this writer holds the directory's lock. */
static int temporary_open(const struct lanemap_files *files, int dir_fd, const char *name,
                          mode_t mode)
{
        int flags = O_WRONLY | O_CREAT | O_EXCL, fd;

        fd = files->open(files, dir_fd, name, flags, mode);
        if (fd == -EEXIST) {
                int r = files->unlink(files, dir_fd, name);

                if (r < 0)
                        return r;
                fd = files->open(files, dir_fd, name, flags, mode);
        }

        return fd;
}

static int file_fill(const struct lanemap_files *files, int fd, const struct head *head,
                     const struct lanemap_segment_write_section *sections, uint32_t n_sections)
{
        off_t at = (off_t)head->n_bytes;
        int r;

        r = files->allocate(files, fd, 0, (off_t)head->file_bytes);
        if (r < 0 && r != -EOPNOTSUPP)
                return r;

        r = lanemap_files_pwrite_all(files, fd, head->bytes, head->n_bytes, 0);
        for (uint32_t i = 0; i < n_sections && r >= 0; i++) {
                r = lanemap_files_pwrite_all(files, fd, sections[i].built.bytes,
                                             sections[i].built.n_bytes, at);
                at += (off_t)sections[i].built.n_bytes;
        }

        return r < 0 ? r : files->sync(files, fd);
}

static int file_publish(const struct lanemap_files *files, int dir_fd, const struct head *head,
                        const struct lanemap_segment_write_options *options,
                        const struct lanemap_segment_write_section *sections, uint32_t n_sections,
                        const char *name)
{
        char temporary[TEMPORARY_NAME_BYTES];
        int fd, r, closed;

        snprintf(temporary, sizeof(temporary), LANEMAP_SEGMENT_TEMPORARY_PREFIX "%016llx",
                 (unsigned long long)options->file_number);
        fd = temporary_open(files, dir_fd, temporary, options->mode ? options->mode : 0640);
        if (fd < 0)
                return fd;

        r = file_fill(files, fd, head, sections, n_sections);
        closed = files->close(files, fd);
        if (r >= 0)
                r = closed;
        if (r >= 0)
                r = files->rename(files, dir_fd, temporary, name);
        if (r < 0)
                files->unlink(files, dir_fd, temporary);

        return r;
}

int lanemap_segment_file_write(const struct lanemap_files *files, int dir_fd,
                               const struct lanemap_segment_write_options *options,
                               const struct lanemap_segment_write_section *sections,
                               uint32_t n_sections, uint64_t *ret_offsets,
                               struct lanemap_segment_written *ret_written)
{
        struct lanemap_segment_written written = {0};
        struct head head;
        int r;

        r = head_make(&head, options, sections, n_sections);
        if (r < 0)
                return r;

        written.n_bytes = head.file_bytes;
        memcpy(written.checksum,
               head.bytes + offsetof(struct lanemap_segment_header_file, checksum),
               sizeof(written.checksum));
        lanemap_segment_file_name(options->file_number, written.checksum, written.name);
        r = file_publish(files, dir_fd, &head, options, sections, n_sections, written.name);
        if (r >= 0) {
                uint64_t offset = head.n_bytes;

                for (uint32_t i = 0; i < n_sections; i++) {
                        ret_offsets[i] = offset;
                        offset += sections[i].built.n_bytes;
                }
                *ret_written = written;
                r = 0;
        }

        lanemap_free(head.bytes);
        return r;
}
