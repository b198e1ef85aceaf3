/* A small /dev/shm is a slow writer, not a failing one: what the overlays hold comes back by
 * flushes. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "support/engine.h"
#include "writer/core/engine.h"

TestSuite(writer_memory, .timeout = 120);

Test(writer_memory, adds_far_beyond_shared_memory_are_all_taken)
{
        struct lanemap_writer_options options;
        struct lanemap_writer_stats stats;
        struct lanemap_op ops[256];
        struct lanemap_writer *writer;
        struct scratch scratch;
        char keys[256][16];

        scratch_init(&scratch, "memory");
        engine_options_init(&options, &scratch, NULL);
        options.n_lanes = 64;
        options.flush_bytes = 0;
        options.shared_bytes_max = 640 * 1024;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);

        for (uint32_t batch = 0; batch < 400; batch++) {
                for (uint32_t i = 0; i < 256; i++) {
                        int n = snprintf(keys[i], sizeof(keys[i]), "k%u", batch * 256 + i);

                        ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, i, keys[i], (size_t)n};
                }
                cr_assert_eq(lanemap_writer_apply(writer, ops, 256, NULL, NULL, NULL), 0,
                             "batch %u", batch);
        }

        engine_stats(writer, &stats);
        cr_expect_eq(stats.n_keys, 400 * 256);
        cr_expect_leq(stats.shared_bytes, 640 * 1024 + 4096);
        cr_expect_gt(stats.n_flushes, 3);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}

/* ---- objects that a flip retires ---- */

/* Objects of the index that this process has open and that have no name. */
static int n_retired_open(const char *name)
{
        char prefix[128], path[512];
        struct dirent *entry;
        int n = 0;
        DIR *dir = opendir("/proc/self/fd");

        cr_assert_not_null(dir);
        snprintf(prefix, sizeof(prefix), "/dev/shm/lanemap.%s.", name);
        while ((entry = readdir(dir))) {
                ssize_t bytes = readlinkat(dirfd(dir), entry->d_name, path, sizeof(path) - 1);

                if (bytes <= 0)
                        continue;
                path[bytes] = '\0';
                n += strncmp(path, prefix, strlen(prefix)) == 0 && strstr(path, " (deleted)");
        }
        closedir(dir);
        return n;
}

/* What a stopped reader has: the data object in force, open. */
static int object_hold(const char *name, uint64_t generation)
{
        char path[256];
        int fd;

        snprintf(path, sizeof(path), "/dev/shm/lanemap.%s.%016lx", name, generation);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        cr_assert_geq(fd, 0, "%s", path);
        return fd;
}

static void adds_until(struct lanemap_writer *writer, uint64_t shared_bytes, uint32_t *next)
{
        struct lanemap_writer_stats stats;
        char key[16];

        do {
                struct lanemap_op op = {.code = LANEMAP_OP_ADD, .id = 7, .key = key};

                op.key_bytes = (size_t)snprintf(key, sizeof(key), "k%u", (*next)++);
                cr_assert_eq(lanemap_writer_apply(writer, &op, 1, NULL, NULL, NULL), 0);
                engine_stats(writer, &stats);
        } while (stats.shared_bytes < shared_bytes);
}

Test(writer_memory, a_flip_gives_the_old_object_back_at_once)
{
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct scratch scratch;

        scratch_init(&scratch, "flip");
        engine_options_init(&options, &scratch, NULL);
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        for (int i = 0; i < 3; i++) {
                cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_FLIP), 0);
                cr_expect_eq(n_retired_open(scratch.name), 0);
        }
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}

/* FL1: the bytes that count are those of what is held, and a refused flip changes nothing. */
Test(writer_memory, what_readers_hold_of_retired_objects_stays_below_the_limit)
{
        struct lanemap_writer_options options;
        struct lanemap_writer_stats stats;
        struct lanemap_writer *writer;
        struct scratch scratch;
        uint32_t next = 0;
        int small, large;

        scratch_init(&scratch, "pinned");
        engine_options_init(&options, &scratch, NULL);
        options.shared_bytes_max = 4 << 20;
        options.flush_bytes = 3 << 20;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);

        adds_until(writer, (4 << 20) * 6 / 10, &next);
        engine_stats(writer, &stats);
        large = object_hold(scratch.name, stats.generation);
        cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_FLIP), 0);
        cr_expect_eq(n_retired_open(scratch.name), 2, "the reader's and the writer's");

        engine_stats(writer, &stats);
        small = object_hold(scratch.name, stats.generation);
        cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_FLIP), 0,
                     "a small one beside it is below the limit");
        cr_expect_eq(engine_request(writer, LANEMAP_REQUEST_FLIP), -EBUSY, "two are held");
        close(small);

        adds_until(writer, (4 << 20) * 6 / 10, &next);
        engine_stats(writer, &stats);
        cr_expect_eq(engine_request(writer, LANEMAP_REQUEST_FLIP), -EBUSY,
                     "together above the limit");
        engine_stats(writer, &stats);
        cr_expect_eq(stats.n_keys, next);

        close(large);
        cr_expect_eq(engine_request(writer, LANEMAP_REQUEST_FLIP), 0);
        cr_expect_eq(n_retired_open(scratch.name), 0);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}

/* ---- the room for a successor ---- */

/* S5: nobody but a growth asks for it at once, since the flusher looks once a second. */
Test(writer_memory, an_object_that_grows_has_a_spare_made_first)
{
        struct lanemap_writer_options options;
        struct lanemap_writer_stats before, stats;
        struct lanemap_writer *writer;
        struct scratch scratch;
        char path[200], key[16];

        scratch_init(&scratch, "memory");
        engine_options_init(&options, &scratch, NULL);
        options.flush_bytes = 64 << 20;
        options.appendfsync = LANEMAP_APPENDFSYNC_NO;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        snprintf(path, sizeof(path), "/dev/shm/lanemap.%s.spare", scratch.name);
        cr_assert_eq(unlink(path), 0);
        lanemap_store_relaxed(&writer->shm.spare_bytes, 0);

        engine_stats(writer, &before);
        for (uint32_t i = 0; i == 0 || stats.shared_bytes == before.shared_bytes; i++) {
                struct lanemap_op op = {LANEMAP_OP_ADD, i, key, 0};

                op.key_bytes = (size_t)snprintf(key, sizeof(key), "k%u", i);
                cr_assert_eq(lanemap_writer_apply(writer, &op, 1, NULL, NULL, NULL), 0);
                engine_stats(writer, &stats);
        }
        cr_expect_eq(access(path, F_OK), 0);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}
