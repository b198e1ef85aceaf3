/*
 * Segments of any kind in one index: what is on the disk says its kind, levels take the kind that
 * the options name, and an index goes on under other options than it was made with.
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "segment/filter/build.h"
#include "segment/verify.h"
#include "support/engine_fixture.h"

TestSuite(writer_segment_kinds, .timeout = 60);

static uint32_t next; /* key; each test is a process */

static void index_open(struct fixture *fixture, uint32_t young, uint32_t bottom)
{
        fixture->options.segment_kind_young = young;
        fixture->options.segment_kind_bottom = bottom;
        fixture_open(fixture);
        if (!fixture->reader)
                fixture_attach(fixture, NULL);
}

static void index_init(struct fixture *fixture)
{
        fixture_init(fixture, "kinds");
        fixture->options.flush_bytes = 64 << 20; /* only when it is asked for */
}

/* n keys with one to three ids, and one in ten of those before it loses its ids. */
static void work(struct fixture *fixture, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++, next++) {
                char keys[2][24];
                struct lanemap_op ops[4];
                size_t n_ops = 0;

                snprintf(keys[0], sizeof(keys[0]), "key=%u", next);
                snprintf(keys[1], sizeof(keys[1]), "key=%u", next / 2);
                for (uint32_t id = 0; id <= next % 3; id++)
                        ops[n_ops++] = (struct lanemap_op){LANEMAP_OP_ADD, next + id * 7, keys[0],
                                                           strlen(keys[0])};
                if (next % 10 == 9)
                        ops[n_ops++] =
                                (struct lanemap_op){LANEMAP_OP_DELETE, 0, keys[1], strlen(keys[1])};
                cr_assert_eq(lanemap_writer_apply(fixture->writer, ops, n_ops, NULL, NULL, NULL),
                             0);
                for (size_t k = 0; k < n_ops; k++)
                        (void)model_apply(&fixture->model, &ops[k]);
        }
}

/* How many sections of each kind the file holds; it must verify. */
static void file_count(const struct fixture *fixture, const char *name, uint32_t n_of_kind[4])
{
        int fd = openat(fixture->scratch.dir_fd, name, O_RDONLY | O_CLOEXEC);
        struct lanemap_segment_report report;
        struct lanemap_segment_file file;
        struct stat st;
        void *bytes;

        cr_assert_geq(fd, 0);
        cr_assert_eq(fstat(fd, &st), 0);
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        cr_assert_neq(bytes, MAP_FAILED);
        close(fd);
        cr_assert_eq(lanemap_segment_file_verify(bytes, (size_t)st.st_size, &report), 0, "%s",
                     report.what);
        cr_assert_eq(lanemap_segment_file_open(&file, bytes, (size_t)st.st_size), 0);
        for (uint32_t i = 0; i < file.n_sections; i++) {
                struct lanemap_segment_file_section section;

                cr_assert_eq(lanemap_segment_file_section(&file, i, &section), 0);
                cr_assert_leq(section.kind, 3);
                n_of_kind[section.kind]++;
        }
        munmap(bytes, (size_t)st.st_size);
}

static void expect_kinds(const struct fixture *fixture, bool packed, bool recsplit, bool bbhash)
{
        uint32_t n_of_kind[4] = {0};
        const struct dirent *entry;
        uint64_t number, start;
        DIR *dir = opendir(fixture->scratch.directory);

        cr_assert(dir);
        while ((entry = readdir(dir)))
                if (lanemap_segment_file_name_parse(entry->d_name, &number, &start) == 0)
                        file_count(fixture, entry->d_name, n_of_kind);
        closedir(dir);
        cr_expect_eq(n_of_kind[LANEMAP_SEGMENT_PACKED] > 0, packed);
        cr_expect_eq(n_of_kind[LANEMAP_SEGMENT_RECSPLIT] > 0, recsplit);
        cr_expect_eq(n_of_kind[LANEMAP_SEGMENT_BBHASH] > 0, bbhash);
}

Test(writer_segment_kinds, levels_take_the_kind_that_the_options_name)
{
        struct fixture fixture;

        index_init(&fixture);
        index_open(&fixture, LANEMAP_SEGMENT_RECSPLIT, LANEMAP_SEGMENT_BBHASH);
        work(&fixture, 3000);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        expect_kinds(&fixture, false, false, true);
        fixture_expect_model(&fixture, "after work");

        /* Small beside what is there: a young segment over the bottom one. */
        work(&fixture, 150);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        expect_kinds(&fixture, false, true, true);
        fixture_expect_model(&fixture, "after work");

        /* Another choice from now on; what is there stays what it is until it is merged. */
        fixture_close(&fixture);
        index_open(&fixture, LANEMAP_SEGMENT_PACKED, LANEMAP_SEGMENT_PACKED);
        fixture_expect_model(&fixture, "after work");
        work(&fixture, 150);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        expect_kinds(&fixture, true, false, false);
        fixture_expect_model(&fixture, "after work");
        fixture_deinit(&fixture);
}

/* Told once, and the manifest knows it: with and without a flush in between, and after a crash. */
Test(writer_segment_kinds, what_the_options_name_is_remembered)
{
        struct lanemap_writer_stats stats;
        struct fixture fixture;

        index_init(&fixture);
        index_open(&fixture, 0, LANEMAP_SEGMENT_RECSPLIT);
        stats = fixture_stats(&fixture);
        cr_expect_eq(stats.segment_kind_young, LANEMAP_SEGMENT_PACKED);
        cr_expect_eq(stats.segment_kind_bottom, LANEMAP_SEGMENT_RECSPLIT);
        cr_expect_eq(stats.filter, LANEMAP_FILTER_AUTO);
        work(&fixture, 2000);
        fixture_close(&fixture);

        index_open(&fixture, 0, 0);
        cr_expect_eq(fixture_stats(&fixture).segment_kind_bottom, LANEMAP_SEGMENT_RECSPLIT);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        expect_kinds(&fixture, false, true, false);
        fixture_expect_model(&fixture, "after work");
        fixture_close(&fixture);

        /* What is said now wins, and is what is remembered, though nothing was written under it. */
        fixture.options.filter = LANEMAP_FILTER_ALWAYS;
        index_open(&fixture, LANEMAP_SEGMENT_BBHASH, LANEMAP_SEGMENT_PACKED);
        fixture_close(&fixture);
        fixture.options.filter = 0;
        index_open(&fixture, 0, 0);
        stats = fixture_stats(&fixture);
        cr_expect_eq(stats.segment_kind_young, LANEMAP_SEGMENT_BBHASH);
        cr_expect_eq(stats.segment_kind_bottom, LANEMAP_SEGMENT_PACKED);
        cr_expect_eq(stats.filter, LANEMAP_FILTER_ALWAYS);
        work(&fixture, 2000);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        expect_kinds(&fixture, true, false, false);
        fixture_expect_model(&fixture, "after work");
        fixture_deinit(&fixture);
}

/* auto: in front of perfect hashes of some size, and nowhere else; always: everywhere. */
Test(writer_segment_kinds, the_policy_decides_on_filters)
{
        static const struct {
                uint32_t filter;
                uint32_t kind;
                bool has_filters;
        } rows[] = {
                {LANEMAP_FILTER_NEVER, LANEMAP_SEGMENT_RECSPLIT, false},
                {LANEMAP_FILTER_AUTO, LANEMAP_SEGMENT_PACKED, false},
                {LANEMAP_FILTER_AUTO, LANEMAP_SEGMENT_BBHASH, true},
                {LANEMAP_FILTER_ALWAYS, LANEMAP_SEGMENT_PACKED, true},
                {LANEMAP_FILTER_AUTO, LANEMAP_SEGMENT_PACKED, false},
        };
        struct fixture fixture;

        index_init(&fixture);
        fixture.options.n_lanes = 1;
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                struct lanemap_writer_stats stats;

                fixture.options.filter = rows[i].filter;
                index_open(&fixture, rows[i].kind, rows[i].kind);
                work(&fixture, i == 0 ? 6000 : 500);
                cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
                fixture_expect_model(&fixture, "after work");
                stats = fixture_stats(&fixture);
                cr_expect_eq(stats.n_filters > 0, rows[i].has_filters, "row %zu", i);
                cr_expect_eq(stats.filter_bytes > stats.n_keys, rows[i].has_filters, "row %zu", i);

                /* A young segment is small: only `always` gives it one. */
                work(&fixture, 40);
                cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
                fixture_expect_model(&fixture, "after work");
                cr_expect_eq(fixture_stats(&fixture).n_filters,
                             rows[i].filter == LANEMAP_FILTER_ALWAYS ? 2 : stats.n_filters,
                             "row %zu", i);
                fixture_close(&fixture);
        }
        fixture_deinit(&fixture);
}

static void failures_count(void *arg, int priority, const char *line)
{
        if (priority == LOG_WARNING && strstr(line, "makes a filter"))
                __atomic_fetch_add((uint32_t *)arg, 1, __ATOMIC_RELAXED);
}

/* The index works without, and says so once, however many segments it concerns. */
Test(writer_segment_kinds, filters_that_cannot_be_populated_are_left_out_and_logged_once)
{
        struct fixture fixture;
        uint32_t n_lines = 0;

        index_init(&fixture);
        fixture.options.filter = LANEMAP_FILTER_ALWAYS;
        fixture.options.log = failures_count;
        fixture.options.log_arg = &n_lines;
        lanemap_filter_limit_attempts(0);
        index_open(&fixture, LANEMAP_SEGMENT_RECSPLIT, LANEMAP_SEGMENT_BBHASH);
        for (int i = 0; i < 3; i++) {
                work(&fixture, 500);
                cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
                fixture_expect_model(&fixture, "after work");
        }
        cr_expect_eq(fixture_stats(&fixture).n_filters, 0);
        cr_expect_eq(__atomic_load_n(&n_lines, __ATOMIC_RELAXED), 1);

        /* The next merge has them. */
        lanemap_filter_limit_attempts(UINT32_MAX);
        work(&fixture, 500);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_COMPACT), 0);
        fixture_expect_model(&fixture, "after work");
        cr_expect_gt(fixture_stats(&fixture).n_filters, 0);
        fixture_deinit(&fixture);
}

Test(writer_segment_kinds, a_kind_that_is_none_is_refused)
{
        struct fixture fixture;

        index_init(&fixture);
        fixture.options.segment_kind_bottom = 4;
        cr_expect_eq(lanemap_writer_open(&fixture.options, &fixture.writer), -EINVAL);
        cr_expect(strstr(fixture.error.text, "segment kind"), "%s", fixture.error.text);
        fixture.options.segment_kind_bottom = 0;
        fixture.options.filter = 4;
        cr_expect_eq(lanemap_writer_open(&fixture.options, &fixture.writer), -EINVAL);
        cr_expect(strstr(fixture.error.text, "filter policy"), "%s", fixture.error.text);
        fixture.options.filter = 0;
        index_open(&fixture, 0, 0);
        fixture_deinit(&fixture);
}
