/* The heart (HB1, HB2 in writer/core/heart.c): it beats beside a hanging disk, and stops with the
 * process. */
#include <criterion/criterion.h>
#include <errno.h>
#include <lanemap/lanemap.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "support/engine.h"
#include "support/hanging_files.h"
#include "writer/core/hooks.h"

TestSuite(writer_heart, .timeout = 120);

#define DEADLINE_NS (UINT64_C(60) * 1000 * 1000 * 1000)

static uint64_t now_ns(void)
{
        return lanemap_now_ns(&lanemap_clock_monotonic);
}

static void pause_ms(long ms)
{
        struct timespec pause = {.tv_nsec = ms * 1000000};

        nanosleep(&pause, NULL);
}

static struct lanemap_status status_of(struct lanemap_reader *reader)
{
        struct lanemap_status status = {.size = sizeof(status)};

        cr_assert_eq(lanemap_reader_status(reader, &status), 0);
        return status;
}

/* Readers with a staleness limit get answers from a writer whose fdatasync hangs. */
Test(writer_heart, beats_while_a_sync_hangs)
{
        struct lanemap_reader_options limited = {.size = sizeof(limited),
                                                 .stale_after_ns = DEADLINE_NS / 6};
        struct lanemap_op op = {LANEMAP_OP_ADD, 2, "b", 1};
        struct lanemap_writer_options options;
        struct lanemap_writer_hooks hooks = {0};
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;
        struct hanging_files hanging;
        struct scratch scratch;
        uint64_t since_ns, age_ns, age_before_ns = 0;
        uint32_t n_beats = 0, id;
        size_t n_ids;

        scratch_init(&scratch, "heart");
        hanging_files_init(&hanging);
        hooks.files = &hanging.files;
        engine_options_init(&options, &scratch, NULL);
        options.hooks = &hooks;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        cr_assert_eq(engine_add(writer, "a", 1), 0);
        cr_assert_eq(lanemap_reader_attach(scratch.name, &limited, &reader), 0);

        hanging_files_hang(&hanging, HANGING_SYNC);
        cr_assert_eq(lanemap_writer_apply(writer, &op, 1, NULL, NULL, NULL), 0);
        hanging_files_wait(&hanging);
        since_ns = now_ns();
        while (n_beats < 12) {
                age_ns = status_of(reader).heartbeat_age_ns;
                n_beats += age_ns < age_before_ns;
                age_before_ns = age_ns;
                cr_assert_eq(lanemap_reader_lookup(reader, "b", 1, &id, 1, &n_ids), 0);
                cr_assert(n_ids == 1 && id == 2);
                cr_assert_lt(now_ns() - since_ns, DEADLINE_NS, "%u beats", n_beats);
                pause_ms(5);
        }
        cr_expect_eq(status_of(reader).state, LANEMAP_STATE_RUNNING);
        cr_expect_lt(lanemap_writer_durable(writer, NULL), lanemap_writer_position(writer),
                     "and all the time it hung");

        hanging_files_hang(&hanging, 0);
        lanemap_reader_detach(reader);
        lanemap_writer_close(writer);
        hanging_files_deinit(&hanging);
        scratch_deinit(&scratch);
}

static void child_serve(const struct lanemap_writer_options *options)
{
        struct lanemap_writer *writer;

        if (lanemap_writer_open(options, &writer) != 0)
                _exit(1);
        for (;;)
                pause();
}

/* kill -9: the word that it left says "running"; the state does not. */
Test(writer_heart, state_follows_it)
{
        struct lanemap_reader_options waiting = {.size = sizeof(waiting),
                                                 .attach_timeout_ns = DEADLINE_NS};
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;
        struct lanemap_status status;
        struct scratch scratch;
        uint64_t since_ns;
        pid_t child;
        int how;

        scratch_init(&scratch, "state");
        engine_options_init(&options, &scratch, NULL);
        child = fork();
        cr_assert(child >= 0);
        if (child == 0)
                child_serve(&options);
        cr_assert_eq(lanemap_reader_attach(scratch.name, &waiting, &reader), 0);
        cr_expect_eq(status_of(reader).state, LANEMAP_STATE_RUNNING);

        cr_assert_eq(kill(child, SIGKILL), 0);
        cr_assert_eq(waitpid(child, &how, 0), child);
        since_ns = now_ns();
        do {
                cr_assert_lt(now_ns() - since_ns, DEADLINE_NS);
                pause_ms(20);
                status = status_of(reader);
                cr_assert_eq(status.state, status.heartbeat_age_ns > 2000000000
                                                   ? LANEMAP_STATE_SILENT
                                                   : LANEMAP_STATE_RUNNING);
        } while (status.state != LANEMAP_STATE_SILENT);

        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        since_ns = now_ns();
        while (status_of(reader).state != LANEMAP_STATE_RUNNING) {
                cr_assert_lt(now_ns() - since_ns, DEADLINE_NS);
                pause_ms(20);
        }
        lanemap_writer_close(writer);
        cr_expect_eq(status_of(reader).state, LANEMAP_STATE_CLOSED, "in good order");
        lanemap_reader_detach(reader);
        scratch_deinit(&scratch);
}
