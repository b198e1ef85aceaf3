/* Health (HG1, HG2 in writer/core/progress.c): a part that hangs is named, one that waits for its
 * pace is not. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/order.h"
#include "support/engine_fixture.h"
#include "support/hanging_files.h"

TestSuite(writer_health, .timeout = 120);

#define DEADLINE_NS (UINT64_C(60) * 1000 * 1000 * 1000)
#define SLOW_NS     (UINT64_C(5) * 1000 * 1000 * 1000)

static struct hanging_files hanging; /* each test is a process */

static void index_init(struct fixture *fixture)
{
        fixture_init(fixture, "health");
        hanging_files_init(&hanging);
        fixture->hooks.files = &hanging.files;
}

static void index_deinit(struct fixture *fixture)
{
        fixture_close(fixture);
        hanging_files_deinit(&hanging);
        fixture_deinit(fixture);
}

static struct lanemap_writer_health health_of(struct fixture *fixture)
{
        struct lanemap_writer_health health = {.size = sizeof(health)};

        cr_assert_eq(lanemap_writer_get_health(fixture->writer, &health), 0);
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
static struct lanemap_writer_health health_await(struct fixture *fixture)
{
        uint64_t since_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        struct lanemap_writer_health health = health_of(fixture);

        while (!health.text[0]) {
                cr_assert(!is_over(since_ns));
                pause_ms(20);
                health = health_of(fixture);
        }
        return health;
}

static int add(struct fixture *fixture, const char *key, uint32_t id)
{
        struct lanemap_op op = {LANEMAP_OP_ADD, id, key, strlen(key)};

        return lanemap_writer_apply(fixture->writer, &op, 1, NULL, NULL, NULL);
}

static void is_well(struct fixture *fixture)
{
        uint64_t since_ns = lanemap_now_ns(&lanemap_clock_monotonic);

        while (health_of(fixture).part || health_of(fixture).text[0]) {
                cr_assert(!is_over(since_ns), "%s", health_of(fixture).text);
                pause_ms(20);
        }
}

Test(writer_health, a_sync_that_hangs)
{
        struct lanemap_writer_health health;
        struct fixture fixture;

        index_init(&fixture);
        fixture_open(&fixture);
        is_well(&fixture);
        hanging_files_hang(&hanging, HANGING_SYNC);
        cr_assert_eq(add(&fixture, "a", 1), 0);
        health = health_await(&fixture);
        cr_expect_str_eq(health.part, "log");
        cr_expect_geq(health.hung_ns, SLOW_NS, "it was given its time");
        cr_expect(health.fatal == 0 && health.refused == 0);

        hanging_files_hang(&hanging, 0);
        is_well(&fixture);
        cr_expect_eq(lanemap_writer_sync(fixture.writer, lanemap_writer_position(fixture.writer)),
                     0);
        index_deinit(&fixture);
}

/* A flush whose file cannot be written, while the log can: another part is named. */
Test(writer_health, a_flush_that_hangs)
{
        struct lanemap_writer_health health;
        struct fixture fixture;
        uint64_t ticket;

        index_init(&fixture);
        fixture_open(&fixture);
        cr_assert_eq(engine_add(fixture.writer, "a", 1), 0);
        pause_ms(800); /* the log has settled: no write of its own meets the hanging disk */
        hanging_files_hang(&hanging, HANGING_PWRITE);
        cr_assert_eq(lanemap_writer_request(fixture.writer, LANEMAP_REQUEST_FLUSH, &ticket), 0);
        health = health_await(&fixture);
        cr_expect_str_eq(health.part, "flush", "%s", health.text);

        hanging_files_hang(&hanging, 0);
        cr_expect_eq(lanemap_writer_request_wait(fixture.writer, ticket), 0);
        is_well(&fixture);
        index_deinit(&fixture);
}

/* HG2: paced so that it takes its time, a compaction is not said to hang. */
Test(writer_health, waiting_for_a_pace_is_not_hanging)
{
        struct lanemap_writer_stats stats;
        uint64_t since_ns, ticket;
        struct fixture fixture;
        char key[16];
        int r;

        index_init(&fixture);
        fixture.options.compaction_bytes_per_second = 4 << 10;
        fixture.options.flush_bytes = 64 << 20;
        fixture_open(&fixture);
        /* Many keys, then few beside them: no flush takes the many along, so a merge has to. */
        for (uint32_t round = 0; round < 2; round++) {
                for (uint32_t i = 0; i < (round == 0 ? 12000 : 100); i++) {
                        snprintf(key, sizeof(key), "k%u", i);
                        cr_assert_eq(add(&fixture, key, round), 0);
                }
                cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        }
        since_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        cr_assert_eq(lanemap_writer_request(fixture.writer, LANEMAP_REQUEST_COMPACT, &ticket), 0);
        do {
                cr_assert(!is_over(since_ns));
                cr_assert_str_eq(health_of(&fixture).text, "");
                pause_ms(5);
                engine_stats(fixture.writer, &stats);
                r = lanemap_writer_request_state(fixture.writer, ticket);
        } while (r == LANEMAP_PENDING && stats.compaction_paced_ns < 2 * SLOW_NS);
        cr_expect_geq(stats.compaction_paced_ns, SLOW_NS, "it had to wait");
        index_deinit(&fixture);
}

/* What a loop asks before it applies. */
Test(writer_health, an_apply_that_would_wait)
{
        const size_t much = (size_t)64 << 20; /* all that a log keeps in memory */
        struct fixture fixture;
        uint64_t since_ns;

        index_init(&fixture);
        fixture_open(&fixture);
        cr_expect_eq(lanemap_writer_apply_is_ready(fixture.writer, much, NULL), 1);
        hanging_files_hang(&hanging, HANGING_SYNC);
        cr_assert_eq(add(&fixture, "a", 1), 0);
        cr_expect_eq(lanemap_writer_apply_is_ready(fixture.writer, much, NULL), 0);
        hanging_files_hang(&hanging, 0);
        since_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        while (!lanemap_writer_apply_is_ready(fixture.writer, much, NULL)) {
                cr_assert(!is_over(since_ns));
                pause_ms(5);
        }
        index_deinit(&fixture);
}

static uint32_t adding_stopped;

static void *adding_main(void *arg)
{
        struct fixture *fixture = arg;
        char key[16];

        for (uint32_t i = 0; !lanemap_load_acquire(&adding_stopped); i++) {
                snprintf(key, sizeof(key), "a%u", i);
                if (add(fixture, key, 1) < 0)
                        break;
        }
        return NULL;
}

/* LP4: an apply of another thread that hangs has the engine's lock. A loop is told so, counts keys
 * and looks them up. */
Test(writer_health, a_loop_waits_for_no_lock)
{
        struct lanemap_op op = {LANEMAP_OP_ADD, 2, "other", 5};
        uint64_t wait_ns = 0, n_keys;
        struct fixture fixture;
        pthread_t thread;
        size_t n_ids;

        index_init(&fixture);
        fixture.options.flush_bytes = 64 << 20;
        fixture_open(&fixture);
        cr_assert_eq(add(&fixture, "here", 1), 0);
        hanging_files_hang(&hanging, HANGING_ALLOCATE);
        cr_assert_eq(pthread_create(&thread, NULL, adding_main, &fixture), 0);
        hanging_files_wait(&hanging); /* for room in the log */

        cr_expect_eq(lanemap_writer_try_apply(fixture.writer, &op, 1, NULL, NULL, NULL, &wait_ns),
                     -EAGAIN);
        cr_expect_gt(wait_ns, 0);
        cr_expect_eq(lanemap_writer_apply_is_ready(fixture.writer, 100, &wait_ns), 0);
        n_keys = lanemap_writer_n_keys(fixture.writer);
        cr_expect_gt(n_keys, 1);
        cr_expect_eq(lanemap_writer_lookup(fixture.writer, "here", 4, NULL, 0, &n_ids, NULL), 0);
        cr_expect_eq(n_ids, 1);
        cr_expect_eq(lanemap_writer_n_keys(fixture.writer), n_keys, "the other one still hangs");

        lanemap_store_release(&adding_stopped, UINT32_C(1));
        hanging_files_hang(&hanging, 0);
        pthread_join(thread, NULL);
        cr_expect_eq(add(&fixture, "other", 2), 0);
        index_deinit(&fixture);
}
