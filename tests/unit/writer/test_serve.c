/*
 * Serving (T1, T2 in writer/serve/serve.c; K1 to K3 in writer/serve/copy.c; locked memory,
 * writer/serve/pin.c): copies of segment files on a tmpfs, what is done with those that are damaged
 * or another's, and that nobody waits for any of it. What fails on the way is test_serve_faults.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serve_place.h"

TestSuite(writer_serve, .timeout = 120);

/* ---- copies ---- */

Test(writer_serve, copies_follow_the_index)
{
        struct place place;
        struct stat st;
        uint64_t n;

        place_init(&place);
        writer_open(&place);
        fixture_attach(&place.fixture, NULL);
        settle(&place);
        expect_tidy(&place);
        cr_expect_eq(stat(place.copies, &st), 0);
        cr_expect_eq(st.st_mode & 0777, 0700, "as the data directory, which is mkdtemp's");

        /* The writer keeps the originals' mappings; a reader that polls has only copies. */
        cr_expect_geq(lanemap_reader_poll(place.fixture.reader), 1);
        cr_expect_eq(lanemap_reader_poll(place.fixture.reader), 0, "nothing is mapped twice");
        n = stats_of(&place).n_segment_files;
        cr_expect_eq(n_mapped(place.copies), 2 * n);
        cr_expect_eq(n_mapped(place.fixture.scratch.directory), n);
        fixture_expect_model(&place.fixture, "all keys");

        /* Copies go when their originals do, and new files get theirs. */
        damage_index_apply(place.fixture.writer, &place.fixture.model, 3);
        cr_assert_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_assert(becomes(&place, all_copied));
        expect_tidy(&place);
        cr_expect_geq(lanemap_reader_poll(place.fixture.reader), 1);
        fixture_expect_model(&place.fixture, "all keys");
        cr_assert_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_FLIP), 0);
        fixture_expect_model(&place.fixture, "all keys");
        cr_expect_eq(stats_of(&place).served_bytes, stats_of(&place).segment_bytes);

        /* A new writer takes over what is there. */
        fixture_close(&place.fixture);
        writer_open(&place);
        cr_assert(becomes(&place, all_copied));
        expect_tidy(&place);
        fixture_expect_model(&place.fixture, "all keys");
        place_deinit(&place);
}

Test(writer_serve, a_large_file_in_huge_pages_or_not)
{
        enum { N = 300000 };
        struct lanemap_op *ops = calloc(N, sizeof(*ops));
        uint32_t *keys = calloc(N, sizeof(*keys));
        struct place place;

        place_init(&place);
        place.fixture.options.shared_bytes_max = 0;
        writer_open(&place);
        for (uint32_t i = 0; i < N; i++) {
                keys[i] = i;
                ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, i, &keys[i], sizeof(keys[i])};
        }
        cr_assert_eq(engine_apply_durably(place.fixture.writer, ops, N), 0);
        cr_assert_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_assert(becomes(&place, all_copied));
        cr_expect_gt(stats_of(&place).served_bytes, 2 << 20);
        fixture_attach(&place.fixture, NULL);
        for (uint32_t i = 0; i < N; i += 7)
                cr_expect_eq(
                        lanemap_reader_contains(place.fixture.reader, &keys[i], sizeof(keys[i]), i),
                        1);
        free(ops);
        free(keys);
        place_deinit(&place);
}

/* K2: whatever is wrong with a copy, the original is there. */
Test(writer_serve, readers_do_without_a_copy)
{
        char path[512];
        struct place place;
        uint64_t n;

        place_init(&place);
        writer_open(&place);
        settle(&place);
        n = stats_of(&place).n_segment_files;

        /* Others may write one: whoever can truncate it could kill the reader. */
        cr_assert(scratch_find(place.copies, "seg-", path, sizeof(path)));
        cr_assert_eq(chmod(path, 0666), 0);
        fixture_attach(&place.fixture, NULL);
        cr_expect_eq(n_mapped(place.copies), 2 * n - 1);
        cr_expect_eq(n_mapped(place.fixture.scratch.directory), n + 1);
        fixture_expect_model(&place.fixture, "all keys");
        lanemap_reader_detach(place.fixture.reader);

        scratch_remove_tree(place.copies);
        fixture_attach(&place.fixture, NULL);
        cr_expect_eq(n_mapped(place.fixture.scratch.directory), 2 * n);
        cr_expect_eq(lanemap_reader_poll(place.fixture.reader), 0,
                     "it is not tried again and again");
        fixture_expect_model(&place.fixture, "all keys");
        place_deinit(&place);
}

Test(writer_serve, what_a_predecessor_left_is_checked_or_removed)
{
        char path[512], other[512], target[512];
        struct place place;
        FILE *file;

        place_init(&place);
        writer_open(&place);
        settle(&place);
        fixture_close(&place.fixture);

        /* One is damaged, one is a symbolic link; a stranger's file and leftovers are beside
         * them. */
        cr_assert(damage_segment_path(place.copies, 0, path, sizeof(path)));
        damage_flip(path, damage_file_bytes(path) / 2, 1);
        cr_assert(damage_segment_path(place.copies, 1, path, sizeof(path)));
        snprintf(target, sizeof(target), "%s/target", place.serve_from);
        cr_assert_eq(rename(path, target), 0);
        cr_assert_eq(symlink(target, path), 0);
        snprintf(other, sizeof(other), "%s/seg-00000000000000ff-0123456789abcdef.lms",
                 place.copies);
        file = fopen(other, "we");
        fclose(file);
        snprintf(other, sizeof(other), "%s/tmp-seg-0000000000000001", place.copies);
        file = fopen(other, "we");
        fclose(file);
        snprintf(other, sizeof(other), "%s/notes", place.copies);
        file = fopen(other, "we");
        fclose(file);

        writer_open(&place);
        cr_assert(becomes(&place, all_copied));
        fixture_attach(&place.fixture, NULL);
        fixture_expect_model(&place.fixture, "all keys");
        cr_expect_eq(access(other, F_OK), 0, "not ours");
        cr_assert_eq(unlink(other), 0);
        expect_tidy(&place);
        cr_expect_eq(access(target, F_OK), 0, "what the link led to is untouched");
        place_deinit(&place);
}

static bool files_are_equal(const char *left, const char *right)
{
        FILE *a = fopen(left, "re"), *b = fopen(right, "re");
        int x = 0, y = 0;

        while (a && b && x == y && x != EOF) {
                x = fgetc(a);
                y = fgetc(b);
        }
        if (a)
                fclose(a);
        if (b)
                fclose(b);
        return a && b && x == y;
}

/* K1. A merge may take the damaged one's place before it is looked at: then the next round
 * tells. */
Test(writer_serve, a_damaged_copy_is_made_anew)
{
        char copy[512], original[512];
        bool told = false;
        struct place place;

        place_init(&place);
        for (uint32_t i = 0; i < 20 && !told; i++) {
                writer_open(&place);
                cr_assert_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
                cr_assert(becomes(&place, is_tidy));
                fixture_close(&place.fixture);
                cr_assert(damage_segment_path(place.copies, 0, copy, sizeof(copy)));
                cr_assert(damage_segment_path(place.fixture.scratch.directory, 0, original,
                                              sizeof(original)));
                cr_assert(files_are_equal(copy, original));
                damage_flip(copy, damage_file_bytes(copy) - 8, 1); /* padding */
                cr_assert_not(files_are_equal(copy, original));

                writer_open(&place);
                cr_assert(becomes(&place, is_tidy));
                told = access(original, F_OK) == 0;
                cr_expect(!told || files_are_equal(copy, original));
                fixture_expect_model(&place.fixture, "all keys");
                fixture_close(&place.fixture);
        }
        cr_expect(told);
        place_deinit(&place);
}

static void expect_refused(struct place *place, int expected, const char *text)
{
        int r = lanemap_writer_open(&place->fixture.options, &place->fixture.writer);

        cr_expect_eq(r, expected, "%d", r);
        cr_expect(strstr(place->fixture.error.text, text), "%s", place->fixture.error.text);
        if (r == 0)
                lanemap_writer_close(place->fixture.writer);
        place->fixture.writer = NULL;
}

/* K3 */
Test(writer_serve, directories_that_are_refused)
{
        char link[256];
        struct place place;

        place_init(&place);
        writer_open(&place);
        fixture_close(&place.fixture);

        snprintf(link, sizeof(link), "%s.link", place.serve_from);
        cr_assert_eq(symlink(place.serve_from, link), 0);
        place.fixture.options.serve_from = link;
        expect_refused(&place, -ENOTDIR, "symbolic link");
        cr_assert_eq(unlink(link), 0);
        expect_refused(&place, -ENOENT, "No such file");

        place.fixture.options.serve_from = place.serve_from;
        cr_assert_eq(chmod(place.serve_from, 0777), 0);
        expect_refused(&place, -EPERM, "sticky");
        cr_assert_eq(chmod(place.serve_from, 01777), 0);
        cr_assert_eq(chmod(place.copies, 0770), 0);
        expect_refused(&place, -EPERM, "nobody else may write");
        scratch_remove_tree(place.copies);
        cr_assert_eq(symlink(place.fixture.scratch.directory, place.copies), 0);
        expect_refused(&place, -EPERM, "nobody else may write");
        cr_assert_eq(unlink(place.copies), 0);
        if (geteuid() == 0) {
                cr_assert_eq(mkdir(place.copies, 0700), 0);
                cr_assert_eq(chown(place.copies, 65534, 65534), 0);
                expect_refused(&place, -EPERM, "nobody else may write");
                cr_assert_eq(rmdir(place.copies), 0);
        }

        writer_open(&place);
        cr_assert(becomes(&place, all_copied));
        place_deinit(&place);
}

Test(writer_serve, two_indexes_share_a_directory)
{
        struct place place, other;

        place_init(&place);
        place_init(&other);
        other.fixture.options.serve_from = place.serve_from;
        writer_open(&place);
        cr_assert(becomes(&place, all_copied));
        writer_open(&other);
        cr_assert(becomes(&other, all_copied));
        cr_expect_eq(n_files(place.serve_from, ""), 2);
        expect_tidy(&place);
        fixture_expect_model(&place.fixture, "all keys");
        place_deinit(&other);
        place_deinit(&place);
}

/* ---- nobody waits ---- */

static void hold_at(void *arg, uint32_t step)
{
        struct place *place = arg;

        pthread_mutex_lock(&place->lock);
        while (step == place->held_step && !place->go_on) {
                place->holding = true;
                pthread_cond_broadcast(&place->wake);
                pthread_cond_wait(&place->wake, &place->lock);
        }
        pthread_mutex_unlock(&place->lock);
}

/* T1: the thread is held back at this step while everything else goes on. */
static void expect_nobody_waits(uint32_t step)
{
        struct place place;

        place_init(&place);
        place.held_step = step;
        place.fixture.hooks.serve_step = hold_at;
        place.fixture.options.lock_bytes = 1 << 20;
        writer_open(&place);
        pthread_mutex_lock(&place.lock);
        while (!place.holding)
                pthread_cond_wait(&place.wake, &place.lock);
        pthread_mutex_unlock(&place.lock);

        fixture_attach(&place.fixture, NULL);
        fixture_expect_model(&place.fixture, "all keys");
        damage_index_apply(place.fixture.writer, &place.fixture.model, 3);
        cr_assert_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_assert_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_FLIP), 0);
        fixture_expect_model(&place.fixture, "all keys");
        cr_expect_not(place.go_on);
        cr_expect((step != LANEMAP_SERVE_WARM && step != LANEMAP_SERVE_LOCK) ||
                  stats_of(&place).locked_bytes == 0);

        pthread_mutex_lock(&place.lock);
        place.go_on = true;
        pthread_cond_broadcast(&place.wake);
        pthread_mutex_unlock(&place.lock);
        cr_assert(becomes(&place, all_copied));
        cr_expect_eq(stats_of(&place).warmed_bytes, stats_of(&place).segment_bytes);
        expect_tidy(&place);
        fixture_expect_model(&place.fixture, "all keys");
        place_deinit(&place);
}

Test(writer_serve, nobody_waits_for_warming)
{
        expect_nobody_waits(LANEMAP_SERVE_WARM);
}

Test(writer_serve, nobody_waits_for_locking)
{
        expect_nobody_waits(LANEMAP_SERVE_LOCK);
}

Test(writer_serve, nobody_waits_for_a_copy)
{
        expect_nobody_waits(LANEMAP_SERVE_COPY_WRITTEN);
}

/* A reader that follows keeps the copies that it has: the originals are on the disk only. */
Test(writer_serve, copies_outlive_a_restart_in_a_reader)
{
        struct place place;
        size_t n_ids;
        uint32_t n;

        place_init(&place);
        place.fixture.hooks.serve_step = hold_at;
        writer_open(&place);
        settle(&place);
        fixture_attach(&place.fixture, NULL);
        fixture_close(&place.fixture);
        n = n_mapped(place.copies);
        cr_expect_gt(n, 0);

        place.held_step = LANEMAP_SERVE_COPY;
        writer_open(&place);
        pthread_mutex_lock(&place.lock);
        while (!place.holding)
                pthread_cond_wait(&place.wake, &place.lock);
        pthread_mutex_unlock(&place.lock);
        cr_expect_eq(lanemap_reader_lookup(place.fixture.reader, "key-5", 5, NULL, 0, &n_ids), 0);
        cr_expect_geq(n_mapped(place.copies), 1, "the writer has none yet");
        cr_expect_leq(n_mapped(place.copies), n);
        pthread_mutex_lock(&place.lock);
        place.go_on = true;
        pthread_cond_broadcast(&place.wake);
        pthread_mutex_unlock(&place.lock);
        expect_tidy(&place);
        cr_expect_geq(lanemap_reader_poll(place.fixture.reader), 0);
        fixture_expect_model(&place.fixture, "all keys");
        place_deinit(&place);
}

/* ---- locked memory ---- */

static int lock_some(void *arg, const void *bytes, uint64_t n_bytes)
{
        struct place *place = arg;

        if (place->locked_bytes + n_bytes > place->lock_limit)
                return -ENOMEM;
        place->locked_bytes += n_bytes;
        return 0;
}

static bool is_locked(const struct place *place)
{
        return stats_of(place).locked_bytes > 0;
}

static bool lock_refused(const struct place *place)
{
        return stats_of(place).lock_refused;
}

/* Sanitizers make mlock() do nothing, and say that it was done. */
#ifdef LANEMAP_SANITIZED
#define MLOCK_WORKS 0
#else
#define MLOCK_WORKS 1
#endif

static uint64_t locked_by_the_kernel(void)
{
        FILE *status = fopen("/proc/self/status", "re");
        unsigned long long kib = 0;
        char line[256];

        while (fgets(line, sizeof(line), status))
                if (sscanf(line, "VmLck: %llu", &kib) == 1)
                        break;
        fclose(status);
        return kib << 10;
}

/* As the kernel counts them, and no more than there are: what is dead is not locked. */
static bool all_is_locked(const struct place *place)
{
        uint64_t locked = stats_of(place).locked_bytes;

        return all_copied(place) && locked > 0 && (!MLOCK_WORKS || locked_by_the_kernel() > 0) &&
               locked_by_the_kernel() <= locked;
}

Test(writer_serve, memory_is_locked_within_the_limit)
{
        struct lanemap_writer_stats stats;
        struct place place;

        place_init(&place);
        place.fixture.options.serve_from = NULL;
        place.fixture.options.lock_bytes = 24 << 10;
        writer_open(&place);
        cr_assert(becomes(&place, is_locked));
        stats = stats_of(&place);
        cr_expect_leq(stats.locked_bytes, 24 << 10);
        cr_expect_not(stats.lock_refused);
        cr_expect(!MLOCK_WORKS || locked_by_the_kernel() > 0);
        cr_expect_leq(locked_by_the_kernel(), 24 << 10);
        fixture_close(&place.fixture);
        cr_expect_eq(locked_by_the_kernel(), 0);

        /* All of it, wherever it is served from; a file that goes takes its locks along. */
        place.fixture.options.lock_bytes = 64 << 20;
        place.fixture.options.serve_from = place.serve_from;
        writer_open(&place);
        cr_assert(becomes(&place, all_copied));
        cr_assert_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_assert(becomes(&place, all_copied));
        cr_expect(becomes(&place, all_is_locked));
        cr_expect_eq(place.fixture.n_lines, 0, "%s", place.fixture.lines);
        place_deinit(&place);
}

Test(writer_serve, locking_that_is_refused_is_told_once)
{
        struct place place;

        place_init(&place);
        place.fixture.options.serve_from = NULL;
        place.fixture.options.lock_bytes = 64 << 20;
        place.fixture.hooks.lock_memory = lock_some;
        place.lock_limit = 8 << 10;
        writer_open(&place);
        cr_assert(becomes(&place, lock_refused));
        damage_index_apply(place.fixture.writer, &place.fixture.model, 3);
        cr_assert_eq(engine_request(place.fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        fixture_expect_model(&place.fixture, "all keys");
        cr_expect(lock_refused(&place));
        fixture_close(&place.fixture);
        cr_expect_eq(place.fixture.n_lines, 1);
        cr_expect(strstr(place.fixture.lines, "LimitMEMLOCK="), "%s", place.fixture.lines);
        place_deinit(&place);
}
