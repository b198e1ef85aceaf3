/*
 * The legal states of a disk (disk_states.h), moment by moment, each judged once.
 *
 *         state_walk_init(&walk, seed, 1000);
 *         disk_load(&walk.disk, ...);
 *         state_walk_here(&walk, 0, judge);            what may be there now: judge() for each, in
 *         walk.state disk_apply(&walk.disk, event);
 *         state_walk_here(&walk, 0, judge);            and now
 *         state_walk_deinit(&walk);
 *
 * States are told apart by their content, however often they come up; one that comes up again when
 * more had been promised, which `low` says, is judged again.
 */
#ifndef LANEMAP_TESTS_STATE_WALK_H
#define LANEMAP_TESTS_STATE_WALK_H

#include "disk_states.h"

struct state_walk {
        struct disk disk;
        struct disk_state state;
        struct rng rng;
        /* While so few names are undecided: every subset of them. With more: as far as each of them
         * while they are so few, or so many times as far as one of them. And then so many mixtures.
         * These may be changed; 0, 3 and 6 are quick. */
        uint32_t n_subsets, n_prefixes, n_mixtures;
        uint64_t n_seen;

        uint64_t n_slots; /* of an open table */
        uint64_t *hashes;
        uint64_t *lows;
};

/* n_states: that it is meant to get to; there may be some more. */
void state_walk_init(struct state_walk *walk, uint64_t seed, uint64_t n_states);
void state_walk_deinit(struct state_walk *walk);
/* As if none had been judged. */
void state_walk_forget(struct state_walk *walk);

void state_walk_here(struct state_walk *walk, uint64_t low, void (*judge)(void));

#endif
