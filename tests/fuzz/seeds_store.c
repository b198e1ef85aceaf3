/*
 * Writes the corpora of fuzz_log and fuzz_manifest: `seeds_store LOG-DIRECTORY MANIFEST-DIRECTORY`.
 * To be run again when a format changes.
 *
 * What a writer makes, and something for each refusal: a manifest for each edit that the unit test
 * knows; logs of one file (sometimes two) with one thing wrong, whose check values are right. Each
 * is recovered here, and has to be refused for the reason that it is there for.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xxhash.h>

#include "common/alloc.h"
#include "common/bits.h"
#include "manifest_edits.h"
#include "store/log_recover.h"
#include "store/log_write.h"
#include "store/manifest_write.h"

#define MUST(condition)                     \
        do {                                \
                if (!(condition)) {         \
                        perror(#condition); \
                        exit(1);            \
                }                           \
        } while (0)

static FILE *seed_open(const char *directory, const char *name)
{
        char path[4096];
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s", directory, name);
        file = fopen(path, "wb");
        MUST(file);
        return file;
}

static void append(struct lanemap_log *log, uint32_t bits, uint64_t seq, size_t n_ops)
{
        struct lanemap_log_op ops[64];
        uint64_t got;

        for (size_t i = 0; i < n_ops; i++) {
                ops[i] = (struct lanemap_log_op){.code = 1 + (uint32_t)((seq + i) % 5)};
                if (ops[i].code <= LANEMAP_OP_DELETE) {
                        ops[i].fingerprint.hash = seq << 32 | i;
                        ops[i].fingerprint.ext = bits > 64 ? 7 : 0;
                }
                if (ops[i].code <= LANEMAP_OP_REMOVE)
                        ops[i].id = (uint32_t)(seq + i);
                if (ops[i].code == LANEMAP_OP_MARK) {
                        ops[i].mark = "0/16B3748";
                        ops[i].mark_bytes = seq % 10;
                }
        }
        MUST(lanemap_log_reserve(log, lanemap_log_record_bytes(bits, ops, n_ops)) == 0);
        lanemap_log_append(log, ops, n_ops, &got);
}

/* Header and records of a file, without the zeros around them; the file goes. */
static void put_file(FILE *seed, int dir_fd, uint64_t number)
{
        static unsigned char bytes[65536];
        char name[LANEMAP_LOG_NAME_BYTES];
        size_t end = sizeof(bytes), length;
        int fd;

        snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT, (unsigned long long)number);
        fd = openat(dir_fd, name, O_RDONLY);
        MUST(fd >= 0 && read(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes));
        MUST(unlinkat(dir_fd, name, 0) == 0);
        close(fd);
        while (end > LANEMAP_LOG_RECORDS_OFF && bytes[end - 1] == 0)
                end--;
        end = LANEMAP_ALIGN_UP(end, (size_t)8);
        length = LANEMAP_LOG_HEADER_BYTES + end - LANEMAP_LOG_RECORDS_OFF;
        fputc((int)(length & 255), seed);
        fputc((int)(length >> 8), seed);
        fwrite(bytes, 1, LANEMAP_LOG_HEADER_BYTES, seed);
        fwrite(bytes + LANEMAP_LOG_RECORDS_OFF, 1, end - LANEMAP_LOG_RECORDS_OFF, seed);
}

static void seed_log(const char *directory, const char *name, uint8_t flags, uint32_t bits,
                     unsigned n_files)
{
        char path[] = "/tmp/lanemap-seeds-XXXXXX";
        struct lanemap_log_config config = {
                .files = &lanemap_files_posix,
                .clock = &lanemap_clock_monotonic,
                .fingerprint_bits = bits,
                .next_number = 1,
                .file_bytes = LANEMAP_LOG_RECORDS_OFF + 500,
        };
        FILE *seed = seed_open(directory, name);
        struct lanemap_log *log;

        MUST(mkdtemp(path));
        config.dir_fd = open(path, O_RDONLY | O_DIRECTORY);
        MUST(lanemap_log_open(&config, &log) == 0);
        for (uint64_t seq = 1; lanemap_log_number(log) < n_files; seq++) {
                append(log, bits, seq, seq % 6);
                MUST(lanemap_log_write_and_sync(log, true) == 0);
        }
        append(log, bits, 3, 20);
        MUST(lanemap_log_write_and_sync(log, true) == 0);
        MUST(lanemap_log_settle(log) == 0);
        lanemap_log_close(log);

        fputc(flags, seed);
        for (unsigned i = 1; i <= n_files; i++)
                put_file(seed, config.dir_fd, i);
        MUST(fclose(seed) == 0);
        close(config.dir_fd);
        MUST(rmdir(path) == 0);
}

static void seed_manifest(const char *directory, const char *name, uint32_t n_lanes,
                          uint32_t n_segments)
{
        FILE *seed = seed_open(directory, name);
        struct lanemap_manifest manifest;
        size_t bytes;
        char *text;

        MUST(lanemap_manifest_init(n_lanes, &manifest) == 0);
        manifest.next_file_number = 100;
        manifest.mark_bytes = n_segments;
        for (uint32_t s = 0; s < n_segments; s++) {
                struct lanemap_manifest_file file = {
                        .number = 1 + s, .bytes = 9000, .n_sections = n_lanes};

                MUST(lanemap_manifest_add_file(&manifest, &file) == 0);
        }
        for (uint32_t l = 0; l < n_lanes; l++) {
                struct lanemap_manifest_segment segments[4] = {0};

                for (uint32_t s = 0; s < n_segments; s++) {
                        segments[s].file_number = 1 + s;
                        segments[s].section = l;
                        segments[s].level = s;
                        segments[s].kind = 1;
                }
                MUST(lanemap_manifest_set_segments(&manifest, l, segments, n_segments) == 0);
        }
        MUST(lanemap_manifest_format(&manifest, &text, &bytes) == 0);
        fputc(1, seed);
        fwrite(text, 1, bytes, seed);
        MUST(fclose(seed) == 0);
        lanemap_free(text);
        lanemap_manifest_deinit(&manifest);
}

static void seed_manifest_edits(const char *directory)
{
        for (size_t i = 0; i < manifest_n_edits; i++) {
                char name[128];
                size_t bytes;
                char *text = manifest_edited(&manifest_edits[i], &bytes);
                FILE *seed;

                snprintf(name, sizeof(name), "edit-%s", manifest_edits[i].name);
                seed = seed_open(directory, name);
                fputc(1, seed);
                fwrite(text, 1, bytes, seed);
                MUST(fclose(seed) == 0);
                free(text);
        }
}

/* ---- logs with one thing wrong ---- */

#define REQUIRED 16
#define SALVAGE  32
#define COPIES   64

struct crafted {
        unsigned char header[LANEMAP_LOG_HEADER_BYTES];
        unsigned char records[1024];
        size_t n_record_bytes;
};

#define HEADER_OFF(member) offsetof(struct lanemap_log_header_file, member)

static void crafted_sign(struct crafted *file)
{
        lanemap_store_le64(file->header + HEADER_OFF(checksum),
                           XXH3_64bits(file->header, HEADER_OFF(checksum)));
}

/* A file that continues behind `after`, without records. */
static void crafted_init(struct crafted *file, uint64_t number, uint64_t after)
{
        *file = (struct crafted){0};
        lanemap_store_le64(file->header + HEADER_OFF(magic), LANEMAP_LOG_FILE_MAGIC);
        lanemap_store_le32(file->header + HEADER_OFF(format_version), LANEMAP_LOG_FORMAT_VERSION);
        lanemap_store_le32(file->header + HEADER_OFF(fingerprint_bits), 64);
        lanemap_store_le64(file->header + HEADER_OFF(file_uuid), number);
        lanemap_store_le64(file->header + HEADER_OFF(number), number);
        lanemap_store_le64(file->header + HEADER_OFF(after), after);
        crafted_sign(file);
}

/* A record of an ADD and a MARK. Return: where it is, for who wants to change and seal it. */
static unsigned char *crafted_add(struct crafted *file, uint64_t seq, uint64_t synced_through)
{
        const struct lanemap_log_op ops[] = {
                {.code = LANEMAP_OP_ADD, .id = (uint32_t)seq, .fingerprint = {.hash = seq << 40}},
                {.code = LANEMAP_OP_MARK, .mark = "0/16B", .mark_bytes = 5},
        };
        unsigned char *record = file->records + file->n_record_bytes;

        file->n_record_bytes +=
                lanemap_log_record_encode(64, seq, ops, LANEMAP_N_ELEMENTS(ops), record);
        lanemap_log_record_seal(record, synced_through,
                                lanemap_log_seed(file->header + HEADER_OFF(file_uuid)));
        return record;
}

/* Three records, the last of which proves the first two. With a value: it stands at `at` of the
 * second record. */
static void crafted_three(struct crafted *file, size_t at, uint32_t value)
{
        unsigned char *record;

        crafted_init(file, 1, 0);
        crafted_add(file, 1, 0);
        record = crafted_add(file, 2, 1);
        if (value) {
                lanemap_store_le32(record + at, value);
                lanemap_log_record_seal(record, 1,
                                        lanemap_log_seed(file->header + HEADER_OFF(file_uuid)));
        }
        crafted_add(file, 3, 2);
}

static void header_edit(struct crafted *file, size_t at, uint64_t value)
{
        crafted_three(file, 0, 0);
        lanemap_store_le64(file->header + at, value);
        crafted_sign(file);
}

static void crafted_write(const struct crafted *file, int dir_fd, uint64_t number, uint8_t flags)
{
        char name[LANEMAP_LOG_NAME_BYTES];
        int fd;

        snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT, (unsigned long long)number);
        fd = openat(dir_fd, name, O_CREAT | O_WRONLY, 0600);
        MUST(fd >= 0 && pwrite(fd, file->header, sizeof(file->header), 0) == sizeof(file->header));
        if (flags & COPIES)
                MUST(pwrite(fd, file->header, sizeof(file->header), LANEMAP_LOG_HEADER_COPY_OFF) ==
                     sizeof(file->header));
        MUST(pwrite(fd, file->records, file->n_record_bytes, LANEMAP_LOG_RECORDS_OFF) ==
             (ssize_t)file->n_record_bytes);
        close(fd);
}

/* It is what it is there for: recovering it answers r, and says so. */
static void crafted_check(const char *name, const struct crafted *files, unsigned n_files,
                          uint8_t flags, int r, const char *said)
{
        struct lanemap_log_recover_config config = {.files = &lanemap_files_posix,
                                                    .fingerprint_bits = 64,
                                                    .required_number = flags & REQUIRED ? 1 : 0,
                                                    .salvage = flags & SALVAGE};
        struct lanemap_log_recovery recovery = {0};
        struct lanemap_error error = {0};
        char path[] = "/tmp/lanemap-seeds-XXXXXX";
        const char *text;
        int got;

        MUST(mkdtemp(path));
        config.dir_fd = open(path, O_RDONLY | O_DIRECTORY);
        for (unsigned i = 0; i < n_files; i++)
                crafted_write(&files[i], config.dir_fd, i + 1, flags);
        got = lanemap_log_recover(&config, NULL, NULL, &recovery, &error);
        text = got == 0 ? recovery.damage.text.text : error.text;
        if (got != r || !strstr(text, said)) {
                fprintf(stderr, "%s: %d, \"%s\"\n", name, got, text);
                exit(1);
        }
        lanemap_log_recovery_deinit(&recovery);
        for (unsigned i = 0; i < n_files; i++) {
                char file_name[LANEMAP_LOG_NAME_BYTES];

                snprintf(file_name, sizeof(file_name), LANEMAP_LOG_NAME_FORMAT, i + 1ULL);
                MUST(unlinkat(config.dir_fd, file_name, 0) == 0);
        }
        close(config.dir_fd);
        MUST(rmdir(path) == 0);
}

static void crafted_put(const char *directory, const char *name, const struct crafted *files,
                        unsigned n_files, uint8_t flags, int r, const char *said)
{
        FILE *seed = seed_open(directory, name);

        crafted_check(name, files, n_files, flags, r, said);
        fputc(flags, seed);
        for (unsigned i = 0; i < n_files; i++) {
                size_t length = LANEMAP_LOG_HEADER_BYTES + files[i].n_record_bytes;

                fputc((int)(length & 255), seed);
                fputc((int)(length >> 8), seed);
                fwrite(files[i].header, 1, sizeof(files[i].header), seed);
                fwrite(files[i].records, 1, files[i].n_record_bytes, seed);
        }
        MUST(fclose(seed) == 0);
}

static void seed_headers(const char *directory)
{
        static const struct {
                const char *name;
                size_t at;
                uint64_t value;
                int r;
                const char *said;
        } rows[] = {
                {"header-version-2", HEADER_OFF(format_version), UINT64_C(64) << 32 | 2,
                 -EPROTONOSUPPORT, "format version 2"},
                {"header-version-0", HEADER_OFF(format_version), UINT64_C(64) << 32, -EBADMSG,
                 "does not fit here"},
                {"header-80-bits", HEADER_OFF(format_version), UINT64_C(80) << 32 | 1, -EBADMSG,
                 "80 fingerprint bits"},
                {"header-feature", HEADER_OFF(incompatible), 1, -EPROTONOSUPPORT, "features 0x1"},
                {"header-another-index", HEADER_OFF(index_uuid), 1, -EINVAL, "another index"},
                {"header-another-number", HEADER_OFF(number), 7, -EBADMSG, "number 7"},
                {"header-after-too-large", HEADER_OFF(after), UINT64_MAX - 1, -EBADMSG,
                 "does not fit here"},
                {"header-after-a-hole", HEADER_OFF(after), 5, -EBADMSG, "record 4 was durable"},
                {"header-was-longer", HEADER_OFF(bytes), 1 << 20, -EBADMSG, "its end is missing"},
        };
        struct crafted file;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                header_edit(&file, rows[i].at, rows[i].value);
                crafted_put(directory, rows[i].name, &file, 1, 0, rows[i].r, rows[i].said);
        }

        crafted_init(&file, 1, 5);
        crafted_put(directory, "header-alone-after-a-hole", &file, 1, 0, -EBADMSG,
                    "no log file has it");
        crafted_three(&file, 0, 0);
        crafted_put(directory, "header-copies", &file, 1, COPIES | REQUIRED, 0, "");
        file.header[HEADER_OFF(number)] ^= 1;
        crafted_put(directory, "header-copies-damaged", &file, 1, COPIES, -EBADMSG, "both copies");
        crafted_put(directory, "header-copies-salvaged", &file, 1, COPIES | SALVAGE, 0,
                    "both copies");
        memset(file.header, 0, sizeof(file.header));
        crafted_put(directory, "header-never-written", &file, 1, 0, 0, "");
        crafted_put(directory, "header-missing-and-required", &file, 1, REQUIRED, -EBADMSG,
                    "is missing or has no header");
}

static void seed_records(const char *directory)
{
        const size_t ops = LANEMAP_LOG_RECORD_HEAD_BYTES, mark = ops + 16;
        static const char not_decoded[] = "do not decode", hole[] = "was durable";
        const struct {
                const char *name;
                size_t at;
                uint32_t value;
                int r;
                const char *said;
        } rows[] = {
                {"record-code-9", ops, 9, -EBADMSG, not_decoded},
                {"record-add-with-a-mark", ops, LANEMAP_OP_ADD | 4 << 8, -EBADMSG, not_decoded},
                {"record-id-too-large", ops + 4, UINT32_MAX, -EBADMSG, not_decoded},
                {"record-mark-too-long", mark, LANEMAP_OP_MARK | 65000 << 8, -EBADMSG, not_decoded},
                {"record-mark-past-the-end", mark, LANEMAP_OP_MARK | 200 << 8, -EBADMSG,
                 not_decoded},
                {"record-one-operation-more", 24, 3, -EBADMSG, not_decoded},
                {"record-one-operation-less", 24, 1, -EBADMSG, not_decoded},
                {"record-too-many-operations", 24, LANEMAP_LOG_OPS_MAX + 1, -EBADMSG, hole},
                {"record-number-too-large", 12, 1, -EBADMSG, hole},
        };
        struct crafted file, files[2];

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                crafted_three(&file, rows[i].at, rows[i].value);
                crafted_put(directory, rows[i].name, &file, 1, 0, rows[i].r, rows[i].said);
        }

        crafted_three(&file, 0, 0);
        file.records[file.n_record_bytes / 2] ^= 4;
        crafted_put(directory, "record-damaged", &file, 1, 0, -EBADMSG, hole);
        crafted_put(directory, "record-damaged-salvaged", &file, 1, SALVAGE, 0, hole);
        crafted_three(&file, 0, 0);
        file.records[file.n_record_bytes - 1] ^= 4;
        crafted_put(directory, "record-torn", &file, 1, 0, 0, "");
        crafted_init(&file, 1, 0);
        crafted_add(&file, 1, 1);
        crafted_put(directory, "record-that-proves-itself", &file, 1, 0, 0, "");

        /* The second file voids what the first has behind record 1. */
        crafted_three(&files[0], 0, 0);
        crafted_init(&files[1], 2, 1);
        crafted_put(directory, "records-void-and-proven", files, 2, 0, -EBADMSG, hole);
        crafted_add(&files[1], 2, 1);
        crafted_put(directory, "records-void", files, 2, 0, 0, "");
        crafted_add(&files[1], 3, 2);
        crafted_put(directory, "records-taken-over", files, 2, REQUIRED, 0, "");
}

int main(int argc, char **argv)
{
        if (argc != 3) {
                fprintf(stderr, "usage: %s LOG-DIRECTORY MANIFEST-DIRECTORY\n", argv[0]);
                return 2;
        }

        seed_log(argv[1], "one-64", 1, 64, 1);
        seed_log(argv[1], "one-64-as-it-is", 0, 64, 1);
        seed_log(argv[1], "three-80", 1 | 2, 80, 3);
        seed_log(argv[1], "four-96", 1 | 4, 96, 4);
        seed_log(argv[1], "two-from-2", 1 | 8, 64, 2);
        seed_manifest(argv[2], "empty", 1, 0);
        seed_manifest(argv[2], "two-lanes", 2, 2);
        seed_manifest(argv[2], "five-lanes", 5, 4);
        seed_manifest_edits(argv[2]);
        seed_headers(argv[1]);
        seed_records(argv[1]);
        return 0;
}
