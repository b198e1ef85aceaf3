/*
 * Routes into a directory that no writer serves: the engine itself, inside this process.
 *
 * Without a name to publish, the engine runs under a random one whose shared objects are unlinked
 * at the end. One fsync at the end stands for all of them: until finish() answers 0 nothing is
 * promised.
 */
#include <errno.h>
#include <lanemap/writer.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <syslog.h>

#include "common/owner.h"
#include "load/load.h"
#include "tool.h"

#define BATCH 4096 /* operations in one record of the log */

struct engine_target {
        struct lanemap_load_target target;
        struct lanemap_writer *writer;
        char name[LANEMAP_NAME_BYTES_MAX + 1];
        bool unlink_name;
        struct lanemap_op ops[BATCH];
        size_t key_offs[BATCH]; /* in keys, which moves while it grows */
        uint64_t lines[BATCH];
        size_t n_ops;
        struct lanemap_text keys;
        uint64_t position;
};

static void engine_log(void *arg, int priority, const char *line)
{
        if (priority <= LOG_WARNING)
                lanemap_tool_say("%s", line);
}

static int batch_apply(struct engine_target *engine)
{
        struct lanemap_op_result results[BATCH];
        size_t n_applied = 0;
        int r;

        if (engine->n_ops == 0)
                return 0;
        for (size_t i = 0; i < engine->n_ops; i++)
                engine->ops[i].key = engine->keys.data + engine->key_offs[i];
        r = lanemap_writer_apply(engine->writer, engine->ops, engine->n_ops, results, &n_applied,
                                 &engine->position);
        for (size_t i = 0; i < n_applied; i++)
                engine->target.n_new += results[i].n_changed;
        if (r < 0) {
                lanemap_tool_say("line %llu: %s; the lines before it were applied",
                                 (unsigned long long)engine->lines[n_applied],
                                 lanemap_tool_strerror(r));
                return r;
        }
        engine->n_ops = 0;
        engine->keys.bytes = 0;
        return 0;
}

static int engine_add(struct lanemap_load_target *target, uint64_t line, struct lanemap_slice key,
                      const uint32_t *ids, size_t n_ids)
{
        struct engine_target *engine = LANEMAP_CONTAINER_OF(target, struct engine_target, target);
        size_t key_off = engine->keys.bytes;

        lanemap_text_append_slice(&engine->keys, key);
        for (size_t i = 0; i < n_ids; i++) {
                if (engine->n_ops == BATCH) {
                        int r = batch_apply(engine);

                        if (r < 0)
                                return r;
                        key_off = engine->keys.bytes;
                        lanemap_text_append_slice(&engine->keys, key);
                }
                engine->key_offs[engine->n_ops] = key_off;
                engine->lines[engine->n_ops] = line;
                engine->ops[engine->n_ops++] = (struct lanemap_op){
                        .code = LANEMAP_OP_ADD, .id = ids[i], .key_bytes = key.bytes};
        }
        return 0;
}

static int engine_finish(struct lanemap_load_target *target)
{
        struct engine_target *engine = LANEMAP_CONTAINER_OF(target, struct engine_target, target);
        int r = batch_apply(engine);

        if (r < 0)
                return r;
        r = lanemap_writer_sync(engine->writer, engine->position);
        if (r < 0)
                lanemap_tool_say("the routes were applied, but cannot be made durable: %s",
                                 lanemap_tool_strerror(r));
        return r;
}

/* The engine never unlinks the lock of a name, because another writer may be waiting for it. Nobody
 * waits for a random name. */
static void name_lock_unlink(const char *name)
{
        char path[LANEMAP_NAME_BYTES_MAX + 16];

        snprintf(path, sizeof(path), "/lanemap.%s.lock", name);
        shm_unlink(path);
}

static void engine_close(struct lanemap_load_target *target)
{
        struct engine_target *engine = LANEMAP_CONTAINER_OF(target, struct engine_target, target);

        struct lanemap_error error;

        lanemap_writer_close(engine->writer);
        if (engine->writer && engine->unlink_name) {
                lanemap_writer_unlink(engine->name, &error);
                name_lock_unlink(engine->name);
        }
        lanemap_text_deinit(&engine->keys);
        free(engine);
}

static int name_choose(struct engine_target *engine, const char *name)
{
        uint64_t random;

        if (name) {
                if (strlen(name) >= sizeof(engine->name)) {
                        lanemap_tool_say("'%s' is too long for a name (1 to %d of A-Z a-z 0-9 _ -)",
                                         name, LANEMAP_NAME_BYTES_MAX);
                        return -EINVAL;
                }
                strcpy(engine->name, name);
                return 0;
        }
        if (getrandom(&random, sizeof(random), 0) != sizeof(random))
                return -EIO;
        snprintf(engine->name, sizeof(engine->name), "load-%016llx", (unsigned long long)random);
        engine->unlink_name = true;
        return 0;
}

/* What the engine makes, here and in shared memory, is the service's, and not root's. */
static int owner_become(const char *directory)
{
        uid_t uid;
        int r = lanemap_owner_become(directory, &uid);

        if (r < 0)
                lanemap_tool_say("'%s' belongs to another user, and root cannot become that one "
                                 "(%s): run it as the directory's owner",
                                 directory, strerror(-r));
        return r < 0 ? r : 0;
}

int lanemap_load_engine_open(const char *directory, const char *name,
                             struct lanemap_load_target **ret_target)
{
        struct engine_target *engine = lanemap_tool_realloc(NULL, 1, sizeof(*engine));
        struct lanemap_error error = {.text = ""};
        struct lanemap_writer_options options = {
                .size = sizeof(options),
                .directory = directory,
                .appendfsync = LANEMAP_APPENDFSYNC_NO,
                .log = engine_log,
                .error = &error,
        };
        int r;

        memset(engine, 0, sizeof(*engine));
        engine->target = (struct lanemap_load_target){
                .add = engine_add, .finish = engine_finish, .close = engine_close};
        r = name_choose(engine, name);
        if (r == 0)
                r = owner_become(directory);
        if (r == 0) {
                options.name = engine->name;
                r = lanemap_writer_open(&options, &engine->writer);
                if (r < 0)
                        lanemap_tool_say("cannot open '%s': %s%s", directory,
                                         error.text[0] ? error.text : lanemap_tool_strerror(r),
                                         r == -EBUSY ? " (load through its socket: --socket)" : "");
        }
        if (r < 0) {
                engine_close(&engine->target);
                return r;
        }

        *ret_target = &engine->target;
        return 0;
}
