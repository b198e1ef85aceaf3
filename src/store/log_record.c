/*
 * Encoding, sealing, checking and decoding one record. Layout: log_format.h.
 *
 * The head has a check of its own, so that a scan for records after damage hashes a whole record
 * only where there is one.
 */
#include "store/log_record.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#include "common/bits.h"
#include "common/check.h"

#define HEAD_CHECKED_BYTES offsetof(struct lanemap_log_record_file, head_checksum)

static size_t fingerprint_bytes(uint32_t fingerprint_bits)
{
        return fingerprint_bits > 64 ? 12 : 8;
}

/* 0: no such operation. */
static size_t op_bytes(uint32_t fingerprint_bits, uint32_t code, size_t mark_bytes)
{
        switch (code) {
        case LANEMAP_OP_ADD:
        case LANEMAP_OP_REMOVE:
                return 8 + fingerprint_bytes(fingerprint_bits);
        case LANEMAP_OP_DELETE:
                return 4 + fingerprint_bytes(fingerprint_bits);
        case LANEMAP_OP_CLEAR:
                return 4;
        case LANEMAP_OP_MARK:
                return 4 + LANEMAP_ALIGN_UP(mark_bytes, (size_t)4);
        default:
                return 0;
        }
}

size_t lanemap_log_record_bytes(uint32_t fingerprint_bits, const struct lanemap_log_op *ops,
                                size_t n_ops)
{
        size_t bytes = 0;

        for (size_t i = 0; i < n_ops; i++)
                bytes += op_bytes(fingerprint_bits, ops[i].code, ops[i].mark_bytes);

        return LANEMAP_ALIGN_UP(bytes, (size_t)8) + LANEMAP_LOG_EMPTY_BYTES;
}

static unsigned char *put_fingerprint(unsigned char *p, uint32_t fingerprint_bits,
                                      struct lanemap_fingerprint fingerprint)
{
        lanemap_store_le64(p, fingerprint.hash);
        if (fingerprint_bits == 64)
                return p + 8;

        lanemap_store_le32(p + 8, fingerprint.ext);
        return p + 12;
}

static unsigned char *put_op(unsigned char *p, uint32_t fingerprint_bits,
                             const struct lanemap_log_op *op)
{
        switch (op->code) {
        case LANEMAP_OP_ADD:
        case LANEMAP_OP_REMOVE:
                lanemap_store_le32(p, op->code);
                lanemap_store_le32(p + 4, op->id);
                return put_fingerprint(p + 8, fingerprint_bits, op->fingerprint);
        case LANEMAP_OP_DELETE:
                lanemap_store_le32(p, op->code);
                return put_fingerprint(p + 4, fingerprint_bits, op->fingerprint);
        case LANEMAP_OP_CLEAR:
                lanemap_store_le32(p, op->code);
                return p + 4;
        default: {
                size_t padded = LANEMAP_ALIGN_UP(op->mark_bytes, (size_t)4);

                /* Recovery refuses any other code. */
                lanemap_check(op->code == LANEMAP_OP_MARK &&
                              op->mark_bytes <= LANEMAP_MARK_BYTES_MAX);
                lanemap_store_le32(p, op->code | (uint32_t)op->mark_bytes << 8);
                memset(p + 4, 0, padded);
                if (op->mark_bytes > 0)
                        memcpy(p + 4, op->mark, op->mark_bytes);
                return p + 4 + padded;
        }
        }
}

size_t lanemap_log_record_encode(uint32_t fingerprint_bits, uint64_t seq,
                                 const struct lanemap_log_op *ops, size_t n_ops,
                                 unsigned char *record)
{
        unsigned char *p = record + LANEMAP_LOG_RECORD_HEAD_BYTES;
        size_t bytes;

        /* Recovery takes a larger record for the torn end of the log. */
        lanemap_check(n_ops <= LANEMAP_LOG_OPS_MAX);

        for (size_t i = 0; i < n_ops; i++)
                p = put_op(p, fingerprint_bits, &ops[i]);
        while ((p - record) % 8 != 0)
                *p++ = 0;

        bytes = (size_t)(p - record) + LANEMAP_LOG_RECORD_TAIL_BYTES;
        lanemap_check(bytes <= LANEMAP_LOG_RECORD_BYTES_MAX);

        lanemap_store_le32(record, LANEMAP_LOG_RECORD_MAGIC);
        lanemap_store_le32(record + 4, (uint32_t)bytes);
        lanemap_store_le64(record + 8, seq);
        lanemap_store_le64(record + 16, 0);
        lanemap_store_le32(record + 24, (uint32_t)n_ops);
        return bytes;
}

uint64_t lanemap_log_seed(const unsigned char *file_uuid)
{
        return lanemap_load_le64(file_uuid) ^ lanemap_load_le64(file_uuid + 8);
}

static uint32_t head_checksum(const unsigned char *record, uint64_t seed)
{
        return (uint32_t)XXH3_64bits_withSeed(record, HEAD_CHECKED_BYTES, seed);
}

void lanemap_log_record_seal(unsigned char *record, uint64_t synced_through, uint64_t seed)
{
        size_t checked = lanemap_load_le32(record + 4) - LANEMAP_LOG_RECORD_TAIL_BYTES;

        lanemap_store_le64(record + 16, synced_through);
        lanemap_store_le32(record + HEAD_CHECKED_BYTES, head_checksum(record, seed));
        lanemap_store_le64(record + checked, XXH3_64bits_withSeed(record, checked, seed));
}

bool lanemap_log_record_head_valid(const unsigned char *bytes, uint64_t seed,
                                   struct lanemap_log_record *ret_record)
{
        struct lanemap_log_record record;

        if (lanemap_load_le32(bytes) != LANEMAP_LOG_RECORD_MAGIC ||
            lanemap_load_le32(bytes + HEAD_CHECKED_BYTES) != head_checksum(bytes, seed))
                return false;

        record = (struct lanemap_log_record){
                .bytes = lanemap_load_le32(bytes + 4),
                .n_ops = lanemap_load_le32(bytes + 24),
                .seq = lanemap_load_le64(bytes + 8),
                .synced_through = lanemap_load_le64(bytes + 16),
        };
        if (record.bytes < LANEMAP_LOG_EMPTY_BYTES || record.bytes > LANEMAP_LOG_RECORD_BYTES_MAX ||
            record.bytes % 8 != 0 || record.n_ops > LANEMAP_LOG_OPS_MAX || record.seq == 0 ||
            record.seq == UINT64_MAX || record.synced_through >= record.seq)
                return false;

        *ret_record = record;
        return true;
}

bool lanemap_log_record_body_valid(const unsigned char *bytes, uint64_t seed,
                                   const struct lanemap_log_record *record)
{
        size_t checked = record->bytes - LANEMAP_LOG_RECORD_TAIL_BYTES;

        return lanemap_load_le64(bytes + checked) == XXH3_64bits_withSeed(bytes, checked, seed);
}

/* Return: the bytes of the operation, or 0: there is none in the `room` bytes at p. */
static size_t get_op(const unsigned char *p, size_t room, uint32_t fingerprint_bits,
                     struct lanemap_log_op *ret_op)
{
        struct lanemap_log_op op = {0};
        const unsigned char *fingerprint;
        uint32_t word;
        size_t bytes;

        if (room < 4)
                return 0;

        word = lanemap_load_le32(p);
        op.code = word & 0xff;
        op.mark_bytes = word >> 8;
        if (op.mark_bytes > (op.code == LANEMAP_OP_MARK ? LANEMAP_MARK_BYTES_MAX : 0))
                return 0;

        bytes = op_bytes(fingerprint_bits, op.code, op.mark_bytes);
        if (bytes == 0 || bytes > room)
                return 0;

        if (op.code == LANEMAP_OP_MARK) {
                op.mark = p + 4;
        } else if (op.code != LANEMAP_OP_CLEAR) {
                fingerprint = p + bytes - fingerprint_bytes(fingerprint_bits);
                op.fingerprint.hash = lanemap_load_le64(fingerprint);
                if (fingerprint_bits > 64)
                        op.fingerprint.ext = lanemap_load_le32(fingerprint + 8);
                if (op.code != LANEMAP_OP_DELETE)
                        op.id = lanemap_load_le32(p + 4);
                if (op.id > LANEMAP_ID_MAX ||
                    (uint64_t)op.fingerprint.ext >> (fingerprint_bits - 64) != 0)
                        return 0;
        }

        *ret_op = op;
        return bytes;
}

int lanemap_log_record_decode(uint32_t fingerprint_bits, const unsigned char *bytes,
                              const struct lanemap_log_record *record,
                              struct lanemap_log_op *ret_ops)
{
        const unsigned char *p = bytes + LANEMAP_LOG_RECORD_HEAD_BYTES;
        size_t room = record->bytes - LANEMAP_LOG_EMPTY_BYTES;

        for (uint32_t i = 0; i < record->n_ops; i++) {
                size_t n = get_op(p, room, fingerprint_bits, &ret_ops[i]);

                if (n == 0)
                        return -EBADMSG;
                p += n;
                room -= n;
        }

        return room < 8 ? 0 : -EBADMSG;
}
