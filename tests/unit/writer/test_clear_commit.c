/*
 * A manifest that is written between a clear and the next flush, by a merge say, speaks of lanes
 * whose overlays hold what followed the clear in its own record. It must not cover that record.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "support/engine.h"
#include "writer/core/engine.h"
#include "writer/compact/compact.h"

TestSuite(writer_clear_commit, .timeout = 60);

static int
crash_main(void *arg) LANEMAP_THREADS_NOT_ANALYSED /* the process ends with the lock held */
{
        const struct lanemap_op before[] = {{LANEMAP_OP_ADD, 1, "old", 3},
                                            {LANEMAP_OP_MARK, 0, "m1", 2}};
        const struct lanemap_op clear[] = {
                {LANEMAP_OP_ADD, 2, "gone", 4}, {LANEMAP_OP_MARK, 0, "m2", 2},
                {LANEMAP_OP_CLEAR, 0, NULL, 0}, {LANEMAP_OP_ADD, 7, "kept", 4},
                {LANEMAP_OP_MARK, 0, "m3", 2},
        };
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;

        engine_options_init(&options, arg, NULL);
        if (lanemap_writer_open(&options, &writer) != 0 ||
            engine_apply_durably(writer, before, 2) != 0 ||
            engine_request(writer, LANEMAP_REQUEST_FLUSH) != 0)
                return 1;

        /* The clear leaves a file to unlink, for which the flusher, when it looks, would flush. */
        lanemap_mutex_lock(&writer->commit.flush_lock);
        if (engine_apply_durably(writer, clear, 5) != 0)
                return 1;
        return lanemap_engine_commit_manifest_only(writer) == 0 ? 0 : 2;
}

Test(writer_clear_commit, what_follows_a_clear_in_its_record_survives_a_commit_and_a_crash)
{
        struct lanemap_writer_options options;
        char mark[LANEMAP_MARK_BYTES_MAX];
        struct lanemap_writer *writer;
        struct scratch scratch;
        size_t n_ids, mark_bytes;
        uint32_t id = 0;

        scratch_init(&scratch, "clear-commit");
        cr_assert_eq(engine_crash_after(crash_main, &scratch), 0);

        engine_options_init(&options, &scratch, NULL);
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        cr_assert_eq(lanemap_writer_lookup(writer, "kept", 4, &id, 1, &n_ids, NULL), 0);
        cr_expect_eq(n_ids, 1);
        cr_expect_eq(id, 7);
        cr_assert_eq(lanemap_writer_lookup(writer, "old", 3, &id, 1, &n_ids, NULL), 0);
        cr_expect_eq(n_ids, 0);
        cr_assert_eq(lanemap_writer_lookup(writer, "gone", 4, &id, 1, &n_ids, NULL), 0);
        cr_expect_eq(n_ids, 0);
        lanemap_writer_mark(writer, mark, &mark_bytes, NULL);
        cr_expect_eq(mark_bytes, 2);
        cr_expect_eq(memcmp(mark, "m3", 2), 0);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}
