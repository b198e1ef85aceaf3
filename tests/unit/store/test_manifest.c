/* The manifest: what is written comes back, whatever is not right is said, and a crash at any call
 * leaves the old one or the new one. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "faulty_files.h"
#include "manifest_edits.h"
#include "store/manifest_read.h"
#include "store/manifest_text.h"
#include "store/manifest_write.h"

TestSuite(manifest, .timeout = 60);

static char path[64];
static int dir_fd;

static void directory_init(void)
{
        snprintf(path, sizeof(path), "/tmp/lanemap-manifest-XXXXXX");
        cr_assert(mkdtemp(path));
        dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cr_assert_geq(dir_fd, 0);
}

static void directory_deinit(void)
{
        unlinkat(dir_fd, LANEMAP_MANIFEST_NAME, 0);
        unlinkat(dir_fd, LANEMAP_MANIFEST_TEMPORARY_NAME, 0);
        close(dir_fd);
        rmdir(path);
}

static void expect_equal(const struct lanemap_manifest *a, const struct lanemap_manifest *b)
{
        char *a_text, *b_text;
        size_t a_bytes, b_bytes;

        cr_assert_eq(lanemap_manifest_format(a, &a_text, &a_bytes), 0);
        cr_assert_eq(lanemap_manifest_format(b, &b_text, &b_bytes), 0);
        cr_assert_eq(a_bytes, b_bytes);
        cr_assert(memcmp(a_text, b_text, a_bytes) == 0);
        lanemap_free(a_text);
        lanemap_free(b_text);
}

Test(manifest, what_is_written_comes_back)
{
        struct lanemap_manifest manifest, back;
        struct lanemap_error error;

        directory_init();
        cr_assert_eq(lanemap_manifest_read(&lanemap_files_posix, dir_fd, &back, &error), -ENOENT);

        manifest_sample(7, 3, &manifest);
        cr_assert_eq(lanemap_manifest_write(&lanemap_files_posix, dir_fd, &manifest), 0);
        cr_assert_eq(lanemap_manifest_read(&lanemap_files_posix, dir_fd, &back, &error), 0, "%s",
                     error.text);
        expect_equal(&manifest, &back);
        cr_expect_eq(back.generation, 12);
        cr_expect(memcmp(back.hash_key, manifest.hash_key, 16) == 0);
        cr_expect(memcmp(back.uuid, manifest.uuid, 16) == 0);
        cr_expect_eq(back.fingerprint_bits, 96);
        cr_expect_eq(back.mark_bytes, 5);
        cr_expect(memcmp(back.mark, "0/16B", 5) == 0);
        cr_expect_eq(back.lanes[6].position, 106);
        cr_expect_eq(back.lanes[6].n_pairs, 12);
        cr_expect_eq(back.lanes[6].segments[2].file_number, 12);
        cr_expect_eq(back.lanes[6].segments[2].n_pairs, 44);
        cr_expect_eq(back.files[2].checksum[31], 3);
        cr_expect_eq(lanemap_manifest_lowest_position(&back), 100);
        cr_expect_eq(lanemap_manifest_highest_position(&back), 106);

        expect_equal(&manifest, &back);
        lanemap_manifest_deinit(&back);
        lanemap_manifest_deinit(&back);
        lanemap_manifest_deinit(&manifest);
        directory_deinit();
}

/* What an index was told to use is optional: without it, a manifest has the bytes it always had. */
Test(manifest, choices_are_optional)
{
        struct lanemap_manifest manifest, back;
        struct lanemap_error error;
        size_t bytes;
        char *text;

        manifest_sample(2, 2, &manifest);
        cr_assert_eq(lanemap_manifest_format(&manifest, &text, &bytes), 0);
        cr_expect_null(memmem(text, bytes, "segment_kind", 12));
        cr_expect_null(memmem(text, bytes, "filter", 6));
        cr_assert_eq(lanemap_manifest_parse(text, bytes, &back, &error), 0);
        cr_expect_eq(back.segment_kind_young | back.segment_kind_bottom | back.filter, 0);
        lanemap_manifest_deinit(&back);
        lanemap_free(text);

        /* A filter policy of a later version is not known here: as good as none. */
        for (uint32_t filter = LANEMAP_FILTER_ALWAYS; filter < 6; filter += 2) {
                manifest.segment_kind_young = LANEMAP_SEGMENT_BBHASH;
                manifest.segment_kind_bottom = LANEMAP_SEGMENT_RECSPLIT;
                manifest.filter = filter;
                cr_assert_eq(lanemap_manifest_format(&manifest, &text, &bytes), 0);
                cr_assert_eq(lanemap_manifest_parse(text, bytes, &back, &error), 0, "%s",
                             error.text);
                cr_expect_eq(back.segment_kind_young, LANEMAP_SEGMENT_BBHASH);
                cr_expect_eq(back.segment_kind_bottom, LANEMAP_SEGMENT_RECSPLIT);
                cr_expect_eq(back.filter, filter == LANEMAP_FILTER_ALWAYS ? filter : 0);
                lanemap_manifest_deinit(&back);
                lanemap_free(text);
        }
        lanemap_manifest_deinit(&manifest);
}

Test(manifest, files_that_nobody_names_are_forgotten)
{
        struct lanemap_manifest manifest;

        manifest_sample(4, 3, &manifest);
        for (uint32_t l = 0; l < 4; l++)
                cr_assert_eq(lanemap_manifest_set_segments(&manifest, l, manifest.lanes[l].segments,
                                                           l == 2),
                             0);
        cr_expect_eq(lanemap_manifest_forget_unnamed_files(&manifest), 2);
        cr_expect_eq(manifest.n_files, 1);
        cr_expect_eq(lanemap_manifest_find_file(&manifest, 10)->number, 10);
        cr_expect_null(lanemap_manifest_find_file(&manifest, 11));
        cr_expect_eq(lanemap_manifest_verify(&manifest, NULL), 0);
        lanemap_manifest_deinit(&manifest);
}

Test(manifest, numbers_of_all_64_bits_survive)
{
        static const uint64_t values[] = {0,
                                          1,
                                          (UINT64_C(1) << 53) + 1,
                                          INT64_MAX,
                                          (uint64_t)INT64_MAX + 1,
                                          UINT64_MAX - 2,
                                          UINT64_MAX};
        struct lanemap_manifest manifest, back;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(values); i++) {
                char *text;
                size_t bytes;

                manifest_sample(1, 1, &manifest);
                manifest.generation = values[i];
                manifest.next_file_number = LANEMAP_MAX(values[i], 11);
                manifest.files[0].bytes = values[i];
                manifest.lanes[0].segments[0].bytes = values[i];
                manifest.lanes[0].segments[0].n_keys = values[i];
                manifest.lanes[0].segments[0].n_pairs = values[i];
                manifest.lanes[0].n_keys = manifest.lanes[0].n_pairs = values[i];
                manifest.lanes[0].position = LANEMAP_MIN(values[i], UINT64_MAX - 2);
                cr_assert_eq(lanemap_manifest_format(&manifest, &text, &bytes), 0);
                cr_assert_eq(lanemap_manifest_parse(text, bytes, &back, NULL), 0);
                cr_expect_eq(back.generation, values[i]);
                cr_expect_eq(back.files[0].bytes, values[i]);
                cr_expect_eq(back.lanes[0].segments[0].n_pairs, values[i]);
                cr_expect_eq(back.lanes[0].n_keys, values[i]);
                expect_equal(&manifest, &back);
                lanemap_free(text);
                lanemap_manifest_deinit(&back);
                lanemap_manifest_deinit(&manifest);
        }
}

Test(manifest, every_flipped_bit_and_every_length_is_noticed)
{
        struct lanemap_manifest manifest, back;
        struct lanemap_error error;
        char *text;
        size_t bytes;

        manifest_sample(2, 2, &manifest);
        cr_assert_eq(lanemap_manifest_format(&manifest, &text, &bytes), 0);
        for (size_t i = 0; i < bytes; i++) {
                for (int bit = 0; bit < 8; bit++) {
                        text[i] = (char)(text[i] ^ 1 << bit);
                        cr_assert_eq(lanemap_manifest_parse(text, bytes, &back, &error), -EBADMSG);
                        text[i] = (char)(text[i] ^ 1 << bit);
                }
                cr_assert_eq(lanemap_manifest_parse(text, i, &back, &error), -EBADMSG);
        }
        cr_assert_eq(lanemap_manifest_parse(text, bytes, &back, &error), 0);
        lanemap_manifest_deinit(&back);
        lanemap_free(text);
        lanemap_manifest_deinit(&manifest);
}

Test(manifest, what_is_wrong_is_said)
{
        for (size_t i = 0; i < manifest_n_edits; i++) {
                const struct manifest_edit *edit = &manifest_edits[i];
                struct lanemap_error error = {0};
                struct lanemap_manifest back;
                size_t bytes;
                char *text = manifest_edited(edit, &bytes);
                int r;

                r = lanemap_manifest_parse(text, bytes, &back, &error);
                cr_expect_eq(r, edit->r, "%s: %d, %s", edit->name, r, error.text);
                cr_expect(strstr(error.text, edit->said), "%s: \"%s\"", edit->name, error.text);
                if (r == 0)
                        lanemap_manifest_deinit(&back);
                free(text);
        }
}

/* The n-th call fails, for good or once, and the power goes: the old one or the new one is there.
 */
Test(manifest, a_crash_leaves_the_old_one_or_the_new_one)
{
        for (int mode = 0; mode < 8; mode++) {
                bool done = false;

                for (uint64_t n = 1; !done; n++) {
                        struct lanemap_manifest manifest, back;
                        struct faulty_files faulty;
                        struct lanemap_error error;
                        int r;

                        directory_init();
                        manifest_sample(3, 2, &manifest);
                        faulty_files_init(&faulty, dir_fd);
                        cr_assert_eq(lanemap_manifest_write(&faulty.files, dir_fd, &manifest), 0);
                        manifest.generation = 13;
                        faulty.n_calls = 0;
                        faulty.fail_at = n;
                        faulty.n_failing = mode & 1 ? UINT64_MAX : 1;
                        faulty.torn_bytes = 100;
                        r = lanemap_manifest_write(&faulty.files, dir_fd, &manifest);
                        done = r == 0;
                        faulty_files_cut_power(&faulty, mode & 2, mode & 4 ? n : 0);

                        r = lanemap_manifest_read(&lanemap_files_posix, dir_fd, &back, &error);
                        cr_assert_eq(r, 0, "call %d: %s", (int)n, error.text);
                        cr_assert(back.generation == 13 || (!done && back.generation == 12));

                        faulty.fail_at = 0;
                        manifest.generation = 14;
                        cr_assert_eq(lanemap_manifest_write(&faulty.files, dir_fd, &manifest), 0);
                        lanemap_manifest_deinit(&back);
                        lanemap_manifest_deinit(&manifest);
                        faulty_files_deinit(&faulty);
                        directory_deinit();
                }
        }
}

Test(manifest, every_allocation_fails_once)
{
        struct lanemap_manifest manifest, back;
        int r = -1;

        directory_init();
        manifest_sample(3, 2, &manifest);
        cr_assert_eq(lanemap_manifest_write(&lanemap_files_posix, dir_fd, &manifest), 0);
        for (uint64_t n = 1; r != 0; n++) {
                lanemap_alloc_fail_after(n);
                r = lanemap_manifest_read(&lanemap_files_posix, dir_fd, &back, NULL);
                if (r == 0) {
                        r = lanemap_manifest_write(&lanemap_files_posix, dir_fd, &back);
                        lanemap_manifest_deinit(&back);
                }
                lanemap_alloc_fail_after(0);
                cr_assert(r == 0 || r == -ENOMEM);
        }
        lanemap_manifest_deinit(&manifest);
        directory_deinit();
}

/* 64 lanes of 3 segments in under 2 ms; the bound is loose, since tests run beside others. */
Test(manifest, is_formatted_fast)
{
        struct lanemap_manifest manifest;
        uint64_t best = UINT64_MAX;

        manifest_sample(64, 3, &manifest);
        for (int i = 0; i < 10; i++) {
                uint64_t begin = lanemap_now_ns(&lanemap_clock_monotonic);
                char *text;
                size_t bytes;

                cr_assert_eq(lanemap_manifest_format(&manifest, &text, &bytes), 0);
                best = LANEMAP_MIN(best, lanemap_now_ns(&lanemap_clock_monotonic) - begin);
                lanemap_free(text);
        }
        cr_log_info("%" PRIu64 " us", best / 1000);
        cr_expect_lt(best, UINT64_C(20000000));
        lanemap_manifest_deinit(&manifest);
}

Test(manifest, a_directory_in_its_place)
{
        struct lanemap_manifest back;
        struct lanemap_error error;

        directory_init();
        cr_assert_eq(mkdirat(dir_fd, LANEMAP_MANIFEST_NAME, 0700), 0);
        cr_expect_eq(lanemap_manifest_read(&lanemap_files_posix, dir_fd, &back, &error), -EBADMSG);
        cr_assert_eq(unlinkat(dir_fd, LANEMAP_MANIFEST_NAME, AT_REMOVEDIR), 0);
        directory_deinit();
}
