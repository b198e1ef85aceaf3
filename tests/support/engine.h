/*
 * The engine for tests: thresholds so small that everything happens within a second, and the
 * comparison of all of it with the model.
 */
#ifndef LANEMAP_TESTS_ENGINE_H
#define LANEMAP_TESTS_ENGINE_H

#include <lanemap/writer.h>

#include "model.h"
#include "scratch.h"

/* Flushes at 16 KiB, log files of 64 KiB, 4 lanes, 256 MiB of shared memory at most. error may be
 * NULL. What is not to a test's taste it changes afterwards. */
void engine_options_init(struct lanemap_writer_options *options, const struct scratch *scratch,
                         struct lanemap_error *error);

/* Apply, and wait until it is durable. Return: 0 or what failed. */
int engine_apply_durably(struct lanemap_writer *writer, const struct lanemap_op *ops, size_t n_ops);
int engine_add(struct lanemap_writer *writer, const char *key, uint32_t id);
int engine_remove(struct lanemap_writer *writer, const char *key, uint32_t id);

/* Start a request and wait for its end. */
int engine_request(struct lanemap_writer *writer, uint32_t request);

void engine_stats(struct lanemap_writer *writer, struct lanemap_writer_stats *ret_stats);

/*
 * Runs fn in a process of its own, which ends without closing anything: a crash, as far as the
 * engine can tell. No other thread may be running here.
 *
 * Return: what fn answered, 0 .. 255, or -EINTR when a signal ended it.
 */
int engine_crash_after(int (*fn)(void *arg), void *arg);

/* Writes lines to stderr: for options->log. */
void engine_log_stderr(void *arg, int priority, const char *line);

/*
 * Compare everything: each key that the model has ever used, through every kind of lookup, counts,
 * ids, mark, iteration. reader may be NULL. Nobody may be applying.
 *
 * Return: true when all agrees; otherwise what does not, in words.
 */
bool engine_matches(struct lanemap_writer *writer, struct lanemap_reader *reader,
                    const struct model *model, char *ret_why, size_t why_bytes);
/* One key. */
bool engine_key_matches(struct lanemap_writer *writer, struct lanemap_reader *reader,
                        const struct model *model, const void *key, size_t key_bytes, char *ret_why,
                        size_t why_bytes);

#endif
