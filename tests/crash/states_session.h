/*
 * The recorded process of crash_states.c: a session of the engine, as random as its seed, which
 * sends batches, asks for flushes and compactions, notes what it was told, and ends or is killed.
 *
 * The index is small enough to be read back whole, and its digest is what the history goes by.
 */
#ifndef LANEMAP_TESTS_STATES_SESSION_H
#define LANEMAP_TESTS_STATES_SESSION_H

#include "recording_files.h"
#include "writer/core/hooks.h"

#define STATES_BATCHES_MAX 4096

#define STATES_KEYS 40
#define STATES_IDS  512

/* The index, as far as anybody can ask. */
struct states_model {
        uint64_t ids[STATES_KEYS][STATES_IDS / 64];
        uint64_t mark;
};

uint64_t states_digest(const struct states_model *model); /* never 0 */

/* What every writer of such an index is opened with; name and directory are left out. */
struct lanemap_writer_options states_options(const struct lanemap_writer_hooks *hooks);

/* Reads everything back. Return: false when the engine contradicts itself. */
bool states_read(struct lanemap_writer *writer, struct states_model *model);

/* One more batch, to its end, and what it makes of the model. Return: 0, or what failed. */
int states_go_on(struct lanemap_writer *writer, struct states_model *model, struct rng *rng);

/* faults: some calls of the file layer fail. */
_Noreturn void states_session_main(const struct scratch *scratch, struct recording *recording,
                                   uint64_t seed, bool faults);

#endif
