/*
 * Writes the corpora of fuzz_log and fuzz_manifest: `seeds_store LOG-DIRECTORY MANIFEST-DIRECTORY`.
 * To be run again when a format changes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "store/log_write.h"
#include "store/manifest_read.h"
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
        return 0;
}
