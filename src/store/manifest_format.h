/*
 * The manifest: `manifest.json` in the data directory, the one word on what the index consists of.
 * Indented JSON, for people to read; written as a whole under another name, synced, and renamed.
 * Specified in src/FORMAT.md; the two change together.
 *
 *         {
 *           "format": "lanemap manifest",
 *           "format_version": 1,
 *           "incompatible": [],               a name here that is not known refuses the file
 *           "compatible": [],                 what an older writer may drop
 *           "generation": "12",               rises with every manifest
 *           "uuid": "<32 hex>",               of the index
 *           "hash_key": "<32 hex>",
 *           "fingerprint_bits": 64,
 *           "n_lanes": 64,
 *           "slot_table": "jump-4096",        how slots map to lanes
 *           "next_file_number": "7",          above every segment file's number, ever
 *           "next_log_number": "3",           above every log file's number, ever
 *           "log_number": "2",                the log file that must exist; "0": none
 *           "clear_position": "0",            just before the record of the last CLEAR
 *           "mark": "<hex>", "mark_position": "88",
 *           "segment_kind_young": 1,          these three: the choices of options, by their
 *           "segment_kind_bottom": 2,         numbers in lanemap/writer.h; left out where it was
 *           "filter": 2,                      never chosen
 *           "files": [
 *             {"number": "6", "checksum": "<64 hex>", "bytes": "81920", "n_sections": 64}
 *           ],
 *           "lanes": [
 *             {"position": "90", "n_keys": "3", "n_pairs": "4", "segments": [
 *               {"file": "6", "section": 0, "level": 0, "kind": 1, "n_keys": "3", "n_pairs": "4",
 *                "bytes": "120"}
 *             ]}
 *           ],
 *           "checksum": "<64 hex>"
 *         }
 *
 * Numbers that are 64 bits wide are strings of decimal digits without leading zeros, because JSON
 * numbers lose bits past 2^53 in most hands. Narrower ones are JSON numbers.
 *
 * The checksum is BLAKE2b-256 over all bytes of the file, with the 64 hex digits of the checksum
 * read as zeros ('0'). It is the last member, so its digits are the 64 bytes before the final
 * `"\n}\n`. (By hand: replace them by zeros, `b2sum -l 256`, put the result in.) This rule,
 * "format" and "format_version" are frozen for ever.
 */
#ifndef LANEMAP_STORE_MANIFEST_FORMAT_H
#define LANEMAP_STORE_MANIFEST_FORMAT_H

#include <lanemap/writer.h>

#include "common/fingerprint.h"

#define LANEMAP_MANIFEST_NAME           "manifest.json"
#define LANEMAP_MANIFEST_TEMPORARY_NAME "manifest.json.tmp"
#define LANEMAP_MANIFEST_FORMAT         "lanemap manifest"
#define LANEMAP_MANIFEST_FORMAT_VERSION 1
#define LANEMAP_MANIFEST_BYTES_MAX      (UINT32_C(256) << 20)
#define LANEMAP_MANIFEST_CHECKSUM_BYTES 32
#define LANEMAP_MANIFEST_ENDING         "\"\n}\n"

#define LANEMAP_MANIFEST_SLOT_TABLE            "jump-4096"
#define LANEMAP_MANIFEST_SLOT_TABLE_NAME_BYTES 32
#define LANEMAP_MANIFEST_SEGMENTS_MAX          64 /* in one lane */
#define LANEMAP_MANIFEST_LEVEL_MAX             31
#define LANEMAP_MANIFEST_KIND_MAX              255 /* the segment room knows which exist */

struct lanemap_manifest_file {
        uint64_t number;
        uint64_t bytes;
        uint32_t n_sections;
        unsigned char checksum[LANEMAP_MANIFEST_CHECKSUM_BYTES];
};

struct lanemap_manifest_segment {
        uint64_t file_number; /* one of the manifest's files */
        uint32_t section;     /* below the file's n_sections */
        uint32_t level;
        uint32_t kind;
        uint64_t n_keys;  /* entries, tombstones included */
        uint64_t n_pairs; /* (key, id) pairs */
        uint64_t bytes;
};

struct lanemap_manifest_lane {
        uint64_t position; /* the log is covered through here */
        uint64_t n_keys;   /* live ones as of position */
        uint64_t n_pairs;
        struct lanemap_manifest_segment *segments; /* newest first; lanemap_alloc() */
        uint32_t n_segments;
};

struct lanemap_manifest {
        uint64_t generation;
        unsigned char uuid[16];
        unsigned char hash_key[LANEMAP_HASH_KEY_BYTES];
        uint32_t fingerprint_bits;
        uint32_t n_lanes;
        char slot_table[LANEMAP_MANIFEST_SLOT_TABLE_NAME_BYTES];
        uint64_t next_file_number;
        uint64_t next_log_number;
        uint64_t log_number;
        uint64_t clear_position;
        uint64_t mark_position;
        uint32_t mark_bytes;
        unsigned char mark[LANEMAP_MARK_BYTES_MAX];
        uint32_t segment_kind_young; /* these three: 0 where nothing was said */
        uint32_t segment_kind_bottom;
        uint32_t filter;
        struct lanemap_manifest_file *files; /* ascending by number; lanemap_alloc() */
        uint32_t n_files;
        struct lanemap_manifest_lane *lanes; /* n_lanes of them; lanemap_alloc() */
};

#endif
