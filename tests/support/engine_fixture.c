/* See engine_fixture.h. */
#include "engine_fixture.h"

#include <stdio.h>
#include <string.h>

void fixture_init(struct fixture *fixture, const char *what)
{
        *fixture = (struct fixture){0};
        pthread_mutex_init(&fixture->lock, NULL);
        scratch_init(&fixture->scratch, what);
        model_init(&fixture->model);
        engine_options_init(&fixture->options, &fixture->scratch, &fixture->error);
        fixture->options.hooks = &fixture->hooks;
}

void fixture_deinit(struct fixture *fixture)
{
        fixture_detach(fixture);
        fixture_close(fixture);
        model_deinit(&fixture->model);
        scratch_deinit(&fixture->scratch);
        pthread_mutex_destroy(&fixture->lock);
}

void fixture_open(struct fixture *fixture)
{
        int r = lanemap_writer_open(&fixture->options, &fixture->writer);

        cr_assert_eq(r, 0, "%d, %s", r, fixture->error.text);
}

void fixture_close(struct fixture *fixture)
{
        lanemap_writer_close(fixture->writer);
        fixture->writer = NULL;
}

void fixture_attach(struct fixture *fixture, const struct lanemap_reader_options *options)
{
        int r = lanemap_reader_attach(fixture->scratch.name, options, &fixture->reader);

        cr_assert_eq(r, 0, "%d", r);
}

void fixture_detach(struct fixture *fixture)
{
        lanemap_reader_detach(fixture->reader);
        fixture->reader = NULL;
}

static void line_take(void *arg, int priority, const char *line)
{
        struct fixture *fixture = arg;
        size_t n;

        if (priority > fixture->priority)
                return;
        pthread_mutex_lock(&fixture->lock);
        fixture->n_lines++;
        n = strlen(fixture->lines);
        snprintf(fixture->lines + n, sizeof(fixture->lines) - n, "%s\n", line);
        pthread_mutex_unlock(&fixture->lock);
}

void fixture_log(struct fixture *fixture, int priority)
{
        fixture->priority = priority;
        fixture->options.log = line_take;
        fixture->options.log_arg = fixture;
}

void fixture_expect_model(const struct fixture *fixture, const char *when)
{
        char why[512];

        cr_assert(
                engine_matches(fixture->writer, fixture->reader, &fixture->model, why, sizeof(why)),
                "%s: %s", when, why);
}

struct lanemap_writer_stats fixture_stats(const struct fixture *fixture)
{
        struct lanemap_writer_stats stats;

        engine_stats(fixture->writer, &stats);
        return stats;
}
