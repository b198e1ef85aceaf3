/*
 * What the parts of perf/index share.
 *
 *   index (main)    starts the others, adds their numbers up, prints
 *   writer process  this program again, started afresh: holds the engine, obeys requests
 *                   (index_writer.c), so that its memory can be told from the bench's
 *   index-reader    a program of its own, with liblanemap.so: measures lookups (index_reader.c)
 *   lanemapd        for the socket (index_socket.c)
 */
#ifndef LANEMAP_PERF_INDEX_PRIVATE_H
#define LANEMAP_PERF_INDEX_PRIVATE_H

#include <lanemap/writer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "support/die.h"
#include "support/footprint.h"
#include "support/keys.h"
#include "support/place.h"
#include "support/table.h"
#include "support/timer.h"

#define INDEX_BATCH 256 /* operations of one apply */

struct index_options {
        const char *name; /* NULL: made from the process id */
        const char *dir;  /* where a folder for the run is made */
        const char *lanemapd;
        const char *reader;
        enum perf_mix mix;
        FILE *timeline; /* NULL: none */
        bool quick;
        bool churn;
        bool rewrite;
        uint64_t churn_seconds; /* 0: the default */
        bool skip_socket;
        uint64_t adds_max; /* keys of one measurement of add throughput */
        uint64_t pipeline; /* requests on their way through the socket */
};

/* policy: enum lanemap_appendfsync. */
static inline const char *index_policy_name(uint32_t policy)
{
        static const char *const names[] = {"always", "everysec", "no"};

        return names[policy];
}

/* ---- the writer process ---- */

enum index_writer_code {
        INDEX_WRITER_OPEN = 1, /* a: appendfsync */
        INDEX_WRITER_LOAD,     /* a: first key, b: keys; ends when the adds are applied */
        INDEX_WRITER_LOAD_ACK, /* the same, waiting for durability after each apply */
        INDEX_WRITER_SYNC,     /* everything applied is durable */
        INDEX_WRITER_ACK,      /* everything applied may be acknowledged under the policy */
        INDEX_WRITER_COMPACT,
        INDEX_WRITER_STATS,
        INDEX_WRITER_CHURN_START, /* a: keys in the index, b: keys replaced a second */
        INDEX_WRITER_CHURN_STOP,
        INDEX_WRITER_REWRITE_START, /* a: keys in the index; all segments anew, again and again */
        INDEX_WRITER_REWRITE_STOP,  /* when the one under way is done */
        INDEX_WRITER_CLOSE,
};

struct index_writer_reply {
        double seconds; /* of the engine's work alone */
        uint64_t n;     /* operations applied; keys replaced, or rewrites done, so far */
        struct lanemap_writer_stats stats;
};

struct index_writer {
        pid_t pid;
        int fd;
        uint64_t anonymous_bytes; /* before the index was opened */
};

/* What the writer process runs: argv is {"index-writer", fd, name, directory, mix}. */
int index_writer_main(char **argv);

/* Starts the process. Whatever fails in there ends the run with a sentence on stderr. */
void index_writer_start(struct index_writer *writer, const struct perf_place *place,
                        enum perf_mix mix);
struct index_writer_reply index_writer_ask(struct index_writer *writer, uint32_t code, uint64_t a,
                                           uint64_t b);
/* Closes the index, ends the process. Return: how long the close took. */
double index_writer_stop(struct index_writer *writer);
void index_writer_kill(struct index_writer *writer);

/* ---- the measurements ---- */

/* Everything about one index of n_keys keys. */
void index_measure(const struct index_options *options, uint64_t n_keys, struct perf_table *table);

void index_measure_adds(const struct index_options *options, uint64_t n_keys,
                        struct perf_table *table);
void index_measure_socket(const struct index_options *options, uint64_t n_keys,
                          struct perf_table *table);
void index_measure_tenant(const struct index_options *options, struct perf_table *table);

/* ---- helpers ---- */

/* Memory of everything, without what the writer process had before. */
struct index_memory {
        struct perf_footprint footprint;
        uint64_t private_bytes;
        uint64_t memory_bytes;
        uint64_t disk_bytes;
};
struct index_memory index_memory_take(const struct perf_place *place,
                                      const struct index_writer *writer);

#endif
