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
