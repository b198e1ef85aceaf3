/*
 * The keys of a benchmark, and what they map to: pure functions of a key's number, so that a writer
 * and its readers agree on millions of routes without telling each other anything.
 *
 * Mix `single`: `<field>=<decimal>` and `<field>=<hex>`, 13 to 40 bytes, one random 32-bit id each
 * (the most expensive kind of id). Mix `production`: `<schema.table.column>=<uuid>`, one id, but
 * every fiftieth key has 2 to 50 and one in 200,000 has 10,000. Numbers from PERF_KEYS_ABSENT on
 * are never added: keys of the same shape that miss.
 */
#ifndef LANEMAP_PERF_KEYS_H
#define LANEMAP_PERF_KEYS_H

#include <stddef.h>
#include <stdint.h>

#include "common/option.h"

#define PERF_KEY_BYTES_MAX 72
#define PERF_KEY_IDS_MAX   10000
#define PERF_KEYS_ABSENT   (UINT64_C(1) << 48)

enum perf_mix {
        PERF_MIX_SINGLE = 0,
        PERF_MIX_PRODUCTION = 1,
};

/* The ids of a key: first, first + stride, ... */
struct perf_route {
        uint32_t n_ids;
        uint32_t first;
        uint32_t stride;
};

/* The finaliser of splitmix64: a bijection, so different numbers give different keys. */
static inline uint64_t perf_mix64(uint64_t x)
{
        x += UINT64_C(0x9e3779b97f4a7c15);
        x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
        return x ^ x >> 31;
}

/* Writes the text of a key, at most PERF_KEY_BYTES_MAX bytes, not terminated. Return: its length.
 */
size_t perf_key_text(enum perf_mix mix, uint64_t number, char *text);

struct perf_route perf_key_route(enum perf_mix mix, uint64_t number);

static inline uint32_t perf_route_id(const struct perf_route *route, uint32_t i)
{
        return route->first + i * route->stride;
}

extern const struct lanemap_choice perf_mix_choices[];

#endif
