/*
 * What the processes of the storm share, in anonymous memory.
 *
 * For each key: `started` is the version that the writer is about to publish, `finished` the last
 * one that it has published, `durable` the last one that no crash undoes. A reader takes `finished`
 * before its lookup and `started` behind it; the answer must be a version between the two.
 *
 * When a writer is killed, what was finished may be undone down to `durable`. The era is odd from
 * before the kill until the successor has told what came back; an answer from or across an odd era
 * is judged by `durable` and by the highest version ever started.
 */
#ifndef LANEMAP_TESTS_STORM_H
#define LANEMAP_TESTS_STORM_H

#include "common/order.h"
#include "versions.h"

#define STORM_KEYS        20000
#define STORM_READERS_MAX 64

/* A run with fewer proved nothing. */
#define STORM_MERGES_LEAST 5

struct storm_key {
        uint64_t started;
        uint64_t finished;
        uint64_t durable;
        uint64_t highest; /* ever started */
};

struct storm_writer_counts {
        uint64_t n_operations, n_flushes, n_merges, n_growths, n_flips, n_takeovers;
};

struct storm_reader_counts {
        uint64_t n_lookups, n_long, n_strict, n_retries, n_again, n_reattachments, n_attaches,
                n_forks, n_views, n_views_void;
};

struct storm {
        struct scratch scratch;
        bool immediate_reuse;
        uint64_t quarantine_ns; /* 0: the default */
        bool views;             /* most lookups are views, and take their time */
        uint32_t stop;          /* readers end */
        uint32_t stop_writer;
        uint32_t hurry; /* the writer asks for merges and flips whenever it can */
        uint32_t era;
        uint32_t n_wrong;
        char wrong[256];                   /* the first */
        struct storm_writer_counts writer; /* of all writers */
        struct storm_reader_counts readers;
        struct storm_key keys[STORM_KEYS];
};

_Noreturn void storm_writer_main(struct storm *storm, uint64_t seed);
_Noreturn void storm_reader_main(struct storm *storm, uint64_t seed);

void storm_wrong(struct storm *storm, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

#endif
