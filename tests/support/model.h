/*
 * What the index should say: the slow, obvious implementation. Keys in a sorted array, the ids of
 * each in a sorted array, found by bisection, inserted with memmove().
 *
 * Running out of memory ends the process.
 */
#ifndef LANEMAP_TESTS_MODEL_H
#define LANEMAP_TESTS_MODEL_H

#include <lanemap/writer.h>

#include "common/base.h"

struct model_key {
        unsigned char *bytes;
        size_t n_bytes;
        uint32_t *ids; /* ascending */
        size_t n_ids;  /* a key with none stays in the array: it is one that was used */
        size_t capacity;
};

struct model {
        struct model_key *keys; /* ascending by bytes */
        size_t n;
        size_t capacity;
        uint64_t n_keys;  /* live */
        uint64_t n_pairs; /* live */
        unsigned char mark[LANEMAP_MARK_BYTES_MAX];
        size_t mark_bytes;
};

void model_init(struct model *model);
void model_deinit(struct model *model);
void model_copy(const struct model *model, struct model *ret_copy);

/* What lanemap_writer_apply() should do with one operation, and say of it. */
struct lanemap_op_result model_apply(struct model *model, const struct lanemap_op *op);

/* NULL: never used. */
const struct model_key *model_find(const struct model *model, const void *key, size_t key_bytes);
size_t model_lookup(const struct model *model, const void *key, size_t key_bytes,
                    const uint32_t **ret_ids);
bool model_contains(const struct model *model, const void *key, size_t key_bytes, uint32_t id);

/* All distinct ids, ascending. Owner: the caller, free(). */
uint32_t *model_ids(const struct model *model, size_t *ret_n_ids);

/* A number that two sets of ids share only by accident; the order of the ids counts. */
uint64_t model_ids_digest(const uint32_t *ids, size_t n_ids);
/* The sum of the digests of all live keys: what an iteration over an index adds up to. */
uint64_t model_digest(const struct model *model);

#endif
