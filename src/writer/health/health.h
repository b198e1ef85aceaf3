/*
 * Damage of segment files: the scrub and the checks before a merge find it, it is marked and
 * logged, and marked files are no input of a merge. health/damage.h has the rules (D1 to D4).
 */
#ifndef LANEMAP_WRITER_HEALTH_HEALTH_H
#define LANEMAP_WRITER_HEALTH_HEALTH_H

#include "writer/core/engine.h"

/* ---- health/damage.c ---- */

/* Checks the files that a job is about to read. Files that were found sound a moment ago are read
 * only if check_again. Return: 0, WRITER_E_DAMAGED. */
int lanemap_engine_inputs_check(struct lanemap_writer *writer,
                                const struct writer_build_lane *lanes, uint32_t n_lanes,
                                bool check_again);
/* A job met bytes that do not validate: finds their file. Return: WRITER_E_DAMAGED, or -EBADMSG
 * when every file is sound. */
int lanemap_engine_inputs_failed(struct lanemap_writer *writer,
                                 const struct writer_build_lane *lane);

/* ---- health/hits.c ---- */

/* Marks and logs the sections whose guards were hit since the last call (UM5). Without any lock.
 * Cost: one load, where none was hit. */
void lanemap_engine_hits_take(struct lanemap_writer *writer);
/* Finds files that were cut short (UM7). Thread: serve. Cost: one fstatat(2) for each file. */
void lanemap_engine_files_look(struct lanemap_writer *writer);
/* Serves the originals of copies that cannot be read. Return: true if there were any. */
bool lanemap_engine_copies_give_up(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock);

/* ---- health/scrub.c ---- */

void *lanemap_engine_scrub_main(void *writer);

#endif
