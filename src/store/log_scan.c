/* See log_scan.h and log_format.h. Nothing read here is trusted before its checksum is right. */
#include "store/log_scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/alloc.h"
#include "common/bits.h"

#define WINDOW_BYTES (UINT32_C(256) << 10)
#define PAGE_BYTES   ((size_t)4096)

void lanemap_log_header_encode(const struct lanemap_log_header *header, unsigned char *ret_bytes)
{
        struct lanemap_log_header_file file = {
                .magic = htole64(LANEMAP_LOG_FILE_MAGIC),
                .format_version = htole32(LANEMAP_LOG_FORMAT_VERSION),
                .fingerprint_bits = htole32(header->fingerprint_bits),
                .number = htole64(header->number),
                .after = htole64(header->after),
                .bytes = htole64(header->bytes),
        };

        memcpy(file.index_uuid, header->index_uuid, sizeof(file.index_uuid));
        memcpy(file.file_uuid, header->file_uuid, sizeof(file.file_uuid));
        file.checksum =
                htole64(XXH3_64bits(&file, offsetof(struct lanemap_log_header_file, checksum)));
        memcpy(ret_bytes, &file, sizeof(file));
}

bool lanemap_log_header_decode(const unsigned char *bytes, struct lanemap_log_header *ret_header)
{
        struct lanemap_log_header_file file;

        memcpy(&file, bytes, sizeof(file));
        if (le64toh(file.magic) != LANEMAP_LOG_FILE_MAGIC ||
            le64toh(file.checksum) !=
                    XXH3_64bits(&file, offsetof(struct lanemap_log_header_file, checksum)))
                return false;

        *ret_header = (struct lanemap_log_header){
                .format_version = le32toh(file.format_version),
                .fingerprint_bits = le32toh(file.fingerprint_bits),
                .incompatible = le64toh(file.incompatible),
                .number = le64toh(file.number),
                .after = le64toh(file.after),
                .bytes = le64toh(file.bytes),
        };
        memcpy(ret_header->index_uuid, file.index_uuid, sizeof(file.index_uuid));
        memcpy(ret_header->file_uuid, file.file_uuid, sizeof(file.file_uuid));
        return true;
}

static void scan_close(struct lanemap_log_scan *scan)
{
        if (scan->fd >= 0)
                scan->files->close(scan->files, scan->fd);
        scan->fd = -1;
}

int lanemap_log_scan_open(struct lanemap_log_scan *scan, int dir_fd, uint64_t number)
{
        char name[LANEMAP_LOG_NAME_BYTES];
        struct stat status;
        int fd;

        scan_close(scan);
        snprintf(name, sizeof(name), LANEMAP_LOG_NAME_FORMAT, (unsigned long long)number);
        fd = scan->files->open(scan->files, dir_fd, name, O_RDONLY, 0);
        if (fd < 0)
                return fd;

        if (fstat(fd, &status) < 0) {
                int r = -errno;

                scan->files->close(scan->files, fd);
                return r;
        }

        scan->fd = fd;
        scan->file_bytes = (uint64_t)status.st_size;
        scan->window_bytes = 0;
        scan->at = LANEMAP_LOG_RECORDS_OFF;
        scan->n_skipped = 0;
        scan->nonzero_end = 0;
        scan->unreadable_off = UINT64_MAX;
        scan->unreadable_end = 0;
        return 0;
}

void lanemap_log_scan_deinit(struct lanemap_log_scan *scan)
{
        scan_close(scan);
        lanemap_free(scan->buffer);
        scan->buffer = NULL;
        scan->capacity = 0;
}

/* The page at `off`, or what is left of it, as zeros. */
static size_t page_skip(struct lanemap_log_scan *scan, uint64_t off, void *bytes, size_t n_bytes)
{
        size_t n = LANEMAP_MIN(n_bytes, (size_t)(PAGE_BYTES - off % PAGE_BYTES));

        memset(bytes, 0, n);
        scan->unreadable_off = LANEMAP_MIN(scan->unreadable_off, off);
        scan->unreadable_end = LANEMAP_MAX(scan->unreadable_end, off + n);
        return n;
}

static int scan_fill(struct lanemap_log_scan *scan, uint64_t off, size_t n_bytes)
{
        size_t wanted = (size_t)LANEMAP_MIN((uint64_t)LANEMAP_MAX(n_bytes, scan->capacity),
                                            scan->file_bytes - off);
        size_t filled = 0, ask = wanted;

        while (filled < wanted) {
                ssize_t n = pread(scan->fd, scan->buffer + filled,
                                  LANEMAP_MIN(ask, wanted - filled), (off_t)(off + filled));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EIO && ask > PAGE_BYTES) {
                        ask = PAGE_BYTES; /* which page is it? */
                        continue;
                }
                if (n < 0 && errno == EIO)
                        n = (ssize_t)page_skip(scan, off + filled, scan->buffer + filled,
                                               wanted - filled);
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return -EIO; /* shorter than it was: somebody else is at it */
                filled += (size_t)n;
        }

        scan->window_off = off;
        scan->window_bytes = filled;
        return 0;
}

/* The caller has checked that the bytes are inside the file. */
static int scan_peek(struct lanemap_log_scan *scan, uint64_t off, size_t n_bytes,
                     const unsigned char **ret_bytes)
{
        int r;

        if (off < scan->window_off || off + n_bytes > scan->window_off + scan->window_bytes) {
                if (n_bytes > scan->capacity || !scan->buffer) {
                        size_t capacity = LANEMAP_MAX(n_bytes, (size_t)WINDOW_BYTES);
                        void *buffer = lanemap_realloc(scan->buffer, capacity);

                        if (!buffer)
                                return -ENOMEM;
                        scan->buffer = buffer;
                        scan->capacity = capacity;
                }

                scan->window_bytes = 0;
                r = scan_fill(scan, off, n_bytes);
                if (r < 0)
                        return r;
        }

        *ret_bytes = scan->buffer + (off - scan->window_off);
        return 0;
}

static bool all_zero(const unsigned char *bytes, size_t n_bytes)
{
        for (size_t i = 0; i < n_bytes; i++)
                if (bytes[i])
                        return false;

        return true;
}

int lanemap_log_scan_header(struct lanemap_log_scan *scan, struct lanemap_log_header *ret_header)
{
        static const uint64_t copies[] = {0, LANEMAP_LOG_HEADER_COPY_OFF};
        size_t n_damaged = 0;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(copies); i++) {
                const unsigned char *bytes;
                int r;

                if (scan->file_bytes < copies[i] + LANEMAP_LOG_HEADER_BYTES)
                        continue;

                r = scan_peek(scan, copies[i], LANEMAP_LOG_HEADER_BYTES, &bytes);
                if (r < 0)
                        return r;

                if (lanemap_log_header_decode(bytes, ret_header)) {
                        scan->seed = lanemap_log_seed(ret_header->file_uuid);
                        return 0;
                }
                n_damaged += !all_zero(bytes, LANEMAP_LOG_HEADER_BYTES);
        }
        /* A copy that cannot be read may have been a whole one. */
        if (scan->unreadable_off < LANEMAP_LOG_RECORDS_OFF)
                return -EBADMSG;

        /* The second copy is begun only when the first is written, so a crash tears one at most. */
        return n_damaged > 1 ? -EBADMSG : LANEMAP_LOG_SCAN_UNFINISHED;
}

/* Return: 0 with a whole valid record at `off`, or LANEMAP_LOG_SCAN_END where there is none. */
static int scan_try(struct lanemap_log_scan *scan, uint64_t off,
                    struct lanemap_log_record *ret_record, const unsigned char **ret_bytes)
{
        struct lanemap_log_record record;
        const unsigned char *bytes;
        int r;

        r = scan_peek(scan, off, LANEMAP_LOG_RECORD_HEAD_BYTES, &bytes);
        if (r < 0)
                return r;
        if (!lanemap_log_record_head_valid(bytes, scan->seed, &record) ||
            record.bytes > scan->file_bytes - off)
                return LANEMAP_LOG_SCAN_END;

        r = scan_peek(scan, off, record.bytes, &bytes);
        if (r < 0)
                return r;
        if (!lanemap_log_record_body_valid(bytes, scan->seed, &record))
                return LANEMAP_LOG_SCAN_END;

        *ret_record = record;
        *ret_bytes = bytes;
        return 0;
}

/* The tail is shorter than a record: only see where its last byte is that is not zero. */
static int scan_tail(struct lanemap_log_scan *scan, uint64_t off)
{
        const unsigned char *bytes;
        int r;

        if (off < scan->file_bytes) {
                size_t n_bytes = (size_t)(scan->file_bytes - off);

                r = scan_peek(scan, off, n_bytes, &bytes);
                if (r < 0)
                        return r;
                for (size_t i = 0; i < n_bytes; i++)
                        if (bytes[i])
                                scan->nonzero_end = off + i + 1;
        }

        return LANEMAP_LOG_SCAN_END;
}

int lanemap_log_scan_next(struct lanemap_log_scan *scan, struct lanemap_log_record *ret_record,
                          const unsigned char **ret_bytes)
{
        uint64_t off = scan->at;

        scan->nonzero_end = LANEMAP_MAX(scan->nonzero_end, off);
        while (off + LANEMAP_LOG_EMPTY_BYTES <= scan->file_bytes) {
                const unsigned char *bytes;
                int r;

                r = scan_peek(scan, off, 8, &bytes);
                if (r < 0)
                        return r;

                if (lanemap_load_le32(bytes) == LANEMAP_LOG_RECORD_MAGIC) {
                        r = scan_try(scan, off, ret_record, ret_bytes);
                        if (r == 0) {
                                scan->n_skipped = off - scan->at;
                                scan->at = off + ret_record->bytes;
                        }
                        if (r != LANEMAP_LOG_SCAN_END)
                                return r;
                        scan->nonzero_end = off + 8;
                } else if (lanemap_load_le64(bytes) != 0) {
                        scan->nonzero_end = off + 8;
                }
                off += 8;
        }

        return scan_tail(scan, off);
}
