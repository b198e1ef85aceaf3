/*
 * The write-ahead log, byte by byte. Files `log-<16 hex digits: number>.lml`. All numbers are
 * little-endian. Specified in src/FORMAT.md; the two change together.
 *
 *         0        header, 128 bytes, the rest of the block zero
 *         4096     the same header again
 *         8192     record | record | ... | zeros (space taken ahead of the writes)
 *
 * A header is valid when magic and checksum are. Either copy will do: a flipped bit in one is
 * harmless, and a file with no valid copy was never finished, so that nothing proven is in it. The
 * header is written LAST: the file's length, and whatever records it takes over from its
 * predecessors (after a takeover, or after a failed sync), are synced before the header is, so a
 * file voids nothing that it does not hold itself. Magic, version, and the place and rule of the
 * checksum are frozen for ever.
 *
 * header:
 *         0   u64  magic
 *         8   u32  format version
 *         12  u32  fingerprint bits: 64, 80 or 96
 *         16  u64  incompatible feature bits: a bit that is not known here refuses the file
 *         24  u64  compatible feature bits
 *         32  16   uuid of the index
 *         48  16   uuid of the file, random
 *         64  u64  number, as in the file's name
 *         72  u64  after: the file continues after this sequence number. It was durable when the
 *                  header was written. Larger-numbered records of older files are void.
 *         80  u64  bytes: the file was that long, durably, when the header was written, and is
 *                  never cut; a shorter one has lost its end
 *         88  32   zero
 *         120 u64  xxh3-64 of the 120 bytes before
 *
 * record: one atomic batch. Its bytes are a multiple of 8. The records of a file are numbered
 * after + 1, after + 2, ...
 *         0   u32  magic
 *         4   u32  bytes, of the whole record
 *         8   u64  sequence number
 *         16  u64  synced_through: what was durable when the record was written
 *         24  u32  number of operations; 0: the record exists for its synced_through
 *         28  u32  low half of xxh3-64 of the 28 bytes before, seeded
 *         32       operations, adjacent, then zeros to a multiple of 8
 *         -8  u64  xxh3-64 of all bytes before, seeded
 * The seed is the exclusive or of the two halves of the file's uuid: bytes of another file are
 * never taken for a record of this one.
 *
 * operation: a multiple of 4 bytes
 *         0   u8   code, u8 mark bytes (MARK only), u16 zero
 *         ADD, REMOVE  u32 id, u64 hash, and u32 ext in an index of more than 64 bits
 *         DELETE       u64 hash, and u32 ext likewise
 *         CLEAR        nothing
 *         MARK         the mark's bytes, then zeros to a multiple of 4
 */
#ifndef LANEMAP_STORE_LOG_FORMAT_H
#define LANEMAP_STORE_LOG_FORMAT_H

#include <assert.h>

#include "common/base.h"

#define LANEMAP_LOG_FILE_MAGIC     UINT64_C(0x474f4c4d454e414c) /* "LANEMLOG" */
#define LANEMAP_LOG_FORMAT_VERSION 1
#define LANEMAP_LOG_RECORD_MAGIC   UINT32_C(0x52474c4c) /* "LLGR" */

#define LANEMAP_LOG_HEADER_BYTES      128
#define LANEMAP_LOG_HEADER_COPY_OFF   4096
#define LANEMAP_LOG_RECORDS_OFF       8192
#define LANEMAP_LOG_RECORD_HEAD_BYTES 32
#define LANEMAP_LOG_RECORD_TAIL_BYTES 8
#define LANEMAP_LOG_EMPTY_BYTES       (LANEMAP_LOG_RECORD_HEAD_BYTES + LANEMAP_LOG_RECORD_TAIL_BYTES)

/* A record is never larger, in bytes and in operations; a reader's memory is bounded by it. */
#define LANEMAP_LOG_RECORD_BYTES_MAX (16u << 20)
#define LANEMAP_LOG_OPS_MAX          (1u << 19)

#define LANEMAP_LOG_NAME_FORMAT "log-%016llx.lml"
#define LANEMAP_LOG_NAME_BYTES  (4 + 16 + 4 + 1)

struct lanemap_log_header_file {
        uint64_t magic;
        uint32_t format_version;
        uint32_t fingerprint_bits;
        uint64_t incompatible;
        uint64_t compatible;
        unsigned char index_uuid[16];
        unsigned char file_uuid[16];
        uint64_t number;
        uint64_t after;
        uint64_t bytes;
        unsigned char zero[32];
        uint64_t checksum;
};
static_assert(sizeof(struct lanemap_log_header_file) == LANEMAP_LOG_HEADER_BYTES, "frozen");
static_assert(offsetof(struct lanemap_log_header_file, checksum) == 120, "frozen");

struct lanemap_log_record_file {
        uint32_t magic;
        uint32_t bytes;
        uint64_t seq;
        uint64_t synced_through;
        uint32_t n_ops;
        uint32_t head_checksum;
};
static_assert(sizeof(struct lanemap_log_record_file) == LANEMAP_LOG_RECORD_HEAD_BYTES, "on disk");

#endif
