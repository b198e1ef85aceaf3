/* A lane that nobody changes for ten seconds becomes one segment: not sooner, also after a restart. */
#include <criterion/criterion.h>
#include <time.h>

#include "damage.h"
#include "writer/core/engine.h"

#define SECOND_NS UINT64_C(1000000000)

TestSuite(writer_settle, .timeout = 120);

struct still_clock {
        struct lanemap_clock clock;
        uint64_t now_ns;
};

static uint64_t still_now_ns(const struct lanemap_clock *clock)
{
        return lanemap_load_relaxed(&((const struct still_clock *)clock)->now_ns);
}

struct place {
        struct scratch scratch;
        struct model model;
        struct still_clock clock;
        struct lanemap_writer_hooks hooks;
        struct lanemap_writer *writer;
};

static void writer_open(struct place *place)
{
        struct lanemap_writer_options options;
        struct lanemap_error error;

        engine_options_init(&options, &place->scratch, &error);
        options.flush_bytes = UINT64_C(1) << 30;
        options.hooks = &place->hooks;
        cr_assert_eq(lanemap_writer_open(&options, &place->writer), 0, "%s", error.text);
}

/* A later request is served after what the flusher does behind an earlier one. */
static void flusher_look(struct place *place)
{
        for (int i = 0; i < 2; i++)
                cr_assert_eq(engine_request(place->writer, LANEMAP_REQUEST_FLUSH), 0);
}

static void lanes_count(struct place *place, uint32_t *ret_n_wanted, uint32_t *ret_n_single)
{
        struct lanemap_writer *writer = place->writer;

        *ret_n_wanted = *ret_n_single = 0;
        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                *ret_n_wanted += writer->lanes.items[i].compact_wanted;
                *ret_n_single += writer->lanes.items[i].n_segments == 1;
        }
        lanemap_mutex_unlock(&writer->lanes.lock);
}

static void expect_untouched(struct place *place)
{
        uint32_t n_wanted, n_single;

        flusher_look(place);
        lanes_count(place, &n_wanted, &n_single);
        cr_expect_eq(n_wanted, 0, "%u lanes are to be merged", n_wanted);
        cr_expect_eq(n_single, 0, "%u lanes were merged", n_single);
}

static bool becomes_single(struct place *place)
{
        struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};
        uint32_t n_wanted, n_single = 0;

        for (uint32_t i = 0; i < 60 * 200 && n_single < DAMAGE_LANES; i++) {
                nanosleep(&pause, NULL);
                lanes_count(place, &n_wanted, &n_single);
        }
        return n_single == DAMAGE_LANES;
}

Test(writer_settle, a_restart_is_no_reason_to_rewrite_the_index)
{
        struct place place = {.clock = {{still_now_ns}, 1000 * SECOND_NS}};

        place.hooks.clock = &place.clock.clock;
        scratch_init(&place.scratch, "settle");
        damage_index_make(&place.scratch, &place.model);
        writer_open(&place);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), 0);
        damage_index_apply(place.writer, &place.model, 3);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_FLUSH), 0);
        lanemap_writer_close(place.writer);

        writer_open(&place);
        expect_untouched(&place);
        lanemap_store_relaxed(&place.clock.now_ns, 1009 * SECOND_NS);
        expect_untouched(&place);
        lanemap_store_relaxed(&place.clock.now_ns, 1011 * SECOND_NS);
        flusher_look(&place);
        cr_expect(becomes_single(&place));
        lanemap_writer_close(place.writer);
        model_deinit(&place.model);
        scratch_deinit(&place.scratch);
}
