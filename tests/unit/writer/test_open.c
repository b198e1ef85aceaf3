/*
 * Opens that must fail: each says what is wrong, and changes nothing, neither in the directory nor
 * in shared memory. Afterwards the undamaged index opens as if nothing had been.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/object.h"
#include "store/manifest_format.h"
#include "store/lock.h"
#include "support/engine.h"

TestSuite(writer_open, .timeout = 60);

/* ---- an index that has everything: segments, and a log that they do not cover ---- */

static int index_make(void *arg)
{
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        char key[16];

        engine_options_init(&options, arg, NULL);
        options.flush_bytes = 64 << 20;
        if (lanemap_writer_open(&options, &writer) != 0)
                return 1;
        for (uint32_t i = 0; i < 40; i++) {
                snprintf(key, sizeof(key), "key%u", (unsigned)i);
                if (engine_add(writer, key, i) != 0)
                        return 2;
                if (i == 19 && engine_request(writer, LANEMAP_REQUEST_FLUSH) != 0)
                        return 3;
        }
        return 0;
}

static void index_model(struct model *model)
{
        char key[16];

        model_init(model);
        for (uint32_t i = 0; i < 40; i++) {
                struct lanemap_op op = {LANEMAP_OP_ADD, i, key,
                                        (size_t)snprintf(key, sizeof(key), "key%u", (unsigned)i)};

                (void)model_apply(model, &op);
        }
}

/* The listing of a directory, without the lock: claiming it may create it. */
static char *directory_listing(const char *directory)
{
        char *text = scratch_listing(directory);
        char *lock = strstr(text, LANEMAP_STORE_LOCK_NAME " ");

        if (lock) {
                char *end = strchr(lock, '\n') + 1;

                memmove(lock, end, strlen(end) + 1);
        }
        return text;
}

struct before {
        char *directory;
        char *shared;
};

static struct before look(const struct scratch *scratch)
{
        return (struct before){directory_listing(scratch->directory),
                               scratch_shared_listing(scratch->name)};
}

static void expect_unchanged(const struct scratch *scratch, struct before before, const char *what)
{
        struct before after = look(scratch);

        cr_expect_str_eq(after.directory, before.directory, "%s", what);
        cr_expect_str_eq(after.shared, before.shared, "%s", what);
        free(after.directory);
        free(after.shared);
        free(before.directory);
        free(before.shared);
}

/* The open fails so, says so, and leaves everything alone. */
static void expect_refusal(const struct scratch *scratch,
                           const struct lanemap_writer_options *options, int expected,
                           const char *text, const char *what)
{
        struct lanemap_writer *writer = NULL;
        struct before before = look(scratch);
        int r = lanemap_writer_open(options, &writer);

        cr_expect_eq(r, expected, "%s: %d instead of %d, %s", what, r, expected,
                     options->error->text);
        cr_expect(strstr(options->error->text, text), "%s: \"%s\" does not say \"%s\"", what,
                  options->error->text, text);
        cr_expect_null(writer);
        if (r == 0)
                lanemap_writer_close(writer);
        expect_unchanged(scratch, before, what);
}

/* What a reader is told: the state of the writer before, or that there is none. Nobody waits for a
 * writer that failed. */
static void expect_readers(const struct scratch *scratch, bool is_published, const char *what)
{
        struct lanemap_reader *reader = NULL;
        char path[100];
        int r = lanemap_reader_attach(scratch->name, NULL, &reader);

        if (is_published) {
                /* Where a file of the state before is damaged, a reader says that. */
                cr_expect(r == 0 || r == -EBADMSG || r == -ENOENT, "%s: %d", what, r);
                lanemap_reader_detach(reader);
                return;
        }

        cr_expect_eq(r, -ENOENT, "%s: %d", what, r);
        snprintf(path, sizeof(path), "/dev/shm/lanemap.%s.spare", scratch->name);
        cr_expect(access(path, F_OK) < 0, "%s", what);
}

static void expect_intact(const struct scratch *scratch)
{
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct lanemap_error error;
        struct model model;
        char why[256] = "";
        int r;

        index_model(&model);
        engine_options_init(&options, scratch, &error);
        r = lanemap_writer_open(&options, &writer);
        cr_assert_eq(r, 0, "%d, %s", r, error.text);
        cr_expect(engine_matches(writer, NULL, &model, why, sizeof(why)), "%s", why);
        lanemap_writer_close(writer);
        model_deinit(&model);
}

/* ---- damage ---- */

enum damage {
        DAMAGE_MISSING,
        DAMAGE_EMPTY,
        DAMAGE_HALF,
        DAMAGE_FLIP,
        DAMAGE_VERSION,
};

struct damage_case {
        char prefix[24];
        enum damage damage;
        off_t at;
        int expected;
        char text[40];
};

static void file_copy(const char *from, const char *to)
{
        char command[800];

        snprintf(command, sizeof(command), "cp -p '%s' '%s'", from, to);
        cr_assert_eq(system(command), 0);
}

/* The checksum is right: it is the version that is not known. */
static void manifest_sign(char *bytes, size_t n)
{
        char *hex = bytes + n - strlen(LANEMAP_MANIFEST_ENDING) - 2 * 32;
        unsigned char digest[32];

        memset(hex, '0', sizeof(digest) * 2);
        crypto_generichash(digest, sizeof(digest), (const unsigned char *)bytes, n, NULL, 0);
        for (size_t i = 0; i < sizeof(digest); i++) {
                char pair[3];

                snprintf(pair, sizeof(pair), "%02x", digest[i]);
                memcpy(hex + 2 * i, pair, 2);
        }
}

static void file_damage(const char *path, const struct damage_case *damage)
{
        static const char version[] = "\"format_version\": ";
        char bytes[16384];
        struct stat st;
        ssize_t n;
        int fd = open(path, O_RDWR | O_CLOEXEC);

        cr_assert(fd >= 0 && fstat(fd, &st) == 0);
        n = pread(fd, bytes, sizeof(bytes) - 1, 0);
        cr_assert_gt(n, 0);
        bytes[n] = '\0';
        switch (damage->damage) {
        case DAMAGE_MISSING:
                cr_assert_eq(unlink(path), 0);
                break;
        case DAMAGE_EMPTY:
                cr_assert_eq(ftruncate(fd, 0), 0);
                break;
        case DAMAGE_HALF:
                cr_assert_eq(ftruncate(fd, st.st_size / 2), 0);
                break;
        case DAMAGE_FLIP:
                cr_assert_eq(pread(fd, bytes, 1, damage->at), 1);
                bytes[0] ^= 0x10;
                cr_assert_eq(pwrite(fd, bytes, 1, damage->at), 1);
                break;
        case DAMAGE_VERSION: {
                char *digit = strstr(bytes, version);

                cr_assert(digit);
                digit += strlen(version);
                *digit = '9';
                manifest_sign(bytes, (size_t)n);
                cr_assert_eq(pwrite(fd, bytes, (size_t)n, 0), n);
                break;
        }
        }
        close(fd);
}

/* is_published: readers have the state of the writer before; else the name is nobody's, and is that
 * afterwards. */
static void damaged_files_refuse(bool is_published)
{
        static const struct damage_case cases[] = {
                {"manifest.json", DAMAGE_MISSING, 0, -EBADMSG, "manifest.json"},
                {"manifest.json", DAMAGE_EMPTY, 0, -EBADMSG, "manifest.json"},
                {"manifest.json", DAMAGE_HALF, 0, -EBADMSG, "manifest.json"},
                {"manifest.json", DAMAGE_FLIP, 3, -EBADMSG, "manifest.json"},
                {"manifest.json", DAMAGE_FLIP, 200, -EBADMSG, "manifest.json"},
                {"manifest.json", DAMAGE_FLIP, 400, -EBADMSG, "manifest.json"},
                {"manifest.json", DAMAGE_VERSION, 0, -EPROTONOSUPPORT, "version"},
                {"seg-", DAMAGE_MISSING, 0, -EBADMSG, "is missing"},
                {"seg-", DAMAGE_EMPTY, 0, -EBADMSG, "is damaged"},
                {"seg-", DAMAGE_HALF, 0, -EBADMSG, "is damaged"},
                {"seg-", DAMAGE_FLIP, 2, -EBADMSG, "is damaged"},
                {"seg-", DAMAGE_FLIP, 30, -EBADMSG, "is damaged"},
                {"seg-", DAMAGE_FLIP, 70, -EBADMSG, "is damaged"},
                {"log-", DAMAGE_MISSING, 0, -EBADMSG, "log-"},
                {"log-", DAMAGE_EMPTY, 0, -EBADMSG, "log-"},
                {"log-", DAMAGE_HALF, 0, -EBADMSG, "log-"},
                {"log-", DAMAGE_FLIP, 8192 + 25 * 56, -EBADMSG, "log-"},
        };
        struct lanemap_writer_options options;
        struct lanemap_error error;
        struct scratch scratch;
        char aside[300];

        scratch_init(&scratch, "open");
        snprintf(aside, sizeof(aside), "%s.aside", scratch.directory);
        cr_assert_eq(engine_crash_after(index_make, &scratch), 0);
        if (!is_published)
                scratch_remove_shared(scratch.name);
        engine_options_init(&options, &scratch, &error);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(cases); i++) {
                char path[400], what[96];

                snprintf(what, sizeof(what), "%.24s damage %d at %ld", cases[i].prefix,
                         (int)cases[i].damage, (long)cases[i].at);
                cr_assert(scratch_find(scratch.directory, cases[i].prefix, path, sizeof(path)));
                file_copy(path, aside);
                file_damage(path, &cases[i]);
                expect_refusal(&scratch, &options, cases[i].expected, cases[i].text, what);
                expect_readers(&scratch, is_published, what);
                file_copy(aside, path);
        }

        expect_intact(&scratch);
        unlink(aside);
        scratch_deinit(&scratch);
}

Test(writer_open, damaged_files)
{
        damaged_files_refuse(true);
}

Test(writer_open, a_first_start_that_fails_leaves_nothing)
{
        damaged_files_refuse(false);
}

/* ---- other writers ---- */

Test(writer_open, directory_or_name_of_another_writer)
{
        struct lanemap_writer_options options, other_options;
        struct lanemap_writer *writer;
        struct lanemap_error error;
        struct scratch scratch, other;

        scratch_init(&scratch, "open");
        scratch_init(&other, "other");
        engine_options_init(&options, &scratch, &error);
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0, "%s", error.text);

        /* The same directory, by another name. */
        engine_options_init(&other_options, &other, &error);
        other_options.directory = scratch.directory;
        expect_refusal(&other, &other_options, -EBUSY, scratch.directory, "its directory");

        /* Another directory, by the same name. */
        engine_options_init(&other_options, &other, &error);
        other_options.name = scratch.name;
        expect_refusal(&other, &other_options, -EBUSY, scratch.name, "its name");
        cr_expect_eq(engine_add(writer, "still here", 1), 0);
        lanemap_writer_close(writer);

        /* And when it is gone, its name is still its index's. */
        expect_refusal(&other, &other_options, -EEXIST, "another index", "its name, later");

        cr_assert_eq(lanemap_writer_open(&options, &writer), 0, "%s", error.text);
        lanemap_writer_close(writer);
        cr_expect_eq(lanemap_writer_unlink(scratch.name, &error), 0);
        cr_expect_eq(lanemap_writer_unlink(scratch.name, &error), -ENOENT);
        cr_assert_eq(lanemap_writer_open(&other_options, &writer), 0, "%s", error.text);
        cr_expect_eq(lanemap_writer_unlink(scratch.name, &error), -EBUSY);
        lanemap_writer_close(writer);
        scratch_deinit(&other);
        scratch_deinit(&scratch);
}

/* ---- options ---- */

Test(writer_open, options_that_do_not_fit)
{
        static const char *const bad_names[] = {"",
                                                "a.b",
                                                "a/b",
                                                "a b",
                                                "..",
                                                "\xc3\xa4",
                                                ("0123456789012345678901234567890123456789"
                                                 "0123456789012345678901234")};
        struct lanemap_writer_options options, base;
        struct lanemap_writer *writer = NULL;
        struct lanemap_error error;
        struct scratch scratch;

        scratch_init(&scratch, "open");
        cr_assert_eq(engine_crash_after(index_make, &scratch), 0);
        engine_options_init(&base, &scratch, &error);

        options = base;
        options.n_lanes = 5;
        expect_refusal(&scratch, &options, -EINVAL, "4 lanes, not 5", "lanes");
        options = base;
        options.n_lanes = 1025;
        expect_refusal(&scratch, &options, -EINVAL, "lanes", "too many lanes");
        options = base;
        options.fingerprint_bits = 80;
        expect_refusal(&scratch, &options, -EINVAL, "64 fingerprint bits, not 80", "bits");
        options = base;
        options.fingerprint_bits = 65;
        expect_refusal(&scratch, &options, -EINVAL, "64, 80 or 96", "odd bits");
        options = base;
        options.appendfsync = 3;
        expect_refusal(&scratch, &options, -EINVAL, "appendfsync", "policy");
        options = base;
        options.directory = NULL;
        expect_refusal(&scratch, &options, -EINVAL, "directory", "no directory");
        options = base;
        options.directory = "/proc/self/cmdline";
        expect_refusal(&scratch, &options, -ENOTDIR, "cmdline", "not a directory");
        options = base;
        options.name = NULL;
        expect_refusal(&scratch, &options, -EINVAL, "name", "no name");
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(bad_names); i++) {
                options = base;
                options.name = bad_names[i];
                expect_refusal(&scratch, &options, -EINVAL, "is not a name", bad_names[i]);
        }
        options = base;
        options.size = 8;
        cr_expect_eq(lanemap_writer_open(&options, &writer), -EINVAL);
        cr_expect_eq(lanemap_writer_open(NULL, &writer), -EINVAL);

        expect_intact(&scratch);
        scratch_deinit(&scratch);
}

/* What is at the name's place may be something else altogether. */
Test(writer_open, foreign_objects_at_the_name)
{
        struct lanemap_writer_options options;
        struct lanemap_error error;
        struct scratch scratch;
        char path[200];
        int fd;

        scratch_init(&scratch, "open");
        engine_options_init(&options, &scratch, &error);
        snprintf(path, sizeof(path), "%s/lanemap.%s", LANEMAP_SHM_DIRECTORY, scratch.name);

        fd = open(path, O_CREAT | O_RDWR, 0600);
        cr_assert(fd >= 0);
        expect_refusal(&scratch, &options, -EBADMSG, "not a lanemap control object", "empty");
        cr_assert_eq(ftruncate(fd, 4096), 0);
        expect_refusal(&scratch, &options, -EBADMSG, "bad magic", "zeros");
        close(fd);
        unlink(path);
        cr_assert_eq(symlink("/dev/shm/elsewhere", path), 0);
        {
                struct lanemap_writer *writer = NULL;
                int r = lanemap_writer_open(&options, &writer);

                cr_expect_lt(r, 0);
                cr_expect_neq(access("/dev/shm/elsewhere", F_OK), 0);
        }
        unlink(path);
        scratch_deinit(&scratch);
}

/* ---- operations ---- */

Test(writer_open, bad_operations_end_the_batch_before_them)
{
        static char long_key[LANEMAP_KEY_BYTES_MAX + 1];
        const struct lanemap_op bad[] = {
                {LANEMAP_OP_ADD, 1, "", 0},
                {LANEMAP_OP_ADD, 1, NULL, 3},
                {LANEMAP_OP_ADD, 1, long_key, sizeof(long_key)},
                {LANEMAP_OP_ADD, UINT32_MAX, "k", 1},
                {LANEMAP_OP_REMOVE, UINT32_MAX, "k", 1},
                {LANEMAP_OP_DELETE, 0, long_key, 0},
                {LANEMAP_OP_MARK, 0, long_key, LANEMAP_MARK_BYTES_MAX + 1},
                {LANEMAP_OP_MARK, 0, NULL, 1},
                {0, 1, "k", 1},
                {6, 1, "k", 1},
        };
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct lanemap_error error;
        struct scratch scratch;
        uint32_t ids[4];
        size_t n = 0;

        scratch_init(&scratch, "open");
        engine_options_init(&options, &scratch, &error);
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        for (uint32_t i = 0; i < LANEMAP_N_ELEMENTS(bad); i++) {
                struct lanemap_op ops[] = {
                        {LANEMAP_OP_ADD, i, "k", 1}, bad[i], {LANEMAP_OP_ADD, 1000, "k", 1}};
                size_t n_applied = 99;
                uint64_t position = 0;

                cr_expect_eq(lanemap_writer_apply(writer, ops, 3, NULL, &n_applied, &position),
                             -EINVAL, "row %u", (unsigned)i);
                cr_expect_eq(n_applied, 1, "row %u", (unsigned)i);
                cr_expect_eq(position, i + 1, "row %u", (unsigned)i);
                cr_expect_eq(lanemap_writer_lookup(writer, "k", 1, NULL, 0, &n, NULL), 0);
                cr_expect_eq(n, i + 1);
        }

        /* The longest key and the largest id are fine. */
        struct lanemap_op longest = {LANEMAP_OP_ADD, LANEMAP_ID_MAX, long_key,
                                     LANEMAP_KEY_BYTES_MAX};
        cr_expect_eq(engine_apply_durably(writer, &longest, 1), 0);
        cr_expect_eq(
                lanemap_writer_lookup(writer, long_key, LANEMAP_KEY_BYTES_MAX, ids, 4, &n, NULL),
                0);
        cr_expect(n == 1 && ids[0] == LANEMAP_ID_MAX);

        cr_expect_eq(lanemap_writer_lookup(writer, "", 0, ids, 4, &n, NULL), -EINVAL);
        cr_expect_eq(lanemap_writer_lookup(writer, long_key, sizeof(long_key), ids, 4, &n, NULL),
                     -EINVAL);
        cr_expect_eq(lanemap_writer_contains(writer, "k", 1, UINT32_MAX, NULL), -EINVAL);
        cr_expect_eq(lanemap_writer_sync(writer, 1000000), -EINVAL);
        cr_expect_eq(lanemap_writer_set_appendfsync(writer, 3), -EINVAL);
        lanemap_writer_close(writer);
        scratch_deinit(&scratch);
}
