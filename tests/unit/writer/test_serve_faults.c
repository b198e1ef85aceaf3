/*
 * Serving when copies cannot be made (K1, K2 in writer/serve/copy.c): any call of the
 * file layer fails, there is no room, or the writer dies between any two steps. What is right, and
 * tidy afterwards, is as in test_serve.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/order.h"
#include "serve_place.h"

TestSuite(writer_serve_faults, .timeout = 120);

/* ---- the file layer says no ---- */

/* Fails calls on the copies' directory and on what is made there, and no others. */
struct copy_files {
        struct lanemap_files files;
        ino_t ino;
        dev_t dev;
        int copy_fd;
        uint32_t n_calls, fail_at, n_failing; /* calls are counted from 1 */
        int error;
};

static int copy_fault(const struct lanemap_files *files, bool ours)
{
        struct copy_files *faulty = (struct copy_files *)(uintptr_t)files;
        uint32_t n;

        if (!ours)
                return 0;
        n = __atomic_add_fetch(&faulty->n_calls, 1, __ATOMIC_RELAXED);
        return n >= lanemap_load_relaxed(&faulty->fail_at) &&
                               n - lanemap_load_relaxed(&faulty->fail_at) <
                                       lanemap_load_relaxed(&faulty->n_failing)
                       ? faulty->error
                       : 0;
}

static bool dir_is_copies(const struct lanemap_files *files, int dir_fd)
{
        const struct copy_files *faulty = (const struct copy_files *)files;
        struct stat st;

        return fstat(dir_fd, &st) == 0 && st.st_ino == faulty->ino && st.st_dev == faulty->dev;
}

static int copy_open(const struct lanemap_files *files, int dir_fd, const char *name, int flags,
                     mode_t mode)
{
        struct copy_files *faulty = (struct copy_files *)(uintptr_t)files;
        bool ours = dir_is_copies(files, dir_fd);
        int r = copy_fault(files, ours);

        if (r < 0)
                return r;
        r = lanemap_files_posix.open(&lanemap_files_posix, dir_fd, name, flags, mode);
        if (ours && r >= 0 && flags & O_CREAT)
                lanemap_store_relaxed(&faulty->copy_fd, r);
        return r;
}

static ssize_t copy_pwrite(const struct lanemap_files *files, int fd, const void *bytes,
                           size_t n_bytes, off_t at)
{
        const struct copy_files *faulty = (const struct copy_files *)files;
        int r = copy_fault(files, fd == lanemap_load_relaxed(&faulty->copy_fd));

        return r < 0 ? r : lanemap_files_posix.pwrite(&lanemap_files_posix, fd, bytes, n_bytes, at);
}

static int copy_allocate(const struct lanemap_files *files, int fd, off_t at, off_t n_bytes)
{
        const struct copy_files *faulty = (const struct copy_files *)files;
        int r = copy_fault(files, fd == lanemap_load_relaxed(&faulty->copy_fd));

        return r < 0 ? r : lanemap_files_posix.allocate(&lanemap_files_posix, fd, at, n_bytes);
}

static int copy_close(const struct lanemap_files *files, int fd)
{
        struct copy_files *faulty = (struct copy_files *)(uintptr_t)files;

        if (fd == lanemap_load_relaxed(&faulty->copy_fd))
                lanemap_store_relaxed(&faulty->copy_fd, -1);
        return lanemap_files_posix.close(&lanemap_files_posix, fd);
}

static int copy_rename(const struct lanemap_files *files, int dir_fd, const char *from,
                       const char *to)
{
        int r = copy_fault(files, dir_is_copies(files, dir_fd));

        return r < 0 ? r : lanemap_files_posix.rename(&lanemap_files_posix, dir_fd, from, to);
}

static void copy_files_init(struct copy_files *faulty, const char *copies)
{
        struct stat st;

        cr_assert_eq(stat(copies, &st), 0);
        *faulty = (struct copy_files){
                .files = lanemap_files_posix,
                .ino = st.st_ino,
                .dev = st.st_dev,
                .copy_fd = -1,
                .fail_at = UINT32_MAX,
                .n_failing = 1,
                .error = -EIO,
        };
        faulty->files.open = copy_open;
        faulty->files.pwrite = copy_pwrite;
        faulty->files.allocate = copy_allocate;
        faulty->files.close = copy_close;
        faulty->files.rename = copy_rename;
}

static void copies_clear(struct place *place)
{
        scratch_remove_tree(place->copies);
        cr_assert_eq(mkdir(place->copies, 0700), 0);
}

static bool no_room(const struct place *place)
{
        return stats_of(place).serve_no_room;
}

Test(writer_serve_faults, without_room_the_originals_are_served)
{
        struct copy_files faulty;
        struct place place;

        place_init(&place);
        writer_open(&place);
        fixture_close(&place.fixture);
        copies_clear(&place);

        copy_files_init(&faulty, place.copies);
        faulty.fail_at = 1;
        faulty.n_failing = UINT32_MAX;
        faulty.error = -ENOSPC;
        place.fixture.hooks.files = &faulty.files;
        writer_open(&place);
        cr_assert(becomes(&place, no_room));
        fixture_attach(&place.fixture, NULL);
        fixture_expect_model(&place.fixture, "all keys");
        cr_expect_eq(stats_of(&place).served_copies, 0);
        cr_expect_eq(n_files(place.copies, ""), 0);
        cr_expect(strstr(place.fixture.lines, "no room"), "%s", place.fixture.lines);
        cr_expect_eq(place.fixture.n_lines, 1, "told once");

        /* Room again: it goes on by itself. */
        lanemap_store_relaxed(&faulty.fail_at, UINT32_MAX);
        cr_assert(becomes(&place, all_copied));
        cr_expect_not(no_room(&place));
        expect_tidy(&place);
        fixture_expect_model(&place.fixture, "all keys");
        place_deinit(&place);
}

static bool copying_has_ended(const struct place *place)
{
        const struct copy_files *faulty = (const struct copy_files *)place->fixture.hooks.files;
        struct lanemap_writer_stats stats = stats_of(place);

        /* The call that fails is counted before what it was for is tidied up. */
        return lanemap_load_relaxed(&faulty->n_calls) >= faulty->fail_at &&
               stats.served_copies + 1 >= stats.n_segment_files &&
               n_files(place->copies, "tmp-") == 0;
}

/* Each call on the way to the first copies fails once. */
Test(writer_serve_faults, any_call_may_fail)
{
        struct place place;

        place_init(&place);
        writer_open(&place);
        settle(&place);
        fixture_close(&place.fixture);
        /* Five calls a copy. */
        for (uint32_t fail_at = 1; fail_at <= 5; fail_at++) {
                struct copy_files faulty;

                copies_clear(&place);
                copy_files_init(&faulty, place.copies);
                faulty.fail_at = fail_at;
                place.fixture.hooks.files = &faulty.files;
                writer_open(&place);
                cr_assert(becomes(&place, copying_has_ended), "at %u", fail_at);
                fixture_expect_model(&place.fixture, "all keys");
                fixture_close(&place.fixture);
        }

        place.fixture.hooks.files = NULL;
        writer_open(&place);
        cr_assert(becomes(&place, all_copied));
        expect_tidy(&place);
        place_deinit(&place);
}

/* ---- the writer dies ---- */

struct death {
        struct place *place;
        uint32_t step;
        uint32_t nth; /* time that the step is reached */
};

static void die_at(void *arg, uint32_t step)
{
        struct death *death = arg;

        if (step == death->step && --death->nth == 0)
                _exit(7);
}

static int death_main(void *arg)
{
        struct death *death = arg;
        struct timespec pause = {.tv_sec = 20};

        death->place->fixture.hooks.serve_step = die_at;
        death->place->fixture.hooks.arg = death;
        if (lanemap_writer_open(&death->place->fixture.options, &death->place->fixture.writer) != 0)
                return 1;
        if (death->nth > 1) /* a merge may leave one file only */
                return becomes(death->place, all_copied) ? 0 : 3;
        nanosleep(&pause, NULL);
        return 2;
}

Test(writer_serve_faults, a_writer_that_dies_at_any_step)
{
        struct place place;
        int r;

        place_init(&place);
        writer_open(&place);
        settle(&place);
        fixture_close(&place.fixture);
        for (uint32_t step = LANEMAP_SERVE_COPY; step <= LANEMAP_SERVE_DROPPED; step++)
                for (uint32_t nth = 1; nth <= 2; nth++) {
                        struct death death = {&place, step, nth};

                        copies_clear(&place);
                        r = engine_crash_after(death_main, &death);
                        cr_assert(r == 7 || (r == 0 && nth > 1), "step %u: %d", step, r);

                        /* A reader of the dead writer's state, then of the next one's. */
                        place.fixture.reader = NULL;
                        writer_open(&place);
                        fixture_attach(&place.fixture, NULL);
                        fixture_expect_model(&place.fixture, "all keys");
                        cr_assert(becomes(&place, all_copied));
                        expect_tidy(&place);
                        cr_expect_geq(lanemap_reader_poll(place.fixture.reader), 0);
                        fixture_expect_model(&place.fixture, "all keys");
                        fixture_detach(&place.fixture);
                        damage_index_apply(place.fixture.writer, &place.fixture.model,
                                           nth == 1 ? 1 : 3);
                        fixture_close(&place.fixture);
                }
        place_deinit(&place);
}
