/* See state_walk.h. */
#include "state_walk.h"

#include <string.h>

#include "common/base.h"

#define MORE_STATES 4096 /* than it is meant to get to: of the last moment */

void state_walk_init(struct state_walk *walk, uint64_t seed, uint64_t n_states)
{
        memset(walk, 0, sizeof(*walk));
        rng_init(&walk->rng, seed);
        walk->n_prefixes = 3;
        walk->n_mixtures = 6;
        walk->n_slots = 2 * n_states + MORE_STATES;
        walk->hashes = calloc(walk->n_slots, sizeof(*walk->hashes));
        walk->lows = calloc(walk->n_slots, sizeof(*walk->lows));
        must(walk->hashes && walk->lows);
}

void state_walk_deinit(struct state_walk *walk)
{
        disk_reset(&walk->disk);
        disk_state_deinit(&walk->state);
        free(walk->hashes);
        free(walk->lows);
}

void state_walk_forget(struct state_walk *walk)
{
        memset(walk->hashes, 0, walk->n_slots * sizeof(*walk->hashes));
        walk->n_seen = 0;
}

/* Return: whether it is to be judged. */
static bool seen_add(struct state_walk *walk, uint64_t hash, uint64_t low)
{
        uint64_t at = hash % walk->n_slots;

        while (walk->hashes[at] && walk->hashes[at] != hash)
                at = (at + 1) % walk->n_slots;
        if (walk->hashes[at] && walk->lows[at] >= low)
                return false;

        must(walk->n_seen < walk->n_slots - walk->n_slots / 4);
        walk->n_seen += !walk->hashes[at];
        walk->hashes[at] = hash;
        walk->lows[at] = low;
        return true;
}

static void state_try(struct state_walk *walk, struct disk_choice choice, uint64_t low,
                      void (*judge)(void))
{
        disk_state_make(&walk->disk, &choice, &walk->rng, &walk->state);
        if (seen_add(walk, walk->state.hash, low))
                judge();
}

/* With nothing and with all of the bytes that are undecided. */
static void names_try(struct state_walk *walk, struct disk_choice choice, uint64_t low,
                      void (*judge)(void))
{
        choice.sectors_of_1024 = 0;
        state_try(walk, choice, low, judge);
        choice.sectors_of_1024 = 1024;
        state_try(walk, choice, low, judge);
}

static void prefixes_try(struct state_walk *walk, uint64_t low, void (*judge)(void))
{
        uint32_t n_names = walk->disk.n_pending_names;

        for (uint32_t n = 0; n <= LANEMAP_MIN(n_names, walk->n_prefixes); n++) {
                struct disk_choice choice = {.names_prefix = n};

                if (n_names > walk->n_prefixes)
                        choice.names_prefix = (uint32_t)rng_below(&walk->rng, n_names + 1);
                names_try(walk, choice, low, judge);
        }
}

void state_walk_here(struct state_walk *walk, uint64_t low, void (*judge)(void))
{
        uint32_t n_names = walk->disk.n_pending_names;

        if (disk_n_undecided(&walk->disk) == 0) {
                state_try(walk, (struct disk_choice){0}, low, judge);
                return;
        }

        if (n_names <= walk->n_subsets)
                for (uint64_t subset = 0; subset < UINT64_C(1) << n_names; subset++)
                        names_try(walk, (struct disk_choice){.names_besides = subset}, low, judge);
        else
                prefixes_try(walk, low, judge);
        for (uint32_t i = 0; i < walk->n_mixtures; i++)
                state_try(walk,
                          (struct disk_choice){
                                  .names_prefix = i % 3 == 0 ? n_names : UINT32_MAX,
                                  .names_of_1024 = (uint32_t)rng_below(&walk->rng, 1025),
                                  .sectors_of_1024 = (uint32_t)rng_below(&walk->rng, 1025),
                                  .torn = i % 2,
                          },
                          low, judge);
}
