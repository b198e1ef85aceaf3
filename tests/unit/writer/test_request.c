/* Requests: what FLUSH promises holds also when an earlier flush failed half way. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "store/manifest_read.h"
#include "support/engine.h"
#include "support/faulty_files.h"
#include "writer/core/hooks.h"

TestSuite(writer_request, .timeout = 60);

/* Through which position the segments cover every lane, by the manifest on the disk. */
static uint64_t covered(const struct scratch *scratch)
{
        struct lanemap_manifest manifest;
        uint64_t position;

        cr_assert_eq(lanemap_manifest_read(&lanemap_files_posix, scratch->dir_fd, &manifest, NULL),
                     0);
        position = lanemap_manifest_lowest_position(&manifest);
        lanemap_manifest_deinit(&manifest);
        return position;
}

Test(writer_request, a_flush_takes_everything_also_after_one_that_failed)
{
        struct lanemap_writer_hooks hooks = {0};
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct lanemap_error error;
        struct faulty_files faulty;
        struct scratch scratch;
        uint64_t position;

        scratch_init(&scratch, "request");
        faulty_files_init(&faulty, scratch.dir_fd);
        faulty.calls = FAULTY_RENAME;
        faulty.n_failing = UINT64_MAX;
        hooks.files = &faulty.files;
        engine_options_init(&options, &scratch, &error);
        options.hooks = &hooks;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0, "%s", error.text);
        for (uint32_t round = 0; round < 3; round++) {
                cr_assert_eq(engine_add(writer, "before", round), 0);
                faulty.fail_at = 1;
                cr_expect_eq(engine_request(writer, LANEMAP_REQUEST_FLUSH), -EIO);
                cr_assert_eq(engine_add(writer, "after", round), 0);
                position = lanemap_writer_position(writer);
                faulty.fail_at = 0;
                cr_expect_eq(engine_request(writer, LANEMAP_REQUEST_FLUSH), 0);
                cr_expect_geq(covered(&scratch), position, "round %u: %lu of %lu", round,
                              (unsigned long)covered(&scratch), (unsigned long)position);
        }
        lanemap_writer_close(writer);
        faulty_files_deinit(&faulty);
        scratch_deinit(&scratch);
}

Test(writer_request, tickets)
{
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct scratch scratch;
        uint64_t first, second;
        int r;

        scratch_init(&scratch, "request");
        engine_options_init(&options, &scratch, NULL);
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        cr_expect_eq(lanemap_writer_request(writer, 0, &first), -EINVAL);
        cr_expect_eq(lanemap_writer_request(writer, 4, &first), -EINVAL);
        cr_assert_eq(lanemap_writer_request(writer, LANEMAP_REQUEST_COMPACT, &first), 0);
        cr_assert_eq(lanemap_writer_request(writer, LANEMAP_REQUEST_FLIP, &second), 0);
        cr_expect_eq(lanemap_writer_request_wait(writer, second), 0);
        r = lanemap_writer_request_state(writer, first);
        cr_expect_eq(r, 0, "served in order: %d", r);
        cr_expect_eq(lanemap_writer_request_state(writer, first), -ENOENT, "told once");
        cr_expect_eq(lanemap_writer_request_wait(writer, 12345), -ENOENT);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}

/* Whatever the thresholds, a writer without work comes to rest. */
Test(writer_request, an_idle_writer_rests)
{
        struct lanemap_writer_stats before, after;
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct scratch scratch;
        char key[] = "key0";

        scratch_init(&scratch, "request");
        engine_options_init(&options, &scratch, NULL);
        options.log_file_bytes = 4096;
        options.flush_bytes = 4096;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        for (uint32_t i = 0; i < 300; i++) {
                key[3] = (char)('0' + i % 10);
                cr_assert_eq(engine_add(writer, key, i), 0);
        }
        /* Soon a second comes in which nothing happens. */
        engine_stats(writer, &after);
        for (uint32_t i = 0; i < 40; i++) {
                before = after;
                usleep(1000 * 1000);
                engine_stats(writer, &after);
                if (after.manifest_generation == before.manifest_generation &&
                    after.n_log_syncs == before.n_log_syncs)
                        break;
        }
        cr_expect_eq(after.manifest_generation - before.manifest_generation, 0, "%lu manifests",
                     (unsigned long)(after.manifest_generation - before.manifest_generation));
        cr_expect_eq(after.n_log_syncs - before.n_log_syncs, 0);
        cr_expect_leq(after.n_log_files, 4, "%lu", (unsigned long)after.n_log_files);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}
