/*
 * The n-th call fails, for every n until the operation gets by without meeting it (W5, R5).
 *
 *         nth_call [--only WHAT] [--stride N] [--seed S] [--log]
 *
 * One operation at a time, over each: memory, open, read, write, sync, space, mappings, names,
 * descriptors, threads (failing_calls.h); once with that call failing, once with every later one of
 * its kind failing too until the operation has ended (a full disk stays full).
 *
 * Nothing lies: what the operation did not refuse is there, what it refused is not; every lookup
 * goes on answering right; and the operation succeeds when it is tried again. Nothing leaks:
 * descriptors, mappings, bytes of the writer's allocator, blocks of the reader's, shared objects,
 * files that nothing names.
 *
 * Each n has an index of its own. --stride N takes every N-th of them, from a random one on.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "crash_support.h"
#include "engine.h"
#include "failing_calls.h"
#include "model.h"
#include "segment/segment_format.h"
#include "store/store_garbage.h"
#include "writer/writer_backup.h"
#include "writer/writer_private.h"
#include "writer/writer_repair.h"

#define LONG_IDS     300
#define N_MANY       1500
#define CALLS_MAX    4000
#define HANG_SECONDS 60
#define BATCH_MAX    (2 * N_MANY)

struct world {
        struct scratch scratch;
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;
        struct model model;
        char other[300]; /* a directory beside it: backups */
};

struct scenario {
        const char *name;
        void (*prepare)(
                struct world
                        *world); /* behind a writer with a reader, with segments and overlays */
        int (*act)(struct world *world);
        /* After it has failed or not, with nothing failing any more: what it left is cleaned up as
         * a caller would, before it is tried again. May be NULL. */
        void (*after)(struct world *world, int r);
};

static const struct scenario *scenario_in_hand;
static uint64_t n_in_hand, n_tried, n_refused;
static bool later_in_hand, with_log;
static const char *failed_before; /* in the try that is now tried again */
static struct rng rng;

_Noreturn static void wrong(const char *what, const char *why)
{
        const char *failed = failing_calls_failed() ? failing_calls_failed() : failed_before;

        printf("WRONG: %s, call %" PRIu64 "%s (%s): %s%s%s\n", scenario_in_hand->name, n_in_hand,
               later_in_hand ? " and later ones" : "", failed ? failed : "none", what,
               why ? ": " : "", why ? why : "");
        fflush(stdout);
        abort();
}

static void on_alarm(int number)
{
        (void)number;
        wrong("it hangs", NULL);
}

/* ---- the index ---- */

static struct lanemap_writer_options options_of(const struct world *world)
{
        struct lanemap_writer_options options;

        engine_options_init(&options, &world->scratch, NULL);
        options.flush_bytes = 8 << 20; /* only when asked to */
        options.shared_bytes_max = 16 << 20;
        options.outcome_limit_ns = 50 * 1000 * 1000;
        options.scrub_bytes_per_second = UINT64_MAX;
        if (with_log)
                options.log = engine_log_stderr;
        return options;
}

static int writer_open_try(struct world *world)
{
        struct lanemap_writer_options options = options_of(world);

        return lanemap_writer_open(&options, &world->writer);
}

static int reader_attach_try(struct world *world)
{
        struct lanemap_reader_options options = {.size = sizeof(options)};

        return lanemap_reader_attach(world->scratch.name, &options, &world->reader);
}

static struct lanemap_op ops[BATCH_MAX];
static char texts[BATCH_MAX][16];
static size_t n_ops;

static void op_push(uint32_t code, const char *kind, uint32_t key, uint32_t id)
{
        must(n_ops < BATCH_MAX);
        ops[n_ops] = (struct lanemap_op){.code = code, .id = id, .key = texts[n_ops]};
        ops[n_ops].key_bytes = (size_t)sprintf(texts[n_ops], "%.4s-%u", kind, key);
        n_ops++;
}

static size_t n_ops_applied; /* of them, not yet known to the model */

/* Applies what was pushed. */
static int ops_apply(struct world *world)
{
        uint64_t position = 0;
        int r = lanemap_writer_apply(world->writer, ops, n_ops, NULL, &n_ops_applied, &position),
            r2;

        if (r == 0 && n_ops_applied != n_ops)
                wrong("it says 0, and has not applied all", NULL);
        r2 = n_ops_applied > 0 ? lanemap_writer_sync(world->writer, position) : 0;
        return r < 0 ? r : r2;
}

/* What was refused stays pushed. */
static void ops_after(struct world *world, int r)
{
        (void)r;
        for (size_t i = 0; i < n_ops_applied; i++)
                model_apply(&world->model, &ops[i]);
        n_ops -= n_ops_applied;
        for (size_t i = 0; i < n_ops; i++) {
                memcpy(texts[i], texts[i + n_ops_applied], sizeof(texts[i]));
                ops[i] = ops[i + n_ops_applied];
                ops[i].key = texts[i];
        }
        n_ops_applied = 0;
}

static void ops_must(struct world *world)
{
        must(ops_apply(world) == 0);
        ops_after(world, 0);
        must(n_ops == 0);
}

static void request_must(struct world *world, uint32_t request)
{
        must(engine_request(world->writer, request) == 0);
}

/* Segments, and an overlay, each with one-id, short and long postings. */
static void index_fill(struct world *world)
{
        for (uint32_t part = 0; part < 3; part++) {
                for (uint32_t i = 0; i < 60; i++)
                        op_push(LANEMAP_OP_ADD, "one", part * 60 + i, part);
                for (uint32_t i = 0; i < 5; i++)
                        op_push(LANEMAP_OP_ADD, "few", part, 7 * i);
                for (uint32_t i = 0; i < (part < 2 ? LONG_IDS : 0); i++)
                        op_push(LANEMAP_OP_ADD, "many", part, 3 * i);
                for (uint32_t i = 0; i < part * 10; i++)
                        op_push(LANEMAP_OP_REMOVE, "one", i, 0);
                ops_must(world);
                if (part < 2)
                        request_must(world, LANEMAP_REQUEST_FLUSH);
        }
}

static void world_init(struct world *world)
{
        memset(world, 0, sizeof(*world));
        scratch_init(&world->scratch, "nth");
        snprintf(world->other, sizeof(world->other), "%s.other", world->scratch.directory);
        model_init(&world->model);
        n_ops = n_ops_applied = 0;
        must(writer_open_try(world) == 0);
        index_fill(world);
        must(reader_attach_try(world) == 0);
}

static void world_compare(struct world *world, const char *when)
{
        char why[256];

        if (!engine_matches(world->writer, world->reader, &world->model, why, sizeof(why)))
                wrong(when, why);
}

/* ---- leaks ---- */

struct possessions {
        uint64_t n_fds, n_maps, n_bytes, n_blocks;
};

static uint64_t directory_count(const char *path, const char *prefix)
{
        DIR *dir = opendir(path);
        const struct dirent *entry;
        uint64_t n = 0;

        must(dir);
        while ((entry = readdir(dir)))
                n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
        closedir(dir);
        return n;
}

static struct possessions possessions_count(void)
{
        struct possessions all = {.n_bytes = lanemap_alloc_bytes(),
                                  .n_blocks = failing_calls_n_blocks(),
                                  .n_fds = directory_count("/proc/self/fd", "")};
        FILE *maps = fopen("/proc/self/maps", "re");
        char line[1024];

        must(maps);
        while (fgets(line, sizeof(line), maps))
                all.n_maps += strstr(line, "lanemap.") || strstr(line, ".lms");
        (void)fclose(maps);
        return all;
}

static void possessions_compare(const struct possessions *before)
{
        struct possessions after = possessions_count();
        char why[160];

        snprintf(why, sizeof(why),
                 "%+" PRId64 " descriptors, %+" PRId64 " mappings, %+" PRId64
                 " bytes of the writer, %+" PRId64 " blocks",
                 (int64_t)(after.n_fds - before->n_fds), (int64_t)(after.n_maps - before->n_maps),
                 (int64_t)(after.n_bytes - before->n_bytes),
                 (int64_t)(after.n_blocks - before->n_blocks));
        if (memcmp(&after, before, sizeof(after)) != 0)
                wrong("it leaks", why);
}

/* Names in the data directory that a sound index has no use for, and shared objects. */
static void leftovers_check(struct world *world)
{
        struct lanemap_manifest manifest;
        char **names = NULL, prefix[96];
        size_t n_names = 0, n_logs = 0;

        must(lanemap_manifest_read(&lanemap_files_posix, world->scratch.dir_fd, &manifest, NULL) ==
             0);
        must(lanemap_store_list_garbage(world->scratch.dir_fd, &manifest, NULL, 0, &names,
                                        &n_names) == 0);
        for (size_t i = 0; i < n_names; i++)
                if (strncmp(names[i], "log-", 4) == 0)
                        n_logs++;
                else
                        wrong("a file is left over", names[i]);
        if (n_logs > 2)
                wrong("log files are left over", NULL);
        lanemap_free(names);
        lanemap_manifest_deinit(&manifest);

        snprintf(prefix, sizeof(prefix), "lanemap.%s", world->scratch.name);
        if (directory_count("/dev/shm", prefix) != 4) /* control, lock, data, spare */
                wrong("shared objects are left over", NULL);
}

/* Closes, opens again (which removes what a failed call left), compares, and takes all away. */
static void world_deinit(struct world *world)
{
        lanemap_reader_detach(world->reader);
        world->reader = NULL;
        lanemap_writer_close(world->writer);
        must(writer_open_try(world) == 0);
        world_compare(world, "opened again, it is another index");
        lanemap_writer_close(world->writer);
        leftovers_check(world);
        model_deinit(&world->model);
        scratch_remove_tree(world->other);
        scratch_deinit(&world->scratch);
}

/* ---- the operations ---- */

static void crash_prepare(struct world *world)
{
        lanemap_writer_abandon(world->writer);
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
                must(lanemap_restore_directory(world->other, world->other, NULL) < 0);
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
        return lanemap_restore_directory(from, world->other, NULL);
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

/* A closed index, whose first segment file ends in a byte that is wrong: all of it can be put right. */
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
        if (with_log)
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

static const struct scenario scenarios[] = {
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

/* ---- trying ---- */

/* Whatever the operation has left of writer and reader: both are there, and right. */
static void world_settle(struct world *world)
{
        if (!world->writer)
                must(writer_open_try(world) == 0);
        if (!world->reader)
                must(reader_attach_try(world) == 0);
        world_compare(world, "it is not what it should be");
}

static void scenario_retry(struct world *world, const struct scenario *scenario)
{
        int r;

        failed_before = failing_calls_failed();
        failing_calls_arm(0, false);
        r = scenario->act(world);
        if (r < 0)
                wrong("tried again, it fails", strerror(-r));
        if (scenario->after)
                scenario->after(world, r);
}

/* The n-th call. Return: whether there was one. */
static bool scenario_try(const struct scenario *scenario, uint64_t n, bool all_later)
{
        struct possessions before = possessions_count();
        struct world world;
        uint64_t n_calls;
        int r;

        n_in_hand = n;
        later_in_hand = all_later;
        (void)alarm(HANG_SECONDS);
        world_init(&world);
        if (scenario->prepare)
                scenario->prepare(&world);

        failing_calls_arm(n, all_later);
        r = scenario->act(&world);
        n_calls = failing_calls_disarm();

        if (r < 0 && !failing_calls_failed())
                wrong("nothing failed, and it fails", strerror(-r));
        if (scenario->after)
                scenario->after(&world, r);
        if (r < 0) {
                /* Reads of an index that is there go on before anything is tried again. */
                if (world.writer && world.reader)
                        world_compare(&world, "refused, and it is not what it was");
                scenario_retry(&world, scenario);
        }
        n_refused += r < 0;
        n_tried++;
        world_settle(&world);
        world_deinit(&world);
        possessions_compare(&before);
        return n_calls >= n;
}

static void scenario_run(const struct scenario *scenario, uint64_t stride)
{
        uint64_t n = 1 + rng_below(&rng, stride), tried_before = n_tried,
                 refused_before = n_refused, start_ns = now_ns();

        scenario_in_hand = scenario;
        while (scenario_try(scenario, n, false) && n < CALLS_MAX)
                n += stride;
        for (uint64_t m = 1; m < n; m += 1 + stride * m / 8)
                (void)scenario_try(scenario, m, true);
        printf("%-36s %4" PRIu64 " calls, %4" PRIu64 " tried, %4" PRIu64 " refused, %.1f s\n",
               scenario->name, n - 1, n_tried - tried_before, n_refused - refused_before,
               (double)(now_ns() - start_ns) / 1e9);
        fflush(stdout);
}

/* A disk that does not give a segment file back: verify names it, with the keys
 * that are affected, nothing is made out of it, and lookups go on; a successor that can read it has all. */
static void unreadable_try(void)
{
        static const struct scenario unreadable = {.name = "segment files cannot be read"};
        struct lanemap_finding *findings = NULL;
        struct lanemap_writer_stats stats;
        size_t n_findings = 0;
        struct world world;

        scenario_in_hand = &unreadable;
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

int main(int argc, char **argv)
{
        uint64_t stride = argument_u64(argc, argv, "--stride", 1);
        const char *only = NULL;

        for (int i = 1; i + 1 < argc; i++)
                if (strcmp(argv[i], "--only") == 0)
                        only = argv[i + 1];
        rng_init(&rng, argument_seed(argc, argv));
        with_log = argument_flag(argc, argv, "--log");
        (void)setenv("TMPDIR", "/dev/shm", 0);
        signal(SIGALRM, on_alarm);

        /* What libraries set up once and keep is not a leak. */
        scenario_in_hand = &scenarios[0];
        for (int i = 0; i < 2; i++) {
                struct world world;

                world_init(&world);
                world_deinit(&world);
        }
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(scenarios); i++)
                if (!only || strstr(scenarios[i].name, only))
                        scenario_run(&scenarios[i], stride > 0 ? stride : 1);

        if (!only)
                unreadable_try();

        printf("%" PRIu64 " tried, %" PRIu64 " refused, 0 wrong\n", n_tried, n_refused);
        return n_refused == 0;
}
