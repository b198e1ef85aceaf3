/* Backups and what comes back from them (BK1 to BK3 in verify/copy.h). */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/order.h"
#include "damage.h"
#include "directory/restore.h"

TestSuite(writer_backup, .timeout = 120);

struct place {
        struct scratch scratch;
        struct scratch other; /* its name, for a second writer beside the first */
        struct model model;
        char backup[320], restored[320];
};

static void place_init(struct place *place)
{
        scratch_init(&place->scratch, "backup");
        scratch_init(&place->other, "restored");
        damage_index_make(&place->scratch, &place->model);
        snprintf(place->backup, sizeof(place->backup), "%s/backup", place->other.directory);
        snprintf(place->restored, sizeof(place->restored), "%s/restored", place->other.directory);
}

static void place_deinit(struct place *place)
{
        model_deinit(&place->model);
        scratch_deinit(&place->other);
        scratch_deinit(&place->scratch);
}

static struct lanemap_writer *writer_open(const struct scratch *scratch, const char *directory)
{
        struct lanemap_writer_options options;
        struct lanemap_error error = {.text = ""};
        struct lanemap_writer *writer;

        engine_options_init(&options, scratch, &error);
        options.directory = directory;
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0, "%s", error.text);
        return writer;
}

static void expect_index(const struct scratch *scratch, const char *directory,
                         const struct model *model)
{
        struct lanemap_writer *writer = writer_open(scratch, directory);
        char why[256] = "";

        cr_expect(engine_matches(writer, NULL, model, why, sizeof(why)), "%s", why);
        lanemap_writer_close(writer);
}

static void expect_sound(const char *directory)
{
        struct lanemap_verify_report report;

        damage_verify(directory, &report);
        cr_expect_eq(report.findings.n, 0, "%s",
                     report.findings.n ? report.findings.items[0].what : "");
        lanemap_findings_deinit(&report.findings);
}

Test(writer_backup, holds_all_that_was_applied_and_comes_back)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_writer *writer;
        struct place place;

        place_init(&place);
        writer = writer_open(&place.scratch, place.scratch.directory);
        cr_expect_eq(lanemap_writer_backup(writer, "not/absolute", &error), -EINVAL);
        cr_assert_eq(lanemap_writer_backup(writer, place.backup, &error), 0, "%s", error.text);
        cr_expect_eq(lanemap_writer_backup(writer, place.backup, &error), -ENOTEMPTY);
        expect_sound(place.backup);

        /* What comes later is not in it, also when it shares files with the index. */
        cr_expect_eq(engine_add(writer, "later", 1), 0);
        cr_expect_eq(engine_request(writer, LANEMAP_REQUEST_COMPACT), 0);
        expect_sound(place.backup);
        cr_assert_eq(lanemap_restore_directory(&lanemap_files_posix, place.backup, place.restored,
                                               &error),
                     0, "%s", error.text);
        expect_index(&place.other, place.restored, &place.model);
        expect_sound(place.backup);
        lanemap_writer_close(writer);
        place_deinit(&place);
}

/* A data directory that a crash left, with its log. */
Test(writer_backup, a_directory_comes_over_with_its_log)
{
        struct lanemap_error error = {.text = ""};
        struct place place;
        char *before, *after;

        place_init(&place);
        before = scratch_listing(place.scratch.directory);
        cr_assert_eq(lanemap_restore_directory(&lanemap_files_posix, place.scratch.directory,
                                               place.restored, &error),
                     0, "%s", error.text);
        after = scratch_listing(place.scratch.directory);
        cr_expect_str_eq(before, after);
        expect_index(&place.other, place.restored, &place.model);
        free(before);
        free(after);
        place_deinit(&place);
}

/* BK3 */
Test(writer_backup, nothing_damaged_and_nothing_over_something)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_finding *findings;
        struct damage_section section;
        struct lanemap_writer *writer;
        struct place place;
        char path[512];
        size_t n;

        place_init(&place);
        cr_expect_eq(lanemap_restore_directory(&lanemap_files_posix, place.scratch.directory,
                                               place.other.directory, &error),
                     0);
        cr_expect_eq(lanemap_restore_directory(&lanemap_files_posix, place.scratch.directory,
                                               place.other.directory, &error),
                     -ENOTEMPTY);

        writer = writer_open(&place.scratch, place.scratch.directory);
        cr_assert_eq(engine_request(writer, LANEMAP_REQUEST_COMPACT), 0);
        cr_expect_eq(lanemap_restore_directory(&lanemap_files_posix, place.scratch.directory,
                                               place.backup, &error),
                     -EBUSY);
        for (uint32_t i = 0; damage_segment_path(place.scratch.directory, i, path, sizeof(path));
             i++) {
                damage_section_of(path, 0, &section);
                damage_flip(path, section.tags_off, 1);
        }
        cr_assert_eq(lanemap_writer_verify(writer, &findings, &n), 0);
        lanemap_writer_findings_free(findings);
        cr_expect_eq(lanemap_writer_backup(writer, place.backup, &error), -EBADMSG);
        lanemap_writer_close(writer);
        cr_expect_eq(lanemap_restore_directory(&lanemap_files_posix, place.scratch.directory,
                                               place.backup, &error),
                     -EBADMSG);
        cr_expect_eq(access(place.backup, F_OK), -1);
        place_deinit(&place);
}

struct churn {
        struct lanemap_writer *writer;
        bool stop;
};

/* Each round adds a pair of keys in one record: a consistent copy has both or neither. */
static void *churn_main(void *arg)
{
        struct churn *churn = arg;

        for (uint32_t i = 0; !lanemap_load_relaxed(&churn->stop); i++) {
                char left[32], right[32];

                snprintf(left, sizeof(left), "left-%u", i);
                snprintf(right, sizeof(right), "right-%u", i);
                struct lanemap_op ops[2] = {{LANEMAP_OP_ADD, i, left, strlen(left)},
                                            {LANEMAP_OP_ADD, i, right, strlen(right)}};

                if (lanemap_writer_apply(churn->writer, ops, 2, NULL, NULL, NULL) != 0)
                        return (void *)1;
        }
        return NULL;
}

Test(writer_backup, is_consistent_while_the_index_changes)
{
        struct lanemap_error error = {.text = ""};
        struct lanemap_writer_stats stats;
        struct lanemap_writer *copy;
        struct churn churn = {0};
        struct place place;
        pthread_t thread;
        size_t n_left, n_right;
        void *failed;

        place_init(&place);
        churn.writer = writer_open(&place.scratch, place.scratch.directory);
        pthread_create(&thread, NULL, churn_main, &churn);
        for (int i = 0; i < 5; i++) {
                usleep(50 * 1000);
                cr_assert_eq(lanemap_writer_backup(churn.writer, place.backup, &error), 0, "%s",
                             error.text);
                expect_sound(place.backup);
                copy = writer_open(&place.other, place.backup);
                engine_stats(copy, &stats);
                cr_expect_eq((stats.n_keys - place.model.n_keys) % 2, 0);
                n_left = n_right = 1;
                for (uint32_t k = 0; n_left == 1; k++) {
                        char key[32];
                        uint32_t id;

                        snprintf(key, sizeof(key), "left-%u", k);
                        lanemap_writer_lookup(copy, key, strlen(key), &id, 1, &n_left, NULL);
                        snprintf(key, sizeof(key), "right-%u", k);
                        lanemap_writer_lookup(copy, key, strlen(key), &id, 1, &n_right, NULL);
                        cr_expect_eq(n_left, n_right);
                }
                lanemap_writer_close(copy);
                lanemap_writer_unlink(place.other.name, NULL);
                scratch_remove_tree(place.backup);
        }
        lanemap_store_relaxed(&churn.stop, true);
        pthread_join(thread, &failed);
        cr_expect_null(failed);
        lanemap_writer_close(churn.writer);
        place_deinit(&place);
}
