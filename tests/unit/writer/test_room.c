/* No file of ours is longer than the blocks that it has: what is reserved stays reserved (W5), from
 * a log's first reservation to a restart. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "damage.h"

TestSuite(writer_room, .timeout = 120);

/* Return: how many there are. */
static uint32_t expect_all_allocated(const char *directory, const char *prefix, const char *when)
{
        DIR *dir = opendir(directory);
        const struct dirent *entry;
        uint32_t n = 0;

        cr_assert(dir);
        while ((entry = readdir(dir))) {
                struct stat st;

                if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 ||
                    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                    !S_ISREG(st.st_mode) || st.st_nlink == 0)
                        continue;
                n++;
                cr_expect_geq(st.st_blocks * 512, st.st_size, "%s: %s has %lld bytes of %lld", when,
                              entry->d_name, (long long)st.st_blocks * 512, (long long)st.st_size);
        }
        closedir(dir);
        return n;
}

static void expect_room(const struct scratch *scratch, const char *when)
{
        char objects[128];

        snprintf(objects, sizeof(objects), "lanemap.%s", scratch->name);
        cr_expect_geq(expect_all_allocated(scratch->directory, "log-", when), 1);
        cr_expect_geq(expect_all_allocated(scratch->directory, "seg-", when), 1);
        cr_expect_geq(expect_all_allocated("/dev/shm", objects, when), 4,
                      "control and data object, the spare, the lock");
}

static uint64_t log_blocks(const struct scratch *scratch)
{
        char path[512];
        struct stat st;

        cr_assert(scratch_find(scratch->directory, "log-", path, sizeof(path)));
        cr_assert_eq(stat(path, &st), 0);
        return (uint64_t)st.st_blocks * 512;
}

Test(writer_room, what_is_reserved_stays_reserved)
{
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct lanemap_error error;
        struct scratch scratch;
        struct model model;

        scratch_init(&scratch, "room");
        damage_index_make(&scratch, &model);
        engine_options_init(&options, &scratch, &error);
        for (uint32_t round = 0; round < 2; round++) {
                cr_assert_eq(lanemap_writer_open(&options, &writer), 0, "%s", error.text);
                expect_room(&scratch, "after the open");
                cr_expect_geq(log_blocks(&scratch), 64 << 10, "a log begins with a reservation");
                damage_index_apply(writer, &model, 3);
                expect_room(&scratch, "after records");
                cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_FLUSH), 0);
                expect_room(&scratch, "after a flush");
                cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_COMPACT), 0);
                expect_room(&scratch, "after a compaction");
                cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_FLIP), 0);
                expect_room(&scratch, "after a flip");
                lanemap_writer_close(writer);
                expect_all_allocated(scratch.directory, "", "after the close");
        }
        model_deinit(&model);
        scratch_deinit(&scratch);
}
