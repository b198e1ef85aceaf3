/*
 * An index for a unit test: a scratch place, the model of it, a writer and a reader. Without
 * Criterion use engine.h. A step that fails ends the test.
 *
 *         struct fixture fixture;
 *
 *         fixture_init(&fixture, "flip");
 *         fixture.options.n_lanes = 1;
 *         fixture_open(&fixture);
 *         fixture_attach(&fixture, NULL);
 *         ...
 *         fixture_deinit(&fixture);
 */
#ifndef LANEMAP_TESTS_ENGINE_FIXTURE_H
#define LANEMAP_TESTS_ENGINE_FIXTURE_H

#include <criterion/criterion.h>
#include <pthread.h>

#include "engine.h"
#include "writer/core/hooks.h"

struct fixture {
        struct scratch scratch;
        struct model model; /* empty until the test applies to it what it applies to the writer */
        struct lanemap_writer_options options; /* of engine_options_init() */
        struct lanemap_writer_hooks hooks;     /* the options name them */
        struct lanemap_error error;
        struct lanemap_writer *writer; /* NULL: none is open */
        struct lanemap_reader *reader; /* NULL: none is attached */

        pthread_mutex_t lock; /* guards lines and n_lines while a writer is open */
        int priority;
        uint32_t n_lines;
        char lines[4096]; /* see fixture_log() */
};

/* what     as of scratch_init() */
void fixture_init(struct fixture *fixture, const char *what);
/* Detaches and closes where that is not done. */
void fixture_deinit(struct fixture *fixture);

void fixture_open(struct fixture *fixture);
void fixture_close(struct fixture *fixture);
void fixture_attach(struct fixture *fixture, const struct lanemap_reader_options *options);
void fixture_detach(struct fixture *fixture);

/* Keep the lines of the writer that are of this priority or more urgent. Call before opening. */
void fixture_log(struct fixture *fixture, int priority);

/* The writer, and the reader where there is one, say what the model says. */
void fixture_expect_model(const struct fixture *fixture, const char *when);
struct lanemap_writer_stats fixture_stats(const struct fixture *fixture);

#endif
