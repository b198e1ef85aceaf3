/* C1's other half: no manifest is written while the log is not durable through what it would
 * name. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/order.h"
#include "store/manifest_read.h"
#include "store/manifest_write.h"
#include "support/engine.h"
#include "writer/core/hooks.h"

TestSuite(writer_commit_order, .timeout = 60);

static uint32_t log_fails;

/* The log's files cannot be synced while log_fails is set; every other file can. */
static int sync_but_not_logs(const struct lanemap_files *files, int fd)
{
        char link[64], path[512];
        ssize_t n;

        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        n = readlink(link, path, sizeof(path) - 1);
        if (n < 0)
                return -errno;
        path[n] = '\0';
        if (lanemap_load_acquire(&log_fails) && strstr(path, "/log-"))
                return -EIO;

        return lanemap_files_posix.sync(&lanemap_files_posix, fd);
}

Test(writer_commit_order, a_manifest_names_no_position_that_a_crash_could_take_back)
{
        const struct lanemap_op op = {LANEMAP_OP_ADD, 7, "key", 3};
        struct lanemap_files files = lanemap_files_posix;
        struct lanemap_writer_hooks hooks = {.files = &files};
        struct lanemap_writer_options options;
        struct lanemap_manifest manifest;
        struct lanemap_writer *writer;
        struct scratch scratch;
        uint64_t position, durable;

        files.sync = sync_but_not_logs;
        scratch_init(&scratch, "commit-order");
        engine_options_init(&options, &scratch, NULL);
        options.hooks = &hooks;
        options.outcome_limit_ns = 100 * 1000 * 1000;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        cr_assert_eq(engine_add(writer, "before", 1), 0);

        lanemap_store_release(&log_fails, UINT32_C(1));
        cr_assert_eq(lanemap_writer_apply(writer, &op, 1, NULL, NULL, &position), 0);
        cr_expect_lt(engine_request(writer, LANEMAP_REQUEST_FLUSH), 0,
                     "nothing can be flushed now");
        durable = lanemap_writer_durable(writer, NULL);
        cr_assert_lt(durable, position);
        cr_assert_eq(lanemap_manifest_read(&lanemap_files_posix, scratch.dir_fd, &manifest, NULL),
                     0);
        cr_expect_leq(lanemap_manifest_highest_position(&manifest), durable);
        lanemap_manifest_deinit(&manifest);

        lanemap_store_release(&log_fails, UINT32_C(0));
        /* Trying again is the engine's own business; it takes a moment. */
        while (lanemap_writer_sync(writer, position) != 0)
                usleep(1000);
        cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_FLUSH), 0);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}

#define N_KEYS 60

static int n_flushed_manifests;
static uint64_t lowest_ahead; /* of all manifests that were put in force, of all lanes but 0 */

/* Notes the positions of every manifest that is put in force. */
static int rename_and_note(const struct lanemap_files *files, int dir_fd, const char *from,
                           const char *to)
{
        struct lanemap_manifest manifest;
        int r = lanemap_files_posix.rename(&lanemap_files_posix, dir_fd, from, to);

        if (r < 0 || strcmp(to, LANEMAP_MANIFEST_NAME) != 0)
                return r;

        cr_assert_eq(lanemap_manifest_read(&lanemap_files_posix, dir_fd, &manifest, NULL), 0);
        for (uint32_t i = 1; i < manifest.n_lanes; i++)
                lowest_ahead = LANEMAP_MIN(lowest_ahead, manifest.lanes[i].position);
        n_flushed_manifests++;
        lanemap_manifest_deinit(&manifest);
        return 0;
}

/* A valid manifest whose lane 0 has nothing: the log has all of it. Return: the other lanes'
 * position. */
static uint64_t lane_0_put_back(const struct scratch *scratch)
{
        struct lanemap_manifest manifest;
        uint64_t position;

        cr_assert_eq(lanemap_manifest_read(&lanemap_files_posix, scratch->dir_fd, &manifest, NULL),
                     0);
        position = manifest.lanes[0].position;
        cr_assert_gt(manifest.lanes[0].n_keys, 2, "some of the keys are in lane 0");
        manifest.lanes[0].position = manifest.lanes[0].n_keys = manifest.lanes[0].n_pairs = 0;
        cr_assert_eq(lanemap_manifest_set_segments(&manifest, 0, NULL, 0), 0);
        manifest.generation++;
        cr_assert_eq(lanemap_manifest_write(&lanemap_files_posix, scratch->dir_fd, &manifest), 0);
        lanemap_manifest_deinit(&manifest);
        return position;
}

Test(writer_commit_order, a_flush_of_a_replay_moves_no_lane_back_that_covers_more)
{
        struct lanemap_files files = lanemap_files_posix;
        struct lanemap_writer_hooks hooks = {.files = &files};
        struct lanemap_writer_options options;
        struct lanemap_writer_stats stats;
        struct lanemap_writer *writer;
        struct scratch scratch;
        uint64_t position;
        char key[16];

        scratch_init(&scratch, "lanes-ahead");
        engine_options_init(&options, &scratch, NULL);
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        for (uint32_t i = 0; i < N_KEYS; i++) {
                snprintf(key, sizeof(key), "key-%u", i);
                cr_assert_eq(engine_add(writer, key, i), 0);
        }
        lanemap_writer_close(writer);
        position = lane_0_put_back(&scratch);

        files.rename = rename_and_note;
        lowest_ahead = UINT64_MAX;
        options.hooks = &hooks;
        options.flush_bytes = 1;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        cr_expect_gt(n_flushed_manifests, 1, "the replay was flushed on its way");
        cr_expect_geq(lowest_ahead, position);
        engine_stats(writer, &stats);
        cr_expect_eq(stats.n_keys, N_KEYS);
        cr_expect_eq(stats.n_pairs, N_KEYS);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}
