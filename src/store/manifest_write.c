/* See manifest_write.h and manifest_format.h. */
#include "store/manifest_write.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "store/manifest_read.h"
#include "store/manifest_text.h"

void lanemap_manifest_hex(const unsigned char *bytes, size_t n_bytes, char *ret_text)
{
        static const char digits[] = "0123456789abcdef";

        for (size_t i = 0; i < n_bytes; i++) {
                ret_text[2 * i] = digits[bytes[i] >> 4];
                ret_text[2 * i + 1] = digits[bytes[i] & 15];
        }
        ret_text[2 * n_bytes] = 0;
}

void lanemap_manifest_checksum(const char *text, size_t bytes,
                               char ret_digits[LANEMAP_MANIFEST_DIGITS + 1])
{
        size_t n_before = bytes - LANEMAP_MANIFEST_DIGITS - LANEMAP_MANIFEST_ENDING_BYTES;
        unsigned char checksum[LANEMAP_MANIFEST_CHECKSUM_BYTES];
        unsigned char zeros[LANEMAP_MANIFEST_DIGITS];
        crypto_generichash_state state;

        memset(zeros, '0', sizeof(zeros));
        crypto_generichash_init(&state, NULL, 0, sizeof(checksum));
        crypto_generichash_update(&state, (const unsigned char *)text, n_before);
        crypto_generichash_update(&state, zeros, sizeof(zeros));
        crypto_generichash_update(&state, (const unsigned char *)text + n_before + sizeof(zeros),
                                  LANEMAP_MANIFEST_ENDING_BYTES);
        crypto_generichash_final(&state, checksum, sizeof(checksum));
        lanemap_manifest_hex(checksum, sizeof(checksum), ret_digits);
}

/* A failed allocation of jansson's makes NULLs, which json_object_set_new() turns into -1: the
 * setters below carry that in *failed, so that nothing is lost silently. */
static void set(json_t *object, const char *name, json_t *value, bool *failed)
{
        *failed |= json_object_set_new(object, name, value) < 0;
}

static void set_u64(json_t *object, const char *name, uint64_t value, bool *failed)
{
        char text[24];

        snprintf(text, sizeof(text), "%" PRIu64, value);
        set(object, name, json_string(text), failed);
}

static void set_u32(json_t *object, const char *name, uint32_t value, bool *failed)
{
        set(object, name, json_integer(value), failed);
}

/* An optional member. */
static void set_choice(json_t *object, const char *name, uint32_t value, bool *failed)
{
        if (value != 0)
                set_u32(object, name, value, failed);
}

static void set_hex(json_t *object, const char *name, const unsigned char *bytes, size_t n_bytes,
                    bool *failed)
{
        char text[2 * LANEMAP_MARK_BYTES_MAX + 1];

        lanemap_manifest_hex(bytes, n_bytes, text);
        set(object, name, json_string(text), failed);
}

static json_t *format_files(const struct lanemap_manifest *manifest, bool *failed)
{
        json_t *files = json_array();

        for (uint32_t i = 0; i < manifest->n_files; i++) {
                const struct lanemap_manifest_file *file = &manifest->files[i];
                json_t *object = json_object();

                set_u64(object, "number", file->number, failed);
                set_hex(object, "checksum", file->checksum, sizeof(file->checksum), failed);
                set_u64(object, "bytes", file->bytes, failed);
                set_u32(object, "n_sections", file->n_sections, failed);
                *failed |= json_array_append_new(files, object) < 0;
        }

        return files;
}

static json_t *format_lane(const struct lanemap_manifest_lane *lane, bool *failed)
{
        json_t *object = json_object();
        json_t *segments = json_array();

        for (uint32_t i = 0; i < lane->n_segments; i++) {
                const struct lanemap_manifest_segment *segment = &lane->segments[i];
                json_t *entry = json_object();

                set_u64(entry, "file", segment->file_number, failed);
                set_u32(entry, "section", segment->section, failed);
                set_u32(entry, "level", segment->level, failed);
                set_u32(entry, "kind", segment->kind, failed);
                set_u64(entry, "n_keys", segment->n_keys, failed);
                set_u64(entry, "n_pairs", segment->n_pairs, failed);
                set_u64(entry, "bytes", segment->bytes, failed);
                *failed |= json_array_append_new(segments, entry) < 0;
        }

        set_u64(object, "position", lane->position, failed);
        set_u64(object, "n_keys", lane->n_keys, failed);
        set_u64(object, "n_pairs", lane->n_pairs, failed);
        set(object, "segments", segments, failed);
        return object;
}

static json_t *format_root(const struct lanemap_manifest *manifest, bool *failed)
{
        char zeros[LANEMAP_MANIFEST_DIGITS + 1];
        json_t *root = json_object();
        json_t *lanes = json_array();

        for (uint32_t i = 0; i < manifest->n_lanes; i++)
                *failed |=
                        json_array_append_new(lanes, format_lane(&manifest->lanes[i], failed)) < 0;

        set(root, "format", json_string(LANEMAP_MANIFEST_FORMAT), failed);
        set_u32(root, "format_version", LANEMAP_MANIFEST_FORMAT_VERSION, failed);
        set(root, "incompatible", json_array(), failed);
        set(root, "compatible", json_array(), failed);
        set_u64(root, "generation", manifest->generation, failed);
        set_hex(root, "uuid", manifest->uuid, sizeof(manifest->uuid), failed);
        set_hex(root, "hash_key", manifest->hash_key, sizeof(manifest->hash_key), failed);
        set_u32(root, "fingerprint_bits", manifest->fingerprint_bits, failed);
        set_u32(root, "n_lanes", manifest->n_lanes, failed);
        set(root, "slot_table", json_string(manifest->slot_table), failed);
        set_u64(root, "next_file_number", manifest->next_file_number, failed);
        set_u64(root, "next_log_number", manifest->next_log_number, failed);
        set_u64(root, "log_number", manifest->log_number, failed);
        set_u64(root, "clear_position", manifest->clear_position, failed);
        set_hex(root, "mark", manifest->mark, manifest->mark_bytes, failed);
        set_u64(root, "mark_position", manifest->mark_position, failed);
        set_choice(root, "segment_kind_young", manifest->segment_kind_young, failed);
        set_choice(root, "segment_kind_bottom", manifest->segment_kind_bottom, failed);
        set_choice(root, "filter", manifest->filter, failed);
        set(root, "files", format_files(manifest, failed), failed);
        set(root, "lanes", lanes, failed);

        memset(zeros, '0', LANEMAP_MANIFEST_DIGITS);
        zeros[LANEMAP_MANIFEST_DIGITS] = 0;
        set(root, "checksum", json_string(zeros), failed);
        return root;
}

int lanemap_manifest_format(const struct lanemap_manifest *manifest, char **ret_text,
                            size_t *ret_bytes)
{
        char digits[LANEMAP_MANIFEST_DIGITS + 1];
        bool failed = false;
        json_t *root = format_root(manifest, &failed);
        char *dump = failed ? NULL : json_dumps(root, JSON_INDENT(1));
        size_t bytes;
        char *text;

        json_decref(root);
        if (!dump)
                return -ENOMEM;

        bytes = strlen(dump) + 1; /* the final newline in place of the NUL */
        text = lanemap_alloc(bytes);
        if (text) {
                memcpy(text, dump, bytes - 1);
                text[bytes - 1] = '\n';
        }
        free(dump);
        if (!text)
                return -ENOMEM;

        lanemap_manifest_checksum(text, bytes, digits);
        memcpy(text + bytes - LANEMAP_MANIFEST_ENDING_BYTES - LANEMAP_MANIFEST_DIGITS, digits,
               LANEMAP_MANIFEST_DIGITS);
        *ret_text = text;
        *ret_bytes = bytes;
        return 0;
}

static int write_temporary(const struct lanemap_files *files, int dir_fd, const char *text,
                           size_t bytes)
{
        int fd, r, r2;

        fd = files->open(files, dir_fd, LANEMAP_MANIFEST_TEMPORARY_NAME,
                         O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd < 0)
                return fd;

        r = lanemap_files_pwrite_all(files, fd, text, bytes, 0);
        if (r == 0)
                r = files->sync(files, fd);
        r2 = files->close(files, fd);
        return r < 0 ? r : r2;
}

int lanemap_manifest_write(const struct lanemap_files *files, int dir_fd,
                           const struct lanemap_manifest *manifest)
{
        size_t bytes;
        char *text;
        int r;

        r = lanemap_manifest_verify(manifest, NULL);
        /* No start would accept it. */
        lanemap_check(r == 0 || r == -ENOMEM);
        if (r == 0)
                r = lanemap_manifest_format(manifest, &text, &bytes);
        if (r < 0)
                return r;

        r = write_temporary(files, dir_fd, text, bytes);
        lanemap_free(text);
        if (r == 0)
                r = files->rename(files, dir_fd, LANEMAP_MANIFEST_TEMPORARY_NAME,
                                  LANEMAP_MANIFEST_NAME);
        if (r == 0)
                r = files->sync_directory(files, dir_fd);

        return r;
}
