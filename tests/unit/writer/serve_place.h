/*
 * An index of damage.h with a directory for copies, for the tests of serving: a writer that is
 * opened as the test wants it, a reader, and questions about the copies that are there.
 */
#ifndef LANEMAP_TESTS_SERVE_PLACE_H
#define LANEMAP_TESTS_SERVE_PLACE_H

#include "damage.h"
#include "support/engine_fixture.h"

struct place {
        struct fixture fixture;
        char serve_from[128];
        char copies[256]; /* the index's own directory in it; known once a writer was open */
        struct lanemap_clock clock; /* slow: no lane is quiet for ten seconds within a test */

        pthread_mutex_t lock;
        pthread_cond_t wake;
        uint32_t held_step;  /* the hook waits at this one */
        bool holding, go_on; /* it does; it may go on */
        uint64_t lock_limit, locked_bytes;
};

/* The index is there; no writer is. */
void place_init(struct place *place);
void place_deinit(struct place *place);
void writer_open(struct place *place);

/* Within a minute. */
bool becomes(const struct place *place, bool (*is)(const struct place *place));
bool all_copied(const struct place *place);
/* One copy for each file in use, the originals, and nothing else. */
bool is_tidy(const struct place *place);
/* It becomes so, also when merges are still going on. */
void expect_tidy(const struct place *place);

/* Two segments in each lane, of two files, that nobody wants to merge, each with its copy. */
void settle(struct place *place);

struct lanemap_writer_stats stats_of(const struct place *place);
/* Files of a directory whose name begins with prefix. */
uint32_t n_files(const char *directory, const char *prefix);
/* Mappings of segment files in this process: of a directory's. */
uint32_t n_mapped(const char *directory);

#endif
