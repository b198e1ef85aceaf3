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

#include "common/slot.h"
#include "support/table.h"

#define SEGMENTS_BATCH_KEYS 32

/* One size: n_keys random fingerprints, one random id each, and the table that they go into. */
struct segments_run {
        uint64_t n_keys;
        uint32_t n_rounds;
        size_t n_lookups;                   /* of a window */
        const uint64_t *hashes;             /* sorted, distinct */
        uint64_t slots[LANEMAP_SLOT_WORDS]; /* all of them */
        uint64_t *hits;                     /* n_lookups, of those that are there */
        uint64_t *misses;
        bool all;         /* also what takes minutes */
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

void segments_die(const char *what, int r) __attribute__((noreturn));
void *segments_allocate(size_t bytes);

/* Memory of its own, in pages of 4 KiB like the page cache of a file. */
void *segments_map(size_t bytes);
void segments_unmap(void *bytes, size_t n_bytes);

/* The id of a key: a function of its hash. */
uint32_t segments_id_of(uint64_t hash);

void segments_run_init(struct segments_run *run, uint64_t n_keys, bool quick);
void segments_run_deinit(struct segments_run *run);

/* Builds take longer than a busy machine leaves a program alone: their time is the processor's. */
double segments_processor_seconds(void);

void segments_row(struct segments_run *run, const char *subject, const char *what, double value,
                  const char *unit);

bool segments_wanted(const struct segments_run *run, const char *subject);

/* Bytes per key, and windows of each kind of lookup beside windows of the chase. */
void segments_subject_measure(struct segments_run *run, const struct segments_subject *subject);

/* A zero that the compiler cannot know, so that one lookup can wait for another. */
extern volatile uint64_t segments_zero;

static inline void segments_answer_check(bool found, uint32_t id, uint64_t hash, bool hit)
{
        if (found != hit || (found && id != segments_id_of(hash)))
                segments_die("a wrong answer", 0);
}

void segments_lanemap_measure(struct segments_run *run);
void segments_cmph_measure(struct segments_run *run);

#endif
