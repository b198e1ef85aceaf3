/*
 * What one record does, a replay does too: operations of one apply are one record, and come back
 * after a crash as they were applied, also when one of them clears the index or sets the mark.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "support/engine.h"

TestSuite(writer_record, .timeout = 60);

#define ADD(key, id)                                     \
        {                                                \
                LANEMAP_OP_ADD, id, key, sizeof(key) - 1 \
        }
#define REMOVE(key, id)                                     \
        {                                                   \
                LANEMAP_OP_REMOVE, id, key, sizeof(key) - 1 \
        }
#define MARK(text)                                         \
        {                                                  \
                LANEMAP_OP_MARK, 0, text, sizeof(text) - 1 \
        }
#define CLEAR                                \
        {                                    \
                LANEMAP_OP_CLEAR, 0, NULL, 0 \
        }

struct story {
        const struct scratch *scratch;
        const struct lanemap_op *ops;
        size_t n_ops;
        uint32_t request; /* between the records; 0: none */
};

static const struct lanemap_op before[] = {ADD("a", 1), ADD("b", 2), ADD("c", 3), MARK("before")};

static int crash_main(void *arg)
{
        struct story *story = arg;
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;

        engine_options_init(&options, story->scratch, NULL);
        if (lanemap_writer_open(&options, &writer) != 0)
                return 1;
        if (engine_apply_durably(writer, before, LANEMAP_N_ELEMENTS(before)) != 0)
                return 2;
        if (story->request && engine_request(writer, story->request) != 0)
                return 3;
        if (engine_apply_durably(writer, story->ops, story->n_ops) != 0)
                return 4;
        return 0;
}

static void tell(const struct lanemap_op *ops, size_t n_ops, uint32_t request)
{
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct lanemap_error error;
        struct scratch scratch;
        struct model model;
        char why[256] = "";

        scratch_init(&scratch, "record");
        model_init(&model);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(before); i++)
                (void)model_apply(&model, &before[i]);
        for (size_t i = 0; i < n_ops; i++)
                (void)model_apply(&model, &ops[i]);

        struct story story = {&scratch, ops, n_ops, request};
        cr_assert_eq(engine_crash_after(crash_main, &story), 0);

        /* Once as the crash left it, and once more from what the close flushed. */
        engine_options_init(&options, &scratch, &error);
        for (int i = 0; i < 2; i++) {
                cr_assert_eq(lanemap_writer_open(&options, &writer), 0, "%s", error.text);
                cr_expect(engine_matches(writer, NULL, &model, why, sizeof(why)), "%d: %s", i, why);
                lanemap_writer_close(writer);
        }
        model_deinit(&model);
        scratch_deinit(&scratch);
}

Test(writer_record, operations_behind_a_clear_in_one_record)
{
        static const struct lanemap_op ops[] = {ADD("a", 7), CLEAR, ADD("b", 8), ADD("d", 9)};

        tell(ops, LANEMAP_N_ELEMENTS(ops), 0);
        tell(ops, LANEMAP_N_ELEMENTS(ops), LANEMAP_REQUEST_FLUSH);
}

Test(writer_record, two_clears_in_one_record)
{
        static const struct lanemap_op ops[] = {CLEAR, ADD("b", 8), CLEAR, ADD("d", 9),
                                                ADD("e", 9)};

        tell(ops, LANEMAP_N_ELEMENTS(ops), 0);
        tell(ops, LANEMAP_N_ELEMENTS(ops), LANEMAP_REQUEST_COMPACT);
}

Test(writer_record, the_last_mark_of_a_record_counts)
{
        static const struct lanemap_op ops[] = {MARK("one"), ADD("x", 1), MARK("two")};
        static const struct lanemap_op cleared[] = {MARK("one"), CLEAR, MARK("two"), ADD("x", 1)};
        static const struct lanemap_op before_clear[] = {MARK("one"), CLEAR, ADD("x", 1)};

        tell(ops, LANEMAP_N_ELEMENTS(ops), 0);
        tell(ops, LANEMAP_N_ELEMENTS(ops), LANEMAP_REQUEST_FLUSH);
        tell(cleared, LANEMAP_N_ELEMENTS(cleared), 0);
        tell(before_clear, LANEMAP_N_ELEMENTS(before_clear), LANEMAP_REQUEST_FLUSH);
}

Test(writer_record, the_same_pair_twice_in_one_record)
{
        static const struct lanemap_op ops[] = {ADD("a", 5), REMOVE("a", 5), ADD("a", 5),
                                                ADD("a", 5), REMOVE("b", 2), ADD("b", 2)};

        tell(ops, LANEMAP_N_ELEMENTS(ops), 0);
        tell(ops, LANEMAP_N_ELEMENTS(ops), LANEMAP_REQUEST_FLUSH);
}
