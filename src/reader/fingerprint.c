/*
 * Keys that are asked for again: hashed once, looked up by what came of it. A fingerprint is one
 * index's, since each has a hash key of its own; its uuid says which.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "common/guard.h"
#include "reader/retry.h"
#include "shm/question_read.h"

static_assert(sizeof(struct lanemap_reader_fingerprint) == 32, "two a line");

LANEMAP_ALWAYS_INLINE bool fingerprint_is_of(const struct lanemap_reader_fingerprint *print,
                                             const struct lanemap_shm_region *region)
{
        return print->uuid[0] == region->uuid[0] && print->uuid[1] == region->uuid[1];
}

LANEMAP_ALWAYS_INLINE struct lanemap_fingerprint
fingerprint_of(const struct lanemap_reader_fingerprint *print)
{
        return (struct lanemap_fingerprint){.hash = print->hash, .ext = print->hash_ext};
}

/* What is attached may be of the past: only the generation in force says that an index is another
 * one. Return: 0, LANEMAP_SHM_E_GENERATION, -ESTALE. */
static int fingerprints_judge(const struct lanemap_reader_fingerprint *prints, size_t n,
                              const struct lanemap_shm_region *region)
{
        for (size_t i = 0; i < n; i++)
                if (LANEMAP_UNLIKELY(!fingerprint_is_of(&prints[i], region)))
                        return lanemap_load_acquire(&region->control->generation) ==
                                               region->generation
                                       ? -ESTALE
                                       : LANEMAP_SHM_E_GENERATION;

        return 0;
}

int lanemap_reader_fingerprint(struct lanemap_reader *reader, const void *key, size_t key_bytes,
                               struct lanemap_reader_fingerprint *ret_fingerprint)
{
        const struct lanemap_shm_region *region;
        struct lanemap_fingerprint fp;
        struct lanemap_guard *guard;

        if (LANEMAP_UNLIKELY(!reader || !reader_key_is_valid(key, key_bytes) || !ret_fingerprint))
                return -EINVAL;

        guard = lanemap_guard_enter();
        region = &reader_attachment_get(reader)->region;
        fp = lanemap_shm_fingerprint(region, key, key_bytes);
        *ret_fingerprint = (struct lanemap_reader_fingerprint){
                .uuid = {region->uuid[0], region->uuid[1]},
                .hash = fp.hash,
                .hash_ext = fp.ext,
        };
        lanemap_guard_leave(guard);
        return 0;
}

struct lookup {
        const struct lanemap_reader_fingerprint *print;
        uint32_t *ids;
        size_t capacity;
        size_t *ret_n_ids;
        uint64_t n_retries;
};

static int lookup_try(const struct lanemap_shm_region *region, void *arg)
{
        struct lookup *lookup = arg;
        int r;

        r = fingerprints_judge(lookup->print, 1, region);
        return r != 0 ? r
                      : lanemap_shm_lookup(region, fingerprint_of(lookup->print), lookup->ids,
                                           lookup->capacity, lookup->ret_n_ids, &lookup->n_retries);
}

int lanemap_reader_lookup_fingerprint(struct lanemap_reader *reader,
                                      const struct lanemap_reader_fingerprint *fingerprint,
                                      uint32_t *ids, size_t ids_capacity, size_t *ret_n_ids)
{
        struct lookup lookup = {
                .print = fingerprint, .ids = ids, .capacity = ids_capacity, .ret_n_ids = ret_n_ids};
        const struct lanemap_shm_region *region;
        struct lanemap_guard *guard;
        bool is_answered;
        int r = 0;

        if (LANEMAP_UNLIKELY(!reader || !fingerprint || (!ids && ids_capacity) || !ret_n_ids))
                return -EINVAL;
        if (LANEMAP_UNLIKELY(reader_is_too_old(reader)))
                return -ESTALE;

        guard = lanemap_guard_enter();
        region = &reader_attachment_get(reader)->region;
        is_answered = fingerprint_is_of(fingerprint, region) &&
                      region->hash_key.fingerprint_bits == 64 &&
                      lanemap_shm_lookup_simple(region, fingerprint->hash, ids, ids_capacity,
                                                ret_n_ids, &lookup.n_retries);
        lanemap_guard_leave(guard);
        if (LANEMAP_UNLIKELY(!is_answered))
                r = reader_retry(reader, lookup_try, &lookup);
        if (LANEMAP_UNLIKELY(reader->statistics || lookup.n_retries))
                lanemap_reader_account(reader, 1, lookup.n_retries);
        return r;
}

/* As in lookup.c. */
struct chunk {
        const struct lanemap_reader_fingerprint *prints;
        size_t n_keys;
        uint32_t *ids;
        size_t capacity;
        size_t used;
        struct lanemap_span *spans;
        uint64_t n_retries;
};

static int chunk_try(const struct lanemap_shm_region *region, void *arg)
{
        struct lanemap_fingerprint fps[LANEMAP_SHM_CHUNK_KEYS];
        struct chunk *chunk = arg;
        int r;

        r = fingerprints_judge(chunk->prints, chunk->n_keys, region);
        if (LANEMAP_UNLIKELY(r != 0))
                return r;

        for (size_t i = 0; i < chunk->n_keys; i++)
                fps[i] = fingerprint_of(&chunk->prints[i]);
        return lanemap_shm_lookup_chunk(region, fps, chunk->n_keys, chunk->ids, chunk->capacity,
                                        chunk->used, chunk->spans, &chunk->used, &chunk->n_retries);
}

int lanemap_reader_lookup_fingerprints(struct lanemap_reader *reader,
                                       const struct lanemap_reader_fingerprint *fingerprints,
                                       size_t n_fingerprints, uint32_t *ids, size_t ids_capacity,
                                       struct lanemap_span *ret_spans)
{
        struct chunk chunk = {.ids = ids, .capacity = ids_capacity};
        size_t n_unwritten = 0;
        int r = 0;

        if (!reader || (n_fingerprints && (!fingerprints || !ret_spans)) || (!ids && ids_capacity))
                return -EINVAL;
        if (LANEMAP_UNLIKELY(reader_is_too_old(reader)))
                return -ESTALE;

        for (size_t at = 0; at < n_fingerprints && r == 0; at += LANEMAP_SHM_CHUNK_KEYS) {
                chunk.prints = fingerprints + at;
                chunk.n_keys = LANEMAP_MIN(n_fingerprints - at, (size_t)LANEMAP_SHM_CHUNK_KEYS);
                chunk.spans = ret_spans + at;
                r = reader_retry(reader, chunk_try, &chunk);
        }
        if (LANEMAP_UNLIKELY(reader->statistics || chunk.n_retries))
                lanemap_reader_account(reader, n_fingerprints, chunk.n_retries);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n_fingerprints; i++)
                n_unwritten += ret_spans[i].offset == LANEMAP_SPAN_UNWRITTEN;
        return (int)LANEMAP_MIN(n_unwritten, (size_t)INT_MAX);
}
