/*
 * Views (R9): the ids of every kind of posting are those that a copy has; what was reused while it
 * was looked at is said to be void; an open view hinders nobody but the unmapping.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <lanemap/lanemap.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/order.h"
#include "reader/private.h"
#include "support/engine_fixture.h"

TestSuite(view, .timeout = 60);

#define IDS_MAX 20000

static const uint32_t lengths[] = {0, 1, 2, 3, 126, 127, 128, 129, 254, 255, 300, 5000, 17000};

static void index_open(struct fixture *fixture, uint32_t kind)
{
        struct lanemap_reader_options options = {.size = sizeof(options), .statistics = 1};

        fixture_init(fixture, "view");
        fixture->options.flush_bytes = 64 << 20; /* only when it is asked for */
        fixture->options.quarantine_ns = UINT64_C(60) * 1000 * 1000 * 1000; /* nothing is reused */
        fixture->options.segment_kind_young = kind;
        fixture_open(fixture);
        fixture_attach(fixture, &options);
}

/* ids first, first + 7, ... */
static void add_run(struct fixture *fixture, const char *key, uint32_t first, uint32_t n)
{
        struct lanemap_op *ops = calloc(n + 1, sizeof(*ops));

        for (uint32_t i = 0; i < n; i++)
                ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, first + 7 * i, key, strlen(key)};
        cr_assert_eq(engine_apply_durably(fixture->writer, ops, n), 0);
        free(ops);
}

static size_t length_key(uint32_t length, char room[16])
{
        return (size_t)snprintf(room, 16, "n=%u", length);
}

static void add_lengths(struct fixture *fixture)
{
        char key[16];

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(lengths); i++) {
                length_key(lengths[i], key);
                add_run(fixture, key, 3, lengths[i]);
        }
}

/* A view of a key, copied; once more where the object had grown past what the reader knew of it.
 * Return: what the end said. */
static int view_copy(struct lanemap_reader *reader, const char *key, uint32_t *ids, size_t *ret_n,
                     size_t *ret_n_said)
{
        int r = LANEMAP_VIEW_AGAIN;

        for (int i = 0; i < 2 && r == LANEMAP_VIEW_AGAIN; i++) {
                struct lanemap_view view;
                const uint32_t *chunk;
                size_t n_ids = 0, n;

                cr_assert_eq(lanemap_reader_view_begin(reader, key, strlen(key), &view), 0);
                while ((n = lanemap_reader_view_next(&view, &chunk)) > 0) {
                        cr_assert(n <= 254 && n_ids + n <= IDS_MAX);
                        memcpy(ids + n_ids, chunk, n * sizeof(*ids));
                        n_ids += n;
                }
                *ret_n = n_ids;
                *ret_n_said = view.n_ids;
                r = lanemap_reader_view_end(&view);
        }
        return r;
}

static void expect_lengths(struct fixture *fixture, const char *where)
{
        static uint32_t ids[IDS_MAX];
        char key[16];

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(lengths); i++) {
                size_t n = 77, n_said = 77;
                int r;

                length_key(lengths[i], key);
                r = view_copy(fixture->reader, key, ids, &n, &n_said);
                cr_assert_eq(r, 0, "%s, %s: %d", where, key, r);
                cr_assert(n == lengths[i] && n_said == n, "%s, %s: %zu", where, key, n);
                for (size_t k = 0; k < n; k++)
                        cr_assert_eq(ids[k], 3 + 7 * k, "%s, %s", where, key);
        }
}

Test(view, postings_of_every_length_and_kind)
{
        for (uint32_t kind = LANEMAP_SEGMENT_PACKED; kind <= LANEMAP_SEGMENT_BBHASH; kind++) {
                struct lanemap_status status = {.size = sizeof(status)};
                struct fixture fixture;

                index_open(&fixture, kind);
                add_lengths(&fixture);
                expect_lengths(&fixture, "overlay");
                cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
                expect_lengths(&fixture, "segment");
                cr_assert_eq(lanemap_reader_status(fixture.reader, &status), 0);
                cr_expect_eq(status.n_lookups, 2 * LANEMAP_N_ELEMENTS(lengths));
                fixture_deinit(&fixture);
        }
}

Test(view, a_tombstone_over_a_segment_is_empty)
{
        struct lanemap_op op = {LANEMAP_OP_DELETE, 0, "n=300", 5};
        struct fixture fixture;
        uint32_t ids[4];
        size_t n = 77, n_said = 77;

        index_open(&fixture, 0);
        add_lengths(&fixture);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_assert_eq(engine_apply_durably(fixture.writer, &op, 1), 0);
        cr_expect_eq(view_copy(fixture.reader, "n=300", ids, &n, &n_said), 0);
        cr_expect(n == 0 && n_said == 0);
        fixture_deinit(&fixture);
}

Test(view, misuse_is_refused)
{
        struct lanemap_view view;
        struct fixture fixture;

        index_open(&fixture, 0);
        cr_expect_eq(lanemap_reader_view_begin(NULL, "a", 1, &view), -EINVAL);
        cr_expect_eq(lanemap_reader_view_begin(fixture.reader, "a", 0, &view), -EINVAL);
        cr_expect_eq(lanemap_reader_view_begin(fixture.reader, NULL, 1, &view), -EINVAL);
        cr_expect_eq(lanemap_reader_view_begin(fixture.reader, "a", 1, NULL), -EINVAL);
        fixture_deinit(&fixture);
}

/* Reuses, under a view of a posting with `length` ids, every block that the posting was in. */
static void expect_void(uint32_t length)
{
        struct lanemap_status status = {.size = sizeof(status)};
        const uint32_t *chunk = NULL;
        struct lanemap_view view;
        struct fixture fixture;
        size_t n;

        index_open(&fixture, 0);
        fixture_close(&fixture);
        fixture.options.immediate_reuse = 1;
        fixture_open(&fixture);
        add_run(&fixture, "k", 3, length);
        cr_assert_eq(lanemap_reader_view_begin(fixture.reader, "k", 1, &view), 0);
        n = lanemap_reader_view_next(&view, &chunk);
        cr_assert(n > 0 && n <= length && chunk[0] == 3);
        for (uint32_t id = 0; id < 3; id++)
                cr_assert_eq(engine_add(fixture.writer, "k", id), 0);
        add_run(&fixture, "other", 1, length);
        add_run(&fixture, "third", 1, length);

        cr_expect_eq(view.n_ids, length);
        cr_expect_eq(lanemap_reader_view_next(&view, &chunk), 0, "it goes on through garbage");
        cr_expect_eq(lanemap_reader_view_end(&view), LANEMAP_VIEW_AGAIN);
        cr_assert_eq(lanemap_reader_status(fixture.reader, &status), 0);
        cr_expect_eq(status.n_retries, 1);

        cr_assert_eq(lanemap_reader_view_begin(fixture.reader, "k", 1, &view), 0);
        cr_expect_eq(view.n_ids, length + 3);
        cr_expect_eq(lanemap_reader_view_end(&view), 0, "the second round");
        fixture_deinit(&fixture);
}

Test(view, what_was_reused_is_void)
{
        expect_void(2);
        expect_void(100);
        expect_void(1000);
}

/* Adds to a long posting until its head lies within the size that the reader knows and a leaf lies
 * past it; leaves the view that ran into this open. */
static void view_into_growth(struct fixture *fixture, struct lanemap_view *ret_view)
{
        add_run(fixture, "k", 3, 3000);
        for (uint32_t i = 0; i < 20000; i++) {
                const uint32_t *chunk;
                size_t n_ids = 0, n;

                cr_assert_eq(engine_add(fixture->writer, "k", 30000 + i), 0);
                cr_assert_eq(lanemap_reader_view_begin(fixture->reader, "k", 1, ret_view), 0);
                while ((n = lanemap_reader_view_next(ret_view, &chunk)) > 0)
                        n_ids += n;
                if (n_ids < ret_view->n_ids)
                        return;
                cr_assert_eq(lanemap_reader_view_end(ret_view), 0);
        }
        cr_assert_fail("no view has met the growth of the object");
}

static struct reader_snapshot snapshot_now(const struct lanemap_reader *reader)
{
        return reader_snapshot_of(reader_attachment_get(reader));
}

/* Another thread may learn of the growth at any moment before the verdict: here before the view
 * ends, then between its end and the lock. */
Test(view, growth_that_another_thread_learned_of_is_not_bad_bytes)
{
        struct lanemap_view view;
        struct reader_snapshot seen;
        struct fixture fixture;

        index_open(&fixture, 0);
        view_into_growth(&fixture, &view);
        seen = snapshot_now(fixture.reader);
        cr_assert_geq(lanemap_reader_poll(fixture.reader), 0);
        cr_assert_lt(seen.bytes, snapshot_now(fixture.reader).bytes);
        cr_expect_eq(lanemap_reader_view_end(&view), LANEMAP_VIEW_AGAIN);
        cr_expect_eq(lanemap_reader_refresh(fixture.reader, -EBADMSG, &seen), 0);

        seen = snapshot_now(fixture.reader);
        cr_expect_eq(lanemap_reader_refresh(fixture.reader, -EBADMSG, &seen), -EBADMSG,
                     "the whole object was known");
        fixture_deinit(&fixture);
}

/* An attachment is told by its generation too: the next one may lie at its address. */
Test(view, bad_bytes_of_an_attachment_that_is_gone_are_looked_for_again)
{
        struct reader_snapshot seen;
        struct fixture fixture;

        index_open(&fixture, 0);
        seen = snapshot_now(fixture.reader);
        seen.generation--;
        cr_expect_eq(lanemap_reader_refresh(fixture.reader, -EBADMSG, &seen), 0);
        fixture_deinit(&fixture);
}

/* Whoever breaks out early is told about what was read; several are open at once; lookups go on. */
Test(view, ends_early_and_nests)
{
        struct lanemap_view outer, inner;
        const uint32_t *ids;
        struct fixture fixture;
        size_t n_ids = 0;

        index_open(&fixture, 0);
        add_lengths(&fixture);
        cr_assert_geq(lanemap_reader_poll(fixture.reader), 0, "as far as the object has grown");
        cr_assert_eq(lanemap_reader_view_begin(fixture.reader, "n=5000", 6, &outer), 0);
        cr_assert(lanemap_reader_view_next(&outer, &ids) > 0);

        /* A flush in between: lookups have to map a file while the outer view is open. */
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_assert_eq(lanemap_reader_view_begin(fixture.reader, "n=300", 5, &inner), 0);
        cr_assert_eq(lanemap_reader_lookup(fixture.reader, "n=3", 3, NULL, 0, &n_ids), 0);
        cr_expect_eq(n_ids, 3);
        cr_assert(lanemap_reader_view_next(&inner, &ids) > 0);
        cr_expect_eq(ids[1], 10);
        cr_expect_eq(lanemap_reader_view_end(&outer), 0);
        cr_expect(lanemap_reader_view_next(&inner, &ids) > 0);
        cr_expect_eq(lanemap_reader_view_end(&inner), 0);
        fixture_deinit(&fixture);
}

struct other {
        struct lanemap_reader *reader;
        int r;
};

static void *follow(void *arg)
{
        struct other *other = arg;

        other->r = lanemap_reader_poll(other->reader);
        return NULL;
}

/* Two pipes: each side says when it is the other's turn. */
struct turns {
        int to_reader[2];
        int to_writer[2];
};

static bool turn_pass(int to, int from)
{
        char byte = 0;

        return write(to, &byte, 1) == 1 && read(from, &byte, 1) == 1;
}

#define MUST(condition)                  \
        do {                             \
                if (!(condition))        \
                        return __LINE__; \
        } while (0)

/* In a process of its own. Return: 0, or the line of what was wrong. */
static int flip_under_a_view(const char *name, const struct turns *turns)
{
        struct lanemap_status status = {.size = sizeof(status)};
        struct other other = {0};
        struct lanemap_view view;
        const uint32_t *ids;
        size_t n_ids = 0, n, n_right = 0;
        pthread_t thread;

        MUST(lanemap_reader_attach(name, NULL, &other.reader) == 0);
        MUST(lanemap_reader_view_begin(other.reader, "n=5000", 6, &view) == 0);
        MUST(turn_pass(turns->to_writer[1], turns->to_reader[0]));
        MUST(pthread_create(&thread, NULL, follow, &other) == 0);

        /* The other thread follows, and does not wait for this view (J1). */
        MUST(pthread_join(thread, NULL) == 0 && other.r == 1);
        MUST(lanemap_reader_status(other.reader, &status) == 0 && status.n_reattachments == 1);
        MUST(lanemap_reader_lookup(other.reader, "n=5000", 6, NULL, 0, &n_ids) == 0);
        MUST(n_ids == 5001);

        while ((n = lanemap_reader_view_next(&view, &ids)) > 0)
                for (size_t i = 0; i < n; i++)
                        n_right += ids[i] == 3 + 7 * (uint32_t)n_right;
        MUST(n_right == 5000);
        MUST(lanemap_reader_view_end(&view) == 0);
        lanemap_reader_detach(other.reader);
        return 0;
}

/* The old generation is never written again, and stays mapped for as long as it is looked at;
 * nobody waits for that. */
Test(view, a_flip_under_a_view)
{
        struct fixture fixture;
        struct turns turns;
        int status = 0;
        pid_t pid;

        index_open(&fixture, 0);
        add_lengths(&fixture);
        cr_assert(pipe(turns.to_reader) == 0 && pipe(turns.to_writer) == 0);
        pid = fork();
        cr_assert_geq(pid, 0);
        if (pid == 0) {
                int line = flip_under_a_view(fixture.scratch.name, &turns);

                if (line)
                        fprintf(stderr, "%s:%d: not so\n", __FILE__, line);
                _exit(line != 0);
        }

        cr_assert_eq(read(turns.to_writer[0], &status, 1), 1);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLIP), 0);
        cr_assert_eq(engine_add(fixture.writer, "n=5000", 1), 0);
        cr_assert_eq(write(turns.to_reader[1], "", 1), 1);
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_expect_eq(status, 0);
        fixture_deinit(&fixture);
}

Test(view, too_old_is_said_at_the_beginning)
{
        struct lanemap_reader_options options = {.size = sizeof(options),
                                                 .stale_after_ns = 1000 * 1000};
        struct lanemap_status status = {.size = sizeof(status)};
        struct lanemap_reader *reader = NULL;
        struct lanemap_view view;
        struct fixture fixture;

        index_open(&fixture, 0);
        cr_assert_eq(lanemap_reader_attach(fixture.scratch.name, &options, &reader), 0);
        lanemap_writer_close(fixture.writer);
        fixture.writer = NULL;
        do
                cr_assert_eq(lanemap_reader_status(reader, &status), 0);
        while (status.heartbeat_age_ns <= 1000 * 1000);
        cr_expect_eq(lanemap_reader_view_begin(reader, "a", 1, &view), -ESTALE);
        lanemap_reader_detach(reader);
        fixture_deinit(&fixture);
}
