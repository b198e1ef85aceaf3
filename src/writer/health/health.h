/* Damage: found, marked, logged, kept out of merges. */
#ifndef LANEMAP_WRITER_HEALTH_HEALTH_H
#define LANEMAP_WRITER_HEALTH_HEALTH_H

#include "writer/core/engine.h"

/* ---- health/damage.c ---- */

/* Return: whether the files that a job is about to read are what was written; those that were found sound
 * a moment ago are believed unless even_fresh. Return: 0, WRITER_E_DAMAGED. */
int lanemap_engine_inputs_check(struct lanemap_writer *writer,
                                const struct writer_build_lane *lanes, uint32_t n_lanes,
                                bool even_fresh);
/* A job met bytes that do not validate. Return: WRITER_E_DAMAGED, or -EBADMSG when no file is to
 * blame. */
int lanemap_engine_inputs_failed(struct lanemap_writer *writer,
                                 const struct writer_build_lane *lane);

/* ---- health/hits.c ---- */

/* U5, without any lock: what guards were hit since the last call is found and told. Cost: one load,
 * where none was. */
void lanemap_engine_hits_take(struct lanemap_writer *writer);
/* U7, of the serve thread: a call of fstatat(2) for each file. */
void lanemap_engine_files_look(struct lanemap_writer *writer);
/* Under lock: serves the originals of copies that cannot be read. Return: whether there were any. */
bool lanemap_engine_copies_give_up(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* ---- health/scrub.c ---- */

void *lanemap_engine_scrub_main(void *writer);

#endif
