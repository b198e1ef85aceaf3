/* The watch (Y1 to Y3 in writer/life/watch.c): what is removed under a writer comes back, or ends it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <lanemap/lanemap.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "support/engine.h"

TestSuite(writer_watch, .timeout = 120);

#define DEADLINE_NS (UINT64_C(60) * 1000 * 1000 * 1000)

struct place {
        struct scratch scratch;
        struct lanemap_writer_options options;
        struct lanemap_error error;
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;
};

static void place_init(struct place *place)
{
        int r;

        memset(place, 0, sizeof(*place));
        scratch_init(&place->scratch, "watch");
        engine_options_init(&place->options, &place->scratch, &place->error);
        r = lanemap_writer_open(&place->options, &place->writer);
        cr_assert_eq(r, 0, "%d, %s", r, place->error.text);
        cr_assert_eq(engine_add(place->writer, "first", 1), 0);
        cr_assert_eq(lanemap_reader_attach(place->scratch.name, NULL, &place->reader), 0);
}

static void place_deinit(struct place *place)
{
        lanemap_reader_detach(place->reader);
        lanemap_writer_close(place->writer);
        scratch_deinit(&place->scratch);
}

/* 1, 0, or a negative errno. */
static int has(struct place *place, const char *key, uint32_t id)
{
        return lanemap_reader_contains(place->reader, key, strlen(key), id);
}

static uint64_t generation_of(struct place *place)
{
        struct lanemap_writer_stats stats;

        engine_stats(place->writer, &stats);
        return stats.generation;
}

static struct lanemap_writer_health health_of(struct place *place)
{
        struct lanemap_writer_health health = {.size = sizeof(health)};

        cr_assert_eq(lanemap_writer_get_health(place->writer, &health), 0);
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
        struct place place;
        char key[16];
        int r;

        place_init(&place);
        for (uint32_t round = 0; round < 20; round++) {
                uint64_t generation = generation_of(&place), since_ns;

                scratch_remove_shared(place.scratch.name);
                since_ns = lanemap_now_ns(&lanemap_clock_monotonic);
                while (generation_of(&place) == generation) {
                        cr_assert_eq(has(&place, "first", 1), 1);
                        cr_assert(!is_over(since_ns));
                        pause_us(100);
                }
                snprintf(key, sizeof(key), "k%u", round);
                cr_assert_eq(engine_add(place.writer, key, round), 0);
                /* Never "absent". An error only while a slow removal has taken the new control
                 * object too, until the next look. */
                while ((r = has(&place, key, round)) != 1) {
                        cr_assert_lt(r, 0, "round %u", round);
                        cr_assert(!is_over(since_ns));
                        pause_us(100);
                }
                cr_assert_eq(has(&place, "first", 1), 1);
                /* And one that comes now. */
                lanemap_reader_detach(place.reader);
                cr_assert_eq(lanemap_reader_attach(place.scratch.name, NULL, &place.reader), 0);
                cr_assert_eq(has(&place, key, round), 1);
        }
        cr_expect_eq(engine_request(place.writer, LANEMAP_REQUEST_FLIP), 0);
        cr_expect_eq(has(&place, "first", 1), 1);
        place_deinit(&place);
}

/* Something else has the name: the writer ends, and acknowledges nothing that nobody could see. */
Test(writer_watch, a_name_that_is_taken)
{
        struct lanemap_op op = {LANEMAP_OP_ADD, 2, "second", 6};
        struct place place;
        uint64_t since_ns;
        char path[128];
        int fd;

        place_init(&place);
        snprintf(path, sizeof(path), "/dev/shm/lanemap.%s.taken", place.scratch.name);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        cr_assert(fd >= 0 && close(fd) == 0);
        {
                char taken[128];

                snprintf(taken, sizeof(taken), "/dev/shm/lanemap.%s", place.scratch.name);
                cr_assert_eq(rename(path, taken), 0);
        }
        since_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        while (health_of(&place).fatal == 0) {
                cr_assert(!is_over(since_ns));
                pause_us(1000);
        }
        cr_expect_neq(health_of(&place).text[0], '\0');
        cr_expect_eq(lanemap_writer_apply(place.writer, &op, 1, NULL, NULL, NULL), -ESTALE);
        cr_expect_eq(has(&place, "first", 1), 1, "who is attached goes on");
        place_deinit(&place);
}
