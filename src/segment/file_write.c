/*
 * See file_write.h. The head of the file (header, table, zeros) is written last: only then
 * are the sections' lengths, counts and checksum known.
 */
#include "segment/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "segment/file_read.h"

#define TEMPORARY_NAME_BYTES (sizeof(LANEMAP_SEGMENT_TEMPORARY_PREFIX) + 16)

#define READ_BYTES ((size_t)64 << 10)

static void temporary_name(const struct lanemap_segment_write_options *options,
                           char name[TEMPORARY_NAME_BYTES])
{
        snprintf(name, TEMPORARY_NAME_BYTES, LANEMAP_SEGMENT_TEMPORARY_PREFIX "%016llx",
                 (unsigned long long)options->file_number);
}

/* A file of that name is what a crash left: this writer holds the directory's lock. */
static int temporary_open(const struct lanemap_files *files, int dir_fd, const char *name,
                          mode_t mode)
{
        int flags = O_RDWR | O_CREAT | O_EXCL, fd;

        fd = files->open(files, dir_fd, name, flags, mode);
        if (fd == -EEXIST) {
                int r = files->unlink(files, dir_fd, name);

                if (r < 0)
                        return r;
                fd = files->open(files, dir_fd, name, flags, mode);
        }

        return fd;
}

/* ---- the sections ---- */

int lanemap_segment_file_writer_open(struct lanemap_segment_file_writer *writer,
                                     const struct lanemap_files *files, int dir_fd,
                                     const struct lanemap_segment_write_options *options,
                                     uint32_t n_sections)
{
        size_t table_bytes = (size_t)n_sections * sizeof(struct lanemap_segment_table_file);
        char temporary[TEMPORARY_NAME_BYTES];

        if (n_sections > LANEMAP_SEGMENT_N_SECTIONS_MAX)
                return -EINVAL;

        *writer = (struct lanemap_segment_file_writer){
                .files = files,
                .options = *options,
                .dir_fd = dir_fd,
                .n_sections = n_sections,
                .head_bytes =
                        LANEMAP_ALIGN_UP(sizeof(struct lanemap_segment_header_file) + table_bytes,
                                         LANEMAP_SEGMENT_ALIGN),
        };
        writer->file_bytes = writer->head_bytes;
        writer->head = lanemap_alloc_zero(writer->head_bytes);
        writer->checks = lanemap_alloc((n_sections + 1) * sizeof(*writer->checks));
        if (!writer->head || !writer->checks) {
                lanemap_free(writer->head);
                lanemap_free(writer->checks);
                return -ENOMEM;
        }

        temporary_name(options, temporary);
        writer->fd = temporary_open(files, dir_fd, temporary, options->mode ? options->mode : 0640);
        if (writer->fd < 0) {
                lanemap_free(writer->head);
                lanemap_free(writer->checks);
                return writer->fd;
        }

        return 0;
}

static void table_add(struct lanemap_segment_file_writer *writer,
                      const struct lanemap_segment_write_section *section)
{
        struct lanemap_segment_table_file record = {
                .lane = htole32(section->lane),
                .kind = htole32(section->kind),
                .level = htole32(section->level),
                .offset = htole64(writer->file_bytes),
                .bytes = htole64(section->built.n_bytes),
                .n_keys = htole64(section->built.n_keys),
                .n_pairs = htole64(section->built.n_pairs),
        };

        memcpy(writer->head + sizeof(struct lanemap_segment_header_file) +
                       writer->n_added * sizeof(record),
               &record, sizeof(record));
}

int lanemap_segment_file_writer_add(struct lanemap_segment_file_writer *writer,
                                    const struct lanemap_segment_write_section *section,
                                    uint64_t *ret_offset)
{
        const struct lanemap_segment_built *built = &section->built;
        int r;

        if (writer->n_added == writer->n_sections || !built->bytes ||
            built->n_bytes % LANEMAP_SEGMENT_ALIGN != 0)
                return -EINVAL;

        r = writer->files->allocate(writer->files, writer->fd, (off_t)writer->file_bytes,
                                    (off_t)built->n_bytes);
        if (r < 0 && r != -EOPNOTSUPP)
                return r;
        r = lanemap_files_pwrite_all(writer->files, writer->fd, built->bytes, built->n_bytes,
                                     (off_t)writer->file_bytes);
        if (r < 0)
                return r;

        table_add(writer, section);
        writer->checks[writer->n_added++] = XXH3_64bits(built->bytes, built->n_bytes);
        *ret_offset = writer->file_bytes;
        writer->file_bytes += built->n_bytes;
        return 0;
}

/* ---- the head ---- */

static int section_read_back(int fd, uint64_t at, uint64_t n_bytes, unsigned char *buffer,
                             crypto_generichash_state *checksum, XXH3_state_t *check,
                             uint64_t *ret_check)
{
        XXH3_64bits_reset(check);
        while (n_bytes > 0) {
                ssize_t n =
                        pread(fd, buffer, LANEMAP_MIN(n_bytes, (uint64_t)READ_BYTES), (off_t)at);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                XXH3_64bits_update(check, buffer, (size_t)n);
                crypto_generichash_update(checksum, buffer, (size_t)n);
                at += (uint64_t)n;
                n_bytes -= (uint64_t)n;
        }

        *ret_check = XXH3_64bits_digest(check);
        return 0;
}

static int head_checksum(const struct lanemap_segment_file_writer *writer,
                         unsigned char *ret_checksum)
{
        const unsigned char *table = writer->head + sizeof(struct lanemap_segment_header_file);
        unsigned char *buffer = lanemap_alloc_pages(READ_BYTES);
        XXH3_state_t *state_of_check = XXH3_createState();
        crypto_generichash_state state;
        int r = 0;

        if (!buffer || !state_of_check)
                r = -ENOMEM;
        else if (sodium_init() < 0 ||
                 crypto_generichash_init(&state, NULL, 0, LANEMAP_SEGMENT_CHECKSUM_BYTES) < 0)
                r = -EIO;

        if (r == 0)
                crypto_generichash_update(&state, writer->head, writer->head_bytes);
        for (uint32_t i = 0; i < writer->n_sections && r == 0; i++) {
                struct lanemap_segment_table_file record;
                uint64_t check = 0;

                memcpy(&record, table + i * sizeof(record), sizeof(record));
                r = section_read_back(writer->fd, le64toh(record.offset), le64toh(record.bytes),
                                      buffer, &state, state_of_check, &check);
                if (r == 0 && check != writer->checks[i])
                        r = -EIO;
        }

        if (r == 0)
                crypto_generichash_final(&state, ret_checksum, LANEMAP_SEGMENT_CHECKSUM_BYTES);
        (void)XXH3_freeState(state_of_check);
        lanemap_free_pages(buffer, READ_BYTES);
        return r;
}

/* The checksum is taken while it and `check` are still zeros; `check` covers the checksum. */
static int head_make(struct lanemap_segment_file_writer *writer,
                     unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES])
{
        const unsigned char *table = writer->head + sizeof(struct lanemap_segment_header_file);
        struct lanemap_segment_header_file header = {
                .magic = htole64(LANEMAP_SEGMENT_FILE_MAGIC),
                .version = htole32(LANEMAP_SEGMENT_FORMAT_VERSION),
                .n_sections = htole32(writer->n_sections),
                .fingerprint_bits = htole32(writer->options.fingerprint_bits),
                .file_number = htole64(writer->options.file_number),
                .file_bytes = htole64(writer->file_bytes),
                .table_check = htole64(lanemap_segment_check_of(
                        table, writer->n_sections * sizeof(struct lanemap_segment_table_file))),
        };
        int r;

        memcpy(header.uuid, writer->options.uuid, sizeof(header.uuid));
        memcpy(writer->head, &header, sizeof(header));
        r = head_checksum(writer, header.checksum);
        if (r < 0)
                return r;

        header.check = htole64(lanemap_segment_check_of(&header, sizeof(header)));
        memcpy(writer->head, &header, sizeof(header));
        memcpy(checksum, header.checksum, sizeof(header.checksum));
        return 0;
}

/* ---- its end ---- */

static void writer_free(struct lanemap_segment_file_writer *writer)
{
        lanemap_free(writer->head);
        lanemap_free(writer->checks);
}

void lanemap_segment_file_writer_abandon(struct lanemap_segment_file_writer *writer)
{
        char temporary[TEMPORARY_NAME_BYTES];

        temporary_name(&writer->options, temporary);
        (void)writer->files->close(writer->files, writer->fd);
        (void)writer->files->unlink(writer->files, writer->dir_fd, temporary);
        writer_free(writer);
}

int lanemap_segment_file_writer_finish(struct lanemap_segment_file_writer *writer,
                                       struct lanemap_segment_written *ret_written)
{
        struct lanemap_segment_written written = {.n_bytes = writer->file_bytes};
        char temporary[TEMPORARY_NAME_BYTES];
        int r = -EINVAL, closed;

        if (writer->n_added == writer->n_sections)
                r = head_make(writer, written.checksum);
        if (r == 0)
                r = lanemap_files_pwrite_all(writer->files, writer->fd, writer->head,
                                             writer->head_bytes, 0);
        if (r == 0)
                r = writer->files->sync(writer->files, writer->fd);
        if (r < 0) {
                lanemap_segment_file_writer_abandon(writer);
                return r;
        }

        temporary_name(&writer->options, temporary);
        lanemap_segment_file_name(writer->options.file_number, written.checksum, written.name);
        closed = writer->files->close(writer->files, writer->fd);
        r = closed < 0
                    ? closed
                    : writer->files->rename(writer->files, writer->dir_fd, temporary, written.name);
        if (r < 0)
                (void)writer->files->unlink(writer->files, writer->dir_fd, temporary);
        else
                *ret_written = written;

        writer_free(writer);
        return r < 0 ? r : 0;
}

int lanemap_segment_file_write(const struct lanemap_files *files, int dir_fd,
                               const struct lanemap_segment_write_options *options,
                               const struct lanemap_segment_write_section *sections,
                               uint32_t n_sections, uint64_t *ret_offsets,
                               struct lanemap_segment_written *ret_written)
{
        struct lanemap_segment_file_writer writer;
        uint64_t offset, first = 0;
        int r;

        r = lanemap_segment_file_writer_open(&writer, files, dir_fd, options, n_sections);
        if (r < 0)
                return r;

        for (uint32_t i = 0; i < n_sections && r == 0; i++) {
                r = lanemap_segment_file_writer_add(&writer, &sections[i], &offset);
                if (r == 0 && i == 0)
                        first = offset;
        }
        if (r < 0) {
                lanemap_segment_file_writer_abandon(&writer);
                return r;
        }

        r = lanemap_segment_file_writer_finish(&writer, ret_written);
        for (uint32_t i = 0; i < n_sections && r == 0; i++) {
                ret_offsets[i] = first;
                first += sections[i].built.n_bytes;
        }
        return r;
}
