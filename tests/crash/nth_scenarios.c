/* See nth_scenarios.h. */
#include "nth_scenarios.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/base.h"
#include "failing_calls.h"
#include "segment/format.h"
#include "store/manifest_read.h"
#include "directory/restore.h"
#include "writer/core/engine.h"
#include "directory/repair.h"
#include "writer/life/life.h"

static void crash_prepare(struct world *world)
{
        lanemap_engine_abandon(world->writer);
        world->writer = NULL;
}

static void fresh_prepare(struct world *world)
{
        lanemap_reader_detach(world->reader);
        world->reader = NULL;
        crash_prepare(world);
        must(lanemap_writer_unlink(world->scratch.name, NULL) == 0);
        scratch_empty(world->scratch.directory);
        model_deinit(&world->model);
        model_init(&world->model);
}

static void one_prepare(struct world *world)
{
        op_push(LANEMAP_OP_ADD, "new", 1, 1);
}

static void short_prepare(struct world *world)
{
        op_push(LANEMAP_OP_ADD, "few", 0, 3);
}

static void long_prepare(struct world *world)
{
        op_push(LANEMAP_OP_ADD, "many", 0, 100); /* its posting is in a segment */
        op_push(LANEMAP_OP_REMOVE, "many", 0, 300);
}

static void longer_prepare(struct world *world)
{
        long_prepare(world);
        ops_must(world);
        for (uint32_t i = 0; i < 200; i++)
                op_push(LANEMAP_OP_ADD, "many", 0, 3 * i + 1);
}

static void growth_prepare(struct world *world)
{
        for (uint32_t i = 0; i < N_MANY; i++)
                op_push(LANEMAP_OP_ADD, "grow", i, i);
}

static void clear_prepare(struct world *world)
{
        op_push(LANEMAP_OP_CLEAR, "", 0, 0);
        op_push(LANEMAP_OP_ADD, "one", 1, 1);
}

static int request_run(struct world *world, uint32_t request)
{
        uint64_t ticket;
        int r = lanemap_writer_request(world->writer, request, &ticket);

        return r < 0 ? r : lanemap_writer_request_wait(world->writer, ticket);
}

static int flush_act(struct world *world)
{
        return request_run(world, LANEMAP_REQUEST_FLUSH);
}

static int compact_act(struct world *world)
{
        return request_run(world, LANEMAP_REQUEST_COMPACT);
}

static int flip_act(struct world *world)
{
        return request_run(world, LANEMAP_REQUEST_FLIP);
}

static int backup_act(struct world *world)
{
        return lanemap_writer_backup(world->writer, world->other, NULL);
}

/* Of a copy on another file system: no hard links. That what is there without a 0 is no backup. */
static void other_after(struct world *world, int r)
{
        struct lanemap_manifest manifest;
        int fd = open(world->other, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (r < 0 && fd >= 0 &&
            lanemap_manifest_read(&lanemap_files_posix, fd, &manifest, NULL) == 0) {
                /* A manifest in a failed copy: all of it has to be there. */
                lanemap_manifest_deinit(&manifest);
                must(lanemap_restore_directory(&lanemap_files_posix, world->other, world->other,
                                               NULL) < 0);
        }
        if (fd >= 0)
                close(fd);
        if (r < 0)
                scratch_remove_tree(world->other);
}

static void restore_prepare(struct world *world)
{
        char from[320];

        snprintf(from, sizeof(from), "%s.backup", world->other);
        must(lanemap_writer_backup(world->writer, from, NULL) == 0);
}

static int restore_act(struct world *world)
{
        char from[320];

        snprintf(from, sizeof(from), "%s.backup", world->other);
        return lanemap_restore_directory(&lanemap_files_posix, from, world->other, NULL);
}

static void restore_after(struct world *world, int r)
{
        char from[320];

        other_after(world, r);
        snprintf(from, sizeof(from), "%s.backup", world->other);
        if (r == 0)
                scratch_remove_tree(from);
}

static int verify_act(struct world *world)
{
        struct lanemap_finding *findings = NULL;
        size_t n_findings = 0;
        int r = lanemap_writer_verify(world->writer, &findings, &n_findings);
        const char *failed = failing_calls_failed();

        if (r == 0 && n_findings > 0 && !failed)
                wrong("it finds what is not there", findings[0].what);
        lanemap_writer_findings_free(findings);
        return r;
}

static int ids_act(struct world *world)
{
        uint32_t *ids;
        size_t n_ids;
        int r = lanemap_writer_ids(world->writer, &ids, &n_ids);

        if (r == 0)
                lanemap_writer_ids_free(ids);
        return r;
}

/* A closed index, whose first segment file ends in a byte that is wrong: all of it can be put
 * right. */
static void repair_prepare(struct world *world)
{
        char path[400];
        unsigned char byte;
        off_t end;
        int fd;

        lanemap_reader_detach(world->reader);
        world->reader = NULL;
        lanemap_writer_close(world->writer);
        world->writer = NULL;
        must(scratch_find(world->scratch.directory, "seg-", path, sizeof(path)));
        fd = open(path, O_RDWR | O_CLOEXEC);
        end = lseek(fd, 0, SEEK_END);
        must(fd >= 0 && end > 0 && pread(fd, &byte, 1, end - 1) == 1);
        byte ^= 4;
        must(pwrite(fd, &byte, 1, end - 1) == 1);
        close(fd);
        scratch_copy_directory(world->scratch.directory, world->other);
}

static void say_nothing(void *arg, const char *line)
{
        if (in_hand.with_log)
                fprintf(stderr, "%s\n", line);
}

static bool repair_was_lossy;

static int repair_act(struct world *world)
{
        struct lanemap_repair_options options = {.files = &lanemap_files_posix,
                                                 .directory = world->scratch.directory,
                                                 .say = say_nothing};
        struct lanemap_repair_report report;
        struct lanemap_error error;
        int r = lanemap_repair_directory(&options, &report, &error);

        repair_was_lossy = r == 0 && report.lossy;
        return r;
}

/* Bytes that cannot be read are lost, and it says so; then what was damaged is in quarantine/. The
 * directory is put back as it was. */
static void repair_after(struct world *world, int r)
{
        const char *failed = failing_calls_failed();
        char path[320];

        snprintf(path, sizeof(path), "%s/%s", world->scratch.directory, LANEMAP_QUARANTINE_NAME);
        if (repair_was_lossy) {
                if (!failed || strcmp(failed, "pread64") != 0)
                        wrong("repair says that something is lost", NULL);
                if (directory_count(path, "seg-") != 1)
                        wrong("what was damaged is not in quarantine", NULL);
                close(world->scratch.dir_fd);
                scratch_remove_tree(world->scratch.directory);
                scratch_copy_directory(world->other, world->scratch.directory);
                world->scratch.dir_fd =
                        open(world->scratch.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                must(world->scratch.dir_fd >= 0);
                must(repair_act(world) == 0 && !repair_was_lossy);
        }
}

/* Files that nobody has read since the writer came up: a merge reads them first. */
static void unread_prepare(struct world *world)
{
        crash_prepare(world);
        must(writer_open_try(world) == 0);
}

static void detached_prepare(struct world *world)
{
        lanemap_reader_detach(world->reader);
        world->reader = NULL;
}

/* A segment file that the reader has not mapped. */
static void new_file_prepare(struct world *world)
{
        request_must(world, LANEMAP_REQUEST_FLUSH);
}

/* And a generation that it is not attached to. */
static void reborn_prepare(struct world *world)
{
        crash_prepare(world);
        must(writer_open_try(world) == 0);
        request_must(world, LANEMAP_REQUEST_FLUSH);
}

static int lookup_act(struct world *world)
{
        static const char *const keys[] = {"one-100", "few-2", "many-1", "one-170", "none"};
        uint32_t ids[LONG_IDS];
        int r = 0;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(keys) && r == 0; i++) {
                const uint32_t *expected;
                size_t n_ids = 0,
                       n = model_lookup(&world->model, keys[i], strlen(keys[i]), &expected);

                r = lanemap_reader_lookup(world->reader, keys[i], strlen(keys[i]), ids, LONG_IDS,
                                          &n_ids);
                if (r == 0 && (n_ids != n || memcmp(ids, expected, n * sizeof(ids[0])) != 0))
                        wrong("a lookup lies", keys[i]);
        }
        return r;
}

static int poll_act(struct world *world)
{
        int r = lanemap_reader_poll(world->reader);

        return r < 0 ? r : lookup_act(world);
}

static int pair_count(void *arg, uint64_t hash, uint32_t hash_ext, const uint32_t *ids,
                      size_t n_ids)
{
        *(uint64_t *)arg += n_ids;
        return 0;
}

static int iterate_act(struct world *world)
{
        uint64_t n_pairs = 0;
        int r = lanemap_reader_iterate(world->reader, pair_count, &n_pairs);

        if (r == 0 && n_pairs != world->model.n_pairs)
                wrong("an iteration lies", NULL);
        return r;
}

static int detach_act(struct world *world)
{
        lanemap_reader_detach(world->reader);
        world->reader = NULL;
        return 0;
}

static int close_act(struct world *world)
{
        lanemap_writer_close(world->writer);
        world->writer = NULL;
        return 0;
}

const struct scenario scenarios[] = {
        {"open: a new index", fresh_prepare, writer_open_try, NULL},
        {"open: recovery", crash_prepare, writer_open_try, NULL},
        {"add: one id", one_prepare, ops_apply, ops_after},
        {"add: a short posting", short_prepare, ops_apply, ops_after},
        {"add: a long posting, first touch", long_prepare, ops_apply, ops_after},
        {"add: a long posting", longer_prepare, ops_apply, ops_after},
        {"add: the overlay grows", growth_prepare, ops_apply, ops_after},
        {"clear", clear_prepare, ops_apply, ops_after},
        {"flush", NULL, flush_act, NULL},
        {"compact", NULL, compact_act, NULL},
        {"compact: of files not yet read", unread_prepare, compact_act, NULL},
        {"flip", NULL, flip_act, NULL},
        {"ids", NULL, ids_act, NULL},
        {"verify", NULL, verify_act, NULL},
        {"backup", NULL, backup_act, other_after},
        {"restore", restore_prepare, restore_act, restore_after},
        {"repair", repair_prepare, repair_act, repair_after},
        {"close", NULL, close_act, NULL},
        {"attach", detached_prepare, reader_attach_try, NULL},
        {"lookup: a new segment file", new_file_prepare, lookup_act, NULL},
        {"lookup: a new generation", reborn_prepare, lookup_act, NULL},
        {"poll: a new segment file", new_file_prepare, poll_act, NULL},
        {"poll: a new generation", reborn_prepare, poll_act, NULL},
        {"iterate: a new generation", reborn_prepare, iterate_act, NULL},
        {"detach", new_file_prepare, detach_act, NULL},
};

const size_t n_scenarios = LANEMAP_N_ELEMENTS(scenarios);

const char unreadable_name[] = "segment files cannot be read";

void unreadable_try(void)
{
        struct lanemap_finding *findings = NULL;
        struct lanemap_writer_stats stats;
        size_t n_findings = 0;
        struct world world;

        in_hand.scenario = unreadable_name;
        world_init(&world);
        unread_prepare(&world);
        failing_calls_arm_only("pread64", 2, 1); /* the first one reads the manifest */
        if (lanemap_writer_verify(world.writer, &findings, &n_findings) != 0 || n_findings < 1)
                wrong("verify does not find them", NULL);
        if (strncmp(findings[0].file, "seg-", 4) != 0 || findings[0].n_keys == 0 ||
            findings[0].offset != 0 || !strstr(findings[0].what, "cannot be read"))
                wrong("verify says something else", findings[0].what);
        lanemap_writer_findings_free(findings);
        failing_calls_arm_only("pread64", 1, UINT64_MAX);
        if (request_run(&world, LANEMAP_REQUEST_COMPACT) == 0)
                wrong("what cannot be read is merged", NULL);
        (void)failing_calls_disarm();
        engine_stats(world.writer, &stats);
        if (!stats.degraded)
                wrong("nobody is told", NULL);
        world_compare(&world, "with a file that cannot be read");

        if (lanemap_writer_verify(world.writer, &findings, &n_findings) != 0 || n_findings > 0)
                wrong("verify still finds them", NULL);
        crash_prepare(&world); /* D1: this writer has done with the file, its successor has not */
        must(writer_open_try(&world) == 0);
        request_must(&world, LANEMAP_REQUEST_COMPACT);
        engine_stats(world.writer, &stats);
        if (stats.degraded)
                wrong("it stays degraded", NULL);
        world_compare(&world, "when it can be read again");
        world_deinit(&world);
}
