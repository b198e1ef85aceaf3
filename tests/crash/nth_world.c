/* See nth_world.h. */
#include "nth_world.h"

#include <dirent.h>
#include <string.h>

#include "common/alloc.h"
#include "failing_calls.h"
#include "store/manifest_read.h"
#include "store/garbage.h"

#define BATCH_MAX (2 * N_MANY)

struct in_hand in_hand;

_Noreturn void wrong(const char *what, const char *why)
{
        const char *failed =
                failing_calls_failed() ? failing_calls_failed() : in_hand.failed_before;

        printf("WRONG: %s, call %" PRIu64 "%s (%s): %s%s%s\n", in_hand.scenario, in_hand.n,
               in_hand.all_later ? " and later ones" : "", failed ? failed : "none", what,
               why ? ": " : "", why ? why : "");
        fflush(stdout);
        abort();
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
        if (in_hand.with_log)
                options.log = engine_log_stderr;
        return options;
}

int writer_open_try(struct world *world)
{
        struct lanemap_writer_options options = options_of(world);

        return lanemap_writer_open(&options, &world->writer);
}

int reader_attach_try(struct world *world)
{
        struct lanemap_reader_options options = {.size = sizeof(options)};

        return lanemap_reader_attach(world->scratch.name, &options, &world->reader);
}

static struct lanemap_op ops[BATCH_MAX];
static char texts[BATCH_MAX][16];
static size_t n_ops;

void op_push(uint32_t code, const char *kind, uint32_t key, uint32_t id)
{
        must(n_ops < BATCH_MAX);
        ops[n_ops] = (struct lanemap_op){.code = code, .id = id, .key = texts[n_ops]};
        ops[n_ops].key_bytes = (size_t)sprintf(texts[n_ops], "%.4s-%u", kind, key);
        n_ops++;
}

static size_t n_ops_applied; /* of them, not yet known to the model */

int ops_apply(struct world *world)
{
        uint64_t position = 0;
        int r = lanemap_writer_apply(world->writer, ops, n_ops, NULL, &n_ops_applied, &position),
            r2;

        if (r == 0 && n_ops_applied != n_ops)
                wrong("it says 0, and has not applied all", NULL);
        r2 = n_ops_applied > 0 ? lanemap_writer_sync(world->writer, position) : 0;
        return r < 0 ? r : r2;
}

void ops_after(struct world *world, int r)
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

void ops_must(struct world *world)
{
        must(ops_apply(world) == 0);
        ops_after(world, 0);
        must(n_ops == 0);
}

void request_must(struct world *world, uint32_t request)
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

void world_init(struct world *world)
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

void world_compare(struct world *world, const char *when)
{
        char why[256];

        if (!engine_matches(world->writer, world->reader, &world->model, why, sizeof(why)))
                wrong(when, why);
}

/* ---- leaks ---- */

uint64_t directory_count(const char *path, const char *prefix)
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

struct possessions possessions_count(void)
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

void possessions_compare(const struct possessions *before)
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

void world_deinit(struct world *world)
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
