/*
 * Whom a reader trusts: everything that it maps is writable by one owner only, whose it is can be
 * said, and not asking is possible. And structs of programs that are older or younger than the
 * library.
 *
 * Owners other than this process's own take root; tests/crash/foreign_owner.c has them.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <lanemap/lanemap.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/engine_fixture.h"

TestSuite(trust, .timeout = 60);

static void index_make(struct fixture *fixture)
{
        fixture_init(fixture, "trust");
        fixture->options.flush_bytes = 64 << 20;
        fixture_open(fixture);
        cr_assert_eq(engine_add(fixture->writer, "a", 1), 0);
        cr_assert_eq(engine_request(fixture->writer, LANEMAP_REQUEST_FLUSH), 0);
}

static int attach_try(const struct fixture *fixture, struct lanemap_reader_options *options,
                      struct lanemap_error *error)
{
        struct lanemap_reader *reader = NULL;
        int r;

        options->size = sizeof(*options);
        options->error = error;
        error->text[0] = '\0';
        r = lanemap_reader_attach(fixture->scratch.name, options, &reader);
        lanemap_reader_detach(reader);
        return r;
}

static void object_path(const struct fixture *fixture, int which, char *path, size_t bytes)
{
        char prefix[100];

        if (which == 0)
                snprintf(path, bytes, "/dev/shm/lanemap.%s", fixture->scratch.name);
        if (which == 1) {
                struct lanemap_writer_stats stats;

                engine_stats(fixture->writer, &stats);
                snprintf(prefix, sizeof(prefix), "lanemap.%s.", fixture->scratch.name);
                snprintf(path, bytes, "/dev/shm/%s%016llx", prefix,
                         (unsigned long long)stats.generation);
        }
        if (which == 2)
                cr_assert(scratch_find(fixture->scratch.directory, "seg-", path, bytes));
}

Test(trust, nobody_else_may_write_what_is_mapped)
{
        static const mode_t modes[] = {0660, 0606, 0642, 0620};
        struct lanemap_error error;
        struct fixture fixture;
        char path[400];

        index_make(&fixture);
        for (int which = 0; which < 3; which++) {
                object_path(&fixture, which, path, sizeof(path));
                for (size_t i = 0; i < LANEMAP_N_ELEMENTS(modes); i++) {
                        struct lanemap_reader_options strict = {0},
                                                      any = {.trust = LANEMAP_TRUST_ANYONE};

                        cr_assert_eq(chmod(path, modes[i]), 0, "%s", path);
                        cr_expect_eq(attach_try(&fixture, &strict, &error), -EPERM, "%s, mode %o",
                                     path, modes[i]);
                        cr_expect(strstr(error.text, "others than its owner may write"), "%s",
                                  error.text);
                        cr_expect_eq(attach_try(&fixture, &any, &error), 0);
                }
                cr_assert_eq(chmod(path, 0640), 0);
        }
        fixture_deinit(&fixture);
}

Test(trust, a_segment_that_comes_later_is_looked_at_too)
{
        struct lanemap_reader *reader = NULL;
        struct fixture fixture;
        char path[400];
        size_t n_ids = 77;

        index_make(&fixture);
        cr_assert_eq(lanemap_reader_attach(fixture.scratch.name, NULL, &reader), 0);
        for (uint32_t id = 2; id < 5000; id++)
                cr_assert_eq(lanemap_writer_apply(fixture.writer,
                                                  &(struct lanemap_op){LANEMAP_OP_ADD, id, "a", 1},
                                                  1, NULL, NULL, NULL),
                             0);
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        while (scratch_find(fixture.scratch.directory, "seg-", path, sizeof(path))) {
                struct stat st;

                cr_assert_eq(stat(path, &st), 0);
                cr_assert_eq(chmod(path, 0666), 0);
                break;
        }
        /* Whichever of them the reader maps first, one is not as it should be. */
        cr_assert_eq(engine_request(fixture.writer, LANEMAP_REQUEST_FLUSH), 0);
        cr_expect_eq(lanemap_reader_lookup(reader, "a", 1, NULL, 0, &n_ids), -EPERM);
        cr_expect_eq(n_ids, 77);
        cr_assert_eq(chmod(path, 0640), 0);
        cr_expect_eq(lanemap_reader_lookup(reader, "a", 1, NULL, 0, &n_ids), 0);
        cr_expect_eq(n_ids, 4999);
        lanemap_reader_detach(reader);
        fixture_deinit(&fixture);
}

Test(trust, the_owner_can_be_named)
{
        struct lanemap_reader_options own = {.trust = LANEMAP_TRUST_UID, .trusted_uid = geteuid()};
        struct lanemap_reader_options other = {.trust = LANEMAP_TRUST_UID, .trusted_uid = 12345};
        struct lanemap_reader_options unknown = {.trust = 3};
        struct lanemap_error error;
        struct fixture fixture;

        index_make(&fixture);
        cr_expect_eq(attach_try(&fixture, &own, &error), 0);
        cr_expect_eq(attach_try(&fixture, &unknown, &error), -EINVAL);
        /* Root is trusted whoever is named. */
        cr_expect_eq(attach_try(&fixture, &other, &error), geteuid() == 0 ? 0 : -EPERM);
        fixture_deinit(&fixture);
}

/* ---- sizes ---- */

Test(trust, options_of_every_age)
{
        struct {
                struct lanemap_reader_options options;
                uint64_t more;
        } young = {.options = {.size = sizeof(young)}};
        struct lanemap_reader_options old = {.size = offsetof(struct lanemap_reader_options, trust),
                                             .trust = 99};
        struct lanemap_reader *reader = NULL;
        struct fixture fixture;

        index_make(&fixture);
        cr_assert_eq(lanemap_reader_attach(fixture.scratch.name, &old, &reader), 0,
                     "what an old program has behind its struct is not looked at");
        lanemap_reader_detach(reader);
        cr_assert_eq(lanemap_reader_attach(fixture.scratch.name, &young.options, &reader), 0);
        lanemap_reader_detach(reader);

        reader = NULL;
        young.more = 1;
        cr_expect_eq(lanemap_reader_attach(fixture.scratch.name, &young.options, &reader), -EINVAL);
        old.size--;
        cr_expect_eq(lanemap_reader_attach(fixture.scratch.name, &old, &reader), -EINVAL);
        cr_expect_null(reader);
        fixture_deinit(&fixture);
}

Test(trust, status_of_every_age)
{
        struct {
                struct lanemap_status status;
                uint64_t more;
        } young = {.status = {.size = sizeof(young)}, .more = 77};
        struct lanemap_status small = {.size = sizeof(small) - 1};
        struct lanemap_reader *reader = NULL;
        struct fixture fixture;

        index_make(&fixture);
        cr_assert_eq(lanemap_reader_attach(fixture.scratch.name, NULL, &reader), 0);
        cr_assert_eq(lanemap_reader_status(reader, &young.status), 0);
        cr_expect(young.status.n_keys == 1 && young.more == 0);
        cr_expect_eq(young.status.size, sizeof(young));
        small.size = offsetof(struct lanemap_status, uuid);
        cr_expect_eq(lanemap_reader_status(reader, &small), -EINVAL);
        cr_expect_eq(small.n_keys, 0);
        lanemap_reader_detach(reader);
        fixture_deinit(&fixture);
}
