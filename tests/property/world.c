/* See world.h. */
#include "world.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void world_fail(const struct world *world, const char *format, ...)
{
        char text[600];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        fprintf(stderr,
                "lanes %" PRIu32 ", bits %" PRIu32 ": LANEMAP_TEST_SEED=%" PRIu64
                " fails at step %" PRIu64 ": %s\n",
                world->config.n_lanes, world->config.fingerprint_bits, world->seed, world->step,
                text);
        cr_assert(false, "seed %" PRIu64 ", step %" PRIu64 ": %s", world->seed, world->step, text);
        abort();
}

void world_init(struct world *world, const char *what, const struct world_config *config,
                uint64_t seed)
{
        *world = (struct world){.config = *config, .seed = seed};
        rng_init(&world->rng, seed);
        scratch_init(&world->scratch, what);
        model_init(&world->model);
}

void world_deinit(struct world *world)
{
        lanemap_reader_detach(world->reader);
        lanemap_writer_close(world->writer);
        model_deinit(&world->model);
        scratch_deinit(&world->scratch);
}

void world_open(struct world *world)
{
        struct lanemap_writer_options options;
        int r;

        engine_options_init(&options, &world->scratch, &world->error);
        options.n_lanes = world->config.n_lanes;
        options.fingerprint_bits = world->config.fingerprint_bits;
        options.flush_bytes = world->config.flush_bytes;
        options.appendfsync = world->config.appendfsync;
        options.immediate_reuse = world->config.immediate_reuse;
        options.segment_kind_young = world->config.segment_kind_young;
        options.segment_kind_bottom = world->config.segment_kind_bottom;
        options.filter = world->config.filter;
        options.log = engine_log_stderr;
        r = lanemap_writer_open(&options, &world->writer);
        if (r < 0)
                world_fail(world, "open: %d, %s", r, world->error.text);
}

void world_close(struct world *world)
{
        world_count(world);
        lanemap_writer_close(world->writer);
        world->writer = NULL;
}

void world_attach(struct world *world)
{
        struct lanemap_reader_options options = {.size = sizeof(options), .error = &world->error};
        int r = lanemap_reader_attach(world->scratch.name, &options, &world->reader);

        if (r < 0)
                world_fail(world, "attach: %d, %s", r, world->error.text);
}

/* ---- work ---- */

/* Ids that often meet, the two ends of the range, and ids far apart. */
static uint32_t id_make(struct rng *rng, const struct world_config *config)
{
        switch (rng_below(rng, 12)) {
        case 0:
                return rng_chance(rng, 50) ? 0 : LANEMAP_ID_MAX;
        case 1:
                return (uint32_t)(rng_next(rng) % (UINT64_C(1) + LANEMAP_ID_MAX));
        default:
                return (uint32_t)rng_below(rng, config->n_ids_max + config->n_ids_max / 4 + 1);
        }
}

static void key_number(uint64_t number, char *ret_key)
{
        snprintf(ret_key, WORLD_KEY_BYTES_MAX, "public.t%" PRIu64 ".c=%" PRIu64, number % 7,
                 number);
}

static void key_make(struct rng *rng, const struct world_config *config, char *ret_key)
{
        key_number(rng_chance(rng, 75) ? rng_below(rng, config->n_hot_keys)
                                       : config->n_hot_keys + rng_below(rng, config->n_cold_keys),
                   ret_key);
}

static void batch_push(struct world_batch *batch, uint32_t code, uint32_t id)
{
        char *key = batch->keys[batch->n];

        batch->ops[batch->n++] = (struct lanemap_op){code, id, key, strlen(key)};
}

/* Groups of every length, one of all operations among them. */
static void batch_join(struct rng *rng, struct world_batch *batch)
{
        uint64_t per_cent = rng_below(rng, 3) * 50;

        for (size_t i = 0; i < batch->n; i++)
                if (rng_chance(rng, (uint32_t)per_cent))
                        batch->ops[i].code |= LANEMAP_OP_WITH_NEXT;
}

static void batch_push_random(struct rng *rng, const struct world_config *config,
                              struct world_batch *batch)
{
        static const uint32_t codes[] = {
                LANEMAP_OP_ADD,    LANEMAP_OP_ADD,    LANEMAP_OP_ADD,    LANEMAP_OP_ADD,
                LANEMAP_OP_REMOVE, LANEMAP_OP_REMOVE, LANEMAP_OP_DELETE,
        };
        uint32_t code = codes[rng_below(rng, LANEMAP_N_ELEMENTS(codes))];

        key_make(rng, config, batch->keys[batch->n]);
        if (rng_below(rng, 40) == 0) {
                code = LANEMAP_OP_MARK;
                snprintf(batch->keys[batch->n], WORLD_KEY_BYTES_MAX, "%" PRIx64,
                         rng_next(rng) >> rng_below(rng, 60));
        } else if (rng_below(rng, 30000) == 0) {
                code = LANEMAP_OP_CLEAR;
        }
        batch_push(batch, code, id_make(rng, config));
}

/* Many ids of one key come or go. */
static void batch_push_bulk(struct rng *rng, const struct world_config *config,
                            const struct model *model, struct world_batch *batch)
{
        size_t n = 1 + rng_below(rng, 300);
        const uint32_t *ids;
        size_t n_ids, from;
        bool adding;
        char key[WORLD_KEY_BYTES_MAX];

        key_number(rng_below(rng, config->n_hot_keys), key);
        n_ids = model_lookup(model, key, strlen(key), &ids);
        adding = n_ids < 10 || rng_chance(rng, n_ids < config->n_ids_max ? 70 : 10);
        from = adding ? rng_below(rng, config->n_ids_max + 1) : rng_below(rng, n_ids);
        for (size_t i = 0; i < n && batch->n < WORLD_BATCH_OPS_MAX; i++) {
                if (!adding && from + i >= n_ids)
                        break;
                memcpy(batch->keys[batch->n], key, sizeof(key));
                batch_push(batch, adding ? LANEMAP_OP_ADD : LANEMAP_OP_REMOVE,
                           adding ? (uint32_t)(from + i) : ids[from + i]);
        }
}

void world_batch_make(struct rng *rng, const struct world_config *config, const struct model *model,
                      struct world_batch *batch)
{
        size_t n = rng_chance(rng, 20) ? 1 : 1 + rng_below(rng, rng_chance(rng, 5) ? 600 : 60);

        batch->n = 0;
        if (rng_chance(rng, 25))
                batch_push_bulk(rng, config, model, batch);
        for (size_t i = 0; i < n && batch->n < WORLD_BATCH_OPS_MAX - 4; i++)
                batch_push_random(rng, config, batch);
        /* Everything at once in the midst of others, and two marks in one record. */
        if (rng_below(rng, config->clear_one_in ? config->clear_one_in : 400) == 0) {
                batch_push(batch, LANEMAP_OP_CLEAR, 0);
                batch_push_random(rng, config, batch);
                batch_push_random(rng, config, batch);
        }
        batch_join(rng, batch);
}

static void results_compare(struct world *world, struct world_batch *batch)
{
        for (size_t i = 0; i < batch->n; i++) {
                struct lanemap_op_result expected = model_apply(&world->model, &batch->ops[i]);

                world->seen.n_clears +=
                        (batch->ops[i].code & ~LANEMAP_OP_WITH_NEXT) == LANEMAP_OP_CLEAR;
                if (batch->results[i].n_changed != expected.n_changed ||
                    batch->results[i].n_ids != expected.n_ids)
                        world_fail(world,
                                   "operation %zu of %zu, code %" PRIu32 " key %.*s id %" PRIu32
                                   ": changed %" PRIu32 " now %" PRIu32 " instead of %" PRIu32
                                   ", %" PRIu32,
                                   i, batch->n, batch->ops[i].code, (int)batch->ops[i].key_bytes,
                                   batch->keys[i], batch->ops[i].id, batch->results[i].n_changed,
                                   batch->results[i].n_ids, expected.n_changed, expected.n_ids);
        }
}

void world_batch_apply(struct world *world, struct world_batch *batch)
{
        size_t n_applied = SIZE_MAX;
        uint64_t position = 0;
        int r = lanemap_writer_apply(world->writer, batch->ops, batch->n, batch->results,
                                     &n_applied, &position);

        world->step++;
        if (r < 0 || n_applied != batch->n)
                world_fail(world, "apply: %d, %zu of %zu, position %" PRIu64, r, n_applied,
                           batch->n, position);
        results_compare(world, batch);
        world->seen.n_batches++;
        world->seen.n_ops += batch->n;
}

/* ---- checks ---- */

static void check_key(struct world *world, const char *key)
{
        char why[256];

        if (!engine_key_matches(world->writer, world->reader, &world->model, key, strlen(key), why,
                                sizeof(why)))
                world_fail(world, "%s", why);
}

void world_check_some(struct world *world, const struct world_batch *batch)
{
        char key[WORLD_KEY_BYTES_MAX];

        for (int i = 0; i < 3; i++) {
                if (batch && batch->n > 0)
                        check_key(world, batch->keys[rng_below(&world->rng, batch->n)]);
                key_make(&world->rng, &world->config, key);
                check_key(world, key);
        }
}

void world_check_all(struct world *world)
{
        char why[256];

        if (!engine_matches(world->writer, world->reader, &world->model, why, sizeof(why)))
                world_fail(world, "%s", why);
}

static uint64_t generation_of(struct world *world)
{
        struct lanemap_status status = {.size = sizeof(status)};

        if (lanemap_reader_status(world->reader, &status) != 0)
                world_fail(world, "status");
        return status.generation;
}

void world_request(struct world *world, uint32_t request)
{
        uint64_t ticket, before = generation_of(world);
        int r = lanemap_writer_request(world->writer, request, &ticket);

        if (r < 0)
                world_fail(world, "request %" PRIu32 ": %d", request, r);
        do {
                world_check_some(world, NULL);
                r = lanemap_writer_request_state(world->writer, ticket);
        } while (r == LANEMAP_PENDING);
        if (r < 0)
                world_fail(world, "request %" PRIu32 " ended with %d", request, r);

        world_check_some(world, NULL);
        if (generation_of(world) != before)
                world->seen.n_flips++;
        else if (request == LANEMAP_REQUEST_FLIP)
                world_fail(world, "the reader did not follow a flip");
}

void world_count(struct world *world)
{
        struct lanemap_writer_stats stats;

        engine_stats(world->writer, &stats);
        world->seen.n_flushes += stats.n_flushes;
        world->seen.n_merges += stats.n_merges;
        world->seen.n_growths += stats.n_overlay_growths;
}

void world_assert_seen(const struct world *world)
{
        const struct world_seen *seen = &world->seen;

        fprintf(stderr,
                "lanes %" PRIu32 ", bits %" PRIu32 ", seed %" PRIu64 ": %" PRIu64 " batches, "
                "%" PRIu64 " operations, %" PRIu64 " clears, %" PRIu64 " flushes, %" PRIu64
                " merges, %" PRIu64 " growths, %" PRIu64 " flips under lookups, %" PRIu64
                " restarts, %" PRIu64 " kills\n",
                world->config.n_lanes, world->config.fingerprint_bits, world->seed, seen->n_batches,
                seen->n_ops, seen->n_clears, seen->n_flushes, seen->n_merges, seen->n_growths,
                seen->n_flips, seen->n_restarts, seen->n_kills);
        if (seen->n_flushes < 20 || seen->n_merges < 5 || seen->n_growths < 5 || seen->n_flips < 1)
                world_fail(world, "the run proved nothing: too little happened");
}
