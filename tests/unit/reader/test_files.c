/*
 * M1 in reader/files.c: no lookup waits for pages. madvise() of this program is its own, so that
 * making pages present can be held back, and can be what an old kernel knows of it.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <lanemap/lanemap.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/order.h"
#include "lane/file_read.h"
#include "support/engine_fixture.h"

TestSuite(reader_files, .timeout = 60);

/* What madvise() does about the two advices of newer kernels. */
enum { AS_THE_KERNEL, UNKNOWN, HELD, FAILING };
static uint32_t populating;
static uint32_t n_held, n_asked;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;

int madvise(void *at, size_t n_bytes, int advice)
{
        uint32_t how = lanemap_load_relaxed(&populating);

        if (advice == MADV_POPULATE_READ || advice == MADV_COLLAPSE) {
                pthread_mutex_lock(&lock);
                n_asked++;
                if (how == HELD) {
                        n_held++;
                        pthread_cond_broadcast(&wake);
                        while (lanemap_load_relaxed(&populating) == HELD)
                                pthread_cond_wait(&wake, &lock);
                        n_held--;
                }
                pthread_mutex_unlock(&lock);
                if (how == UNKNOWN || how == FAILING) {
                        errno = how == UNKNOWN ? EINVAL : EFAULT;
                        return -1;
                }
        }
        return (int)syscall(SYS_madvise, at, n_bytes, advice);
}

static void populating_set(uint32_t how)
{
        pthread_mutex_lock(&lock);
        lanemap_store_relaxed(&populating, how);
        pthread_cond_broadcast(&wake);
        pthread_mutex_unlock(&lock);
}

static void index_open(struct fixture *fixture, const struct lanemap_reader_options *options)
{
        fixture_init(fixture, "files");
        fixture->options.flush_bytes = 64 << 20; /* only when it is asked for */
        fixture_open(fixture);
        cr_assert_eq(engine_add(fixture->writer, "a", 1), 0);
        cr_assert_eq(engine_request(fixture->writer, LANEMAP_REQUEST_FLUSH), 0);
        fixture_attach(fixture, options);
}

static void *poll_main(void *arg)
{
        return (void *)(intptr_t)lanemap_reader_poll(arg);
}

static void wait_for_a_held_one(void)
{
        pthread_mutex_lock(&lock);
        while (n_held == 0)
                pthread_cond_wait(&wake, &lock);
        pthread_mutex_unlock(&lock);
}

static void flush(struct fixture *fixture, const char *key)
{
        cr_assert_eq(engine_add(fixture->writer, key, 7), 0);
        cr_assert_eq(engine_request(fixture->writer, LANEMAP_REQUEST_FLUSH), 0);
}

/* Waits in the writer's own populating, or the helper does in the reader's: either is held. */
static void *flush_main(void *arg)
{
        flush(arg, "b");
        return NULL;
}

Test(reader_files, lookups_go_on_while_a_poll_makes_pages_present)
{
        struct fixture fixture;
        pthread_t thread;
        void *r;

        index_open(&fixture, NULL);
        flush(&fixture, "b");
        populating_set(HELD);
        cr_assert_eq(pthread_create(&thread, NULL, poll_main, fixture.reader), 0);
        wait_for_a_held_one();

        /* Its file is not mapped here yet: the lookup maps it, and asks for no page. */
        uint32_t n_before = n_asked;
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "b", 1, 7), 1);
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "a", 1, 1), 1);
        cr_expect_eq(n_asked, n_before);
        cr_expect_eq(n_held, 1, "the poll is still at it");

        populating_set(AS_THE_KERNEL);
        cr_assert_eq(pthread_join(thread, &r), 0);
        cr_expect_geq((intptr_t)r, 1);
        cr_expect_eq(lanemap_reader_poll(fixture.reader), 0, "all is present");
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "b", 1, 7), 1);
        fixture_deinit(&fixture);
}

/* A reborn writer is followed by a lookup, which maps what it lacks and asks for no page. */
Test(reader_files, a_lookup_that_follows_asks_for_no_page_of_a_file)
{
        struct lanemap_writer_stats stats;
        struct fixture fixture;
        uint32_t n_before;

        index_open(&fixture, NULL);
        fixture_close(&fixture);
        fixture_open(&fixture);
        do
                engine_stats(fixture.writer, &stats);
        while (stats.warmed_bytes < stats.segment_bytes);
        pthread_mutex_lock(&lock);
        n_before = n_asked;
        pthread_mutex_unlock(&lock);
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "a", 1, 1), 1);
        cr_expect_leq(n_asked, n_before + 1, "those of the data object");
        fixture_deinit(&fixture);
}

/* The helper makes pages present behind the attach; a lookup does not wait for it. */
Test(reader_files, lookups_go_on_while_the_helper_works)
{
        struct lanemap_reader_options options = {.size = sizeof(options), .helper_thread = 1};
        struct fixture fixture;

        index_open(&fixture, &options);
        populating_set(HELD);
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, flush_main, &fixture), 0);
        wait_for_a_held_one();
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "a", 1, 1), 1);
        populating_set(AS_THE_KERNEL);
        cr_assert_eq(pthread_join(thread, NULL), 0);
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "b", 1, 7), 1);
        fixture_deinit(&fixture);
}

static void expect_it_all_works(uint32_t how)
{
        struct fixture fixture;

        populating_set(how);
        index_open(&fixture, NULL);
        flush(&fixture, "b");
        cr_expect_geq(lanemap_reader_poll(fixture.reader), 1);
        cr_expect_eq(lanemap_reader_poll(fixture.reader), 0, "it is not tried for ever");
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "a", 1, 1), 1);
        cr_expect_eq(lanemap_reader_contains(fixture.reader, "b", 1, 7), 1);
        fixture_deinit(&fixture);
        populating_set(AS_THE_KERNEL);
}

Test(reader_files, an_old_kernel_knows_neither_advice)
{
        expect_it_all_works(UNKNOWN);
}

Test(reader_files, pages_that_cannot_be_had)
{
        expect_it_all_works(FAILING);
}

Test(reader_files, a_large_file_begins_at_a_huge_page)
{
        uint64_t n_bytes = 0, sizes[] = {1, 4096, (2 << 20) - 1, 2 << 20, (5 << 20) + 17};
        void *bytes = NULL;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(sizes); i++) {
                int fd = memfd_create("file", MFD_CLOEXEC);

                cr_assert_eq(ftruncate(fd, (off_t)sizes[i]), 0);
                cr_assert_eq(pwrite(fd, "x", 1, (off_t)sizes[i] - 1), 1);
                for (uint32_t how = AS_THE_KERNEL; how <= UNKNOWN; how++) {
                        populating_set(how);
                        cr_assert_eq(lanemap_lane_file_map(fd, true, &bytes, &n_bytes), 0);
                        cr_expect_eq(n_bytes, sizes[i]);
                        cr_expect(n_bytes < LANEMAP_LANE_HUGE_PAGE_BYTES ||
                                  (uintptr_t)bytes % LANEMAP_LANE_HUGE_PAGE_BYTES == 0);
                        cr_expect_eq(lanemap_lane_file_populate(bytes, n_bytes), 0);
                        cr_expect_eq(((unsigned char *)bytes)[n_bytes - 1], 'x');
                        (void)lanemap_lane_file_collapse(bytes, n_bytes);
                        cr_expect_eq(((unsigned char *)bytes)[n_bytes - 1], 'x');
                        munmap(bytes, n_bytes);
                }
                close(fd);
        }
        int fd = memfd_create("empty", MFD_CLOEXEC);
        cr_expect_eq(lanemap_lane_file_map(fd, true, &bytes, &n_bytes), -EBADMSG);
        close(fd);
}
