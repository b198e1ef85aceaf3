/*
 * Walking the records of one log file, damage included. Inside the room only.
 *
 * Where the bytes at hand are no record, the next valid one is looked for, 8 bytes at a time:
 * records after damage say what was durable, even when they can no longer be applied. Reads in
 * windows of 256 KiB; a mapping would turn a media error into a signal. Pages that cannot be read
 * are damage as well: they read as zeros, and the scan says where they are.
 */
#ifndef LANEMAP_STORE_LOG_SCAN_H
#define LANEMAP_STORE_LOG_SCAN_H

#include "common/file.h"
#include "store/log_record.h"

#define LANEMAP_LOG_SCAN_END        1
#define LANEMAP_LOG_SCAN_UNFINISHED 1

struct lanemap_log_scan {
        const struct lanemap_files *files;
        int fd; /* -1: none */
        uint64_t file_bytes;
        uint64_t seed;
        uint64_t at;          /* the end of the last record that was answered */
        uint64_t n_skipped;   /* bytes of damage right before that record */
        uint64_t nonzero_end; /* at the end of the scan: after the last byte that is not zero */
        uint64_t
                unreadable_off; /* the first page that could not be read so far; UINT64_MAX: none */
        uint64_t unreadable_end; /* after the last one; 0: none */
        unsigned char *buffer;
        size_t capacity;
        uint64_t window_off;
        size_t window_bytes;
};

/* The members of a valid header. */
struct lanemap_log_header {
        uint32_t format_version;
        uint32_t fingerprint_bits;
        uint64_t incompatible;
        unsigned char index_uuid[16];
        unsigned char file_uuid[16];
        uint64_t number;
        uint64_t after;
        uint64_t bytes;
};

/* 128 bytes, checksum included. Format version and feature bits are those of this library. */
void lanemap_log_header_encode(const struct lanemap_log_header *header, unsigned char *ret_bytes);

/* Return: true if magic and checksum are those of a header, of any version. */
bool lanemap_log_header_decode(const unsigned char *bytes, struct lanemap_log_header *ret_header);

/* Start with {.files = ..., .fd = -1}; one scan can open files one after the other. */
int lanemap_log_scan_open(struct lanemap_log_scan *scan, int dir_fd, uint64_t number);
void lanemap_log_scan_deinit(struct lanemap_log_scan *scan);

/*
 * Read the header, and start the walk at the first record.
 * Return: 0; LANEMAP_LOG_SCAN_UNFINISHED there is no valid one, and there never was: a crash came
 * before it was written; -EBADMSG there is none, and both copies have bytes in them; errno of read.
 */
int lanemap_log_scan_header(struct lanemap_log_scan *scan, struct lanemap_log_header *ret_header);

/*
 * The next valid record. Return: 0; LANEMAP_LOG_SCAN_END; -ENOMEM or errno of read.
 * Owner: *ret_bytes lives until the next call.
 */
int lanemap_log_scan_next(struct lanemap_log_scan *scan, struct lanemap_log_record *ret_record,
                          const unsigned char **ret_bytes);

#endif
