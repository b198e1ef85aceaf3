/* Control and data objects: S1 to S5 of shm/write.h. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/order.h"
#include "shm/read.h"
#include "shm/write.h"
#include "support/scratch.h"

TestSuite(shm_object, .timeout = 60);

struct bench {
        struct scratch scratch;
        int shm_fd;
        unsigned char uuid[16], hash_key[16];
        struct lanemap_slot slots[LANEMAP_N_SLOTS];
        struct lanemap_shm_control *control;
        struct lanemap_shm_data_options options;
};

static struct bench bench;

static void bench_init(void)
{
        memset(&bench, 0, sizeof(bench));
        scratch_init(&bench.scratch, "object");
        bench.shm_fd = lanemap_shm_open_directory();
        cr_assert(bench.shm_fd >= 0);
        memset(bench.uuid, 7, sizeof(bench.uuid));
        lanemap_slot_table_init(bench.slots, 3);
        bench.options = (struct lanemap_shm_data_options){
                .name = bench.scratch.name,
                .mode = 0640,
                .bytes_max = 1 << 20,
                .uuid = bench.uuid,
                .hash_key = bench.hash_key,
                .fingerprint_bits = 64,
                .n_lanes = 3,
                .slots = bench.slots,
                .directory = bench.scratch.directory,
                .clock = &lanemap_clock_monotonic,
                .quarantine = {.ns = 1000},
        };
}

static void bench_deinit(void)
{
        lanemap_shm_control_close(bench.control);
        close(bench.shm_fd);
        scratch_deinit(&bench.scratch);
}

static int control_open(const unsigned char *uuid, mode_t mode, struct lanemap_error *error)
{
        return lanemap_shm_control_open(bench.shm_fd, bench.scratch.name, uuid, mode,
                                        &bench.control, error);
}

static bool object_stat(uint64_t generation, struct stat *ret_stat)
{
        char name[LANEMAP_SHM_OBJECT_NAME_BYTES];

        if (generation)
                lanemap_shm_data_name(bench.scratch.name, generation, name);
        else
                lanemap_shm_control_name(bench.scratch.name, name);
        return fstatat(bench.shm_fd, name, ret_stat, AT_SYMLINK_NOFOLLOW) == 0;
}

Test(shm_object, control_is_created_once_and_belongs_to_one_index)
{
        unsigned char other[16] = {1};
        struct lanemap_shm_control *first;
        struct lanemap_error error = {.text = ""};
        struct stat st;

        bench_init();
        cr_expect_eq(lanemap_shm_control_check(bench.shm_fd, bench.scratch.name, other, &error), 0);
        cr_assert_eq(control_open(bench.uuid, 0604, &error), 0, "%s", error.text);
        cr_expect(object_stat(0, &st));
        cr_expect_eq(st.st_size, LANEMAP_SHM_CONTROL_BYTES);
        cr_expect_eq(st.st_mode & 07777, 0604, "whatever the umask says");
        cr_expect(bench.control->epoch == 1 && bench.control->watermark == 0 &&
                  bench.control->generation == 0 && bench.control->state == LANEMAP_STATE_STARTING);

        /* Again: the same one, with what it said. */
        first = bench.control;
        first->epoch = 55;
        cr_assert_eq(control_open(bench.uuid, 0604, &error), 0);
        cr_expect_eq(bench.control->epoch, 55, "epochs go on across writers");
        lanemap_shm_control_close(first);

        first = bench.control;
        cr_expect_eq(control_open(other, 0604, &error), -EEXIST);
        cr_expect(strstr(error.text, "another index"), "%s", error.text);
        cr_expect_eq(lanemap_shm_control_check(bench.shm_fd, bench.scratch.name, other, &error),
                     -EEXIST);
        cr_expect_eq(
                lanemap_shm_control_check(bench.shm_fd, bench.scratch.name, bench.uuid, &error), 0);
        bench.control = first;
        bench.control->version = 9;
        cr_expect_eq(control_open(bench.uuid, 0604, &error), -EPROTONOSUPPORT);
        bench_deinit();
}

static void *control_watcher(void *arg)
{
        const bool *stop = arg;
        char name[LANEMAP_SHM_OBJECT_NAME_BYTES];
        struct lanemap_shm_control control;
        long n_partial = 0;

        lanemap_shm_control_name(bench.scratch.name, name);
        while (!lanemap_load_relaxed(stop)) {
                int fd = openat(bench.shm_fd, name, O_RDONLY | O_CLOEXEC);

                if (fd < 0)
                        continue;
                n_partial += pread(fd, &control, sizeof(control), 0) != sizeof(control) ||
                             control.magic != LANEMAP_SHM_CONTROL_MAGIC;
                close(fd);
        }
        return (void *)n_partial;
}

Test(shm_object, control_appears_whole)
{
        char name[LANEMAP_SHM_OBJECT_NAME_BYTES];
        pthread_t watcher;
        bool stop = false;
        void *n_partial;

        bench_init();
        lanemap_shm_control_name(bench.scratch.name, name);
        cr_assert_eq(pthread_create(&watcher, NULL, control_watcher, &stop), 0);
        for (int i = 0; i < 3000; i++) {
                cr_assert_eq(control_open(bench.uuid, 0600, NULL), 0);
                lanemap_shm_control_close(bench.control);
                cr_assert_eq(unlinkat(bench.shm_fd, name, 0), 0);
        }
        lanemap_store_relaxed(&stop, true);
        pthread_join(watcher, &n_partial);
        cr_expect_null(n_partial, "S1: seen in part %ld times", (long)n_partial);
        bench.control = NULL;
        bench_deinit();
}

Test(shm_object, data_object)
{
        struct lanemap_shm_data_object first, second;
        unsigned char told[LANEMAP_SHM_CONTROL_BYTES];
        struct lanemap_shm_region region = {0};
        struct stat st;
        uint64_t off;

        bench_init();
        cr_assert_eq(control_open(bench.uuid, 0640, NULL), 0);
        memcpy(told, bench.control, sizeof(told));
        cr_assert_eq(lanemap_shm_data_create(bench.shm_fd, bench.control, &bench.options, &first),
                     0);
        cr_expect_neq(first.generation, 0);
        cr_expect_eq(memcmp(told, bench.control, sizeof(told)), 0, "S2: nobody is told yet");
        cr_expect(object_stat(first.generation, &st));
        cr_expect_eq(st.st_mode & 07777, 0640);
        cr_expect_geq(st.st_blocks * 512, st.st_size, "never sparse");

        region.control = bench.control;
        region.generation = first.generation;
        cr_expect_eq(lanemap_shm_region_init(&region, first.base, (uint64_t)st.st_size), 0);
        cr_expect(region.n_lanes == 3 && region.cell_bytes == 16);
        for (uint64_t bytes = 0; bytes < (uint64_t)st.st_size - 4096; bytes += 1024)
                cr_expect_eq(lanemap_shm_region_init(&region, first.base, bytes), -EBADMSG, "%lu",
                             (unsigned long)bytes);
        region.generation++;
        cr_expect_eq(lanemap_shm_region_init(&region, first.base, (uint64_t)st.st_size), -EBADMSG);

        /* It grows, never sparse, up to its limit. */
        cr_expect_eq(lanemap_shm_arena_base(first.arena)
                             ->alloc(lanemap_shm_arena_base(first.arena), 500000, &off),
                     0);
        cr_expect(object_stat(first.generation, &st));
        cr_expect_geq(st.st_size, 500000);
        cr_expect_geq(st.st_blocks * 512, st.st_size);
        cr_expect_eq(lanemap_shm_arena_base(first.arena)
                             ->alloc(lanemap_shm_arena_base(first.arena), 600000, &off),
                     -ENOSPC);

        /* A second generation, published; the first is unlinked by name. */
        cr_assert_eq(lanemap_shm_data_create(bench.shm_fd, bench.control, &bench.options, &second),
                     0);
        cr_expect_neq(second.generation, first.generation);
        lanemap_shm_publish(bench.control, second.generation);
        cr_expect_eq(bench.control->generation, second.generation);
        cr_expect_eq(lanemap_shm_unlink_others(bench.shm_fd, bench.scratch.name, second.generation),
                     0);
        cr_expect_not(object_stat(first.generation, &st));
        cr_expect(object_stat(second.generation, &st));
        cr_expect(object_stat(0, &st), "the control object stays");
        lanemap_shm_data_close(&first);
        lanemap_shm_data_close(&second);
        bench_deinit();
}

/* One that is right in every byte, but others may write it: whoever can truncate it can kill the
 * writer (W8). */
Test(shm_object, a_control_object_that_others_may_write_is_refused)
{
        struct lanemap_error error = {{0}};
        char path[200];

        bench_init();
        snprintf(path, sizeof(path), "/dev/shm/lanemap.%s", bench.scratch.name);
        cr_assert_eq(control_open(bench.uuid, 0640, NULL), 0);
        lanemap_shm_control_close(bench.control);
        bench.control = NULL;
        cr_assert_eq(chmod(path, 0660), 0);
        cr_expect_eq(control_open(bench.uuid, 0640, &error), -EPERM);
        cr_expect(strstr(error.text, "others may write it"), "%s", error.text);
        cr_assert_eq(chmod(path, 0640), 0);
        cr_expect_eq(control_open(bench.uuid, 0640, NULL), 0);
        bench_deinit();
}

static void spare_path(char *path, size_t bytes)
{
        snprintf(path, bytes, "/dev/shm/lanemap.%s.spare", bench.scratch.name);
}

/* S4: a successor's object is the spare, renamed. */
Test(shm_object, the_spare_becomes_the_data_object)
{
        struct lanemap_shm_data_object object;
        struct stat spare, st;
        char path[200];

        bench_init();
        bench.options.from_spare = true;
        spare_path(path, sizeof(path));
        cr_assert_eq(control_open(bench.uuid, 0640, NULL), 0);
        cr_assert_eq(lanemap_shm_spare_make(bench.shm_fd, bench.scratch.name, 200 << 10), 0);
        cr_assert_eq(stat(path, &spare), 0);
        cr_expect_eq(spare.st_size, 200 << 10);
        cr_expect_eq(lanemap_shm_spare_make(bench.shm_fd, bench.scratch.name, 100 << 10), 0,
                     "one is enough");
        cr_assert_eq(stat(path, &st), 0);
        cr_expect_eq(st.st_size, 200 << 10);
        cr_expect_eq(lanemap_shm_spare_make(bench.shm_fd, bench.scratch.name, 240 << 10), 0);
        cr_assert_eq(stat(path, &st), 0);
        cr_expect_eq(st.st_size, 240 << 10, "made larger, and the same");
        cr_expect_eq(st.st_blocks * 512, 240 << 10);
        cr_expect_eq(st.st_ino, spare.st_ino);

        cr_assert_eq(lanemap_shm_data_create(bench.shm_fd, bench.control, &bench.options, &object),
                     0);
        cr_expect_lt(stat(path, &st), 0);
        cr_expect(object_stat(object.generation, &st));
        cr_expect_eq(st.st_ino, spare.st_ino);
        cr_expect_eq(st.st_mode & 0777, 0640);
        lanemap_shm_data_close(&object);
        bench_deinit();
}

static uint64_t before_growth_bytes;

static int spare_ensure(void *arg)
{
        const struct lanemap_shm_data_object *object = arg;
        struct stat st;

        cr_assert(object_stat(object->generation, &st));
        before_growth_bytes = (uint64_t)st.st_size;
        cr_expect_eq(lanemap_shm_spare_make(bench.shm_fd, bench.scratch.name, 64 << 10), 0);
        return 0;
}

static int n_refusals;

static int spare_refuse(void *arg)
{
        n_refusals++;
        return -ENOSPC;
}

/* S5: an object does not take room that came too late for the spare. */
Test(shm_object, no_growth_without_room_for_the_spare)
{
        struct lanemap_shm_data_object object;
        struct lanemap_arena *arena;
        struct stat first, then;
        uint64_t off;
        int r;

        bench_init();
        cr_assert_eq(control_open(bench.uuid, 0640, NULL), 0);
        cr_assert_eq(lanemap_shm_data_create(bench.shm_fd, bench.control, &bench.options, &object),
                     0);
        object.spare_ensure = spare_refuse;
        arena = lanemap_shm_arena_base(object.arena);
        cr_assert(object_stat(object.generation, &first));
        while ((r = arena->alloc(arena, 4096, &off)) == 0)
                ;
        cr_expect_eq(r, -ENOSPC);
        cr_expect_geq(n_refusals, 1);
        cr_assert(object_stat(object.generation, &then));
        cr_expect_eq(then.st_size, first.st_size);
        lanemap_shm_data_close(&object);
        bench_deinit();
}

/* S5: the spare has been asked for when the object grows. */
Test(shm_object, room_goes_to_the_spare_first)
{
        struct lanemap_shm_data_object object;
        struct lanemap_arena *arena;
        struct stat first, grown, spare;
        uint64_t off;
        char path[200];

        bench_init();
        spare_path(path, sizeof(path));
        cr_assert_eq(control_open(bench.uuid, 0640, NULL), 0);
        cr_assert_eq(lanemap_shm_data_create(bench.shm_fd, bench.control, &bench.options, &object),
                     0);
        object.spare_ensure = spare_ensure;
        object.spare_arg = &object;
        arena = lanemap_shm_arena_base(object.arena);
        cr_assert(object_stat(object.generation, &first));
        do {
                cr_assert_eq(arena->alloc(arena, 4096, &off), 0);
                cr_assert(object_stat(object.generation, &grown));
        } while (grown.st_size == first.st_size);
        cr_expect_eq(before_growth_bytes, (uint64_t)first.st_size);
        cr_expect_eq(stat(path, &spare), 0);
        lanemap_shm_data_close(&object);
        bench_deinit();
}

/* One that others may write, or that is not all there, would be a way to kill the writer. */
Test(shm_object, a_spare_of_somebody_else_is_left_alone)
{
        struct lanemap_shm_data_object object;
        struct stat spare, st;
        char path[200];
        int fd;

        bench_init();
        bench.options.from_spare = true;
        spare_path(path, sizeof(path));
        cr_assert_eq(control_open(bench.uuid, 0640, NULL), 0);
        for (int i = 0; i < 2; i++) {
                fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                cr_assert(fd >= 0);
                if (i == 0)
                        cr_assert_eq(posix_fallocate(fd, 0, 200 << 10), 0);
                else
                        cr_assert_eq(ftruncate(fd, 200 << 10), 0);
                cr_assert_eq(fchmod(fd, i == 0 ? 0666 : 0600), 0);
                cr_assert_eq(fstat(fd, &spare), 0);
                close(fd);

                cr_assert_eq(lanemap_shm_data_create(bench.shm_fd, bench.control, &bench.options,
                                                     &object),
                             0);
                cr_expect(object_stat(object.generation, &st));
                cr_expect_neq(st.st_ino, spare.st_ino);
                cr_expect_eq(unlink(path), 0, "it is where it was");
                lanemap_shm_data_close(&object);
        }
        bench_deinit();
}

/* What does not fit leaves nothing behind. */
Test(shm_object, data_object_that_does_not_fit)
{
        struct lanemap_shm_data_object object;
        char *before, *after;

        bench_init();
        cr_assert_eq(control_open(bench.uuid, 0640, NULL), 0);
        before = scratch_shared_listing(bench.scratch.name);
        bench.options.bytes_max = 8192;
        cr_expect_eq(lanemap_shm_data_create(bench.shm_fd, bench.control, &bench.options, &object),
                     -ENOSPC);
        after = scratch_shared_listing(bench.scratch.name);
        cr_expect_str_eq(after, before);
        free(before);
        free(after);
        bench_deinit();
}
