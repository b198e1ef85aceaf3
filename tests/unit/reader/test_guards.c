/*
 * A reader in a program that does as it likes (J1 to J3): no call waits for a view that another
 * thread has open, what the view looks at stays mapped, and goes afterwards; a thread forks inside
 * a view. An object that outgrows its mapping is followed under lookups and views; no more address
 * space is taken than that needs.
 *
 * The writer is in a process of its own: it maps objects and files, too.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <lanemap/lanemap.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/order.h"
#include "reader/private.h"
#include "support/engine.h"

TestSuite(guards, .timeout = 60);

/* ---- a writer in a child, which does what a byte says, and answers it ---- */

enum { DO_FLIP = 'f', DO_FLUSH = 's', DO_ADD = 'a', DO_GROW = 'g', DO_END = 'e' };

struct fixture {
        struct scratch scratch;
        struct lanemap_reader *reader;
        pid_t writer;
        int to_writer[2];
        int from_writer[2];
};

/* Some MiB of postings, all of them in shared memory. */
static int writer_grow(struct lanemap_writer *writer, uint32_t round)
{
        enum { N_OPS = 2000 };
        static struct lanemap_op ops[N_OPS];
        static char keys[N_OPS][24];

        for (uint32_t part = 0; part < 60; part++) {
                for (uint32_t i = 0; i < N_OPS; i++) {
                        int n = snprintf(keys[i], sizeof(keys[i]), "%u.%u.%u", round, part, i);

                        ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, i, keys[i], (size_t)n};
                }
                if (lanemap_writer_apply(writer, ops, N_OPS, NULL, NULL, NULL) != 0)
                        return 1;
        }

        return 0;
}

static int writer_do(struct lanemap_writer *writer, char what, uint32_t round)
{
        switch (what) {
        case DO_FLIP:
                return engine_request(writer, LANEMAP_REQUEST_FLIP);
        case DO_FLUSH:
                return engine_request(writer, LANEMAP_REQUEST_FLUSH);
        case DO_ADD:
                return engine_add(writer, "a", round);
        case DO_GROW:
                return writer_grow(writer, round);
        default:
                return 1;
        }
}

static int writer_main(const struct fixture *fixture)
{
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        uint32_t round = 1;
        char what;

        engine_options_init(&options, &fixture->scratch, NULL);
        options.flush_bytes = UINT64_C(1) << 30;                   /* only when it is asked for */
        options.shared_bytes_max = 0;                              /* as everybody's: 64 GiB */
        options.quarantine_ns = UINT64_C(60) * 1000 * 1000 * 1000; /* a view may be long */
        if (lanemap_writer_open(&options, &writer) != 0 || engine_add(writer, "a", 1) != 0)
                return 1;

        do {
                char answer = round == 1 || writer_do(writer, what, round) == 0;

                if (write(fixture->from_writer[1], &answer, 1) != 1)
                        return 1;
                round++;
        } while (read(fixture->to_writer[0], &what, 1) == 1 && what != DO_END);

        lanemap_writer_close(writer);
        return 0;
}

static void writer_wait(struct fixture *fixture)
{
        char answer = 0;

        cr_assert_eq(read(fixture->from_writer[0], &answer, 1), 1);
        cr_assert_eq(answer, 1);
}

static void writer_tell(struct fixture *fixture, char what)
{
        cr_assert_eq(write(fixture->to_writer[1], &what, 1), 1);
        writer_wait(fixture);
}

static void fixture_init(struct fixture *fixture, int helper)
{
        struct lanemap_reader_options options = {.size = sizeof(options), .helper_thread = helper};

        memset(fixture, 0, sizeof(*fixture));
        scratch_init(&fixture->scratch, "guards");
        cr_assert(pipe2(fixture->to_writer, O_CLOEXEC) == 0 &&
                  pipe2(fixture->from_writer, O_CLOEXEC) == 0);
        fixture->writer = fork();
        cr_assert_geq(fixture->writer, 0);
        if (fixture->writer == 0) {
                close(fixture->to_writer[1]);
                _exit(writer_main(fixture));
        }
        close(fixture->from_writer[1]);
        writer_wait(fixture);
        cr_assert_eq(lanemap_reader_attach(fixture->scratch.name, &options, &fixture->reader), 0);
}

static void fixture_deinit(struct fixture *fixture)
{
        char what = DO_END;
        int status;

        lanemap_reader_detach(fixture->reader);
        cr_assert_eq(write(fixture->to_writer[1], &what, 1), 1);
        cr_assert_eq(waitpid(fixture->writer, &status, 0), fixture->writer);
        cr_expect_eq(status, 0);
        scratch_deinit(&fixture->scratch);
}

/* Return: the bytes of this process that are mappings with that in their name. */
static uint64_t mapped_bytes(const char *what)
{
        FILE *maps = fopen("/proc/self/maps", "re");
        unsigned long from, to;
        uint64_t bytes = 0;
        char line[600];

        while (fgets(line, sizeof(line), maps))
                if (strstr(line, what) && sscanf(line, "%lx-%lx", &from, &to) == 2)
                        bytes += to - from;
        fclose(maps);
        return bytes;
}

/* Return: the number of data objects that are mapped: of generations that there were, too. */
static int mapped_objects(void)
{
        FILE *maps = fopen("/proc/self/maps", "re");
        char line[600];
        int n = 0;

        /* The control object has no second dot. */
        while (fgets(line, sizeof(line), maps)) {
                const char *name = strstr(line, "/dev/shm/lanemap.");

                n += name && strchr(name + strlen("/dev/shm/lanemap."), '.');
        }
        fclose(maps);
        return n;
}

static size_t n_ids_of(struct lanemap_reader *reader)
{
        size_t n_ids = 0;

        cr_assert_eq(lanemap_reader_lookup(reader, "a", 1, NULL, 0, &n_ids), 0);
        return n_ids;
}

/* ---- nobody waits for a view ---- */

struct other {
        struct lanemap_reader *reader;
        size_t n_ids;
        int r;
        bool polls;
};

static void *other_main(void *arg)
{
        struct other *other = arg;

        other->r = other->polls ? lanemap_reader_poll(other->reader) : 0;
        if (other->r >= 0)
                other->r = lanemap_reader_lookup(other->reader, "a", 1, NULL, 0, &other->n_ids);
        return NULL;
}

/* The one with the view waits for the other thread: were the other to wait for the view, that would
 * be for ever. */
static void view_beside_another(struct fixture *fixture, bool polls)
{
        struct other other = {.reader = fixture->reader, .polls = polls};
        struct lanemap_view view;
        const uint32_t *ids;
        pthread_t thread;

        cr_assert_eq(lanemap_reader_poll(fixture->reader) >= 0, 1);
        cr_assert_eq(mapped_objects(), 1);
        cr_assert_eq(lanemap_reader_view_begin(fixture->reader, "a", 1, &view), 0);
        writer_tell(fixture, DO_ADD);
        writer_tell(fixture, DO_FLIP);
        cr_assert_eq(pthread_create(&thread, NULL, other_main, &other), 0);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_expect_eq(other.r, 0);
        cr_expect_eq(other.n_ids, view.n_ids + 1, "it sees what came later");
        cr_expect_eq(mapped_objects(), 2, "what the view looks at stays");

        cr_expect_gt(lanemap_reader_view_next(&view, &ids), 0);
        cr_expect_eq(lanemap_reader_view_end(&view), 0);
        cr_expect_geq(lanemap_reader_poll(fixture->reader), 0);
        cr_expect_eq(mapped_objects(), 1, "and goes");
}

Test(guards, a_lookup_does_not_wait_for_a_view)
{
        struct fixture fixture;

        fixture_init(&fixture, 0);
        view_beside_another(&fixture, false);
        fixture_deinit(&fixture);
}

Test(guards, a_poll_does_not_wait_for_a_view)
{
        struct fixture fixture;

        fixture_init(&fixture, 0);
        view_beside_another(&fixture, true);
        fixture_deinit(&fixture);
}

/* Segments that flushes replace are kept for the view, and no longer. A lookup gives them back,
 * too: a program that never polls keeps nothing either. */
Test(guards, the_list_is_as_long_as_the_view)
{
        struct lanemap_view view;
        struct fixture fixture;
        uint64_t before;

        fixture_init(&fixture, 0);
        writer_tell(&fixture, DO_FLUSH);
        (void)n_ids_of(fixture.reader);
        before = mapped_bytes("/seg-");
        cr_assert_eq(lanemap_reader_view_begin(fixture.reader, "a", 1, &view), 0);
        for (int i = 0; i < 5; i++) {
                writer_tell(&fixture, DO_ADD);
                writer_tell(&fixture, DO_FLUSH);
                (void)n_ids_of(fixture.reader);
        }
        cr_expect_geq(mapped_bytes("/seg-"), 5 * before, "retired, and looked at");
        cr_assert_eq(lanemap_reader_view_end(&view), 0);

        writer_tell(&fixture, DO_ADD);
        writer_tell(&fixture, DO_FLUSH);
        (void)n_ids_of(fixture.reader);
        cr_expect_leq(mapped_bytes("/seg-"), 2 * before, "%lu", (unsigned long)before);
        fixture_deinit(&fixture);
}

/* Another reader's view is nobody's business here. */
Test(guards, detach_gives_everything_back_beside_an_open_view)
{
        struct lanemap_reader *other = NULL;
        struct lanemap_view view;
        struct fixture fixture;

        fixture_init(&fixture, 0);
        cr_assert_eq(lanemap_reader_attach(fixture.scratch.name, NULL, &other), 0);
        cr_assert_eq(lanemap_reader_view_begin(fixture.reader, "a", 1, &view), 0);
        writer_tell(&fixture, DO_FLIP);
        cr_assert_geq(lanemap_reader_poll(other), 1);
        cr_expect_eq(mapped_objects(), 3);
        lanemap_reader_detach(other);
        cr_expect_eq(mapped_objects(), 1);
        cr_expect_eq(lanemap_reader_view_end(&view), 0);
        fixture_deinit(&fixture);
}

/* ---- fork ---- */

/* Everything, at once, and nothing is left of what the parent's threads had retired. */
static int child_main(struct fixture *fixture, struct lanemap_view *view)
{
        const uint32_t *ids;
        size_t n_ids = 0;

        alarm(20);
        if (lanemap_reader_lookup(fixture->reader, "a", 1, NULL, 0, &n_ids) != 0 || n_ids == 0)
                return 1;
        if (lanemap_reader_poll(fixture->reader) < 0)
                return 2;
        if (lanemap_reader_view_next(view, &ids) == 0 || lanemap_reader_view_end(view) != 0)
                return 3;
        if (lanemap_reader_poll(fixture->reader) < 0 || mapped_objects() != 1)
                return 4;
        lanemap_reader_detach(fixture->reader);
        return mapped_objects() == 0 ? 0 : 5;
}

/* The helper has something to give back that this very view looks at. */
Test(guards, a_thread_forks_inside_a_view)
{
        struct lanemap_status status = {.size = sizeof(status)};
        struct fixture fixture;

        fixture_init(&fixture, 1);
        for (uint64_t i = 1; i <= 10; i++) {
                struct lanemap_view view;
                int how;
                pid_t pid;

                cr_assert_eq(lanemap_reader_view_begin(fixture.reader, "a", 1, &view), 0);
                writer_tell(&fixture, DO_FLIP);
                do
                        cr_assert_eq(lanemap_reader_status(fixture.reader, &status), 0);
                while (status.n_reattachments < i); /* by the helper */

                pid = fork();
                cr_assert_geq(pid, 0);
                if (pid == 0)
                        _exit(child_main(&fixture, &view));
                cr_assert_eq(waitpid(pid, &how, 0), pid);
                cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0, "%x", (unsigned)how);
                cr_assert_eq(lanemap_reader_view_end(&view), 0);
                while (mapped_objects() > 1)
                        cr_assert_geq(lanemap_reader_poll(fixture.reader), 0);
        }
        fixture_deinit(&fixture);
}

/* ---- an object that grows ---- */

struct lookups {
        struct lanemap_reader *reader;
        bool stop;
        uint64_t n_wrong;
};

static void *lookups_main(void *arg)
{
        struct lookups *lookups = arg;

        while (!lanemap_load_relaxed(&lookups->stop)) {
                size_t n_ids = 0;
                int r = lanemap_reader_lookup(lookups->reader, "a", 1, NULL, 0, &n_ids);

                lookups->n_wrong += r != 0 || n_ids == 0;
                r = lanemap_reader_contains(lookups->reader, "2.59.1999", 9, 1999);
                lookups->n_wrong += r < 0;
        }
        return NULL;
}

static uint64_t object_bytes(struct fixture *fixture)
{
        struct lanemap_status status = {.size = sizeof(status)};

        cr_assert_eq(lanemap_reader_status(fixture->reader, &status), 0);
        return status.shared_bytes;
}

static void growth_follow(int helper)
{
        struct lanemap_status status = {.size = sizeof(status)};
        struct lookups lookups = {0};
        struct lanemap_view view;
        struct fixture fixture;
        const uint32_t *ids;
        pthread_t thread;
        uint64_t before;

        fixture_init(&fixture, helper);
        before = object_bytes(&fixture);
        cr_expect_leq(mapped_bytes("/dev/shm/lanemap."), before + before / 2 + (2 << 20));
        cr_assert_eq(lanemap_reader_view_begin(fixture.reader, "a", 1, &view), 0);
        lookups.reader = fixture.reader;
        cr_assert_eq(pthread_create(&thread, NULL, lookups_main, &lookups), 0);
        writer_tell(&fixture, DO_GROW);
        writer_tell(&fixture, DO_GROW);
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "2.59.1999", 9, 1999), 1);
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "3.59.1999", 9, 1999), 1);
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "3.59.2000", 9, 1999), 0);
        cr_assert_geq(lanemap_reader_poll(fixture.reader), 0);
        cr_expect_gt(object_bytes(&fixture), 3 * before + (4 << 20), "it has outgrown its mapping");
        cr_expect_gt(lanemap_reader_view_next(&view, &ids), 0);
        cr_expect_eq(lanemap_reader_view_end(&view), 0);

        lanemap_store_relaxed(&lookups.stop, true);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_expect_eq(lookups.n_wrong, 0);
        cr_assert_geq(lanemap_reader_poll(fixture.reader), 0);
        cr_assert_eq(lanemap_reader_status(fixture.reader, &status), 0);
        cr_expect_eq(status.n_reattachments, 0, "the generation is the same");
        fixture_deinit(&fixture);
}

Test(guards, an_object_outgrows_its_mapping)
{
        growth_follow(0);
}

Test(guards, an_object_outgrows_its_mapping_beside_a_helper)
{
        growth_follow(1);
}

/* ---- address space ---- */

static uint64_t address_space(void)
{
        FILE *statm = fopen("/proc/self/statm", "re");
        unsigned long n_pages = 0;

        if (fscanf(statm, "%lu", &n_pages) != 1)
                n_pages = 0;
        fclose(statm);
        return n_pages * 4096;
}

/* Return: what attach answered under the limit; 1: it lacks the words. */
static int attach_under(const char *name, uint64_t more)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_reader_options options = {.size = sizeof(options), .error = &error};
        struct rlimit limit = {.rlim_cur = address_space() + more};
        struct lanemap_reader *reader;
        size_t n_ids = 0;
        int r;

        limit.rlim_max = limit.rlim_cur;
        if (setrlimit(RLIMIT_AS, &limit) < 0)
                return 2;
        r = lanemap_reader_attach(name, &options, &reader);
        if (r < 0)
                return r == -ENOMEM && strstr(error.text, "address space") ? 3 : 1;

        r = lanemap_reader_lookup(reader, "a", 1, NULL, 0, &n_ids);
        lanemap_reader_detach(reader);
        return r == 0 && n_ids > 0 ? 0 : 4;
}

#ifndef LANEMAP_SANITIZED
Test(guards, a_small_address_space_will_do)
{
        static const struct {
                uint64_t bytes;
                int expected;
        } limits[] = {{UINT64_C(8) << 20, 0}, {64 << 10, 3}};
        struct fixture fixture;

        fixture_init(&fixture, 0);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(limits); i++) {
                pid_t pid = fork();
                int status;

                cr_assert_geq(pid, 0);
                if (pid == 0)
                        _exit(attach_under(fixture.scratch.name, limits[i].bytes));
                cr_assert_eq(waitpid(pid, &status, 0), pid);
                cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == limits[i].expected,
                          "%lu bytes: %x", (unsigned long)limits[i].bytes, (unsigned)status);
        }
        fixture_deinit(&fixture);
}
#else
Test(guards, address_space_of_this_process_is_known)
{
        cr_expect_gt(address_space(), 0);
        (void)attach_under;
}
#endif
