/*
 * Keys whose every state says which one it is, so that any answer can be judged without a lock.
 *
 * A key goes through numbered versions, each one operation away from the last:
 *
 *      ADD i, ADD i+1, ... up to M ids, then REMOVE the oldest one by one, or one DELETE
 *
 * and starts over with other ids: cycle c uses c * M .. c * M + M - 1. So every set of ids but the
 * empty one belongs to exactly one version, and one that is no contiguous run belongs to none: it
 * was torn. Versions 0, 0 ids, is how every key begins.
 */
#ifndef LANEMAP_TESTS_VERSIONS_H
#define LANEMAP_TESTS_VERSIONS_H

#include <lanemap/writer.h>

#include "crash_support.h"

#define VERSIONS_IDS_MAX   800
#define VERSIONS_KEY_BYTES 24

/* How many ids the key gets to: mostly few, sometimes enough for a tree. */
uint32_t versions_ids_max(uint32_t key);
size_t versions_key(uint32_t key, char *ret_text);

/* The operation that makes `version` of `version - 1`; ->key is left alone. */
struct lanemap_op versions_op(uint32_t key, uint64_t version);

/* The ids of a version: ret_first .. ret_first + the answer - 1. */
uint32_t versions_ids(uint32_t key, uint64_t version, uint32_t *ret_first);

/* Whether these ids are those of a version in low .. high; which one. */
bool versions_judge(uint32_t key, const uint32_t *ids, size_t n_ids, uint64_t low, uint64_t high,
                    uint64_t *ret_version);

/* Whether `contains` may have been the answer for the id in low .. high. */
bool versions_judge_contains(uint32_t key, uint32_t id, bool contains, uint64_t low, uint64_t high);

#endif
