/*
 * The bytes of a segment file and of the lane sections in it. All fields little-endian.
 *
 * A segment is one lane's immutable run of (fingerprint, ids) entries, in the order of their
 * fingerprints. A flush writes one file with a section for every lane that is due; a merge writes
 * one file with one or more sections. A section knows nothing of the file around it: everything
 * inside it is addressed from its first byte, so it can be mapped, copied and verified alone.
 *
 *         file                                    section (starts at a multiple of 64)
 *         0    header   128 bytes                 0    header    832 bytes, with the slot bitmap
 *         128  table    48 per section            832  index     packed: directory, 8 per group
 *              zeros up to 64                          tags      packed: 1 byte per entry
 *              section 0                               payload   packed: entry_bits per entry
 *              section 1                               postings  lists of more than one id
 *              ...
 *
 * Each of the four arrays starts at a multiple of 64 and is followed by at least 64 bytes of zeros,
 * so that wide loads at its end stay inside the section (and inside the mapped file). An empty
 * array takes no bytes at all.
 *
 * Validity. A reader checks the 64-bit check values of the file header, of its table and of the
 * section header (SipHash-2-4 under the public key below: a guard against accidents, which needs no
 * library), then version and incompatible bits (whose places are fixed for all versions), then
 * every offset. It does not hash the data; a data byte that is wrong gives a wrong answer or
 * -EBADMSG, never an access outside the section. The 256-bit checksum over all the rest of the
 * file is the write side's business (segment_verify.h), and so is the file's name, which holds its
 * first 8 bytes.
 *
 * Dense hash. A section carries the bitmap of the slots it holds (common/slot.h). The dense hash is
 * rank << 52 | low 52 bits of the hash, rank counted among the section's own slots. Resharding
 * never rewrites a section: slots that left are masked until its next merge.
 *
 * Kind `packed`. The dense hash, from its top:
 *
 *         | group | sub 2 | tag 8 | remainder (group_shift - 10) |     then ext: 0, 16 or 32 bits
 *
 * The entries are sorted, so their group and sub-block are implied by their position: a directory
 * record per group says where the group begins and how many entries its four sub-blocks hold,
 * cumulated. The tag (the next 8 bits) is a byte of the tag array; remainder, ext and value are a
 * field of entry_bits bits in the payload, remainder lowest. Nothing is stored twice and all bits
 * come back. group_shift is chosen for 48 to 96 entries a group.
 *
 *         directory record: u32 first entry of the group, then 4 x u8: entries of the group in
 *         sub-blocks 0, 0..1, 0..2, 0..3
 *
 * Value field, of any kind: value_bits bits hold an id. With LANEMAP_SEGMENT_VALUE_FLAGGED there is
 * one more bit above them: 0 an id; 1 the byte offset of a list in the postings, or, all value_bits
 * bits one, a tombstone.
 *
 * Posting: a list of 2 ids or more, strictly ascending.
 *
 *         varint n_ids
 *         n_ids <= 128: varint first id, then n_ids - 1 varints: id - previous id - 1
 *         n_ids >  128: a skip record per block of 128 ids {u32 first id, u32 offset of the block
 *                       after the skip records}, then the blocks: up to 127 varints each, as above
 *
 * A varint is 7 bits a byte, lowest first, the top bit set on all bytes but the last; its last byte
 * is not 0 unless it is the only one (one spelling for each number).
 */
#ifndef LANEMAP_SEGMENT_FORMAT_H
#define LANEMAP_SEGMENT_FORMAT_H

#include <assert.h>

#include "common/bits.h"
#include "common/slot.h"

#define LANEMAP_SEGMENT_FILE_MAGIC     UINT64_C(0x6c69666765736d6c) /* "lmsegfil" */
#define LANEMAP_SEGMENT_SECTION_MAGIC  UINT64_C(0x6365736765736d6c) /* "lmsegsec" */
#define LANEMAP_SEGMENT_FORMAT_VERSION 1

/* Bits of `incompatible` that this library knows. An unknown one: -EPROTONOSUPPORT. */
#define LANEMAP_SEGMENT_INCOMPATIBLE_KNOWN 0

/* The key of the check values: these 16 bytes. Public and fixed for ever. */
#define LANEMAP_SEGMENT_CHECK_KEY "lanemap/segment"

#define LANEMAP_SEGMENT_CHECKSUM_BYTES 32
#define LANEMAP_SEGMENT_UUID_BYTES     16
#define LANEMAP_SEGMENT_ALIGN          64
#define LANEMAP_SEGMENT_N_SECTIONS_MAX 16384

/* seg-<16 hex digits: file number>-<16 hex digits: first 8 bytes of the checksum>.lms */
#define LANEMAP_SEGMENT_NAME_BYTES (4 + 16 + 1 + 16 + 4 + 1) /* with the NUL */

enum lanemap_segment_kind {
        LANEMAP_SEGMENT_KIND_PACKED = 1,
        /* 2 recsplit, 3 bbhash: reserved */
};

#define LANEMAP_SEGMENT_VALUE_FLAGGED     UINT32_C(1)
#define LANEMAP_SEGMENT_VALUE_FLAGS_KNOWN UINT32_C(1)
#define LANEMAP_SEGMENT_VALUE_BITS_MAX    40

#define LANEMAP_PACKED_SUB_BITS          2
#define LANEMAP_PACKED_TAG_BITS          8
#define LANEMAP_PACKED_GROUP_SHIFT_MIN   16
#define LANEMAP_PACKED_GROUP_SHIFT_MAX   64
#define LANEMAP_PACKED_GROUP_ENTRIES_MAX 255
#define LANEMAP_PACKED_RECORD_BYTES      8

#define LANEMAP_SEGMENT_POSTING_BLOCK    128
#define LANEMAP_SEGMENT_SKIP_BYTES       8
#define LANEMAP_SEGMENT_IDS_MAX          (UINT32_C(1) << 29) /* so that 5 bytes an id stay a u32 */
#define LANEMAP_SEGMENT_VARINT_BYTES_MAX 5

struct lanemap_segment_header_file {
        uint64_t magic;
        uint32_t version;
        uint32_t n_sections;
        uint32_t compatible;
        uint32_t incompatible;
        uint32_t fingerprint_bits; /* 64, 80 or 96 */
        uint32_t reserved0;        /* 0 */
        uint64_t file_number;      /* never given twice in an index */
        uint64_t file_bytes;
        unsigned char uuid[LANEMAP_SEGMENT_UUID_BYTES]; /* of the index */
        /* BLAKE2b-256 over the whole file, with this field and `check` read as zeros */
        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];
        uint64_t check;       /* SipHash over these 128 bytes, with this field read as zeros */
        uint64_t table_check; /* SipHash over the table */
        unsigned char reserved1[16]; /* 0 */
};

struct lanemap_segment_table_file {
        uint32_t lane; /* at the time of writing */
        uint32_t kind; /* enum lanemap_segment_kind */
        uint32_t level;
        uint32_t reserved; /* 0 */
        uint64_t offset;   /* of the section in the file */
        uint64_t bytes;    /* a multiple of 64, like the offset */
        uint64_t n_keys;
        uint64_t n_pairs;
};

struct lanemap_segment_section_file {
        uint64_t magic;
        uint64_t check; /* SipHash over these 832 bytes, with this field read as zeros */
        uint32_t version;
        uint32_t incompatible;
        uint32_t kind;
        uint32_t fingerprint_bits;
        uint64_t section_bytes;
        uint64_t n_keys;       /* entries, tombstones among them; at most 2^32 - 1 */
        uint64_t n_pairs;      /* ids of all entries together */
        uint64_t n_tombstones; /* entries without ids */
        uint64_t index_off;    /* 0 for an array that is empty */
        uint64_t tags_off;
        uint64_t payload_off;
        uint64_t postings_off;
        uint64_t postings_bytes;    /* without the zeros behind them */
        uint32_t ids_max;           /* length of the longest list */
        uint32_t n_slots;           /* bits that are set in slot_bitmap */
        uint32_t value_flags;       /* LANEMAP_SEGMENT_VALUE_FLAGGED */
        uint32_t value_bits;        /* 0 .. 40, without the flag bit */
        uint32_t group_shift;       /* packed: 16 .. 64 */
        uint32_t entry_bits;        /* packed: remainder, ext, flag and value together */
        unsigned char reserved[64]; /* 0; for other kinds and for filters */
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS];
        uint16_t slot_ranks[LANEMAP_SLOT_WORDS]; /* set bits before each word */
};

static_assert(sizeof(struct lanemap_segment_header_file) == 128, "file header");
static_assert(sizeof(struct lanemap_segment_table_file) == 48, "file table");
static_assert(sizeof(struct lanemap_segment_section_file) == 832, "section header");
static_assert(offsetof(struct lanemap_segment_header_file, checksum) == 64, "checksum");
static_assert(offsetof(struct lanemap_segment_header_file, check) == 96, "check");
static_assert(offsetof(struct lanemap_segment_section_file, slot_bitmap) == 192, "bitmap");
static_assert(sizeof(LANEMAP_SEGMENT_CHECK_KEY) == 16, "check key");

#endif
