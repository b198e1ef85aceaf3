/*
 * Shared memory comes back by itself (GB1): counted bytes, and a clock that is passed in. A minute
 * is four windows.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "support/engine_fixture.h"
#include "support/still_clock.h"
#include "writer/core/core.h"

TestSuite(writer_give_back, .timeout = 120);

#define SECOND_NS UINT64_C(1000000000)
#define WINDOW_NS (15 * SECOND_NS)
#define MANY      524288

static struct still_clock the_clock;
static struct lanemap_op ops[MANY];
static char keys[MANY][16];

static void pause_ms(long ms)
{
        struct timespec pause = {.tv_nsec = ms * 1000 * 1000};

        nanosleep(&pause, NULL);
}

/* The flusher has begun a window at the present time. */
static void window_wait(struct fixture *fixture)
{
        uint64_t now_ns = lanemap_load_relaxed(&the_clock.now_ns);

        for (int i = 0; i < 3000; i++) {
                if (lanemap_load_relaxed(&fixture->writer->slack.since_ns) == now_ns)
                        return;
                lanemap_engine_flusher_signal(fixture->writer);
                pause_ms(5);
        }
        cr_assert(false, "the flusher does not look");
}

static void window_pass(struct fixture *fixture)
{
        still_clock_advance(&the_clock, WINDOW_NS);
        window_wait(fixture);
}

/* flush_bytes: as the option; 0: flushes by themselves. */
static void index_open(struct fixture *fixture, uint64_t flush_bytes)
{
        still_clock_init(&the_clock, 1000 * SECOND_NS);
        fixture_init(fixture, "slack");
        fixture->hooks.clock = &the_clock.clock;
        fixture->options.n_lanes = 64;
        fixture->options.flush_bytes = flush_bytes;
        fixture->options.log_file_bytes = 0;
        fixture->options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        fixture_open(fixture);
        fixture_attach(fixture, NULL);
        window_wait(fixture);
}

static uint64_t shared_bytes(const struct fixture *fixture)
{
        return fixture_stats(fixture).shared_bytes;
}

static void apply(struct fixture *fixture, uint32_t n)
{
        cr_assert_eq(lanemap_writer_apply(fixture->writer, ops, n, NULL, NULL, NULL), 0);
        for (uint32_t i = 0; i < n; i++)
                (void)model_apply(&fixture->model, &ops[i]);
}

static void keys_add(struct fixture *fixture, uint32_t first, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++) {
                int bytes = snprintf(keys[i], sizeof(keys[i]), "k%" PRIu32, first + i);

                ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, i, keys[i], (size_t)bytes};
        }
        apply(fixture, n);
}

/* Ids of one key. */
static void ids_add(struct fixture *fixture, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++)
                ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, i * 7, "many", 4};
        apply(fixture, n);
}

static void expect_back_within_a_minute(struct fixture *fixture, uint64_t fresh)
{
        cr_assert_gt(shared_bytes(fixture), 4 * fresh, "%" PRIu64, shared_bytes(fixture));
        for (int i = 0; i < 4; i++)
                window_pass(fixture);
        cr_expect_leq(shared_bytes(fixture), fresh + fresh / 2,
                      "%" PRIu64 " of %" PRIu64 " fresh ones", shared_bytes(fixture), fresh);
        fixture_expect_model(fixture, "a minute later");
}

Test(writer_give_back, after_a_command_of_many_ids)
{
        struct fixture fixture;
        uint64_t fresh;

        index_open(&fixture, 0);
        fresh = shared_bytes(&fixture);
        for (uint32_t i = 0; i < MANY; i++)
                ops[i] = (struct lanemap_op){LANEMAP_OP_ADD | LANEMAP_OP_WITH_NEXT, 2 * i, "long",
                                             4};
        apply(&fixture, MANY);
        expect_back_within_a_minute(&fixture, fresh);
        fixture_deinit(&fixture);
}

Test(writer_give_back, after_a_clear)
{
        struct lanemap_op clear = {.code = LANEMAP_OP_CLEAR};
        struct fixture fixture;
        uint64_t fresh;

        index_open(&fixture, 0);
        fresh = shared_bytes(&fixture);
        keys_add(&fixture, 0, 20000);
        ops[0] = clear;
        apply(&fixture, 1);
        expect_back_within_a_minute(&fixture, fresh);
        fixture_deinit(&fixture);
}

/* A writer that uses its memory again and again keeps it: for a posting that comes and goes, which
 * is far more than what depends on how fast retired memory is used again. */
Test(writer_give_back, not_while_it_is_needed)
{
        struct fixture fixture;
        uint64_t n_flips = 0;

        /* No apply is slowed down: this clock would never end the delay. */
        index_open(&fixture, UINT64_C(1) << 30);
        for (uint32_t window = 0; window < 12; window++) {
                ids_add(&fixture, 200000);
                ops[0] = (struct lanemap_op){LANEMAP_OP_DELETE, 0, "many", 4};
                apply(&fixture, 1);
                still_clock_advance(&the_clock, SECOND_NS); /* its memory is used again */
                keys_add(&fixture, window * 4000, 4000);
                cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
                if (window == 5)
                        n_flips = fixture_stats(&fixture).n_generation_flips;
                window_pass(&fixture);
        }
        cr_expect_eq(fixture_stats(&fixture).n_generation_flips, n_flips);
        fixture_expect_model(&fixture, "busy");
        fixture_deinit(&fixture);
}
