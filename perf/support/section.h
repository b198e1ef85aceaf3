/* One section of a segment file, built of fingerprints, in memory. */
#ifndef LANEMAP_PERF_SECTION_H
#define LANEMAP_PERF_SECTION_H

#include <lanemap/lanemap.h>
#include <stdbool.h>

#include "keys.h"
#include "segment/build.h"
#include "segment/read.h"

/* The id of a fingerprint: the most expensive kind, 32 random bits. */
static inline uint32_t perf_hash_id(uint64_t hash)
{
        uint32_t id = (uint32_t)perf_mix64(hash);

        return id > LANEMAP_ID_MAX ? 0 : id;
}

/* Sorted hashes as entries, or some of them. */
struct perf_hash_cursor {
        struct lanemap_cursor cursor; /* first */
        const uint64_t *hashes;
        uint64_t n;
        /* Which ones; NULL: all. */
        bool (*wanted)(const struct perf_hash_cursor *cursor, uint64_t at);
        uint32_t part; /* what wanted() may want to know */
        uint64_t at;
        uint32_t id;
};

void perf_hash_cursor_init(struct perf_hash_cursor *cursor, const uint64_t *hashes, uint64_t n);

struct perf_section {
        unsigned char *bytes; /* perf_map() */
        size_t n_bytes;
        struct lanemap_segment segment;
        uint64_t n_keys;
        double cpu_ns, wall_ns; /* of the build, per key: the calling thread's; of the clock */
};

/*
 * Builds it of all slots with fingerprints of 64 bits, copies it into pages of its own, opens it.
 * What fails ends the program, with `name` in its sentence.
 *
 * options     slots and fingerprint bits are filled in here
 */
void perf_section_make(const char *name, const struct lanemap_segment_build_options *options,
                       struct lanemap_cursor *cursor, struct perf_section *ret_section);
void perf_section_free(struct perf_section *section);

#endif
