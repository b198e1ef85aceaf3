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
 *         128  table    48 per section            832  index     by kind
 *              zeros up to 64                          tags      packed: 1 byte per entry
 *              section 0                               payload   entry_bits per entry
 *              section 1                               postings  lists of more than one id
 *              ...                                     filter    optional
 *
 * Each of the five arrays starts at a multiple of 64 and is followed by at least 64 bytes of zeros,
 * so that wide loads at its end stay inside the section (and inside the mapped file). An empty
 * array takes no bytes at all.
 *
 * Validity. A reader checks the 64-bit check values of the file header, of its table and of the
 * section header (SipHash-2-4 under the public key below: a guard against accidents, which needs no
 * library), then version and incompatible bits (whose places are fixed for all versions), then
 * every offset. It does not hash the data; a data byte that is wrong gives a wrong answer or
 * -EBADMSG, never an access outside the section. The 256-bit checksum over all the rest of the
 * file is the write side's business (verify.h), and so is the file's name, which holds its
 * first 8 bytes.
 *
 * Dense hash. A section carries the bitmap of the slots it holds (common/slot.h). The dense hash is
 * rank << 52 | low 52 bits of the hash, rank counted among the section's own slots. So
 * what is in a section does not depend on how many lanes the index has.
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
 * Kinds `recsplit` and `bbhash`: minimal perfect hashes. Both share:
 *
 *   Buckets. The dense hashes are cut into n_buckets = ceil(n_keys / bucket_entries) equal ranges
 *   (none when n_keys is 0): multiplier = floor(n_buckets * 2^32 / n_slots), bucket = dense *
 *   multiplier >> 84. So buckets follow one another in the order of the fingerprints, and one
 *   bucket at a time is all that has to be in memory to build a section or to read it in order. The
 *   fullest has bucket_entries_max entries.
 *
 *   Entries. The entries of a bucket lie one after the other, in the order of the perfect hash. An
 *   entry is a field of entry_bits bits in the payload: remainder lowest, ext, flag and value. The
 *   remainder is the low remainder_bits of the dense hash, the least width in which no two hashes
 *   of a bucket agree: the rest is implied by the bucket. With w = floor(2^84 / multiplier) it is
 *   the width of the number w, but never more than 52 + the width of n_slots - 1.
 *
 *   Mixed key. mix(z): z ^= z >> 30; z *= 0xbf58476d1ce4e5b9; z ^= z >> 27; z *=
 *   0x94d049bb133111eb; z ^= z >> 31. The perfect hashes work on key = mix(dense + ext *
 *   0x9e3779b97f4a7c15), and place(key, salt, n) = (mix(key + salt) >> 32) * n >> 32 is their
 *   family of functions to 0 .. n - 1. All arithmetic is modulo 2^64.
 *
 * Kind `recsplit` (Esposito, Graf, Vigna, ALENEX 2020). A bucket of m > 1 keys is a tree whose
 * shape depends on m and leaf_entries alone:
 *
 *         lower = leaf * max(2, ceil(0.35 leaf + 0.5)), upper = lower * (leaf < 7 ? 2 : ceil(0.21
 *         leaf + 0.9))
 *         m <= leaf    a leaf: the keys get the places 0 .. m - 1
 *         m <= lower   parts of leaf keys, the last one of what is left
 *         m <= upper   parts of lower keys, the last one of what is left
 *         otherwise    two parts, the first of ceil(m / (2 upper)) * upper keys
 *
 *   Each node (of more than one key) has a seed, the least x for which place(key, level * 2^32 + x,
 *   m) does that: at a leaf it is the key's place, elsewhere its quotient by the first part's size
 *   is the key's part. level counts from 0 at the root. Seeds are Rice-coded with parameter r(m),
 *   the least r with (1 - p)^(2^r) <= 0.618, p being the chance that a seed fits
 *   (perfect/recsplit_tree_format.h).
 *   A bucket's code: the low r bits of all its seeds, in preorder; then x >> r zeros and a one for
 *   each of them, in preorder.
 *
 *   The index: five arrays, each padded with zeros to 8 bytes, index_bytes together.
 *
 *         samples    per 64 buckets begun, the last bucket's end included: u32 position of bucket
 *                    64 i in cum_high, u32 in pos_high
 *         lows       per bucket, end included: cum_low_bits of C, pos_low_bits of P
 *         cum_high   bit (C >> cum_low_bits) + b is set for each bucket b, end included
 *         pos_high   the same for P
 *         codes      code_bits bits
 *
 *   This is the paper's double Elias-Fano list. With cum the first entry of bucket b and pos the
 *   first bit of its code, C = cum - b * cum_step and P = pos - (cum * pos_slope >> 10) - b *
 *   pos_step; the steps are the largest for which neither ever falls (pos_step: in -32768 ..
 * 32767). The end is a bucket after the last: cum is n_keys and pos is code_bits.
 *
 * Kind `bbhash` (Limasset, Rizk, Chikhi, Peterlongo, SEA 2017), one per bucket. Level 0 has ceil(m
 * * gamma) bits, each further one shrink times the bits of the one before, rounded down; levels end
 * before one of less than 16 bits, or after 24. A key that is alone on bit place(key, level *
 * 0x9e3779b97f4a7c15, bits of the level) of a level is settled there: the bit is set, and the key's
 * entry is the rank of its bit among those of the bucket. Keys that no level settles are the last
 * entries of the bucket, in the order of their fingerprints.
 *
 *   The index: 64 bytes per block, then a record per bucket, end included: u32 first entry, u32
 *   first block. The levels of a bucket are one string of bits, cut into blocks of a u16, the set
 *   bits in the bucket's blocks before, and 496 bits; a bucket begins a block.
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
 * Filter: optional, and compatible: a reader that does not know its kind, or does not look at it,
 * is right. It comes last, so that nothing else moves when there is one. Its bytes are a function
 * of all fingerprints of the section (tombstones among them), with G = 0x9e3779b97f4a7c15:
 *
 *         mixed = mix(dense + ext * G + (filter_seed + 1) * 0xd1342543de82ef95)
 *         a key can be there when the three bytes at its places, xored, are mixed >> 56
 *
 *         fuse8  filter_blocks + 2 segments of 2^filter_shift bytes; s = dense *
 *                floor(filter_blocks * 2^32 / n_slots) >> 84;
 *                place i (0, 1, 2) is byte (mixed >> 18 i) modulo
 *                2^filter_shift of segment s + i
 *         xor8   three blocks of filter_blocks bytes, filter_shift 0; place i is byte (low 32 bits
 *                of mixed rotated right by 21 i) * filter_blocks >> 32 of block i
 *
 * Bytes that are no key's last place are 0 or anything: they are covered by the checksum alone.
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

/* `kind`, on the disk as in the options of the writer (lanemap/writer.h). */
#define LANEMAP_SEGMENT_KIND_PACKED   1
#define LANEMAP_SEGMENT_KIND_RECSPLIT 2
#define LANEMAP_SEGMENT_KIND_BBHASH   3
#define LANEMAP_SEGMENT_KIND_MAX      3

#define LANEMAP_SEGMENT_VALUE_FLAGGED     UINT32_C(1)
#define LANEMAP_SEGMENT_VALUE_FLAGS_KNOWN UINT32_C(1)
#define LANEMAP_SEGMENT_VALUE_BITS_MAX    40

#define LANEMAP_PACKED_SUB_BITS          2
#define LANEMAP_PACKED_TAG_BITS          8
#define LANEMAP_PACKED_GROUP_SHIFT_MIN   16
#define LANEMAP_PACKED_GROUP_SHIFT_MAX   64
#define LANEMAP_PACKED_GROUP_ENTRIES_MAX 255
#define LANEMAP_PACKED_RECORD_BYTES      8

#define LANEMAP_SEGMENT_SCALE_BITS 20 /* bucket = dense * multiplier >> (64 + 20) */

#define LANEMAP_RECSPLIT_LEAF_MIN           2
#define LANEMAP_RECSPLIT_LEAF_MAX           12
#define LANEMAP_RECSPLIT_BUCKET_MAX         512  /* bucket_entries */
#define LANEMAP_RECSPLIT_BUCKET_ENTRIES_MAX 1024 /* in one bucket */
#define LANEMAP_RECSPLIT_BUCKET_BITS_MAX    65535
#define LANEMAP_RECSPLIT_SLOPE_BITS         10
#define LANEMAP_RECSPLIT_LOW_BITS_MAX       16
#define LANEMAP_RECSPLIT_SAMPLE_BUCKETS     64
#define LANEMAP_RECSPLIT_SAMPLE_BYTES       8

#define LANEMAP_BBHASH_BUCKET_MAX         8192  /* bucket_entries */
#define LANEMAP_BBHASH_BUCKET_ENTRIES_MAX 16384 /* in one bucket */
#define LANEMAP_BBHASH_GAMMA_MIN          256   /* in 256ths */
#define LANEMAP_BBHASH_GAMMA_MAX          2560
#define LANEMAP_BBHASH_SHRINK_BITS        16
#define LANEMAP_BBHASH_LEVELS_MAX         24
#define LANEMAP_BBHASH_LEVEL_BITS_MIN     16
#define LANEMAP_BBHASH_BLOCK_BYTES        64
#define LANEMAP_BBHASH_BLOCK_BITS         496
#define LANEMAP_BBHASH_RECORD_BYTES       8

/* `filter_kind`. An unknown one is as good as none to a reader; verification answers
 * -EPROTONOSUPPORT. */
#define LANEMAP_FILTER_NONE      0
#define LANEMAP_FILTER_FUSE8     1
#define LANEMAP_FILTER_XOR8      2
#define LANEMAP_FILTER_SHIFT_MIN 2
#define LANEMAP_FILTER_SHIFT_MAX 18
#define LANEMAP_FILTER_ATTEMPTS  32 /* filter_seed is below */

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
        uint32_t kind; /* LANEMAP_SEGMENT_KIND_* */
        uint32_t level;
        uint32_t reserved; /* 0 */
        uint64_t offset;   /* of the section in the file */
        uint64_t bytes;    /* a multiple of 64, like the offset */
        uint64_t n_keys;
        uint64_t n_pairs;
};

struct lanemap_segment_recsplit_file {
        uint32_t leaf_entries; /* 2 .. 12 */
        uint8_t cum_low_bits;  /* 0 .. 16 */
        uint8_t pos_low_bits;  /* 0 .. 16 */
        uint16_t pos_slope;    /* bits of code per key, in 1024ths */
        uint32_t cum_step;
        int32_t pos_step;
        uint64_t code_bits;
        unsigned char reserved[8]; /* 0 */
};

struct lanemap_segment_bbhash_file {
        uint32_t gamma;             /* in 256ths: 1.0 .. 10.0 */
        uint32_t shrink;            /* 1 - exp(-1 / gamma), in 65536ths */
        unsigned char reserved[24]; /* 0 */
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
        uint64_t postings_bytes;     /* without the zeros after them */
        uint32_t ids_max;            /* length of the longest list */
        uint32_t n_slots;            /* bits that are set in slot_bitmap */
        uint32_t value_flags;        /* LANEMAP_SEGMENT_VALUE_FLAGGED */
        uint32_t value_bits;         /* 0 .. 40, without the flag bit */
        uint32_t group_shift;        /* packed: 16 .. 64 */
        uint32_t entry_bits;         /* remainder, ext, flag and value together */
        uint32_t bucket_entries;     /* recsplit, bbhash: on average; packed: 0, like all below */
        uint32_t bucket_entries_max; /* in the fullest bucket */
        uint64_t index_bytes;        /* without the zeros after them */
        union {
                struct lanemap_segment_recsplit_file recsplit;
                struct lanemap_segment_bbhash_file bbhash;
                unsigned char none[32]; /* packed: 0 */
        };
        uint64_t filter_off; /* 0: no filter, like all of these */
        uint32_t filter_blocks;
        uint8_t filter_kind;
        uint8_t filter_shift;
        uint16_t filter_seed;
        uint64_t slot_bitmap[LANEMAP_SLOT_WORDS];
        uint16_t slot_ranks[LANEMAP_SLOT_WORDS]; /* set bits before each word */
};

static_assert(sizeof(struct lanemap_segment_header_file) == 128, "file header");
static_assert(sizeof(struct lanemap_segment_table_file) == 48, "file table");
static_assert(sizeof(struct lanemap_segment_section_file) == 832, "section header");
static_assert(offsetof(struct lanemap_segment_header_file, checksum) == 64, "checksum");
static_assert(offsetof(struct lanemap_segment_header_file, check) == 96, "check");
static_assert(offsetof(struct lanemap_segment_section_file, slot_bitmap) == 192, "bitmap");
static_assert(offsetof(struct lanemap_segment_section_file, recsplit) == 144, "by kind");
static_assert(offsetof(struct lanemap_segment_section_file, filter_off) == 176, "filter");
static_assert(sizeof(LANEMAP_SEGMENT_CHECK_KEY) == 16, "check key");

#endif
