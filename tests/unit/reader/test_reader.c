/*
 * liblanemap beside a writer of the same process: attaching and its errors, following a reborn
 * writer and a flip, mapping and unmapping, fork, status, staleness.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <lanemap/lanemap.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/order.h"
#include "shm/format.h"
#include "support/engine_fixture.h"
#include "support/rng.h"

TestSuite(reader, .timeout = 60);

static void pause_ms(long ms)
{
        struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

        nanosleep(&pause, NULL);
}

static void index_init(struct fixture *fixture)
{
        fixture_init(fixture, "reader");
        fixture->options.flush_bytes = 64 << 20; /* only when it is asked for */
        /* It maps a file while it checks it; some tests count mappings. */
        fixture->options.scrub_bytes_per_second = UINT64_MAX;
}

static void index_open(struct fixture *fixture)
{
        index_init(fixture);
        fixture_open(fixture);
        cr_assert_eq(engine_add(fixture->writer, "a", 1), 0);
}

/* The one id of a key; -ENOENT when it has none, -E2BIG when it has more. */
static int64_t id_of(struct lanemap_reader *reader, const char *key)
{
        size_t n_ids = 77;
        uint32_t id = 0;
        int r = lanemap_reader_lookup(reader, key, strlen(key), &id, 1, &n_ids);

        if (r != 0)
                return r;
        return n_ids == 1 ? (int64_t)id : n_ids == 0 ? -ENOENT : -E2BIG;
}

static struct lanemap_status status_of(struct lanemap_reader *reader)
{
        struct lanemap_status status = {.size = sizeof(status)};

        cr_assert_eq(lanemap_reader_status(reader, &status), 0);
        return status;
}

/* ---- attaching ---- */

static void expect_no_attach(const char *name, int expected, const char *text)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_reader_options options = {.size = sizeof(options), .error = &error};
        struct lanemap_reader *reader = NULL;
        int r = lanemap_reader_attach(name, &options, &reader);

        cr_expect_eq(r, expected, "%s: %d instead of %d, %s", name, r, expected, error.text);
        cr_expect(strstr(error.text, text), "%s: \"%s\" does not say \"%s\"", name, error.text,
                  text);
        cr_expect_null(reader);
        lanemap_reader_detach(reader);
}

Test(reader, attach_errors)
{
        static const char *const bad_names[] = {"", "a.b", "../x", "a/b"};
        struct lanemap_reader_options options = {.size = 4};
        struct lanemap_reader *reader = NULL;
        struct scratch scratch;
        char path[200];
        int fd;

        scratch_init(&scratch, "reader");
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(bad_names); i++)
                expect_no_attach(bad_names[i], -EINVAL, "name");
        cr_expect_eq(lanemap_reader_attach(NULL, NULL, &reader), -EINVAL);
        cr_expect_eq(lanemap_reader_attach(scratch.name, &options, &reader), -EINVAL);
        cr_expect_eq(lanemap_reader_attach(scratch.name, NULL, NULL), -EINVAL);
        expect_no_attach(scratch.name, -ENOENT, "no writer");

        snprintf(path, sizeof(path), "/dev/shm/lanemap.%s", scratch.name);
        fd = open(path, O_RDWR | O_CREAT, 0600);
        expect_no_attach(scratch.name, -EBADMSG, "validation");
        cr_assert_eq(ftruncate(fd, 4096), 0);
        expect_no_attach(scratch.name, -EBADMSG, "validation");
        close(fd);
        unlink(path);
        cr_assert_eq(mkfifo(path, 0600), 0);
        expect_no_attach(scratch.name, -EBADMSG, "validation");
        unlink(path);
        scratch_deinit(&scratch);
}

/* Objects of a writer that is gone, changed in one place. */
static void object_change(const char *path, off_t at, const void *bytes, size_t n)
{
        int fd = open(path, O_RDWR | O_CLOEXEC);

        cr_assert(fd >= 0);
        cr_assert_eq(pwrite(fd, bytes, n, at), (ssize_t)n);
        close(fd);
}

Test(reader, objects_of_another_format)
{
        struct fixture fixture;
        char control[200], data[260];
        uint64_t generation;
        uint32_t version = 77, one = 1;

        index_open(&fixture);
        fixture_attach(&fixture, NULL);
        generation = status_of(fixture.reader).generation;
        fixture_detach(&fixture);
        fixture_close(&fixture);
        snprintf(control, sizeof(control), "/dev/shm/lanemap.%s", fixture.scratch.name);
        snprintf(data, sizeof(data), "%s.%016lx", control, (unsigned long)generation);

        object_change(control, 8, &version, 4);
        expect_no_attach(fixture.scratch.name, -EPROTONOSUPPORT, "upgrade");
        object_change(control, 8, &one, 4);
        object_change(data, 8, &version, 4);
        expect_no_attach(fixture.scratch.name, -EPROTONOSUPPORT, "upgrade");
        object_change(data, 8, &one, 4);
        object_change(data, 12, &version, 4);
        expect_no_attach(fixture.scratch.name, -EPROTONOSUPPORT, "upgrade");
        object_change(data, 12, "\0\0\0", 4);
        fixture_attach(&fixture, NULL);
        cr_expect_eq(id_of(fixture.reader, "a"), 1);
        fixture_detach(&fixture);

        cr_assert_eq(truncate(data, 100), 0);
        expect_no_attach(fixture.scratch.name, -EBADMSG, "validation");
        cr_assert_eq(unlink(data), 0);
        expect_no_attach(fixture.scratch.name, -ENOENT, "no writer");
        fixture_deinit(&fixture);
}

/* A writer that was killed with 700 keys of many ids in its overlays: what it published stays. */
static void killed_writer(struct fixture *fixture)
{
        int status;
        pid_t pid = fork();

        cr_assert(pid >= 0);
        if (pid == 0) {
                if (lanemap_writer_open(&fixture->options, &fixture->writer) < 0)
                        _exit(1);
                for (uint32_t i = 0; i < 3000; i++) {
                        char key[16];

                        snprintf(key, sizeof(key), "k%u", (unsigned)i % 700);
                        if (engine_add(fixture->writer, key, i) < 0)
                                _exit(1);
                        if (i == 1500 && engine_request(fixture->writer, LANEMAP_REQUEST_FLUSH) < 0)
                                _exit(1);
                }
                (void)raise(SIGKILL);
        }

        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "%d", status);
}

/* Anything may stand in the data object: an answer or -EBADMSG, in bounded time. Its writer is
 * gone: it would not be asked to bear junk in its own memory. */
Test(reader, any_bytes_in_the_data_object)
{
        struct fixture fixture;
        struct rng rng;
        char data[260];
        off_t bytes;
        int fd;

        index_init(&fixture);
        killed_writer(&fixture);
        fixture_attach(&fixture, NULL);
        snprintf(data, sizeof(data), "/dev/shm/lanemap.%s.%016lx", fixture.scratch.name,
                 (unsigned long)status_of(fixture.reader).generation);
        fd = open(data, O_RDWR | O_CLOEXEC);
        cr_assert(fd >= 0);
        bytes = lseek(fd, 0, SEEK_END);
        rng_init(&rng, rng_test_seed(11));
        for (int round = 0; round < 300; round++) {
                /* So that a quarter of it is junk in the end. */
                for (off_t i = 0; i < bytes / 9600; i++) {
                        uint64_t junk = rng_next(&rng) >> rng_below(&rng, 64);

                        /* Behind the head, which a reader has validated when it attached. */
                        cr_assert_eq(
                                pwrite(fd, &junk, 8,
                                       (off_t)(4096 + rng_below(&rng, (uint64_t)bytes - 4104))),
                                8);
                }
                for (int i = 0; i < 100; i++) {
                        char key[16];
                        uint32_t ids[64];
                        size_t n;
                        int r;

                        snprintf(key, sizeof(key), "k%u", (unsigned)rng_below(&rng, 800));
                        r = lanemap_reader_lookup(fixture.reader, key, strlen(key), ids, 64, &n);
                        cr_assert(r == 0 || r == -EBADMSG || r == -ENOENT, "%d", r);
                        r = lanemap_reader_contains(fixture.reader, key, strlen(key), 5);
                        cr_assert(r >= 0 || r == -EBADMSG || r == -ENOENT, "%d", r);
                }
        }
        close(fd);
        fixture_deinit(&fixture);
}

/* Every view names a section that its file does not have: no mapping repairs that, so it is bad at
 * once. */
Test(reader, a_section_that_no_file_has)
{
        struct lanemap_shm_data *head;
        struct lanemap_lane_shm *lanes;
        struct fixture fixture;
        unsigned char *bytes;
        uint32_t n_segments = 0, n_bad = 0;
        char data[260];
        struct stat st;
        int fd;

        index_init(&fixture);
        killed_writer(&fixture);
        fixture_attach(&fixture, NULL);
        snprintf(data, sizeof(data), "/dev/shm/lanemap.%s.%016lx", fixture.scratch.name,
                 (unsigned long)status_of(fixture.reader).generation);
        fd = open(data, O_RDWR | O_CLOEXEC);
        cr_assert(fd >= 0 && fstat(fd, &st) == 0);
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        cr_assert_neq(bytes, MAP_FAILED);
        head = (void *)bytes;
        lanes = (void *)(bytes + head->lanes_off);
        for (uint32_t lane = 0; lane < head->n_lanes; lane++) {
                struct lanemap_lane_view_shm *view = (void *)(bytes + lanes[lane].view_off);

                for (uint32_t i = 0; i < view->n_segments; i++, n_segments++)
                        view->segments[i].section += 1000;
        }
        cr_assert_gt(n_segments, 0);

        for (uint32_t i = 0; i < 700; i++) {
                char key[16];
                size_t n, n_bytes = (size_t)snprintf(key, sizeof(key), "k%u", (unsigned)i);
                int r = lanemap_reader_lookup(fixture.reader, key, n_bytes, NULL, 0, &n);

                cr_assert(r == 0 || r == -EBADMSG, "%d", r);
                n_bad += r != 0;
        }
        cr_expect_gt(n_bad, 0);
        munmap(bytes, (size_t)st.st_size);
        close(fd);
        fixture_deinit(&fixture);
}

static void *late_writer_main(void *arg)
{
        pause_ms(150);
        fixture_open(arg);
        return NULL;
}

Test(reader, attach_waits_for_a_writer)
{
        struct lanemap_reader_options options = {.size = sizeof(options),
                                                 .attach_timeout_ns = UINT64_C(20) * 1000000000};
        struct fixture fixture;
        pthread_t thread;

        index_open(&fixture);
        fixture_close(&fixture);
        cr_assert_eq(lanemap_writer_unlink(fixture.scratch.name, NULL), 0);
        cr_assert_eq(pthread_create(&thread, NULL, late_writer_main, &fixture), 0);
        fixture_attach(&fixture, &options);
        cr_expect_eq(id_of(fixture.reader, "a"), 1);
        pthread_join(thread, NULL);
        fixture_deinit(&fixture);
}

/* ---- following ---- */

Test(reader, follows_a_reborn_writer_and_a_flip)
{
        struct fixture fixture;
        uint64_t generation;

        index_open(&fixture);
        fixture_attach(&fixture, NULL);
        generation = status_of(fixture.reader).generation;
        cr_expect_eq(status_of(fixture.reader).state, LANEMAP_STATE_RUNNING);
        fixture_close(&fixture);
        cr_expect_eq(status_of(fixture.reader).state, LANEMAP_STATE_CLOSED);
        cr_expect_eq(id_of(fixture.reader, "a"), 1, "a closed writer's last state is answered");

        fixture_open(&fixture);
        cr_expect_eq(engine_remove(fixture.writer, "a", 1), 0);
        cr_expect_eq(id_of(fixture.reader, "a"), -ENOENT);
        cr_expect_eq(status_of(fixture.reader).n_reattachments, 1);
        cr_expect_neq(status_of(fixture.reader).generation, generation);

        cr_expect_eq(engine_add(fixture.writer, "a", 5), 0);
        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLIP), 0);
        cr_expect_eq(engine_add(fixture.writer, "b", 6), 0);
        cr_expect_eq(id_of(fixture.reader, "b"), 6);
        cr_expect_eq(id_of(fixture.reader, "a"), 5);
        cr_expect_eq(status_of(fixture.reader).n_reattachments, 2);

        /* poll follows as well, before any lookup has to. */
        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLIP), 0);
        cr_expect_gt(lanemap_reader_poll(fixture.reader), 0);
        cr_expect_eq(status_of(fixture.reader).n_reattachments, 3);
        cr_expect_eq(lanemap_reader_poll(fixture.reader), 0);
        fixture_deinit(&fixture);
}

#define GONE_AFTER_NS (UINT64_C(2) * 1000 * 1000 * 1000)

/*
 * The control object was removed and made anew (R8): noticed by the heart that beats no more, by
 * the first poll, and the first lookup with a limit, that knows it to have stood still for two
 * seconds; not before.
 */
Test(reader, follows_a_name_that_was_removed_and_taken_again)
{
        struct lanemap_reader_options limited = {.size = sizeof(limited),
                                                 .stale_after_ns = 100 * 1000 * 1000};
        struct lanemap_reader *other = NULL;
        struct fixture fixture;
        uint64_t age_before, age_after;
        int64_t r;

        index_open(&fixture);
        fixture_attach(&fixture, NULL);
        cr_assert_eq(lanemap_reader_attach(fixture.scratch.name, &limited, &other), 0);
        fixture_close(&fixture);
        cr_assert_eq(lanemap_writer_unlink(fixture.scratch.name, NULL), 0);
        fixture_open(&fixture);
        cr_assert_eq(engine_add(fixture.writer, "new", 9), 0);
        cr_expect_eq(id_of(fixture.reader, "a"), 1, "what it has stays");
        do {
                age_before = status_of(fixture.reader).heartbeat_age_ns;
                r = lanemap_reader_poll(fixture.reader);
                cr_assert_geq(r, 0);
                age_after = status_of(fixture.reader).heartbeat_age_ns;
                cr_assert(r > 0 || age_before <= GONE_AFTER_NS, "not at the first poll");
                pause_ms(20);
        } while (id_of(fixture.reader, "new") != 9);
        cr_expect_lt(age_after, age_before, "and the new heart is young");

        do {
                uint32_t id = 77;
                size_t n_ids = 77;

                age_before = status_of(other).heartbeat_age_ns;
                r = lanemap_reader_lookup(other, "new", 3, &id, 1, &n_ids);
                cr_assert(r == 0 || (r == -ESTALE && id == 77 && n_ids == 77));
                cr_assert(r == 0 || age_before <= GONE_AFTER_NS, "not at the first lookup");
                /* A last beat before the close may be news to it: then it is not yet old. */
        } while (r != 0 || id_of(other, "new") != 9);
        cr_expect_eq(status_of(other).n_reattachments, 1);
        lanemap_reader_detach(other);
        fixture_deinit(&fixture);
}

static int mapped_segments(bool deleted)
{
        FILE *maps = fopen("/proc/self/maps", "re");
        char line[600];
        int n = 0;

        while (fgets(line, sizeof(line), maps))
                n += strstr(line, "/seg-") && !strstr(line, "(deleted)") == !deleted;
        fclose(maps);
        return n;
}

/* Where the segment files of this process are mapped, and which files they are. */
static uint64_t mapped_at(void)
{
        FILE *maps = fopen("/proc/self/maps", "re");
        char line[600];
        uint64_t sum = 0;

        while (fgets(line, sizeof(line), maps))
                if (strstr(line, "/seg-"))
                        for (const char *c = line; *c != ' '; c++)
                                sum = sum * 31 + (uint64_t)*c;
        fclose(maps);
        return sum;
}

/* Another file in the place of the only segment file, with the same bytes. */
static void segment_rewrite(const struct fixture *fixture)
{
        static unsigned char bytes[1 << 20];
        char path[512], aside[600];
        ssize_t n;
        int fd;

        cr_assert(scratch_find(fixture->scratch.directory, "seg-", path, sizeof(path)));
        snprintf(aside, sizeof(aside), "%s.aside", path);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        n = read(fd, bytes, sizeof(bytes));
        close(fd);
        fd = open(aside, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
        cr_assert(n > 0 && write(fd, bytes, (size_t)n) == n);
        close(fd);
        cr_assert_eq(rename(aside, path), 0);
}

/* Following a writer maps what is new: what the one before had mapped stays where it is. */
Test(reader, a_new_attachment_goes_on_with_the_mappings_of_the_one_before)
{
        struct fixture fixture;
        uint64_t before;

        index_open(&fixture);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        fixture_attach(&fixture, NULL);
        cr_expect_eq(id_of(fixture.reader, "a"), 1);
        before = mapped_at();
        cr_expect_eq(mapped_segments(false), 2, "the writer's and the reader's");

        for (uint64_t i = 1; i <= 3; i++) {
                cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLIP), 0);
                cr_expect_eq(id_of(fixture.reader, "a"), 1);
                cr_expect_eq(status_of(fixture.reader).n_reattachments, i);
                cr_expect_eq(mapped_at(), before);
        }

        /* With the same bytes in another file of that name, the new one is what is mapped. */
        fixture_close(&fixture);
        segment_rewrite(&fixture);
        cr_expect_eq(mapped_segments(true), 1);
        fixture_open(&fixture);
        cr_expect_eq(id_of(fixture.reader, "a"), 1);
        cr_expect_eq(mapped_segments(true), 0);
        cr_expect_eq(mapped_segments(false), 2);

        fixture_detach(&fixture);
        cr_expect_eq(mapped_segments(false), 1, "the writer's");
        fixture_deinit(&fixture);
}

Test(reader, poll_maps_what_is_new_and_unmaps_what_is_old)
{
        struct fixture fixture;

        index_open(&fixture);
        fixture_attach(&fixture, NULL);
        cr_expect_eq(lanemap_reader_poll(fixture.reader), 0);
        cr_expect_eq(status_of(fixture.reader).n_segment_files, 0);
        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_expect_eq(lanemap_reader_poll(fixture.reader), 1);
        cr_expect_eq(status_of(fixture.reader).n_segment_files, 1);
        cr_expect_gt(status_of(fixture.reader).segment_bytes, 0);
        cr_expect_eq(mapped_segments(false), 2, "the writer's and the reader's");
        cr_expect_eq(lanemap_reader_poll(fixture.reader), 0);

        /* The next flush takes the small one in. */
        cr_expect_eq(engine_add(fixture.writer, "a", 2), 0);
        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_expect_eq(mapped_segments(true), 1, "the reader still has it");
        cr_expect_geq(lanemap_reader_poll(fixture.reader), 1);
        cr_expect_eq(lanemap_reader_poll(fixture.reader), 0);
        cr_expect_eq(mapped_segments(true), 0);
        cr_expect_eq(status_of(fixture.reader).n_segment_files, 1);

        /* A lookup maps what it needs by itself, and everything goes with a clear. */
        cr_expect_eq(engine_add(fixture.writer, "a", 3), 0);
        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "a", 1, 3), 1);
        struct lanemap_op clear = {.code = LANEMAP_OP_CLEAR};
        cr_expect_eq(engine_apply_durably(fixture.writer, &clear, 1), 0);
        cr_expect_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_expect_geq(lanemap_reader_poll(fixture.reader), 1);
        cr_expect_eq(mapped_segments(true) + mapped_segments(false), 0);
        fixture_deinit(&fixture);
}

/* ---- fork ---- */

struct busy {
        struct lanemap_reader *reader;
        bool stop;
};

static void *busy_main(void *arg)
{
        struct busy *busy = arg;

        while (!lanemap_load_relaxed(&busy->stop)) {
                (void)id_of(busy->reader, "a");
                (void)lanemap_reader_poll(busy->reader);
        }
        return NULL;
}

/* In a child: everything works at once, also what takes the lock that another thread may have held
 * when it was forked. */
static int child_main(struct lanemap_reader *reader)
{
        struct lanemap_reader *own;
        int r;

        if (id_of(reader, "a") != 1)
                return 1;
        if (lanemap_reader_poll(reader) < 0)
                return 2;
        if (lanemap_reader_contains(reader, "a", 1, 1) != 1)
                return 3;
        r = lanemap_reader_attach("no-such-name-anywhere", NULL, &own);
        if (r != -ENOENT)
                return 4;
        lanemap_reader_detach(reader);
        return 0;
}

Test(reader, a_child_looks_up_at_once)
{
        struct lanemap_reader_options options = {
                .size = sizeof(options), .helper_thread = 1, .statistics = 1};
        struct busy busy[2];
        struct fixture fixture;
        pthread_t threads[2];

        index_open(&fixture);
        fixture_attach(&fixture, &options);
        for (int i = 0; i < 2; i++) {
                busy[i] = (struct busy){.reader = fixture.reader};
                cr_assert_eq(pthread_create(&threads[i], NULL, busy_main, &busy[i]), 0);
        }
        for (int i = 0; i < 40; i++) {
                pid_t child;
                int status;

                if (i % 10 == 0)
                        cr_expect_eq(engine_request(fixture.writer, i % 20 ? LANEMAP_REQUEST_FLIP
                                                                           : LANEMAP_REQUEST_FLUSH),
                                     0);
                child = fork();
                cr_assert(child >= 0);
                if (child == 0)
                        _exit(child_main(fixture.reader));
                cr_assert_eq(waitpid(child, &status, 0), child);
                cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d: %x", i,
                          (unsigned)status);
        }
        for (int i = 0; i < 2; i++) {
                lanemap_store_relaxed(&busy[i].stop, true);
                pthread_join(threads[i], NULL);
        }
        cr_expect_gt(status_of(fixture.reader).n_lookups, 0);
        fixture_deinit(&fixture);
}

/* ---- status and age ---- */

/* A writer that was dead before anybody attached: its age counts from then on. */
Test(reader, the_age_counts_from_attaching)
{
        struct lanemap_reader_options options = {.size = sizeof(options),
                                                 .stale_after_ns = 30 * 1000 * 1000};
        struct fixture fixture;
        uint64_t age_ns;

        index_open(&fixture);
        fixture_close(&fixture);
        fixture_attach(&fixture, &options);
        pause_ms(40);
        age_ns = status_of(fixture.reader).heartbeat_age_ns;
        cr_expect_geq(age_ns, 40 * 1000 * 1000);
        cr_expect_eq(id_of(fixture.reader, "a"), -ESTALE);
        fixture_deinit(&fixture);
}

Test(reader, staleness)
{
        struct lanemap_reader_options options = {.size = sizeof(options),
                                                 .stale_after_ns = 400 * 1000 * 1000};
        struct lanemap_span span;
        struct lanemap_key key = {"a", 1};
        struct fixture fixture;
        uint32_t id;
        int64_t r = 1;

        index_open(&fixture);
        fixture_attach(&fixture, &options);
        for (int i = 0; i < 10; i++) {
                cr_expect_eq(id_of(fixture.reader, "a"), 1);
                pause_ms(60);
        }
        fixture_close(&fixture);
        cr_expect_eq(id_of(fixture.reader, "a"), 1, "not old yet");
        for (int i = 0; i < 60 && r == 1; i++) {
                pause_ms(50);
                r = id_of(fixture.reader, "a");
        }
        cr_expect_eq(r, -ESTALE, "%ld", (long)r);
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "a", 1, 1), -ESTALE);
        cr_expect_eq(lanemap_reader_lookup_batch(fixture.reader, &key, 1, &id, 1, &span), -ESTALE);
        cr_expect_gt(status_of(fixture.reader).heartbeat_age_ns, 400 * 1000 * 1000);

        fixture_open(&fixture);
        pause_ms(150);
        cr_expect_eq(id_of(fixture.reader, "a"), 1, "and young again");
        fixture_deinit(&fixture);
}

Test(reader, status_and_misuse)
{
        struct lanemap_status status = {.size = 4};
        struct lanemap_key keys[2] = {{"a", 1}, {"", 0}};
        struct lanemap_span spans[2];
        struct fixture fixture;
        uint32_t ids[2] = {77, 78};
        static char long_key[LANEMAP_KEY_BYTES_MAX + 1];
        size_t n = 99;

        index_open(&fixture);
        fixture_attach(&fixture, NULL);
        cr_expect_eq(lanemap_reader_status(fixture.reader, &status), -EINVAL);
        status = status_of(fixture.reader);
        cr_expect(status.n_lanes == 4 && status.fingerprint_bits == 64 && status.n_keys == 1 &&
                  status.n_pairs == 1 && status.n_lookups == 0);
        cr_expect_gt(strlen(lanemap_version()), 0);

        cr_expect_eq(lanemap_reader_lookup(fixture.reader, "", 0, ids, 2, &n), -EINVAL);
        cr_expect_eq(lanemap_reader_lookup(fixture.reader, NULL, 1, ids, 2, &n), -EINVAL);
        cr_expect_eq(lanemap_reader_lookup(fixture.reader, long_key, sizeof(long_key), ids, 2, &n),
                     -EINVAL);
        cr_expect_eq(lanemap_reader_lookup(fixture.reader, "a", 1, NULL, 2, &n), -EINVAL);
        cr_expect_eq(lanemap_reader_lookup(NULL, "a", 1, ids, 2, &n), -EINVAL);
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "a", 1, UINT32_MAX), -EINVAL);
        cr_expect_eq(lanemap_reader_lookup_batch(fixture.reader, keys, 2, ids, 2, spans), -EINVAL);
        cr_expect_eq(lanemap_reader_lookup_batch(fixture.reader, keys, 0, NULL, 0, NULL), 0);
        cr_expect_eq(lanemap_reader_poll(NULL), -EINVAL);
        cr_expect(n == 99 && ids[0] == 77 && ids[1] == 78, "outputs are untouched on failure");

        cr_expect_eq(lanemap_reader_lookup(fixture.reader, "a", 1, NULL, 0, &n), 0);
        cr_expect_eq(n, 1);
        fixture_deinit(&fixture);
}
