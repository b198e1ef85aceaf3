/*
 * Serving (T1, T2 in writer_serve.c; K1 to K3 in writer_copy.c; locked memory, writer_pin.c): copies
 * of segment files on a tmpfs, warming, and what happens when they cannot be made, are damaged, or
 * the writer dies between any two steps.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "common/order.h"
#include "damage.h"
#include "writer/writer_hooks.h"

TestSuite(writer_serve, .timeout = 120);

struct place {
        struct scratch scratch;
        struct model model;
        char serve_from[128];
        char copies[256]; /* the index's own directory in it; known once a writer was open */
        struct lanemap_writer_options options;
        struct lanemap_error error;
        struct lanemap_writer_hooks hooks;
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;

        pthread_mutex_t lock;
        pthread_cond_t wake;
        uint32_t held_step;  /* the hook waits at this one */
        bool holding, go_on; /* it does; it may go on */
        uint64_t lock_limit, locked_bytes;
        uint32_t n_lines; /* that speak of copies or of locked memory */
        char line[512];
};

static void line_take(void *arg, int priority, const char *line)
{
        struct place *place = arg;

        if (priority > LOG_WARNING)
                return;
        pthread_mutex_lock(&place->lock);
        place->n_lines++;
        snprintf(place->line, sizeof(place->line), "%s", line);
        pthread_mutex_unlock(&place->lock);
}

static void place_init(struct place *place)
{
        *place = (struct place){.held_step = LANEMAP_SERVE_N_STEPS};
        pthread_mutex_init(&place->lock, NULL);
        pthread_cond_init(&place->wake, NULL);
        scratch_init(&place->scratch, "serve");
        damage_index_make(&place->scratch, &place->model);
        snprintf(place->serve_from, sizeof(place->serve_from), "/dev/shm/%s.copies",
                 place->scratch.name);
        cr_assert_eq(mkdir(place->serve_from, 0755), 0);

        engine_options_init(&place->options, &place->scratch, &place->error);
        place->options.flush_bytes = UINT64_C(1) << 30;
        place->options.scrub_bytes_per_second = UINT64_MAX;
        place->options.serve_from = place->serve_from;
        place->options.log = line_take;
        place->options.log_arg = place;
        place->options.hooks = &place->hooks;
        place->hooks.arg = place;
}

static void place_deinit(struct place *place)
{
        lanemap_reader_detach(place->reader);
        lanemap_writer_close(place->writer);
        scratch_remove_tree(place->serve_from);
        model_deinit(&place->model);
        scratch_deinit(&place->scratch);
}

static struct lanemap_writer_stats stats_of(const struct place *place)
{
        struct lanemap_writer_stats stats;

        engine_stats(place->writer, &stats);
        return stats;
}

static void writer_open(struct place *place)
{
        int r = lanemap_writer_open(&place->options, &place->writer);
        struct lanemap_writer_stats stats;
        int n;

        cr_assert_eq(r, 0, "%d, %s", r, place->error.text);
        stats = stats_of(place);
        n = snprintf(place->copies, sizeof(place->copies), "%s/", place->serve_from);
        for (size_t i = 0; i < sizeof(stats.uuid); i++)
                n += snprintf(place->copies + n, sizeof(place->copies) - (size_t)n, "%02x",
                              stats.uuid[i]);
}

static void writer_close(struct place *place)
{
        lanemap_writer_close(place->writer);
        place->writer = NULL;
}

static void reader_attach(struct place *place)
{
        cr_assert_eq(lanemap_reader_attach(place->scratch.name, NULL, &place->reader), 0);
}

static void expect_right(struct place *place)
{
        char why[512];

        cr_expect(engine_matches(place->writer, place->reader, &place->model, why, sizeof(why)),
                  "%s", why);
}

static bool becomes(const struct place *place, bool (*is)(const struct place *place))
{
        struct timespec pause = {.tv_nsec = 5 * 1000 * 1000};

        for (uint32_t i = 0; i < 60 * 200; i++) {
                if (is(place))
                        return true;
                nanosleep(&pause, NULL);
        }
        return false;
}

static bool all_copied(const struct place *place)
{
        struct lanemap_writer_stats stats = stats_of(place);

        return stats.n_segment_files > 0 && stats.served_copies == stats.n_segment_files;
}

/* Two segments in each lane, of two files, that nobody wants to merge, each with its copy. */
static void settle(struct place *place)
{
        cr_assert_eq(engine_request(place->writer, LANEMAP_REQUEST_COMPACT), 0);
        damage_index_apply(place->writer, &place->model, 3);
        cr_assert_eq(engine_request(place->writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_assert(becomes(place, all_copied));
}

/* Files of a directory whose name begins with prefix. */
static uint32_t n_files(const char *directory, const char *prefix)
{
        const struct dirent *entry;
        DIR *dir = opendir(directory);
        uint32_t n = 0;

        if (!dir)
                return 0;
        while ((entry = readdir(dir)))
                n += entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
        closedir(dir);
        return n;
}

/* One copy for each file in use, the originals, and nothing else. */
static bool is_tidy(const struct place *place)
{
        uint64_t n = stats_of(place).n_segment_files;

        return all_copied(place) && n_files(place->copies, "seg-") == n &&
               n_files(place->copies, "") == n && n_files(place->scratch.directory, "seg-") == n;
}

/* Also when merges are still going on. */
static void expect_tidy(const struct place *place)
{
        cr_expect(becomes(place, is_tidy), "%u copies, %u files, %u originals, %u in use",
                  n_files(place->copies, "seg-"), n_files(place->copies, ""),
                  n_files(place->scratch.directory, "seg-"),
                  (unsigned)stats_of(place).n_segment_files);
}

/* Mappings of segment files in this process: of a directory's. */
static uint32_t n_mapped(const char *directory)
{
        FILE *maps = fopen("/proc/self/maps", "re");
        char line[600], start[300];
        uint32_t n = 0;

        snprintf(start, sizeof(start), "%s/seg-", directory);
        while (fgets(line, sizeof(line), maps))
                n += strstr(line, start) != NULL;
        fclose(maps);
        return n;
}

/* ---- copies ---- */

Test(writer_serve, copies_follow_the_index)
{
        struct place place;
        struct stat st;
        uint64_t n;

        place_init(&place);
        writer_open(&place);
        reader_attach(&place);
        settle(&place);
        expect_tidy(&place);
        cr_expect_eq(stat(place.copies, &st), 0);
        cr_expect_eq(st.st_mode & 0777, 0700, "as the data directory, which is mkdtemp's");

        /* The writer keeps the originals' mappings; a reader that polls has only copies. */
        cr_expect_geq(lanemap_reader_poll(place.reader), 1);
        cr_expect_eq(lanemap_reader_poll(place.reader), 0, "nothing is mapped twice");
        n = stats_of(&place).n_segment_files;
        cr_expect_eq(n_mapped(place.copies), 2 * n);
        cr_expect_eq(n_mapped(place.scratch.directory), n);
        expect_right(&place);

        /* Copies go when their originals do, and new files get theirs. */
        damage_index_apply(place.writer, &place.model, 3);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_assert(becomes(&place, all_copied));
        expect_tidy(&place);
        cr_expect_geq(lanemap_reader_poll(place.reader), 1);
        expect_right(&place);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_FLIP), 0);
        expect_right(&place);
        cr_expect_eq(stats_of(&place).served_bytes, stats_of(&place).segment_bytes);

        /* A new writer takes over what is there. */
        writer_close(&place);
        writer_open(&place);
        cr_assert(becomes(&place, all_copied));
        expect_tidy(&place);
        expect_right(&place);
        place_deinit(&place);
}

Test(writer_serve, a_large_file_in_huge_pages_or_not)
{
        enum { N = 300000 };
        struct lanemap_op *ops = calloc(N, sizeof(*ops));
        uint32_t *keys = calloc(N, sizeof(*keys));
        struct place place;

        place_init(&place);
        place.options.shared_bytes_max = 0;
        writer_open(&place);
        for (uint32_t i = 0; i < N; i++) {
                keys[i] = i;
                ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, i, &keys[i], sizeof(keys[i])};
        }
        cr_assert_eq(engine_apply_durably(place.writer, ops, N), 0);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_assert(becomes(&place, all_copied));
        cr_expect_gt(stats_of(&place).served_bytes, 2 << 20);
        reader_attach(&place);
        for (uint32_t i = 0; i < N; i += 7)
                cr_expect_eq(lanemap_reader_contains(place.reader, &keys[i], sizeof(keys[i]), i),
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
        reader_attach(&place);
        cr_expect_eq(n_mapped(place.copies), 2 * n - 1);
        cr_expect_eq(n_mapped(place.scratch.directory), n + 1);
        expect_right(&place);
        lanemap_reader_detach(place.reader);

        scratch_remove_tree(place.copies);
        reader_attach(&place);
        cr_expect_eq(n_mapped(place.scratch.directory), 2 * n);
        cr_expect_eq(lanemap_reader_poll(place.reader), 0, "it is not tried again and again");
        expect_right(&place);
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
        writer_close(&place);

        /* One is damaged, one is a symbolic link; a stranger's file and leftovers are beside them. */
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
        reader_attach(&place);
        expect_right(&place);
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

/* K1. A merge may take the damaged one's place before it is looked at: then the next round tells. */
Test(writer_serve, a_damaged_copy_is_made_anew)
{
        char copy[512], original[512];
        bool told = false;
        struct place place;

        place_init(&place);
        for (uint32_t i = 0; i < 20 && !told; i++) {
                writer_open(&place);
                cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), 0);
                cr_assert(becomes(&place, is_tidy));
                writer_close(&place);
                cr_assert(damage_segment_path(place.copies, 0, copy, sizeof(copy)));
                cr_assert(damage_segment_path(place.scratch.directory, 0, original,
                                              sizeof(original)));
                cr_assert(files_are_equal(copy, original));
                damage_flip(copy, damage_file_bytes(copy) - 8, 1); /* padding */
                cr_assert_not(files_are_equal(copy, original));

                writer_open(&place);
                cr_assert(becomes(&place, is_tidy));
                told = access(original, F_OK) == 0;
                cr_expect(!told || files_are_equal(copy, original));
                expect_right(&place);
                writer_close(&place);
        }
        cr_expect(told);
        place_deinit(&place);
}

static void expect_refused(struct place *place, int expected, const char *text)
{
        int r = lanemap_writer_open(&place->options, &place->writer);

        cr_expect_eq(r, expected, "%d", r);
        cr_expect(strstr(place->error.text, text), "%s", place->error.text);
        if (r == 0)
                lanemap_writer_close(place->writer);
        place->writer = NULL;
}

/* K3 */
Test(writer_serve, directories_that_are_refused)
{
        char link[256];
        struct place place;

        place_init(&place);
        writer_open(&place);
        writer_close(&place);

        snprintf(link, sizeof(link), "%s.link", place.serve_from);
        cr_assert_eq(symlink(place.serve_from, link), 0);
        place.options.serve_from = link;
        expect_refused(&place, -ENOTDIR, "symbolic link");
        cr_assert_eq(unlink(link), 0);
        expect_refused(&place, -ENOENT, "No such file");

        place.options.serve_from = place.serve_from;
        cr_assert_eq(chmod(place.serve_from, 0777), 0);
        expect_refused(&place, -EPERM, "sticky");
        cr_assert_eq(chmod(place.serve_from, 01777), 0);
        cr_assert_eq(chmod(place.copies, 0770), 0);
        expect_refused(&place, -EPERM, "nobody else may write");
        scratch_remove_tree(place.copies);
        cr_assert_eq(symlink(place.scratch.directory, place.copies), 0);
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
        other.options.serve_from = place.serve_from;
        writer_open(&place);
        cr_assert(becomes(&place, all_copied));
        writer_open(&other);
        cr_assert(becomes(&other, all_copied));
        cr_expect_eq(n_files(place.serve_from, ""), 2);
        expect_tidy(&place);
        expect_right(&place);
        place_deinit(&other);
        place_deinit(&place);
}

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

Test(writer_serve, without_room_the_originals_are_served)
{
        struct copy_files faulty;
        struct place place;

        place_init(&place);
        writer_open(&place);
        writer_close(&place);
        copies_clear(&place);

        copy_files_init(&faulty, place.copies);
        faulty.fail_at = 1;
        faulty.n_failing = UINT32_MAX;
        faulty.error = -ENOSPC;
        place.hooks.files = &faulty.files;
        writer_open(&place);
        cr_assert(becomes(&place, no_room));
        reader_attach(&place);
        expect_right(&place);
        cr_expect_eq(stats_of(&place).served_copies, 0);
        cr_expect_eq(n_files(place.copies, ""), 0);
        cr_expect(strstr(place.line, "no room"), "%s", place.line);
        cr_expect_eq(place.n_lines, 1, "told once");

        /* Room again: it goes on by itself. */
        lanemap_store_relaxed(&faulty.fail_at, UINT32_MAX);
        cr_assert(becomes(&place, all_copied));
        cr_expect_not(no_room(&place));
        expect_tidy(&place);
        expect_right(&place);
        place_deinit(&place);
}

static bool copying_has_ended(const struct place *place)
{
        const struct copy_files *faulty = (const struct copy_files *)place->hooks.files;
        struct lanemap_writer_stats stats = stats_of(place);

        return lanemap_load_relaxed(&faulty->n_calls) >= faulty->fail_at &&
               stats.served_copies + 1 >= stats.n_segment_files;
}

/* Each call on the way to the first copies fails once. */
Test(writer_serve, any_call_may_fail)
{
        struct place place;

        place_init(&place);
        writer_open(&place);
        settle(&place);
        writer_close(&place);
        /* Five calls a copy. */
        for (uint32_t fail_at = 1; fail_at <= 5; fail_at++) {
                struct copy_files faulty;

                copies_clear(&place);
                copy_files_init(&faulty, place.copies);
                faulty.fail_at = fail_at;
                place.hooks.files = &faulty.files;
                writer_open(&place);
                cr_assert(becomes(&place, copying_has_ended), "at %u", fail_at);
                cr_expect_eq(n_files(place.copies, "tmp-"), 0, "at %u", fail_at);
                expect_right(&place);
                writer_close(&place);
        }

        place.hooks.files = NULL;
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

        death->place->hooks.serve_step = die_at;
        death->place->hooks.arg = death;
        if (lanemap_writer_open(&death->place->options, &death->place->writer) != 0)
                return 1;
        if (death->nth > 1) /* a merge may leave one file only */
                return becomes(death->place, all_copied) ? 0 : 3;
        nanosleep(&pause, NULL);
        return 2;
}

Test(writer_serve, a_writer_that_dies_at_any_step)
{
        struct place place;
        int r;

        place_init(&place);
        writer_open(&place);
        settle(&place);
        writer_close(&place);
        for (uint32_t step = LANEMAP_SERVE_COPY; step <= LANEMAP_SERVE_DROPPED; step++)
                for (uint32_t nth = 1; nth <= 2; nth++) {
                        struct death death = {&place, step, nth};

                        copies_clear(&place);
                        r = engine_crash_after(death_main, &death);
                        cr_assert(r == 7 || (r == 0 && nth > 1), "step %u: %d", step, r);

                        /* A reader of the dead writer's state, then of the next one's. */
                        place.reader = NULL;
                        writer_open(&place);
                        reader_attach(&place);
                        expect_right(&place);
                        cr_assert(becomes(&place, all_copied));
                        expect_tidy(&place);
                        cr_expect_geq(lanemap_reader_poll(place.reader), 0);
                        expect_right(&place);
                        lanemap_reader_detach(place.reader);
                        place.reader = NULL;
                        damage_index_apply(place.writer, &place.model, nth == 1 ? 1 : 3);
                        writer_close(&place);
                }
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
        place.hooks.serve_step = hold_at;
        place.options.lock_bytes = 1 << 20;
        writer_open(&place);
        pthread_mutex_lock(&place.lock);
        while (!place.holding)
                pthread_cond_wait(&place.wake, &place.lock);
        pthread_mutex_unlock(&place.lock);

        reader_attach(&place);
        expect_right(&place);
        damage_index_apply(place.writer, &place.model, 3);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_FLIP), 0);
        expect_right(&place);
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
        expect_right(&place);
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
        place.hooks.serve_step = hold_at;
        writer_open(&place);
        settle(&place);
        reader_attach(&place);
        writer_close(&place);
        n = n_mapped(place.copies);
        cr_expect_gt(n, 0);

        place.held_step = LANEMAP_SERVE_COPY;
        writer_open(&place);
        pthread_mutex_lock(&place.lock);
        while (!place.holding)
                pthread_cond_wait(&place.wake, &place.lock);
        pthread_mutex_unlock(&place.lock);
        cr_expect_eq(lanemap_reader_lookup(place.reader, "key-5", 5, NULL, 0, &n_ids), 0);
        cr_expect_geq(n_mapped(place.copies), 1, "the writer has none yet");
        cr_expect_leq(n_mapped(place.copies), n);
        pthread_mutex_lock(&place.lock);
        place.go_on = true;
        pthread_cond_broadcast(&place.wake);
        pthread_mutex_unlock(&place.lock);
        expect_tidy(&place);
        cr_expect_geq(lanemap_reader_poll(place.reader), 0);
        expect_right(&place);
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
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
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
        place.options.serve_from = NULL;
        place.options.lock_bytes = 24 << 10;
        writer_open(&place);
        cr_assert(becomes(&place, is_locked));
        stats = stats_of(&place);
        cr_expect_leq(stats.locked_bytes, 24 << 10);
        cr_expect_not(stats.lock_refused);
        cr_expect(!MLOCK_WORKS || locked_by_the_kernel() > 0);
        cr_expect_leq(locked_by_the_kernel(), 24 << 10);
        writer_close(&place);
        cr_expect_eq(locked_by_the_kernel(), 0);

        /* All of it, wherever it is served from; a file that goes takes its locks along. */
        place.options.lock_bytes = 64 << 20;
        place.options.serve_from = place.serve_from;
        writer_open(&place);
        cr_assert(becomes(&place, all_copied));
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_assert(becomes(&place, all_copied));
        cr_expect(becomes(&place, all_is_locked));
        cr_expect_eq(place.n_lines, 0, "%s", place.line);
        place_deinit(&place);
}

Test(writer_serve, locking_that_is_refused_is_told_once)
{
        struct place place;

        place_init(&place);
        place.options.serve_from = NULL;
        place.options.lock_bytes = 64 << 20;
        place.hooks.lock_memory = lock_some;
        place.lock_limit = 8 << 10;
        writer_open(&place);
        cr_assert(becomes(&place, lock_refused));
        damage_index_apply(place.writer, &place.model, 3);
        cr_assert_eq(engine_request(place.writer, LANEMAP_REQUEST_FLUSH), 0);
        expect_right(&place);
        cr_expect(lock_refused(&place));
        writer_close(&place);
        cr_expect_eq(place.n_lines, 1);
        cr_expect(strstr(place.line, "LimitMEMLOCK="), "%s", place.line);
        place_deinit(&place);
}
