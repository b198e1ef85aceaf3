/* A lane that nobody changes for ten seconds becomes one segment: not sooner, also after a
 * restart. */
#include <criterion/criterion.h>
#include <time.h>

#include "damage.h"
#include "support/engine_fixture.h"
#include "support/still_clock.h"
#include "writer/core/engine.h"

#define SECOND_NS UINT64_C(1000000000)

TestSuite(writer_settle, .timeout = 120);

/* A later request is served after what the flusher does behind an earlier one. */
static void flusher_look(struct fixture *fixture)
{
        for (int i = 0; i < 2; i++)
                cr_assert_eq(engine_request(fixture->writer, LANEMAP_REQUEST_FLUSH), 0);
}

static void lanes_count(struct fixture *fixture, uint32_t *ret_n_wanted, uint32_t *ret_n_single)
{
        struct lanemap_writer *writer = fixture->writer;

        *ret_n_wanted = *ret_n_single = 0;
        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                *ret_n_wanted += writer->lanes.items[i].compact_wanted;
                *ret_n_single += writer->lanes.items[i].n_segments == 1;
        }
        lanemap_mutex_unlock(&writer->lanes.lock);
}

static void expect_untouched(struct fixture *fixture)
{
        uint32_t n_wanted, n_single;

        flusher_look(fixture);
        lanes_count(fixture, &n_wanted, &n_single);
        cr_expect_eq(n_wanted, 0, "%u lanes are to be merged", n_wanted);
        cr_expect_eq(n_single, 0, "%u lanes were merged", n_single);
}

static bool becomes_single(struct fixture *fixture)
{
        struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
        uint32_t n_wanted, n_single = 0;

        for (uint32_t i = 0; i < 60 * 200 && n_single < DAMAGE_LANES; i++) {
                nanosleep(&pause, NULL);
                lanes_count(fixture, &n_wanted, &n_single);
        }
        return n_single == DAMAGE_LANES;
}

Test(writer_settle, a_restart_is_no_reason_to_rewrite_the_index)
{
        struct still_clock clock;
        struct fixture fixture;

        fixture_init(&fixture, "settle");
        still_clock_init(&clock, 1000 * SECOND_NS);
        fixture.hooks.clock = &clock.clock;
        fixture.options.flush_bytes = UINT64_C(1) << 30;
        damage_index_make(&fixture.scratch, &fixture.model);
        fixture_open(&fixture);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        damage_index_apply(fixture.writer, &fixture.model, 3);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        fixture_close(&fixture);

        fixture_open(&fixture);
        expect_untouched(&fixture);
        still_clock_advance(&clock, 9 * SECOND_NS);
        expect_untouched(&fixture);
        still_clock_advance(&clock, 2 * SECOND_NS);
        flusher_look(&fixture);
        cr_expect(becomes_single(&fixture));
        fixture_deinit(&fixture);
}
