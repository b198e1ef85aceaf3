/*
 * What the parts of perf/latency share: who waits for what.
 *
 *   latency (main)   starts lanemapd and redis-server, prints
 *   reply.c          one client: from sending an add to its reply, beside redis-server
 *   visible.c        from sending an add to the moment when another process finds it;
 *                    latency-reader is that process, with liblanemap.so
 *   growth.c         adds into a large index: what they write and cost, and who waits meanwhile
 *   commands.c       who waits beside one long command, and beside clients that never read
 *   probe.c          those who wait: a client that sends PING, and one that reads
 *   talk.c           requests and replies of any size on one connection
 */
#ifndef LANEMAP_PERF_LATENCY_PRIVATE_H
#define LANEMAP_PERF_LATENCY_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/histogram.h"
#include "support/daemon.h"
#include "support/die.h"
#include "support/place.h"
#include "support/table.h"
#include "support/timer.h"

struct latency_options {
        const char *csv, *name, *dir, *lanemapd, *reader, *redis_server, *only;
        const char *appendfsync;  /* of growth and commands */
        uint64_t n_keys;          /* of reply and visible */
        uint64_t n_samples;       /* of the same */
        uint64_t n_growth_keys;   /* in the index before it grows */
        uint64_t n_growth_adds;   /* by how many */
        uint64_t n_commands_keys; /* and ids of the longest posting, of commands */
        uint64_t n_sadd_ids;      /* of one SADD */
        uint64_t n_exec;          /* commands of one EXEC */
        uint64_t n_unread_ids;    /* of the posting that nobody reads */
        uint32_t n_growth_clients, n_growth_pipeline;
        uint32_t quiet_ms; /* a measurement beside nothing, or beside clients that do nothing */
        uint32_t settle_ms;
        bool quick;
        bool first; /* the daemon's first thread runs before all others */
};

/* ---- the measurements ---- */

void latency_measure_reply(const struct latency_options *options, struct perf_table *table);
void latency_measure_visible(const struct latency_options *options, struct perf_table *table);
void latency_measure_growth(const struct latency_options *options, struct perf_table *table);
void latency_measure_commands(const struct latency_options *options, struct perf_table *table);

/* What latency-reader writes to its stdout. Nanoseconds. */
struct latency_seen {
        double visible_p50, visible_p99;
};

/* ---- servers ---- */

struct latency_server {
        struct perf_place place;
        pid_t pid;
        int fd; /* blocking */
};

/* lanemapd, or redis-server; filled with keys 0 .. n_keys - 1. What fails ends the program. */
void latency_server_start(const struct latency_options *options, bool redis,
                          const char *appendfsync, uint64_t n_keys, struct latency_server *server);
void latency_server_stop(struct latency_server *server);

/* A number of LANEMAP.STATS. */
uint64_t latency_server_stat(const struct latency_server *server, const char *name);

/* Returns when flushes and merges have written nothing for options->settle_ms. */
void latency_server_settle(const struct latency_options *options,
                           const struct latency_server *server);

/* ---- probe.c: clients that ask every millisecond, each on a thread of its own ---- */

struct latency_probe {
        const char *name;
        char question[128];
        size_t n_question, n_reply; /* bytes */
        pthread_t thread;
        int fd;
        bool stopping;                  /* atomic */
        bool lost;                      /* the connection was closed; read after the stop */
        struct lanemap_histogram waits; /* nanoseconds; read after the stop */
};

struct latency_probes {
        struct latency_probe ping, read; /* read: SISMEMBER of key 0 */
};

void latency_probes_start(struct latency_probes *probes, const struct perf_place *place);

/* Adds NAME_ping_max, NAME_read_max, and NAME_..._p99, in milliseconds. */
void latency_probes_stop(struct latency_probes *probes, const char *name, struct perf_table *table);

/* ---- talk.c ---- */

struct latency_words {
        char *bytes; /* of malloc; grows */
        size_t n, capacity;
};

void latency_words_add(struct latency_words *words, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

struct latency_answer {
        double seconds;
        uint64_t n_bytes;
        char error[120]; /* the first error among the replies, or why there is none; or empty */
};

/*
 * Sends all words, and a PING after them, and reads until its reply has come; reads while it sends.
 * A connection that the server closes is an answer with an error.
 */
struct latency_answer latency_talk(const struct perf_place *place,
                                   const struct latency_words *words);

#endif
