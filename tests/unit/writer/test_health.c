/* Health (K1, K2 in writer/core/progress.c): a part that hangs is named, one that waits for its pace is not. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "support/engine.h"
#include "support/hanging_files.h"
#include "writer/core/hooks.h"

TestSuite(writer_health, .timeout = 120);

#define DEADLINE_NS (UINT64_C(60) * 1000 * 1000 * 1000)
#define SLOW_NS     (UINT64_C(5) * 1000 * 1000 * 1000)

struct place {
        struct scratch scratch;
        struct hanging_files hanging;
        struct lanemap_writer_hooks hooks;
        struct lanemap_writer_options options;
        struct lanemap_error error;
        struct lanemap_writer *writer;
};

static void place_init(struct place *place)
{
        memset(place, 0, sizeof(*place));
        scratch_init(&place->scratch, "health");
        hanging_files_init(&place->hanging);
        place->hooks.files = &place->hanging.files;
        engine_options_init(&place->options, &place->scratch, &place->error);
        place->options.hooks = &place->hooks;
}

static void place_open(struct place *place)
{
        int r = lanemap_writer_open(&place->options, &place->writer);

        cr_assert_eq(r, 0, "%d, %s", r, place->error.text);
}

static void place_deinit(struct place *place)
{
        lanemap_writer_close(place->writer);
        hanging_files_deinit(&place->hanging);
        scratch_deinit(&place->scratch);
}

static struct lanemap_writer_health health_of(struct place *place)
{
        struct lanemap_writer_health health = {.size = sizeof(health)};

        cr_assert_eq(lanemap_writer_get_health(place->writer, &health), 0);
        return health;
}

static void pause_ms(long ms)
{
        struct timespec pause = {.tv_nsec = ms * 1000000};

        nanosleep(&pause, NULL);
}

static bool is_over(uint64_t since_ns)
{
        return lanemap_now_ns(&lanemap_clock_monotonic) - since_ns > DEADLINE_NS;
}

/* Until the engine has something to say. */
static struct lanemap_writer_health health_await(struct place *place)
{
        uint64_t since_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        struct lanemap_writer_health health = health_of(place);

        while (!health.text[0]) {
                cr_assert(!is_over(since_ns));
                pause_ms(20);
                health = health_of(place);
        }
        return health;
}

static int add(struct place *place, const char *key, uint32_t id)
{
        struct lanemap_op op = {LANEMAP_OP_ADD, id, key, strlen(key)};

        return lanemap_writer_apply(place->writer, &op, 1, NULL, NULL, NULL);
}

static void is_well(struct place *place)
{
        uint64_t since_ns = lanemap_now_ns(&lanemap_clock_monotonic);

        while (health_of(place).part || health_of(place).text[0]) {
                cr_assert(!is_over(since_ns), "%s", health_of(place).text);
                pause_ms(20);
        }
}

Test(writer_health, a_sync_that_hangs)
{
        struct lanemap_writer_health health;
        struct place place;

        place_init(&place);
        place_open(&place);
        is_well(&place);
        hanging_files_hang(&place.hanging, HANGING_SYNC);
        cr_assert_eq(add(&place, "a", 1), 0);
        health = health_await(&place);
        cr_expect_str_eq(health.part, "log");
        cr_expect_geq(health.hung_ns, SLOW_NS, "it was given its time");
        cr_expect(health.fatal == 0 && health.refused == 0);

        hanging_files_hang(&place.hanging, 0);
        is_well(&place);
        cr_expect_eq(lanemap_writer_sync(place.writer, lanemap_writer_position(place.writer)), 0);
        place_deinit(&place);
}

/* A flush whose file cannot be written, while the log can: another part is named. */
Test(writer_health, a_flush_that_hangs)
{
        struct lanemap_writer_health health;
        struct place place;
        uint64_t ticket;

        place_init(&place);
        place_open(&place);
        cr_assert_eq(engine_add(place.writer, "a", 1), 0);
        pause_ms(800); /* the log has settled: no write of its own meets the hanging disk */
        hanging_files_hang(&place.hanging, HANGING_PWRITE);
        cr_assert_eq(lanemap_writer_request(place.writer, LANEMAP_REQUEST_FLUSH, &ticket), 0);
        health = health_await(&place);
        cr_expect_str_eq(health.part, "flush", "%s", health.text);

        hanging_files_hang(&place.hanging, 0);
        cr_expect_eq(lanemap_writer_request_wait(place.writer, ticket), 0);
        is_well(&place);
        place_deinit(&place);
}

/* K2: paced so that it takes its time, a compaction is not said to hang. */
Test(writer_health, waiting_for_a_pace_is_not_hanging)
{
        struct lanemap_writer_stats stats;
        uint64_t since_ns, ticket;
        struct place place;
        char key[16];
        int r;

        place_init(&place);
        place.options.compaction_bytes_per_second = 4 << 10;
        place.options.flush_bytes = 64 << 20;
        place_open(&place);
        /* Many keys, then few beside them: no flush takes the many along, so a merge has to. */
        for (uint32_t round = 0; round < 2; round++) {
                for (uint32_t i = 0; i < (round == 0 ? 12000 : 100); i++) {
                        snprintf(key, sizeof(key), "k%u", i);
                        cr_assert_eq(add(&place, key, round), 0);
                }
                cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_FLUSH), 0);
        }
        since_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        cr_assert_eq(lanemap_writer_request(place.writer, LANEMAP_REQUEST_COMPACT, &ticket), 0);
        do {
                cr_assert(!is_over(since_ns));
                cr_assert_str_eq(health_of(&place).text, "");
                pause_ms(5);
                engine_stats(place.writer, &stats);
                r = lanemap_writer_request_state(place.writer, ticket);
        } while (r == LANEMAP_PENDING && stats.compaction_paced_ns < 2 * SLOW_NS);
        cr_expect_geq(stats.compaction_paced_ns, SLOW_NS, "it had to wait");
        place_deinit(&place);
}

/* What a loop asks before it applies. */
Test(writer_health, an_apply_that_would_wait)
{
        const size_t much = (size_t)64 << 20; /* all that a log keeps in memory */
        struct place place;
        uint64_t since_ns;

        place_init(&place);
        place_open(&place);
        cr_expect_eq(lanemap_writer_apply_is_ready(place.writer, much), 1);
        hanging_files_hang(&place.hanging, HANGING_SYNC);
        cr_assert_eq(add(&place, "a", 1), 0);
        cr_expect_eq(lanemap_writer_apply_is_ready(place.writer, much), 0);
        hanging_files_hang(&place.hanging, 0);
        since_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        while (!lanemap_writer_apply_is_ready(place.writer, much)) {
                cr_assert(!is_over(since_ns));
                pause_ms(5);
        }
        place_deinit(&place);
}
