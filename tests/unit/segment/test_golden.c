/*
 * Files that earlier versions of this code wrote, committed as they were: they can be read, every
 * answer is the one they were made for, and the same input still gives the same bytes.
 *
 * Where a later version may write other bytes for the same input (which the format allows), the
 * last test is the one to change; the files and the others never are.
 */
#include "expect.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/segments/golden.h"

TestSuite(golden, .timeout = 60);

struct file_bytes {
        unsigned char *bytes;
        size_t n_bytes;
};

static struct file_bytes file_read(int dir_fd, const char *path)
{
        int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC);
        struct file_bytes file;
        struct stat st;

        cr_assert_geq(fd, 0, "%s", path);
        cr_assert_eq(fstat(fd, &st), 0);
        file.n_bytes = (size_t)st.st_size;
        file.bytes = malloc(file.n_bytes);
        cr_assert(file.bytes);
        cr_assert_eq(read(fd, file.bytes, file.n_bytes), st.st_size);
        close(fd);
        return file;
}

static struct file_bytes golden_read(const struct golden *golden)
{
        int dir_fd = open(GOLDEN_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct file_bytes file;

        cr_assert_geq(dir_fd, 0, "%s", GOLDEN_DIRECTORY);
        file = file_read(dir_fd, golden->path);
        close(dir_fd);
        return file;
}

static uint32_t n_sections_of(const struct golden *golden)
{
        uint32_t n = 0;

        while (n < GOLDEN_SECTIONS_MAX && golden->kinds[n])
                n++;
        return n;
}

/* Hits, near misses, far misses, and all entries in their order. */
static void expect_section(const struct lanemap_segment *segment, struct golden_section *section)
{
        struct model model = {.entries = section->entries,
                              .n_entries = section->n_entries,
                              .fingerprint_bits = section->options.fingerprint_bits};
        uint64_t seed = 1;

        memcpy(model.slots, section->slots, sizeof(model.slots));
        for (uint32_t i = 0; i < section->n_entries; i++) {
                expect_found(segment, &section->entries[i], LANEMAP_SEGMENT_RANK_UNKNOWN);
                expect_near_misses(segment, &model, section->entries[i].fingerprint);
        }
        for (int i = 0; i < 2000; i++)
                expect_agreement(segment, &model, fingerprint_random(&model, &seed));
        expect_iteration(segment, &model);
        expect_walk(segment, &model);
}

Test(golden, every_answer_is_what_the_file_was_made_for)
{
        static struct golden_section expected;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(goldens); i++) {
                const struct golden *golden = &goldens[i];
                struct file_bytes bytes = golden_read(golden);
                struct lanemap_segment_report report;
                struct lanemap_segment_file file;

                cr_assert_eq(lanemap_segment_file_verify(bytes.bytes, bytes.n_bytes, &report), 0,
                             "%s: %s at %llu", golden->path, report.what,
                             (unsigned long long)report.offset);
                cr_assert_eq(lanemap_segment_file_open(&file, bytes.bytes, bytes.n_bytes), 0);
                cr_assert_eq(file.n_sections, n_sections_of(golden));
                cr_assert_eq(file.fingerprint_bits, golden->fingerprint_bits);
                for (uint32_t k = 0; k < file.n_sections; k++) {
                        struct lanemap_segment_file_section section;
                        struct lanemap_segment segment;

                        golden_section_init(golden, k, &expected);
                        cr_assert_eq(lanemap_segment_file_section(&file, k, &section), 0);
                        cr_assert_eq(section.lane, 5 + k);
                        cr_assert_eq(section.kind, golden->kinds[k]);
                        cr_assert_eq(section.n_keys, golden->n_entries);
                        cr_assert_eq(lanemap_segment_open(&segment, bytes.bytes + section.offset,
                                                          section.n_bytes,
                                                          golden->fingerprint_bits),
                                     0);
                        cr_assert_eq(segment.has_filter ? segment.filter.kind : 0, golden->filter);
                        expect_section(&segment, &expected);
                }
                free(bytes.bytes);
        }
}

/* The checksum covers everything, filters too; and whoever reads without it does not fall. */
Test(golden, every_flipped_byte_is_noticed)
{
        static struct golden_section expected;
        uint64_t seed = 2;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(goldens); i++) {
                struct file_bytes bytes = golden_read(&goldens[i]);

                golden_section_init(&goldens[i], 0, &expected);
                for (size_t at = 0; at < bytes.n_bytes; at += 1 + random_next(&seed) % 5) {
                        unsigned char bit = (unsigned char)(1u << random_next(&seed) % 8);
                        struct lanemap_segment_report report;
                        struct lanemap_segment segment;
                        const size_t head = 192; /* header and table of one section, aligned */

                        bytes.bytes[at] ^= bit;
                        cr_assert_lt(
                                lanemap_segment_file_verify(bytes.bytes, bytes.n_bytes, &report), 0,
                                "%s: byte %zu", goldens[i].path, at);
                        if (goldens[i].kinds[1] == 0 &&
                            lanemap_segment_open(&segment, bytes.bytes + head, bytes.n_bytes - head,
                                                 goldens[i].fingerprint_bits) == 0)
                                for (uint32_t k = 0; k < expected.n_entries; k++) {
                                        struct lanemap_segment_posting posting;

                                        lanemap_segment_find(
                                                &segment, expected.entries[k].fingerprint,
                                                LANEMAP_SEGMENT_RANK_UNKNOWN, &posting);
                                }
                        bytes.bytes[at] ^= bit;
                }
                free(bytes.bytes);
        }
}

Test(golden, the_same_input_gives_the_same_bytes_today)
{
        char path[] = "/tmp/lanemap-golden-XXXXXX";
        int dir_fd;

        cr_assert(mkdtemp(path));
        dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(goldens); i++) {
                struct file_bytes then = golden_read(&goldens[i]), now;
                struct lanemap_segment_written written;

                cr_assert_eq(golden_write(&goldens[i], dir_fd, &written), 0);
                now = file_read(dir_fd, written.name);
                cr_assert_eq(unlinkat(dir_fd, written.name, 0), 0);
                cr_expect(now.n_bytes == then.n_bytes &&
                                  memcmp(now.bytes, then.bytes, now.n_bytes) == 0,
                          "%s", goldens[i].path);
                free(then.bytes);
                free(now.bytes);
        }
        close(dir_fd);
        rmdir(path);
}
