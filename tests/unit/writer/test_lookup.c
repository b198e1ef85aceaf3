/* Lookups of the writer's own process, while the data object grows under them. */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/order.h"
#include "support/engine.h"

TestSuite(writer_lookup, .timeout = 60);

struct looker {
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;
        bool stop;
        int outcome;
};

/* A key that is always there, and one that never is. */
static int look(struct looker *looker)
{
        uint32_t ids[4];
        size_t n_ids = 0;
        int r;

        r = lanemap_writer_lookup(looker->writer, "there", 5, ids, 4, &n_ids, NULL);
        if (r != 0 || n_ids != 1 || ids[0] != 7)
                return r ? r : -ENOENT;
        r = lanemap_writer_contains(looker->writer, "not there", 9, 7, NULL);
        if (r != 0)
                return r;
        r = lanemap_reader_lookup(looker->reader, "there", 5, ids, 4, &n_ids);
        if (r != 0 || n_ids != 1 || ids[0] != 7)
                return r ? r : -ENOENT;
        return lanemap_reader_contains(looker->reader, "not there", 9, 7);
}

static void *looker_main(void *arg)
{
        struct looker *looker = arg;

        while (!lanemap_load_relaxed(&looker->stop) && looker->outcome == 0)
                looker->outcome = look(looker);
        return NULL;
}

/* Adds so much that tables, views and postings come to lie in what has just been added to the
 * object, and goes back to a small object by a flip. */
static void grow_and_flip(struct lanemap_writer *writer, uint32_t round)
{
        static struct lanemap_op ops[512];
        static char keys[512][24];

        for (uint32_t batch = 0; batch < 20; batch++) {
                for (uint32_t i = 0; i < 512; i++) {
                        snprintf(keys[i], sizeof(keys[i]), "k%u", (unsigned)(batch * 512 + i));
                        ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, round, keys[i],
                                                     strlen(keys[i])};
                }
                cr_assert_eq(lanemap_writer_apply(writer, ops, 512, NULL, NULL, NULL), 0);
        }
        cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_FLIP), 0);
}

Test(writer_lookup, while_the_object_grows)
{
        struct looker lookers[2] = {0};
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;
        pthread_t threads[2];
        struct scratch scratch;

        scratch_init(&scratch, "lookup");
        engine_options_init(&options, &scratch, NULL);
        options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        options.flush_bytes = 64 << 20;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        cr_assert_eq(engine_add(writer, "there", 7), 0);
        cr_assert_eq(lanemap_reader_attach(scratch.name, NULL, &reader), 0);
        for (int i = 0; i < 2; i++) {
                lookers[i].writer = writer;
                lookers[i].reader = reader;
                cr_assert_eq(pthread_create(&threads[i], NULL, looker_main, &lookers[i]), 0);
        }

        for (uint32_t round = 0; round < 12; round++)
                grow_and_flip(writer, round);

        for (int i = 0; i < 2; i++) {
                lanemap_store_relaxed(&lookers[i].stop, true);
                pthread_join(threads[i], NULL);
                cr_expect_eq(lookers[i].outcome, 0, "%d", lookers[i].outcome);
        }
        lanemap_reader_detach(reader);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}

static uint64_t posting_bytes(struct lanemap_writer *writer, const char *key, uint64_t n_chunks,
                              uint64_t n_ids_wanted)
{
        uint64_t n_bytes = 0, n_ids = UINT64_MAX;

        cr_assert_eq(lanemap_writer_posting_bytes(writer, key, strlen(key), n_chunks, &n_bytes,
                                                  &n_ids, NULL),
                     0);
        cr_expect_eq(n_ids, n_ids_wanted, "%s: %llu ids", key, (unsigned long long)n_ids);
        return n_bytes;
}

static void ids_add(struct lanemap_writer *writer, const char *key, uint32_t n, uint32_t step)
{
        static struct lanemap_op ops[20000];

        for (uint32_t i = 0; i < n; i++)
                ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, i * step, key, strlen(key)};
        cr_assert_eq(lanemap_writer_apply(writer, ops, n, NULL, NULL, NULL), 0);
}

/* In the overlay: a cell of 16 bytes, a short posting of 8 and 4 an id, a long one in leaves. In a
 * segment: a byte or two for each id that is near the one before. */
Test(writer_lookup, bytes_of_postings)
{
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct lanemap_writer_stats stats;
        struct scratch scratch;
        uint64_t n_bytes, long_bytes;

        scratch_init(&scratch, "bytes");
        engine_options_init(&options, &scratch, NULL);
        options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        options.flush_bytes = 64 << 20;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        cr_expect_eq(lanemap_writer_posting_bytes(writer, "", 0, 0, &n_bytes, &n_bytes, NULL),
                     -EINVAL);
        cr_expect_eq(posting_bytes(writer, "none", 0, 0), 0);
        ids_add(writer, "one", 1, 1);
        ids_add(writer, "short", 100, 3);
        ids_add(writer, "long", 20000, 3);
        cr_expect_eq(posting_bytes(writer, "one", 0, 1), 16);
        cr_expect_eq(posting_bytes(writer, "short", 0, 100), 16 + 8 + 400);
        long_bytes = posting_bytes(writer, "long", 0, 20000);
        cr_expect(long_bytes > 80000 && long_bytes < 80000 * 1.3, "%llu",
                  (unsigned long long)long_bytes);
        n_bytes = posting_bytes(writer, "long", 5, 20000);
        cr_expect(n_bytes > long_bytes * 0.8 && n_bytes < long_bytes * 1.2, "%llu",
                  (unsigned long long)n_bytes);

        cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_expect_lt(posting_bytes(writer, "one", 0, 1), 16384, "its share of a section");
        long_bytes = posting_bytes(writer, "long", 0, 20000) - posting_bytes(writer, "one", 0, 1);
        cr_expect(long_bytes > 20000 && long_bytes < 28000, "%llu", (unsigned long long)long_bytes);
        n_bytes = posting_bytes(writer, "one", 0, 1) + posting_bytes(writer, "short", 0, 100) +
                  posting_bytes(writer, "long", 0, 20000);
        engine_stats(writer, &stats);
        cr_expect_leq(n_bytes, stats.segment_live_bytes);

        cr_assert_eq(engine_remove(writer, "one", 0), 0);
        cr_expect_eq(posting_bytes(writer, "one", 0, 0), 0);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}
