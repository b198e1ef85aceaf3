/*
 * What the parts of perf/outage share.
 *
 *   outage (main)    holds the engine, or has a lanemapd; makes the trouble, measures
 *   outage-reader    a program of its own, with liblanemap.so: looks up all the time
 *
 * They share one page of counters per reader (struct outage_slot), in a file that readers inherit
 * as a descriptor. Keys 0 .. n_keys - 1 of a place never change, so each answer is known; whatever
 * else is added is beyond them.
 */
#ifndef LANEMAP_PERF_OUTAGE_PRIVATE_H
#define LANEMAP_PERF_OUTAGE_PRIVATE_H

#include <lanemap/writer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "support/die.h"
#include "support/engine.h"
#include "support/keys.h"
#include "support/place.h"
#include "support/windows.h"
#include "support/table.h"
#include "support/timer.h"

#define OUTAGE_READERS_MAX 256
#define OUTAGE_ROUNDS_MAX  16
#define OUTAGE_EVENTS_MAX  64
#define OUTAGE_SLOTS_FD    3 /* what readers inherit the slots as */

/* Written by one reader with relaxed stores; the bench only asks, with `reset` and `reattach`. */
struct outage_slot {
        uint64_t n_lookups; /* answered */
        uint64_t n_failed;
        uint64_t n_wrong;
        uint64_t generation;     /* that answered last */
        uint64_t generation_ns;  /* when it first did */
        uint64_t follow_cpu_ns;  /* processor time of the lookup that got it */
        uint64_t longest_gap_ns; /* between two answers */
        uint64_t reattach_ns;
        uint64_t reattach_cpu_ns;
        uint64_t reset;    /* the longest gap starts again */
        uint64_t reattach; /* what a re-attachment costs is wanted; 0 again when it is there */
        uint64_t padding[5];
};

struct outage_options {
        const char *name; /* NULL: made from the process id */
        const char *dir;
        const char *lanemapd;
        const char *reader;
        bool quick;
        uint32_t n_readers;
        uint32_t n_rounds; /* of phases of adds */
        double seconds;    /* of adds through one path */
        const char *only;  /* what the name of a path has to begin with */
        uint32_t n_events; /* kills, restarts, flips of one size */
        uint64_t memory_limit;
};

struct outage_readers {
        const struct outage_options *options;
        const struct perf_place *place;
        uint64_t n_keys;
        int fd;
        struct outage_slot *slots; /* OUTAGE_READERS_MAX */
        uint32_t n;
        pid_t pids[OUTAGE_READERS_MAX];
};

/* outage_readers.c: the other processes */
void outage_readers_init(struct outage_readers *readers, const struct outage_options *options,
                         const struct perf_place *place, uint64_t n_keys);
/* One more, attached and answered, that goes on; on the processor that is kept for measuring. */
void outage_readers_start(struct outage_readers *readers);
/* n more, each attached and answered, and stopped in the midst of its lookups. One after the other:
 * those that look up would keep the rest from starting. */
void outage_readers_start_stopped(struct outage_readers *readers, uint32_t n);
void outage_readers_continue(struct outage_readers *readers);
void outage_readers_kill(struct outage_readers *readers);
void outage_readers_deinit(struct outage_readers *readers);

/* outage_adds.c, outage_memory.c, outage_takeover.c: the parts */
void outage_measure_adds(const struct outage_options *options, struct perf_table *table);
void outage_measure_memory(const struct outage_options *options, struct perf_table *table);
void outage_measure_takeover(const struct outage_options *options, uint64_t n_keys,
                             struct perf_table *table);

#endif
