/*
 * Log files of any bytes, as they are or with their checksums made right (so that what lies behind
 * them is reached), recovered.
 *
 * Beyond not crashing: what is applied is applied in order and without a gap, nothing is applied
 * when the log is refused, and a log that is accepted can be taken over by a writer, after which it
 * recovers to the same again.
 *
 * An input: a byte of flags (1 checksums made right, 2 and 4 the fingerprint bits, 8 lowest
 * position 2, 16 file 1 is required, 32 what can be salvaged, 64 headers have their second copy),
 * then up to four files, each two bytes of length (little-endian) and its bytes: 128 of a header,
 * then the records.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/bits.h"
#include "store/log_recover.h"
#include "store/log_scan.h"
#include "store/log_write.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define N_FILES_MAX 4

#define MUST(condition)           \
        do {                      \
                if (!(condition)) \
                        abort();  \
        } while (0)

static char path[64];
static int dir_fd = -1;

static void directory_remove(void)
{
        rmdir(path);
}

static void directory_make(void)
{
        if (dir_fd >= 0)
                return;

        snprintf(path, sizeof(path), "/dev/shm/lanemap-fuzz-log-XXXXXX");
        if (!mkdtemp(path)) {
                snprintf(path, sizeof(path), "/tmp/lanemap-fuzz-log-XXXXXX");
                MUST(mkdtemp(path));
        }
        dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        MUST(dir_fd >= 0);
        atexit(directory_remove);
}

/* Checksums, and what would else be refused at once: magic, version, features, number, length. */
static void fix_header(unsigned char *header, uint64_t number)
{
        lanemap_store_le64(header, LANEMAP_LOG_FILE_MAGIC);
        lanemap_store_le32(header + 8, LANEMAP_LOG_FORMAT_VERSION);
        lanemap_store_le64(header + 16, 0);
        lanemap_store_le64(header + 64, number);
        lanemap_store_le64(header + 80, 0);
        lanemap_store_le64(header + 120, XXH3_64bits(header, 120));
}

static void fix_records(unsigned char *bytes, size_t n_bytes, uint64_t seed)
{
        while (n_bytes >= LANEMAP_LOG_EMPTY_BYTES) {
                uint32_t record_bytes = lanemap_load_le32(bytes + 4);

                if (record_bytes < LANEMAP_LOG_EMPTY_BYTES || record_bytes > n_bytes ||
                    record_bytes % 8 != 0)
                        return;
                lanemap_store_le32(bytes, LANEMAP_LOG_RECORD_MAGIC);
                lanemap_log_record_seal(bytes, lanemap_load_le64(bytes + 16), seed);
                bytes += record_bytes;
                n_bytes -= record_bytes;
        }
}

static void file_write(const uint8_t *data, size_t n_bytes, uint64_t number, uint8_t flags)
{
        char name[LANEMAP_LOG_NAME_BYTES];
        unsigned char *bytes = malloc(n_bytes + 1);
        int fd;

        MUST(bytes);
        memcpy(bytes, data, n_bytes);
        if (flags & 1 && n_bytes >= LANEMAP_LOG_HEADER_BYTES) {
                fix_header(bytes, number);
                fix_records(bytes + LANEMAP_LOG_HEADER_BYTES, n_bytes - LANEMAP_LOG_HEADER_BYTES,
                            lanemap_log_seed(bytes + 48));
        }

        snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT, (unsigned long long)number);
        fd = openat(dir_fd, name, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
        MUST(fd >= 0);
        MUST(pwrite(fd, bytes, LANEMAP_MIN(n_bytes, LANEMAP_LOG_HEADER_BYTES), 0) >= 0);
        if (flags & 64)
                MUST(pwrite(fd, bytes, LANEMAP_MIN(n_bytes, LANEMAP_LOG_HEADER_BYTES),
                            LANEMAP_LOG_HEADER_COPY_OFF) >= 0);
        if (n_bytes > LANEMAP_LOG_HEADER_BYTES)
                MUST(pwrite(fd, bytes + LANEMAP_LOG_HEADER_BYTES,
                            n_bytes - LANEMAP_LOG_HEADER_BYTES, LANEMAP_LOG_RECORDS_OFF) >= 0);
        close(fd);
        free(bytes);
}

struct sum {
        uint64_t next;
        uint64_t hash;
};

static int sum_record(void *arg, uint64_t seq, const struct lanemap_log_op *ops, size_t n_ops)
{
        struct sum *sum = arg;

        MUST(seq == sum->next);
        sum->next++;
        for (size_t i = 0; i < n_ops; i++) {
                MUST(ops[i].code >= LANEMAP_OP_ADD && ops[i].code <= LANEMAP_OP_MARK);
                MUST(ops[i].id <= LANEMAP_ID_MAX);
                sum->hash = XXH3_64bits_withSeed(&ops[i].fingerprint, sizeof(uint64_t),
                                                 sum->hash + ops[i].code + ops[i].id);
                if (ops[i].mark_bytes)
                        sum->hash = XXH3_64bits_withSeed(ops[i].mark, ops[i].mark_bytes, sum->hash);
        }
        return 0;
}

static void take_over(const struct lanemap_log_recover_config *recover,
                      const struct lanemap_log_recovery *recovery, const struct sum *before)
{
        struct lanemap_log_config config = {
                .files = recover->files,
                .clock = &lanemap_clock_monotonic,
                .dir_fd = recover->dir_fd,
                .fingerprint_bits = recover->fingerprint_bits,
                .next_number = 1,
                .after = recover->highest_position,
                .recovery = recovery,
        };
        struct sum after = {.next = recover->lowest_position + 1};
        struct lanemap_log_recovery again;
        struct lanemap_log *log;

        memcpy(config.index_uuid, recover->index_uuid, sizeof(config.index_uuid));
        MUST(lanemap_log_open(&config, &log) == 0);
        MUST(lanemap_log_last(log) == recovery->last_seq);
        MUST(lanemap_log_recover(recover, sum_record, &after, &again, NULL) == 0);
        MUST(after.next == before->next && after.hash == before->hash);
        MUST(lanemap_log_drop(log, UINT64_MAX, UINT64_MAX) == (int)recovery->n_files);
        lanemap_log_recovery_deinit(&again);
        lanemap_log_close(log);
}

static void directory_clear(void)
{
        for (uint64_t number = 1; number <= N_FILES_MAX + 1; number++) {
                char name[LANEMAP_LOG_NAME_BYTES];

                snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT, (unsigned long long)number);
                unlinkat(dir_fd, name, 0);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes)
{
        static const uint32_t bits[] = {64, 80, 96, 64};
        struct lanemap_log_recover_config config = {.files = &lanemap_files_posix};
        struct lanemap_log_recovery recovery;
        struct lanemap_error error = {0};
        struct sum sum;
        uint8_t flags;
        int r;

        if (n_bytes == 0)
                return 0;

        directory_make();
        flags = *data++;
        n_bytes--;
        for (uint64_t number = 1; number <= N_FILES_MAX && n_bytes >= 2; number++) {
                size_t length = data[0] | (size_t)data[1] << 8;

                length = LANEMAP_MIN(length, n_bytes - 2);
                file_write(data + 2, length, number, flags);
                data += 2 + length;
                n_bytes -= 2 + length;
        }

        config.dir_fd = dir_fd;
        config.fingerprint_bits = bits[flags >> 1 & 3];
        config.lowest_position = config.highest_position = flags & 8 ? 2 : 0;
        config.required_number = flags & 16 ? 1 : 0;
        config.salvage = flags & 32;
        sum = (struct sum){.next = config.lowest_position + 1};
        r = lanemap_log_recover(&config, sum_record, &sum, &recovery, &error);
        if (r == 0) {
                MUST(sum.next == recovery.last_seq + 1);
                /* What was salvaged ends where the damage begins; nobody writes behind it. */
                if (!config.salvage) {
                        MUST(recovery.proven <= recovery.last_seq);
                        take_over(&config, &recovery, &sum);
                }
                MUST(recovery.proven <= recovery.last_seq || recovery.damage.text.text[0]);
                lanemap_log_recovery_deinit(&recovery);
        } else {
                MUST(r == -EBADMSG || r == -EINVAL || r == -EPROTONOSUPPORT);
                MUST(error.text[0]);
        }
        directory_clear();
        return 0;
}
