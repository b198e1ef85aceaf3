/*
 * The engine's life: open with recovery and replay, close, the flusher and watch threads; requests,
 * backup and statistics of callers.
 */
#ifndef LANEMAP_WRITER_LIFE_LIFE_H
#define LANEMAP_WRITER_LIFE_LIFE_H

#include "writer/core/engine.h"

/* ---- life/close.c ---- */

/* Frees an engine in any state, without a flush. */
void lanemap_engine_abandon(struct lanemap_writer *writer);

/* ---- life/flusher.c ---- */

void *lanemap_engine_flusher_main(void *writer);

/* ---- life/new.c ---- */

/* *ret_writer is set as soon as there is something to abandon, also on failure. */
int lanemap_engine_new(const struct lanemap_writer_options *options,
                       struct lanemap_writer **ret_writer);

/* ---- life/owner.c ---- */

/* Explains r in options.error, if another user's file is the reason. */
void lanemap_engine_owner_explain(const struct lanemap_writer *writer, int r);

/* ---- life/recover.c ---- */

int lanemap_engine_identity_load(struct lanemap_writer *writer, struct lanemap_manifest *manifest);
int lanemap_engine_segments_load(struct lanemap_writer *writer,
                                 const struct lanemap_manifest *manifest);
int lanemap_engine_log_load(struct lanemap_writer *writer, const struct lanemap_manifest *manifest);

/* ---- life/replay.c ---- */

/* Between the two the log is replayed, record by record, by the third. Return: 0 or a negative
 * errno. */
int lanemap_engine_replay_begin(struct lanemap_writer *writer);
int lanemap_engine_replay_end(struct lanemap_writer *writer);
int lanemap_engine_replay(void *writer, uint64_t seq, const struct lanemap_log_op *ops,
                          size_t n_ops);

/* ---- life/request.c ---- */

void lanemap_engine_requests_serve(struct lanemap_writer *writer);
void lanemap_engine_requests_free(struct lanemap_writer *writer);

/* ---- life/watch.c ---- */

int lanemap_engine_watch_start(struct lanemap_writer *writer);
void lanemap_engine_watch_stop(struct lanemap_writer *writer);
/* Notes that the control object under the name is the writer's. */
void lanemap_engine_watch_control(struct lanemap_writer *writer);

#endif
