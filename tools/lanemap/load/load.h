/*
 * Where `lanemap load` sends routes: a running writer's socket, or the engine on a directory.
 *
 * add() may keep routes back to send many at once; finish() sends the rest and waits until all of
 * them are durable. A line that the target refuses is said and counted in n_refused, and loading
 * goes on; anything else ends it: add() or finish() answers a negative errno after saying what
 * happened and up to which line the routes are known to be in.
 */
#ifndef LANEMAP_TOOLS_LOAD_H
#define LANEMAP_TOOLS_LOAD_H

#include "text.h"

/* Refused lines that are reported one by one. */
#define LANEMAP_LOAD_COMPLAINTS_MAX 20

struct lanemap_load_target {
        int (*add)(struct lanemap_load_target *target, uint64_t line, struct lanemap_slice key,
                   const uint32_t *ids, size_t n_ids);
        int (*finish)(struct lanemap_load_target *target);
        void (*close)(struct lanemap_load_target *target);
        uint64_t n_new;     /* pairs that were not there before */
        uint64_t n_refused; /* lines */
};

/* Both say what is wrong and answer a negative errno when they cannot. Owner: target->close(). */
int lanemap_load_socket_open(const char *path, struct lanemap_load_target **ret_target);

/* One command to the writer that listens there, and a descriptor with it unless fd is -1; its
 * answer is +OK, or told on stderr. Return: 0 or a negative errno after saying what is wrong. */
int lanemap_load_socket_command(const char *path, const char **words, int n_words, int fd);

/* LANEMAP.STATS of the writer that listens there, one call for each value: text, or (NULL) a
 * number. Return: 0 or a negative errno after saying what is wrong. */
int lanemap_load_socket_stats(const char *path,
                              void (*fn)(void *arg, const char *name, const char *text,
                                         int64_t number),
                              void *arg);

/* name: what to publish as meanwhile; NULL: nothing that stays. */
int lanemap_load_engine_open(const char *directory, const char *name,
                             struct lanemap_load_target **ret_target);

/* "line N: ..." unless that has been said often enough; counts it. */
void lanemap_load_refuse(struct lanemap_load_target *target, uint64_t line, const char *format, ...)
        LANEMAP_PRINTF(3, 4);

#endif
