/*
 * One record of the log: operations to bytes and back. See log_format.h.
 *
 * A record is encoded when it is appended, and sealed (synced_through, checksums) when it is
 * written, because only then is it known into which file it goes; after a failed sync it is sealed
 * again for another one.
 */
#ifndef LANEMAP_STORE_LOG_RECORD_H
#define LANEMAP_STORE_LOG_RECORD_H

#include <lanemap/writer.h>

#include "common/fingerprint.h"
#include "store/log_format.h"

/* An operation as the log keeps it: keys have become fingerprints. */
struct lanemap_log_op {
        uint32_t code;                          /* enum lanemap_op_code */
        uint32_t id;                            /* ADD, REMOVE */
        struct lanemap_fingerprint fingerprint; /* ADD, REMOVE, DELETE */
        const void *mark;                       /* MARK */
        size_t mark_bytes;                      /* MARK: 0 .. LANEMAP_MARK_BYTES_MAX */
};

/* Bytes of the record that holds these operations; n_ops may be 0. */
size_t lanemap_log_record_bytes(uint32_t fingerprint_bits, const struct lanemap_log_op *ops,
                                size_t n_ops);

/*
 * Encodes into `record`, which is 8-aligned and has room for lanemap_log_record_bytes().
 * Return: the bytes used, the same number. Misuse (unknown code, too long a mark) ends the process:
 * it would be a lie on disk.
 */
size_t lanemap_log_record_encode(uint32_t fingerprint_bits, uint64_t seq,
                                 const struct lanemap_log_op *ops, size_t n_ops,
                                 unsigned char *record);

void lanemap_log_record_seal(unsigned char *record, uint64_t synced_through, uint64_t seed);

uint64_t lanemap_log_seed(const unsigned char *file_uuid);

/* The head of a valid record. */
struct lanemap_log_record {
        uint32_t bytes;
        uint32_t n_ops;
        uint64_t seq;
        uint64_t synced_through;
};

/*
 * Return: true if a record's head (LANEMAP_LOG_RECORD_HEAD_BYTES at `bytes`) is one of the file
 * with that seed; ret_record->bytes is then in range and a multiple of 8.
 */
bool lanemap_log_record_head_valid(const unsigned char *bytes, uint64_t seed,
                                   struct lanemap_log_record *ret_record);

/* With a valid head. Return: true if all record->bytes are valid. */
bool lanemap_log_record_body_valid(const unsigned char *bytes, uint64_t seed,
                                   const struct lanemap_log_record *record);

/*
 * Decodes record->n_ops operations into ops. Marks point into bytes.
 * Return: 0; -EBADMSG the bytes are not what this library writes.
 */
int lanemap_log_record_decode(uint32_t fingerprint_bits, const unsigned char *bytes,
                              const struct lanemap_log_record *record,
                              struct lanemap_log_op *ret_ops);

#endif
