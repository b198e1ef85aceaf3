/* What the parts of perf/postings share: encodings of lists of ids, one beside the other. */
#ifndef LANEMAP_PERF_POSTINGS_PRIVATE_H
#define LANEMAP_PERF_POSTINGS_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support/die.h"

/* An encoded list, aligned to 32 bytes and with 64 bytes of zeros behind it. */
struct postings_list {
        const unsigned char *bytes;
        size_t n_bytes;
        uint32_t n_ids;
};

struct postings_format {
        const char *name;
        /* Room: 16 bytes an id and 256 more. Return: bytes. */
        size_t (*encode)(const uint32_t *ids, uint32_t n_ids, unsigned char *bytes);
        void (*decode)(const struct postings_list *list, uint32_t *ret_ids);
        bool (*contains)(const struct postings_list *list, uint32_t id);
        /* All ids of both; scratch has room for the ids of both. Return: how many. */
        uint32_t (*unite)(const struct postings_list *a, const struct postings_list *b,
                          uint32_t *scratch, uint32_t *ret_ids);
};

/* Ends with one whose name is NULL. What was found when this was built. */
extern const struct postings_format postings_formats[];

#endif
