/* Files: written through the file layer and found again, cut, grown, and from another version. */
#include "file_bytes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "segment/file_write.h"
#include "segment/verify.h"

TestSuite(file, .timeout = 100);

#define N_SECTIONS 3

/* A directory of its own, and three lanes' sections to put into a file there. */
struct world {
        char path[64];
        int dir_fd;
        struct lanemap_segment_write_options options;
        struct lanemap_segment_write_section sections[N_SECTIONS];
        struct model models[N_SECTIONS];
        struct built builts[N_SECTIONS];
        uint64_t offsets[N_SECTIONS];
        struct lanemap_segment_written written;
};

/* Each way to store a value is in every file. */
static const uint32_t kinds[N_SECTIONS] = {
        LANEMAP_SEGMENT_KIND_RECSPLIT, LANEMAP_SEGMENT_KIND_PACKED, LANEMAP_SEGMENT_KIND_BBHASH};
static const uint32_t n_ids_of_the_first[3] = {2, 0, 129};

static void world_init(struct world *world, const size_t *sizes)
{
        uint64_t slots[LANEMAP_SLOT_WORDS], seed = 1;

        *world = (struct world){.path = "/tmp/lanemap-segment-XXXXXX",
                                .options = {.file_number = 0x1234, .fingerprint_bits = 64}};
        cr_assert(mkdtemp(world->path));
        world->dir_fd = open(world->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cr_assert_geq(world->dir_fd, 0);
        memset(world->options.uuid, 0xab, sizeof(world->options.uuid));
        for (uint32_t i = 0; i < N_SECTIONS; i++) {
                slots_random(slots, 3, &seed);
                model_init(&world->models[i], 64, slots, sizes[i]);
                model_fill(&world->models[i], sizes[i], IDS_ALL, 1000, &seed);
                for (uint32_t k = 0; k < LANEMAP_MIN(sizes[i], 3); k++) {
                        struct lanemap_entry *entry = &world->models[i].entries[k];

                        free((void *)(uintptr_t)entry->ids);
                        entry->n_ids = n_ids_of_the_first[k];
                        entry->ids = ids_random(entry->n_ids, 100000, &seed);
                }
                world->models[i].kind = kinds[i];
                cr_assert_eq(model_build(&world->models[i], &world->builts[i]), 0);
                world->sections[i] =
                        (struct lanemap_segment_write_section){.lane = 10 + i,
                                                               .level = i,
                                                               .kind = kinds[i],
                                                               .built = world->builts[i].counts};
        }
}

static uint32_t world_n_files(const struct world *world)
{
        DIR *dir = opendir(world->path);
        const struct dirent *entry;
        uint32_t n = 0;

        cr_assert(dir);
        while ((entry = readdir(dir)))
                n += entry->d_name[0] != '.';
        closedir(dir);
        return n;
}

static void world_deinit(struct world *world)
{
        if (world->written.name[0])
                unlinkat(world->dir_fd, world->written.name, 0);
        close(world->dir_fd);
        cr_expect_eq(rmdir(world->path), 0, "the directory is not empty");
        for (uint32_t i = 0; i < N_SECTIONS; i++) {
                model_deinit(&world->models[i]);
                free(world->builts[i].bytes);
        }
}

static int world_write(struct world *world, const struct lanemap_files *files)
{
        return lanemap_segment_file_write(files, world->dir_fd, &world->options, world->sections,
                                          N_SECTIONS, world->offsets, &world->written);
}

/* The file in a block of exactly its size. */
static unsigned char *world_read(const struct world *world, size_t *ret_n_bytes)
{
        int fd = openat(world->dir_fd, world->written.name, O_RDONLY | O_CLOEXEC);
        unsigned char *bytes;
        struct stat st;

        cr_assert_geq(fd, 0);
        cr_assert_eq(fstat(fd, &st), 0);
        bytes = malloc((size_t)st.st_size);
        cr_assert(bytes);
        cr_assert_eq(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
        close(fd);
        *ret_n_bytes = (size_t)st.st_size;
        return bytes;
}

static const size_t sizes_small[N_SECTIONS] = {3, 0, 2}, sizes_usual[N_SECTIONS] = {900, 0, 40};

Test(file, a_file_comes_back_by_its_name_and_table)
{
        struct lanemap_segment_report report;
        struct lanemap_segment_file file;
        uint64_t number, start, n_keys = 0, n_pairs = 0;
        struct world world;
        unsigned char *bytes;
        struct stat st;
        size_t n_bytes;

        world_init(&world, sizes_usual);
        cr_assert_eq(world_write(&world, &lanemap_files_posix), 0);
        cr_expect_eq(world_n_files(&world), 1);
        bytes = world_read(&world, &n_bytes);
        cr_expect_eq(n_bytes, world.written.n_bytes);
        cr_assert_eq(fstatat(world.dir_fd, world.written.name, &st, 0), 0);
        cr_expect_eq(st.st_mode & 07137, 0);

        cr_assert_eq(lanemap_segment_file_open(&file, bytes, n_bytes), 0);
        cr_expect_eq(file.file_number, 0x1234);
        cr_expect_eq(file.n_sections, N_SECTIONS);
        cr_expect_eq(file.fingerprint_bits, 64);
        cr_expect_eq(memcmp(file.uuid, world.options.uuid, sizeof(file.uuid)), 0);
        cr_expect_eq(memcmp(file.checksum, world.written.checksum, sizeof(file.checksum)), 0);
        cr_assert_eq(lanemap_segment_file_name_parse(world.written.name, &number, &start), 0);
        cr_expect_eq(number, 0x1234);
        cr_expect_eq(start, __builtin_bswap64(lanemap_load_le64(file.checksum)));

        for (uint32_t i = 0; i < N_SECTIONS; i++) {
                struct lanemap_segment_file_section section;
                struct lanemap_segment segment;

                cr_assert_eq(lanemap_segment_file_section(&file, i, &section), 0);
                cr_expect_eq(section.lane, 10 + i);
                cr_expect_eq(section.level, i);
                cr_expect_eq(section.offset, world.offsets[i]);
                cr_expect_eq(section.n_keys, sizes_usual[i]);
                cr_expect_eq(section.n_pairs, world.builts[i].counts.n_pairs);
                cr_assert_eq(
                        lanemap_segment_open(&segment, bytes + section.offset, section.n_bytes, 64),
                        0);
                cr_expect_eq(memcmp(bytes + section.offset, world.builts[i].bytes, section.n_bytes),
                             0);
                n_keys += section.n_keys;
                n_pairs += section.n_pairs;
        }
        cr_expect_eq(lanemap_segment_file_section(&file, N_SECTIONS, NULL), -EINVAL);
        cr_expect_eq(lanemap_segment_file_verify(bytes, n_bytes, &report), 0, "%s", report.what);
        cr_expect_null(report.what);
        cr_expect_eq(report.n_keys, n_keys);
        cr_expect_eq(report.n_pairs, n_pairs);
        free(bytes);
        world_deinit(&world);
}

Test(file, names)
{
        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES] = {0x01, 0x23, 0x45, 0x67,
                                                                  0x89, 0xab, 0xcd, 0xef};
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        uint64_t number, start;

        lanemap_segment_file_name(UINT64_C(0xfedcba9876543210), checksum, name);
        cr_expect_str_eq(name, "seg-fedcba9876543210-0123456789abcdef.lms");
        cr_expect_eq(lanemap_segment_file_name_parse(name, &number, &start), 0);
        cr_expect_eq(number, UINT64_C(0xfedcba9876543210));
        cr_expect_eq(start, UINT64_C(0x0123456789abcdef));

        static const char *const bad[] = {"",
                                          "seg-",
                                          "seg-fedcba9876543210",
                                          "seg-fedcba9876543210-0123456789abcdef",
                                          "seg-fedcba9876543210-0123456789abcde.lms",
                                          "seg-fedcba9876543210-0123456789abcdef.lmsx",
                                          "seg-Fedcba9876543210-0123456789abcdef.lms",
                                          "tmp-fedcba9876543210-0123456789abcdef.lms",
                                          "seg-fedcba9876543210_0123456789abcdef.lms"};
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(bad); i++)
                cr_expect_eq(lanemap_segment_file_name_parse(bad[i], &number, &start), -EINVAL,
                             "%s", bad[i]);
}

Test(file, no_sections_and_a_temporary_file_left_by_a_crash)
{
        char left[] = LANEMAP_SEGMENT_TEMPORARY_PREFIX "0000000000001234";
        struct lanemap_segment_report report;
        struct world world;
        unsigned char *bytes;
        size_t n_bytes;
        int fd;

        world_init(&world, sizes_small);
        fd = openat(world.dir_fd, left, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        cr_assert_geq(fd, 0);
        close(fd);
        cr_assert_eq(lanemap_segment_file_write(&lanemap_files_posix, world.dir_fd, &world.options,
                                                NULL, 0, NULL, &world.written),
                     0);
        cr_expect_eq(world_n_files(&world), 1);
        bytes = world_read(&world, &n_bytes);
        cr_expect_eq(lanemap_segment_file_verify(bytes, n_bytes, &report), 0);
        free(bytes);
        world_deinit(&world);
}

/* A file layer in which the n-th call fails. */
struct failing {
        struct lanemap_files files; /* first */
        int left;
        int error;
};

static bool fails(const struct lanemap_files *files)
{
        struct failing *failing = (struct failing *)(uintptr_t)files;

        return --failing->left == 0;
}

#define FAIL_OR(call) (fails(files) ? -((const struct failing *)files)->error : (call))

static int failing_open(const struct lanemap_files *files, int dir_fd, const char *name, int flags,
                        mode_t mode)
{
        return FAIL_OR(lanemap_files_posix.open(&lanemap_files_posix, dir_fd, name, flags, mode));
}

static int failing_close(const struct lanemap_files *files, int fd)
{
        int r = lanemap_files_posix.close(&lanemap_files_posix, fd);

        return FAIL_OR(r);
}

static ssize_t failing_pwrite(const struct lanemap_files *files, int fd, const void *bytes,
                              size_t n_bytes, off_t at)
{
        return FAIL_OR(lanemap_files_posix.pwrite(&lanemap_files_posix, fd, bytes, n_bytes, at));
}

static int failing_allocate(const struct lanemap_files *files, int fd, off_t at, off_t n_bytes)
{
        return FAIL_OR(lanemap_files_posix.allocate(&lanemap_files_posix, fd, at, n_bytes));
}

static int failing_sync(const struct lanemap_files *files, int fd)
{
        return FAIL_OR(lanemap_files_posix.sync(&lanemap_files_posix, fd));
}

static int failing_rename(const struct lanemap_files *files, int dir_fd, const char *from,
                          const char *to)
{
        return FAIL_OR(lanemap_files_posix.rename(&lanemap_files_posix, dir_fd, from, to));
}

static int failing_unlink(const struct lanemap_files *files, int dir_fd, const char *name)
{
        return FAIL_OR(lanemap_files_posix.unlink(&lanemap_files_posix, dir_fd, name));
}

Test(file, every_call_that_fails_leaves_nothing)
{
        struct failing failing = {.files = {.open = failing_open,
                                            .close = failing_close,
                                            .pwrite = failing_pwrite,
                                            .allocate = failing_allocate,
                                            .sync = failing_sync,
                                            .rename = failing_rename,
                                            .unlink = failing_unlink},
                                  .error = ENOSPC};
        struct world world;
        int n, r;

        world_init(&world, sizes_small);
        for (n = 1;; n++) {
                failing.left = n;
                r = world_write(&world, &failing.files);
                if (r == 0)
                        break;

                cr_expect_eq(r, -ENOSPC, "call %d", n);
                cr_expect_eq(world_n_files(&world), 0, "call %d", n);
                cr_expect_eq(world.written.name[0], 0);
                cr_expect_eq(world.offsets[0], 0);
        }
        cr_expect_eq(n, 1 + 2 * N_SECTIONS + 1 + 1 + 1 + 1 + 1, "%d calls", n);
        lanemap_alloc_fail_after(1);
        cr_expect_eq(world_write(&world, &lanemap_files_posix), -ENOMEM);
        lanemap_alloc_fail_after(0);
        world_deinit(&world);
}

Test(file, truncation_and_growth_are_noticed)
{
        struct lanemap_segment_report report;
        struct world world;
        unsigned char *bytes;
        size_t n_bytes;

        world_init(&world, sizes_small);
        cr_assert_eq(world_write(&world, &lanemap_files_posix), 0);
        bytes = world_read(&world, &n_bytes);
        for (size_t n = 0; n < n_bytes; n += 1 + n / 50) {
                unsigned char *cut = malloc(n ? n : 1);

                memcpy(cut, bytes, n);
                cr_expect_eq(lanemap_segment_file_verify(cut, n, &report), -EBADMSG);
                free(cut);
        }
        for (uint32_t i = 0; i < N_SECTIONS; i++) {
                size_t n_section = world.builts[i].n_bytes;

                for (size_t n = 0; n < n_section; n += 1 + n / 50) {
                        unsigned char *cut = malloc(n ? n : 1);
                        struct lanemap_segment segment;

                        memcpy(cut, world.builts[i].bytes, n);
                        cr_expect_eq(lanemap_segment_open(&segment, cut, n, 64), -EBADMSG);
                        free(cut);
                }
        }
        bytes = realloc(bytes, n_bytes + 64);
        memset(bytes + n_bytes, 0, 64);
        cr_expect_eq(lanemap_segment_file_verify(bytes, n_bytes + 64, &report), -EBADMSG);
        free(bytes);
        world_deinit(&world);
}

Test(file, what_is_newer_is_not_called_broken)
{
        struct lanemap_segment_report report;
        struct lanemap_segment_file file;
        struct lanemap_segment segment;
        struct world world;
        unsigned char *bytes;
        size_t n_bytes;

        world_init(&world, sizes_small);
        cr_assert_eq(world_write(&world, &lanemap_files_posix), 0);
        bytes = world_read(&world, &n_bytes);

        bytes[offsetof(struct lanemap_segment_header_file, version)] = 2;
        file_recheck(bytes, n_bytes);
        cr_expect_eq(lanemap_segment_file_open(&file, bytes, n_bytes), -EPROTONOSUPPORT);
        cr_expect_eq(lanemap_segment_file_verify(bytes, n_bytes, &report), -EPROTONOSUPPORT);
        bytes[offsetof(struct lanemap_segment_header_file, version)] = 1;
        bytes[offsetof(struct lanemap_segment_header_file, incompatible)] = 4;
        file_recheck(bytes, n_bytes);
        cr_expect_eq(lanemap_segment_file_open(&file, bytes, n_bytes), -EPROTONOSUPPORT);
        bytes[offsetof(struct lanemap_segment_header_file, incompatible)] = 0;
        bytes[offsetof(struct lanemap_segment_header_file, compatible)] = 4;
        file_recheck(bytes, n_bytes);
        cr_expect_eq(lanemap_segment_file_open(&file, bytes, n_bytes), 0, "a compatible bit");

        bytes[world.offsets[0] + offsetof(struct lanemap_segment_section_file, kind)] = 4;
        file_recheck(bytes, n_bytes);
        cr_expect_eq(lanemap_segment_open(&segment, bytes + world.offsets[0],
                                          n_bytes - world.offsets[0], 64),
                     -EPROTONOSUPPORT);
        cr_expect_eq(lanemap_segment_open(&segment, bytes + world.offsets[2],
                                          n_bytes - world.offsets[2], 80),
                     -EBADMSG, "another width");
        free(bytes);
        world_deinit(&world);
}

/* Damage behind the headers is said with its lane and place. */
Test(file, the_report_says_where)
{
        struct lanemap_segment_report report;
        struct world world;
        unsigned char *bytes;
        size_t n_bytes, at;

        world_init(&world, sizes_usual);
        cr_assert_eq(world_write(&world, &lanemap_files_posix), 0);
        bytes = world_read(&world, &n_bytes);

        at = world.offsets[2] + sizeof(struct lanemap_segment_section_file); /* its directory */
        bytes[at + 5] ^= 0xff;
        cr_expect_eq(lanemap_segment_file_verify(bytes, n_bytes, &report), -EBADMSG);
        cr_expect_eq(report.lane, 12);
        cr_expect_eq(report.offset, at);
        bytes[at + 5] ^= 0xff;

        at = world.offsets[2] - 1; /* zeros at the end of the empty section before it */
        cr_expect_eq(lanemap_segment_file_verify(bytes, n_bytes, &report), 0);
        lanemap_alloc_fail_after(1);
        cr_expect_eq(lanemap_segment_file_verify(bytes, n_bytes, &report), -ENOMEM);
        lanemap_alloc_fail_after(0);
        free(bytes);
        world_deinit(&world);
}

/* A header that signs wrong counts is found out. */
Test(file, counts_and_widths_are_recounted)
{
        static const size_t fields[] = {
                offsetof(struct lanemap_segment_section_file, n_pairs),
                offsetof(struct lanemap_segment_section_file, n_tombstones),
                offsetof(struct lanemap_segment_section_file, ids_max),
                offsetof(struct lanemap_segment_section_file, n_slots),
                offsetof(struct lanemap_segment_section_file, filter_shift),
                offsetof(struct lanemap_segment_section_file, slot_ranks) + 10,
        };
        struct lanemap_segment_report report;
        struct world world;
        unsigned char *bytes;

        world_init(&world, sizes_usual);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(fields); i++) {
                size_t n_bytes = world.builts[0].n_bytes;

                bytes = malloc(n_bytes);
                memcpy(bytes, world.builts[0].bytes, n_bytes);
                cr_expect_eq(lanemap_segment_verify(bytes, n_bytes, 64, &report), 0, "%s",
                             report.what);
                bytes[fields[i]]++;
                lanemap_store_le64(bytes + 8, 0);
                lanemap_store_le64(bytes + 8,
                                   lanemap_segment_check_of(
                                           bytes, sizeof(struct lanemap_segment_section_file)));
                cr_expect_eq(lanemap_segment_verify(bytes, n_bytes, 64, &report), -EBADMSG,
                             "field %zu", i);
                free(bytes);
        }
        world_deinit(&world);
}
