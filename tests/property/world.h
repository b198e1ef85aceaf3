/*
 * What a property test runs: an engine, a reader that is attached by name, the model beside them,
 * and random work. Everything follows from the seed.
 */
#ifndef LANEMAP_TESTS_WORLD_H
#define LANEMAP_TESTS_WORLD_H

#include <lanemap/writer.h>

#include "support/engine.h"
#include "support/model.h"
#include "support/rng.h"
#include "support/scratch.h"

#define WORLD_BATCH_OPS_MAX 1024
#define WORLD_KEY_BYTES_MAX 80

/* One kind of index. No pointers: Criterion copies it between processes. */
struct world_config {
        uint32_t fingerprint_bits;
        uint32_t n_lanes;
        uint32_t flush_bytes;
        uint32_t n_hot_keys;  /* most operations meet at these */
        uint32_t n_cold_keys; /* the others make tables and segments grow */
        uint32_t n_ids_max;   /* of a key, about */
        uint32_t appendfsync;
        uint32_t immediate_reuse;
        uint32_t segment_kind_young; /* enum lanemap_segment_kind; 0: the default */
        uint32_t segment_kind_bottom;
        uint32_t filter;       /* enum lanemap_filter_policy; 0: the default */
        uint32_t clear_one_in; /* a CLEAR among the operations of one batch in so many; 0: 400 */
};

/* What must have happened, or the run proved nothing. */
struct world_seen {
        uint64_t n_flushes, n_merges, n_growths;
        uint64_t n_flips; /* while lookups were being checked */
        uint64_t n_batches, n_ops, n_restarts, n_kills, n_clears;
};

struct world {
        struct world_config config;
        uint64_t seed;
        uint64_t step; /* the number of the batch */
        struct rng rng;
        struct scratch scratch;
        struct model model;
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;
        struct lanemap_error error;
        struct world_seen seen;
};

/* A batch, with room for its keys. */
struct world_batch {
        size_t n;
        struct lanemap_op ops[WORLD_BATCH_OPS_MAX];
        struct lanemap_op_result results[WORLD_BATCH_OPS_MAX];
        char keys[WORLD_BATCH_OPS_MAX][WORLD_KEY_BYTES_MAX];
};

/* Prints seed and step, and fails the test. */
_Noreturn void world_fail(const struct world *world, const char *format, ...) LANEMAP_PRINTF(2, 3);

void world_init(struct world *world, const char *what, const struct world_config *config,
                uint64_t seed);
void world_deinit(struct world *world);

void world_open(struct world *world);
void world_close(struct world *world);
void world_attach(struct world *world);

/* Random work, that depends on the generator and the model only. */
void world_batch_make(struct rng *rng, const struct world_config *config, const struct model *model,
                      struct world_batch *batch);
/* Applies it to engine and model, and compares every result. */
void world_batch_apply(struct world *world, struct world_batch *batch);

/* Some of the keys of a batch, or random ones. */
void world_check_some(struct world *world, const struct world_batch *batch);
void world_check_all(struct world *world);

/* A request whose end is waited for while lookups are checked. */
void world_request(struct world *world, uint32_t request);

/* Another process writes and is killed; what it acknowledged is here, and nothing it did not send.
 * Begins and ends with an open writer. */
void world_kill(struct world *world);

/* Adds up what the writer counted since it was opened. */
void world_count(struct world *world);
void world_assert_seen(const struct world *world);

#endif
