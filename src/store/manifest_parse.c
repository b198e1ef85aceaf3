/*
 * manifest.json to struct. The checksum is verified over the raw bytes first, so that what is
 * parsed is what some writer wrote; everything is checked nevertheless, since a person may have
 * edited it and put a new checksum in.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/slot.h"
#include "store/manifest_read.h"
#include "store/manifest_text.h"
#include "store/error.h"

/* Where in the document a value is, for error texts, and the first error that was met. */
struct parser {
        struct lanemap_error *error;
        char where[64];
        int r;
};

static void parser_fail(struct parser *parser, const char *name, const char *what)
{
        if (parser->r == 0)
                parser->r = lanemap_store_error(parser->error, -EBADMSG, "%s: %s%s %s",
                                                LANEMAP_MANIFEST_NAME, parser->where, name, what);
}

static uint64_t get_u64(struct parser *parser, const json_t *object, const char *name)
{
        const json_t *member = json_object_get(object, name);
        const char *text = json_string_value(member);
        uint64_t value = 0;

        if (!text || json_string_length(member) == 0 || (text[0] == '0' && text[1]))
                goto fail;

        for (size_t i = 0; i < json_string_length(member); i++) {
                if (text[i] < '0' || text[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
                        goto fail;
        }
        return value;

fail:
        parser_fail(parser, name, "is not a string of decimal digits for 64 bits");
        return 0;
}

static uint32_t get_u32(struct parser *parser, const json_t *object, const char *name)
{
        const json_t *member = json_object_get(object, name);
        json_int_t value = json_integer_value(member);

        if (!json_is_integer(member) || value < 0 || value > UINT32_MAX) {
                parser_fail(parser, name, "is not a number from 0 to 4294967295");
                return 0;
        }

        return (uint32_t)value;
}

/* An optional member: 0 where it is not there, or a later version's choice that is not known. */
static uint32_t get_choice(struct parser *parser, const json_t *object, const char *name,
                           uint32_t max)
{
        uint32_t value = json_object_get(object, name) ? get_u32(parser, object, name) : 0;

        return value <= max ? value : 0;
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Return: how many bytes, n_bytes_min to n_bytes_max. */
static uint32_t get_hex(struct parser *parser, const json_t *object, const char *name,
                        size_t n_bytes_min, size_t n_bytes_max, unsigned char *ret_bytes)
{
        const json_t *member = json_object_get(object, name);
        const char *text = json_string_value(member);
        size_t n_digits = json_string_length(member);

        if (!text || n_digits % 2 != 0 || n_digits / 2 < n_bytes_min || n_digits / 2 > n_bytes_max)
                goto fail;

        for (size_t i = 0; i < n_digits / 2; i++) {
                int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

                if (high < 0 || low < 0)
                        goto fail;
                ret_bytes[i] = (unsigned char)(high << 4 | low);
        }
        return (uint32_t)(n_digits / 2);

fail:
        parser_fail(parser, name, "is not hex digits, lower-case, in the right number");
        return 0;
}

static const json_t *get_array(struct parser *parser, const json_t *object, const char *name,
                               size_t n_max)
{
        const json_t *member = json_object_get(object, name);

        if (!json_is_array(member) || json_array_size(member) > n_max) {
                parser_fail(parser, name, "is not an array, or too long a one");
                return NULL;
        }

        return member;
}

/* Format and features come before everything else, since the rest may look different then. */
static int parse_format(struct parser *parser, const json_t *root)
{
        const char *format = json_string_value(json_object_get(root, "format"));
        const json_t *incompatible;
        uint32_t version;

        if (!format || strcmp(format, LANEMAP_MANIFEST_FORMAT) != 0)
                parser_fail(parser, "format", "is not \"" LANEMAP_MANIFEST_FORMAT "\"");
        version = get_u32(parser, root, "format_version");
        if (parser->r == 0 && version == 0)
                parser_fail(parser, "format_version", "is 0");
        if (parser->r < 0)
                return parser->r;

        if (version > LANEMAP_MANIFEST_FORMAT_VERSION)
                return lanemap_store_error(parser->error, -EPROTONOSUPPORT,
                                           LANEMAP_MANIFEST_NAME
                                           " has format version %u; this program knows version %u",
                                           version, LANEMAP_MANIFEST_FORMAT_VERSION);

        incompatible = get_array(parser, root, "incompatible", SIZE_MAX);
        get_array(parser, root, "compatible", SIZE_MAX);
        if (parser->r < 0)
                return parser->r;
        if (json_array_size(incompatible) > 0) {
                const char *name = json_string_value(json_array_get(incompatible, 0));

                return lanemap_store_error(parser->error, -EPROTONOSUPPORT,
                                           LANEMAP_MANIFEST_NAME
                                           " needs the feature \"%.64s\", which this program does "
                                           "not have",
                                           name ? name : "?");
        }

        return 0;
}

static void parse_head(struct parser *parser, const json_t *root, struct lanemap_manifest *manifest)
{
        const char *slot_table = json_string_value(json_object_get(root, "slot_table"));

        manifest->generation = get_u64(parser, root, "generation");
        get_hex(parser, root, "uuid", 16, 16, manifest->uuid);
        get_hex(parser, root, "hash_key", sizeof(manifest->hash_key), sizeof(manifest->hash_key),
                manifest->hash_key);
        manifest->fingerprint_bits = get_u32(parser, root, "fingerprint_bits");
        if (slot_table && strlen(slot_table) < sizeof(manifest->slot_table))
                strcpy(manifest->slot_table, slot_table);
        else
                parser_fail(parser, "slot_table", "is not a short string");
        manifest->next_file_number = get_u64(parser, root, "next_file_number");
        manifest->next_log_number = get_u64(parser, root, "next_log_number");
        manifest->log_number = get_u64(parser, root, "log_number");
        manifest->clear_position = get_u64(parser, root, "clear_position");
        manifest->mark_bytes =
                get_hex(parser, root, "mark", 0, LANEMAP_MARK_BYTES_MAX, manifest->mark);
        manifest->mark_position = get_u64(parser, root, "mark_position");
        manifest->segment_kind_young =
                get_choice(parser, root, "segment_kind_young", LANEMAP_SEGMENT_BBHASH);
        manifest->segment_kind_bottom =
                get_choice(parser, root, "segment_kind_bottom", LANEMAP_SEGMENT_BBHASH);
        manifest->filter = get_choice(parser, root, "filter", LANEMAP_FILTER_ALWAYS);
}

static int parse_files(struct parser *parser, const json_t *root, struct lanemap_manifest *manifest)
{
        const json_t *array = get_array(parser, root, "files", 1u << 24);
        size_t n_files = json_array_size(array);

        if (n_files == 0)
                return 0;

        manifest->files = lanemap_alloc_zero(n_files * sizeof(*manifest->files));
        if (!manifest->files)
                return -ENOMEM;
        manifest->n_files = (uint32_t)n_files;

        for (size_t i = 0; i < n_files; i++) {
                const json_t *object = json_array_get(array, i);
                struct lanemap_manifest_file *file = &manifest->files[i];

                snprintf(parser->where, sizeof(parser->where), "files[%zu].", i);
                file->number = get_u64(parser, object, "number");
                get_hex(parser, object, "checksum", sizeof(file->checksum), sizeof(file->checksum),
                        file->checksum);
                file->bytes = get_u64(parser, object, "bytes");
                file->n_sections = get_u32(parser, object, "n_sections");
        }

        parser->where[0] = 0;
        return 0;
}

static int parse_segments(struct parser *parser, const json_t *object, size_t lane_number,
                          struct lanemap_manifest_lane *lane)
{
        const json_t *array = get_array(parser, object, "segments", LANEMAP_MANIFEST_SEGMENTS_MAX);
        size_t n_segments = json_array_size(array);

        if (n_segments == 0)
                return 0;

        lane->segments = lanemap_alloc_zero(n_segments * sizeof(*lane->segments));
        if (!lane->segments)
                return -ENOMEM;
        lane->n_segments = (uint32_t)n_segments;

        for (size_t i = 0; i < n_segments; i++) {
                const json_t *entry = json_array_get(array, i);
                struct lanemap_manifest_segment *segment = &lane->segments[i];

                snprintf(parser->where, sizeof(parser->where), "lanes[%zu].segments[%zu].",
                         lane_number, i);
                segment->file_number = get_u64(parser, entry, "file");
                segment->section = get_u32(parser, entry, "section");
                segment->level = get_u32(parser, entry, "level");
                segment->kind = get_u32(parser, entry, "kind");
                segment->n_keys = get_u64(parser, entry, "n_keys");
                segment->n_pairs = get_u64(parser, entry, "n_pairs");
                segment->bytes = get_u64(parser, entry, "bytes");
        }

        return 0;
}

static int parse_lanes(struct parser *parser, const json_t *root, struct lanemap_manifest *manifest)
{
        const json_t *array = get_array(parser, root, "lanes", LANEMAP_N_LANES_MAX);
        uint32_t n_lanes = get_u32(parser, root, "n_lanes");

        if (parser->r == 0 && (n_lanes == 0 || n_lanes != json_array_size(array)))
                parser_fail(parser, "lanes", "are not as many as n_lanes says");
        if (parser->r < 0)
                return parser->r;

        manifest->lanes = lanemap_alloc_zero(n_lanes * sizeof(*manifest->lanes));
        if (!manifest->lanes)
                return -ENOMEM;
        manifest->n_lanes = n_lanes;

        for (uint32_t i = 0; i < n_lanes; i++) {
                const json_t *object = json_array_get(array, i);
                struct lanemap_manifest_lane *lane = &manifest->lanes[i];
                int r;

                snprintf(parser->where, sizeof(parser->where), "lanes[%u].", i);
                lane->position = get_u64(parser, object, "position");
                lane->n_keys = get_u64(parser, object, "n_keys");
                lane->n_pairs = get_u64(parser, object, "n_pairs");
                r = parse_segments(parser, object, i, lane);
                if (r < 0)
                        return r;
        }

        parser->where[0] = 0;
        return 0;
}

static int parse_root(const json_t *root, struct lanemap_manifest *manifest,
                      struct lanemap_error *error)
{
        struct lanemap_error detail = {0};
        struct parser parser = {.error = error};
        int r;

        r = parse_format(&parser, root);
        if (r < 0)
                return r;

        parse_head(&parser, root, manifest);
        r = parse_files(&parser, root, manifest);
        if (r == 0)
                r = parse_lanes(&parser, root, manifest);
        if (r == 0)
                r = parser.r;
        if (r < 0)
                return r;

        r = lanemap_manifest_verify(manifest, &detail);
        if (r < 0)
                lanemap_store_error(error, r, "%s: %.400s", LANEMAP_MANIFEST_NAME, detail.text);
        return r;
}

static bool checksum_matches(const char *text, size_t bytes)
{
        char digits[LANEMAP_MANIFEST_DIGITS + 1];
        size_t ending = bytes - LANEMAP_MANIFEST_ENDING_BYTES;

        if (bytes < LANEMAP_MANIFEST_DIGITS + LANEMAP_MANIFEST_ENDING_BYTES ||
            memcmp(text + ending, LANEMAP_MANIFEST_ENDING, LANEMAP_MANIFEST_ENDING_BYTES) != 0)
                return false;

        lanemap_manifest_checksum(text, bytes, digits);
        return memcmp(text + ending - LANEMAP_MANIFEST_DIGITS, digits, LANEMAP_MANIFEST_DIGITS) ==
               0;
}

int lanemap_manifest_parse(const void *text, size_t bytes, struct lanemap_manifest *ret_manifest,
                           struct lanemap_error *error)
{
        struct lanemap_manifest manifest = {0};
        json_error_t json_error;
        json_t *root;
        int r;

        if (!checksum_matches(text, bytes))
                return lanemap_store_error(error, -EBADMSG,
                                           "%s: the checksum is not that of the bytes: it is "
                                           "damaged or cut short; see lanemap repair",
                                           LANEMAP_MANIFEST_NAME);

        root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &json_error);
        if (!root)
                return lanemap_store_error(error,
                                           json_error_code(&json_error) == json_error_out_of_memory
                                                   ? -ENOMEM
                                                   : -EBADMSG,
                                           "%s: line %d, column %d: %s", LANEMAP_MANIFEST_NAME,
                                           json_error.line, json_error.column, json_error.text);

        r = parse_root(root, &manifest, error);
        json_decref(root);
        if (r < 0) {
                lanemap_manifest_deinit(&manifest);
                return r;
        }

        *ret_manifest = manifest;
        return 0;
}

static int read_all(int fd, struct lanemap_error *error, char **ret_text, size_t *ret_bytes)
{
        struct stat status;
        size_t filled = 0, bytes;
        char *text;

        if (fstat(fd, &status) < 0)
                return -errno;
        if (!S_ISREG(status.st_mode) || status.st_size > LANEMAP_MANIFEST_BYTES_MAX)
                return lanemap_store_error(error, -EBADMSG, "%s: not a file, or too large",
                                           LANEMAP_MANIFEST_NAME);

        bytes = (size_t)status.st_size;
        text = lanemap_alloc(bytes + 1);
        if (!text)
                return -ENOMEM;

        while (filled < bytes) {
                ssize_t n = pread(fd, text + filled, bytes - filled, (off_t)filled);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0) {
                        int r = n < 0 ? -errno : -EIO;

                        lanemap_free(text);
                        return r;
                }
                filled += (size_t)n;
        }

        *ret_text = text;
        *ret_bytes = bytes;
        return 0;
}

int lanemap_manifest_read(const struct lanemap_files *files, int dir_fd,
                          struct lanemap_manifest *ret_manifest, struct lanemap_error *error)
{
        size_t bytes = 0;
        char *text = NULL;
        int fd, r;

        fd = files->open(files, dir_fd, LANEMAP_MANIFEST_NAME, O_RDONLY, 0);
        if (fd < 0)
                return lanemap_store_error(error, fd, "%s: cannot be opened: %s",
                                           LANEMAP_MANIFEST_NAME, strerror(-fd));

        r = read_all(fd, error, &text, &bytes);
        files->close(files, fd);
        if (r < 0)
                return r == -EBADMSG ? r
                                     : lanemap_store_error(error, r, "%s: cannot be read: %s",
                                                           LANEMAP_MANIFEST_NAME, strerror(-r));

        r = lanemap_manifest_parse(text, bytes, ret_manifest, error);
        lanemap_free(text);
        return r;
}
