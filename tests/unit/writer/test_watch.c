/* The watch (Y1 to Y3 in writer/life/watch.c): what is removed under a writer comes back, or ends
 * it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <lanemap/lanemap.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "support/engine_fixture.h"

TestSuite(writer_watch, .timeout = 120);

#define DEADLINE_NS (UINT64_C(60) * 1000 * 1000 * 1000)

static void index_open(struct fixture *fixture)
{
        fixture_init(fixture, "watch");
        fixture_open(fixture);
        cr_assert_eq(engine_add(fixture->writer, "first", 1), 0);
        fixture_attach(fixture, NULL);
}

/* 1, 0, or a negative errno. */
static int has(struct fixture *fixture, const char *key, uint32_t id)
{
        return lanemap_reader_contains(fixture->reader, key, strlen(key), id);
}

static struct lanemap_writer_health health_of(struct fixture *fixture)
{
        struct lanemap_writer_health health = {.size = sizeof(health)};

        cr_assert_eq(lanemap_writer_get_health(fixture->writer, &health), 0);
        return health;
}

static void pause_us(long us)
{
        struct timespec pause = {.tv_nsec = us * 1000};

        nanosleep(&pause, NULL);
}

static bool is_over(uint64_t since_ns)
{
        return lanemap_now_ns(&lanemap_clock_monotonic) - since_ns > DEADLINE_NS;
}

/* A reader that does nothing but look keys up (no poll, no limit) answers without an error all the
 * while, and sees what is written after the removal. */
Test(writer_watch, attached_readers_follow)
{
        struct fixture fixture;
        char key[16];
        int r;

        index_open(&fixture);
        for (uint32_t round = 0; round < 20; round++) {
                uint64_t generation = fixture_stats(&fixture).generation, since_ns;

                scratch_remove_shared(fixture.scratch.name);
                since_ns = lanemap_now_ns(&lanemap_clock_monotonic);
                while (fixture_stats(&fixture).generation == generation) {
                        cr_assert_eq(has(&fixture, "first", 1), 1);
                        cr_assert(!is_over(since_ns));
                        pause_us(100);
                }
                snprintf(key, sizeof(key), "k%u", round);
                cr_assert_eq(engine_add(fixture.writer, key, round), 0);
                /* Never "absent". An error only while a slow removal has taken the new control
                 * object too, until the next look. */
                while ((r = has(&fixture, key, round)) != 1) {
                        cr_assert_lt(r, 0, "round %u", round);
                        cr_assert(!is_over(since_ns));
                        pause_us(100);
                }
                cr_assert_eq(has(&fixture, "first", 1), 1);
                /* And one that comes now. */
                fixture_detach(&fixture);
                fixture_attach(&fixture, NULL);
                cr_assert_eq(has(&fixture, key, round), 1);
        }
        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLIP), 0);
        cr_expect_eq(has(&fixture, "first", 1), 1);
        fixture_deinit(&fixture);
}

/* Something else has the name: the writer ends, and acknowledges nothing that nobody could see. */
Test(writer_watch, a_name_that_is_taken)
{
        struct lanemap_op op = {LANEMAP_OP_ADD, 2, "second", 6};
        struct fixture fixture;
        uint64_t since_ns;
        char path[128];
        int fd;

        index_open(&fixture);
        snprintf(path, sizeof(path), "/dev/shm/lanemap.%s.taken", fixture.scratch.name);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        cr_assert(fd >= 0 && close(fd) == 0);
        {
                char taken[128];

                snprintf(taken, sizeof(taken), "/dev/shm/lanemap.%s", fixture.scratch.name);
                cr_assert_eq(rename(path, taken), 0);
        }
        since_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        while (health_of(&fixture).fatal == 0) {
                cr_assert(!is_over(since_ns));
                pause_us(1000);
        }
        cr_expect_neq(health_of(&fixture).text[0], '\0');
        cr_expect_eq(lanemap_writer_apply(fixture.writer, &op, 1, NULL, NULL, NULL), -ESTALE);
        cr_expect_eq(has(&fixture, "first", 1), 1, "who is attached goes on");
        fixture_deinit(&fixture);
}
