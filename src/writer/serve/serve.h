/*
 * The serve thread: it warms segment files, copies them to a tmpfs, locks them in memory. No lookup
 * waits for it.
 */
#ifndef LANEMAP_WRITER_SERVE_SERVE_H
#define LANEMAP_WRITER_SERVE_SERVE_H

#include "writer/core/engine.h"

/* ---- serve/copy.c ---- */

/* Finds the directory for copies, before anything is written; then makes the index's own in it,
 * when the uuid is known. Return: 0, or a negative errno, explained in options.error. */
int lanemap_engine_copies_find(struct lanemap_writer *writer);
int lanemap_engine_copies_init(struct lanemap_writer *writer);
/* Thread: serve. The file is held. */
void lanemap_engine_copies_begin(struct lanemap_writer *writer);
int lanemap_engine_copy_make(struct lanemap_writer *writer, struct writer_file *file);
void lanemap_engine_original_drop(struct lanemap_writer *writer, struct writer_file *file);

/* ---- serve/pin.c ---- */

void lanemap_engine_memory_lock(struct lanemap_writer *writer);

/* ---- serve/serve.c ---- */

void *lanemap_engine_serve_main(void *writer);
void lanemap_engine_serve_stop(struct lanemap_writer *writer);
void lanemap_engine_serve_deinit(struct lanemap_writer *writer);
void lanemap_engine_serve_count(struct lanemap_writer *writer, struct lanemap_writer_stats *stats)
        LANEMAP_REQUIRES(writer->lanes.lock);

#endif
