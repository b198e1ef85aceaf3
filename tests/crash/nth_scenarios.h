/*
 * The operations that nth_call.c tries: what has to be there before each, the call itself, and what
 * a caller would clean up behind it.
 */
#ifndef LANEMAP_TESTS_NTH_SCENARIOS_H
#define LANEMAP_TESTS_NTH_SCENARIOS_H

#include "nth_world.h"

struct scenario {
        const char *name;
        /* Behind a writer with a reader, with segments and overlays. May be NULL. */
        void (*prepare)(struct world *world);
        int (*act)(struct world *world);
        /* After it has failed or not, with nothing failing any more: what it left is cleaned up as
         * a caller would, before it is tried again. May be NULL. */
        void (*after)(struct world *world, int r);
};

extern const struct scenario scenarios[];
extern const size_t n_scenarios;

/* A disk that does not give a segment file back: verify names it, with the keys that are affected,
 * nothing is made out of it, and lookups go on; a successor that can read it has all. */
extern const char unreadable_name[];
void unreadable_try(void);

#endif
