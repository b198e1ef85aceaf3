/*
 * What the parts of perf/segments share.
 *
 *   segments.c           options, the sizes, the table
 *   segments_run.c       what is looked up, and how it is measured: the same for every row
 *   segments_lanemap.c   lanemap's kinds
 *   segments_cmph.c      the perfect hashes of libcmph, where it was found
 */
#ifndef LANEMAP_PERF_SEGMENTS_PRIVATE_H
#define LANEMAP_PERF_SEGMENTS_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/die.h"
#include "support/memory.h"
#include "support/section.h"
#include "support/table.h"
#include "support/timer.h"

#define SEGMENTS_BATCH_KEYS 32

/* One size: n_keys random fingerprints, one random id each, and the table that they go into. */
struct segments_run {
        uint64_t n_keys;
        uint32_t n_rounds;
        size_t n_lookups; /* of a window */
        uint64_t *hashes; /* sorted, distinct */
        uint64_t *hits;   /* n_lookups, of those that are there */
        uint64_t *misses;
        bool all;         /* also what takes many minutes or much memory */
        const char *only; /* what a row's name has to begin with */
        uint64_t cmph_keys_max;
        struct perf_table table;
};

/*
 * A built structure that answers lookups. Both functions look n hashes up, end the program on a
 * wrong answer (segments_answer_check()) and return nanoseconds per lookup: singles() with each
 * lookup waiting for the one before, batches() in batches of 32.
 */
struct segments_subject {
        const char *name;
        const void *structure;
        size_t n_bytes;     /* everything that a lookup may touch */
        double index_bytes; /* of it: what says where an entry is */
        double (*singles)(const void *structure, const uint64_t *hashes, size_t n, bool hit);
        double (*batches)(const void *structure, const uint64_t *hashes, size_t n, bool hit);
};

void segments_run_init(struct segments_run *run, uint64_t n_keys, bool quick);
void segments_run_deinit(struct segments_run *run);

void segments_row(struct segments_run *run, const char *subject, const char *what, double value,
                  const char *unit);

bool segments_wanted(const struct segments_run *run, const char *subject);

/* Bytes per key, and windows of each kind of lookup beside windows of the chase. */
void segments_subject_measure(struct segments_run *run, const struct segments_subject *subject);

/* A zero that the compiler cannot know, so that one lookup can wait for another. */
extern volatile uint64_t segments_zero;

static inline void segments_answer_check(bool found, uint32_t id, uint64_t hash, bool hit)
{
        if (found != hit || (found && id != perf_hash_id(hash)))
                perf_die("a wrong answer", 0);
}

void segments_lanemap_measure(struct segments_run *run);
void segments_cmph_measure(struct segments_run *run);

#endif
