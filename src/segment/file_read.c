/*
 * Opening segment files: their header and table, and their names. See file_read.h and
 * format.h.
 *
 * Every length is compared with what is left, never added to an offset first, so nothing overflows.
 */
#include "segment/file_read.h"

#include <errno.h>
#include <string.h>

#define HEADER32(bytes, member) \
        lanemap_load_le32((bytes) + offsetof(struct lanemap_segment_header_file, member))
#define HEADER64(bytes, member) \
        lanemap_load_le64((bytes) + offsetof(struct lanemap_segment_header_file, member))
#define TABLE32(bytes, member) \
        lanemap_load_le32((bytes) + offsetof(struct lanemap_segment_table_file, member))
#define TABLE64(bytes, member) \
        lanemap_load_le64((bytes) + offsetof(struct lanemap_segment_table_file, member))

static int header_validate(const unsigned char *bytes, size_t n_bytes)
{
        struct lanemap_segment_header_file header;

        if (n_bytes < sizeof(header) || HEADER64(bytes, magic) != LANEMAP_SEGMENT_FILE_MAGIC)
                return -EBADMSG;

        memcpy(&header, bytes, sizeof(header));
        header.check = 0;
        if (lanemap_segment_check_of(&header, sizeof(header)) != HEADER64(bytes, check))
                return -EBADMSG;
        if (HEADER32(bytes, version) != LANEMAP_SEGMENT_FORMAT_VERSION ||
            HEADER32(bytes, incompatible) & ~(uint32_t)LANEMAP_SEGMENT_INCOMPATIBLE_KNOWN)
                return -EPROTONOSUPPORT;
        if (HEADER64(bytes, file_bytes) != n_bytes ||
            !lanemap_fingerprint_bits_known(HEADER32(bytes, fingerprint_bits)))
                return -EBADMSG;

        return 0;
}

static const unsigned char *table_record(const unsigned char *bytes, uint32_t index)
{
        return bytes + sizeof(struct lanemap_segment_header_file) +
               (size_t)index * sizeof(struct lanemap_segment_table_file);
}

/* The sections lie after the table, in order, inside the file. */
static int table_validate(const unsigned char *bytes, size_t n_bytes, uint32_t n_sections)
{
        size_t left = n_bytes - sizeof(struct lanemap_segment_header_file);
        size_t table_bytes = (size_t)n_sections * sizeof(struct lanemap_segment_table_file);
        uint64_t end;

        if (n_sections > LANEMAP_SEGMENT_N_SECTIONS_MAX || table_bytes > left)
                return -EBADMSG;
        if (lanemap_segment_check_of(table_record(bytes, 0), table_bytes) !=
            HEADER64(bytes, table_check))
                return -EBADMSG;

        end = sizeof(struct lanemap_segment_header_file) + table_bytes;
        for (uint32_t i = 0; i < n_sections; i++) {
                const unsigned char *record = table_record(bytes, i);
                uint64_t offset = TABLE64(record, offset), length = TABLE64(record, bytes);

                if (offset < end || offset > n_bytes || length > n_bytes - offset ||
                    (offset | length) % LANEMAP_SEGMENT_ALIGN != 0)
                        return -EBADMSG;

                end = offset + length;
        }

        return 0;
}

int lanemap_segment_file_open(struct lanemap_segment_file *ret_file, const void *bytes,
                              size_t n_bytes)
{
        const unsigned char *p = bytes;
        uint32_t n_sections;
        int r;

        r = header_validate(p, n_bytes);
        if (r < 0)
                return r;

        n_sections = HEADER32(p, n_sections);
        r = table_validate(p, n_bytes, n_sections);
        if (r < 0)
                return r;

        *ret_file = (struct lanemap_segment_file){
                .bytes = p,
                .n_bytes = n_bytes,
                .file_number = HEADER64(p, file_number),
                .n_sections = n_sections,
                .fingerprint_bits = HEADER32(p, fingerprint_bits),
        };
        memcpy(ret_file->uuid, p + offsetof(struct lanemap_segment_header_file, uuid),
               sizeof(ret_file->uuid));
        memcpy(ret_file->checksum, p + offsetof(struct lanemap_segment_header_file, checksum),
               sizeof(ret_file->checksum));
        return 0;
}

int lanemap_segment_file_section(const struct lanemap_segment_file *file, uint32_t index,
                                 struct lanemap_segment_file_section *ret_section)
{
        const unsigned char *record;

        if (index >= file->n_sections)
                return -EINVAL;

        record = table_record(file->bytes, index);
        *ret_section = (struct lanemap_segment_file_section){
                .lane = TABLE32(record, lane),
                .kind = TABLE32(record, kind),
                .level = TABLE32(record, level),
                .offset = TABLE64(record, offset),
                .n_bytes = TABLE64(record, bytes),
                .n_keys = TABLE64(record, n_keys),
                .n_pairs = TABLE64(record, n_pairs),
        };
        return 0;
}

static char *hex_put(char *text, uint64_t value)
{
        for (int shift = 60; shift >= 0; shift -= 4)
                *text++ = "0123456789abcdef"[value >> shift & 15];

        return text;
}

static const char *hex_get(const char *text, uint64_t *ret_value)
{
        uint64_t value = 0;

        for (int i = 0; i < 16; i++, text++) {
                if (*text >= '0' && *text <= '9')
                        value = value << 4 | (uint64_t)(*text - '0');
                else if (*text >= 'a' && *text <= 'f')
                        value = value << 4 | (uint64_t)(*text - 'a' + 10);
                else
                        return NULL;
        }

        *ret_value = value;
        return text;
}

void lanemap_segment_file_name(uint64_t file_number, const unsigned char *checksum,
                               char ret_name[LANEMAP_SEGMENT_NAME_BYTES])
{
        uint64_t start = 0;
        char *p = ret_name;

        for (int i = 0; i < 8; i++)
                start = start << 8 | checksum[i];

        memcpy(p, "seg-", 4);
        p = hex_put(p + 4, file_number);
        *p++ = '-';
        p = hex_put(p, start);
        memcpy(p, ".lms", 5);
}

int lanemap_segment_file_name_parse(const char *name, uint64_t *ret_file_number,
                                    uint64_t *ret_checksum_start)
{
        uint64_t number, start;

        if (strncmp(name, "seg-", 4) != 0)
                return -EINVAL;

        name = hex_get(name + 4, &number);
        if (!name || *name != '-')
                return -EINVAL;

        name = hex_get(name + 1, &start);
        if (!name || strcmp(name, ".lms") != 0)
                return -EINVAL;

        *ret_file_number = number;
        *ret_checksum_start = start;
        return 0;
}
