/*
 * The index under test of nth_call.c: made, compared with a model of it, and searched for what a
 * failed call left behind.
 *
 * One world at a time: what was pushed for the next batch (op_push), and what is being tried
 * (in_hand), which is what wrong() tells, are the program's.
 */
#ifndef LANEMAP_TESTS_NTH_WORLD_H
#define LANEMAP_TESTS_NTH_WORLD_H

#include <inttypes.h>

#include "crash_support.h"
#include "engine.h"
#include "model.h"

#define LONG_IDS 300
#define N_MANY   1500

struct world {
        struct scratch scratch;
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;
        struct model model;
        char other[300]; /* a directory beside it: backups */
};

/* What is being tried. */
extern struct in_hand {
        const char *scenario;
        uint64_t n;
        bool all_later;
        bool with_log;             /* --log */
        const char *failed_before; /* in the try that is now tried again */
} in_hand;

/* why     more of it, or NULL */
_Noreturn void wrong(const char *what, const char *why);

/* A writer with a reader, with segments and overlays. */
void world_init(struct world *world);
/* Closes, opens again (which removes what a failed call left), compares, and takes all away. */
void world_deinit(struct world *world);
void world_compare(struct world *world, const char *when);

int writer_open_try(struct world *world);
int reader_attach_try(struct world *world);

/* One operation more in the next batch. */
void op_push(uint32_t code, const char *kind, uint32_t key, uint32_t id);
/* Applies what was pushed, durably. */
int ops_apply(struct world *world);
/* Tells the model what was applied; what was refused stays pushed. */
void ops_after(struct world *world, int r);
void ops_must(struct world *world);
void request_must(struct world *world, uint32_t request);

/* What a process has: the same before and after. */
struct possessions {
        uint64_t n_fds, n_maps, n_bytes, n_blocks;
};

struct possessions possessions_count(void);
void possessions_compare(const struct possessions *before);
uint64_t directory_count(const char *path, const char *prefix);

#endif
