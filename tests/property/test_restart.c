/*
 * What a restart after a crash costs, as a number of flushes, over sizes of postings and shapes of
 * records (W12): a replay flushes for what the records changed, however long the postings are that
 * they changed. And the state is the acknowledged one (W3).
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "support/engine.h"
#include "support/rng.h"
#include "writer/core/engine.h"
#include "writer/life/life.h"

TestSuite(property_restart, .timeout = 600);

#define LONG_KEYS_MAX 3
#define OPS_MAX       4

enum shape {
        SHAPE_NEW_KEY_AND_LONG, /* what a binding does that keeps all ids of a field */
        SHAPE_LONG_ONLY,
        SHAPE_LONG_REMOVED,
        SHAPE_LONG_DELETED, /* now and then, and added to again */
        N_SHAPES,
};

static const char *const shape_names[N_SHAPES] = {"new key and long", "long only", "removed from",
                                                  "deleted now and then"};

struct restart {
        struct scratch scratch;
        struct model *model; /* of the process that crashes too: it is replayed in both */
        uint32_t n_ids;      /* of each long posting, at first */
        uint32_t n_long;     /* long postings */
        uint32_t n_records;
        uint32_t shape;
        uint32_t n_lanes;
        uint64_t flush_bytes;
        uint64_t seed;
};

static size_t text(char *to, const char *what, uint32_t n)
{
        return (size_t)snprintf(to, 24, "%s-%" PRIu32, what, n);
}

static void options_of(const struct restart *restart, struct lanemap_writer_options *options)
{
        engine_options_init(options, &restart->scratch, NULL);
        options->n_lanes = restart->n_lanes;
        options->flush_bytes = restart->flush_bytes;
        options->log_file_bytes = 64 << 20; /* so that the log alone wants no flush */
        options->shared_bytes_max = UINT64_C(1) << 30;
        options->log = engine_log_stderr;
}

/* The i-th record. Ids of the first fill are even, so that an odd one is new. */
static size_t record_make(const struct restart *restart, struct rng *rng, uint32_t i,
                          struct lanemap_op *ops, char (*keys)[24])
{
        uint32_t key = (uint32_t)rng_below(rng, restart->n_long);
        uint32_t id = (uint32_t)rng_below(rng, restart->n_ids) * 2;
        size_t n = 0;

        if (restart->shape == SHAPE_NEW_KEY_AND_LONG) {
                ops[n] = (struct lanemap_op){LANEMAP_OP_ADD, i, keys[n], text(keys[n], "new", i)};
                n++;
        }
        ops[n] = (struct lanemap_op){
                .code = restart->shape == SHAPE_LONG_REMOVED ? LANEMAP_OP_REMOVE : LANEMAP_OP_ADD,
                .id = restart->shape == SHAPE_LONG_REMOVED ? id : id + 1,
                .key = keys[n],
                .key_bytes = text(keys[n], "long", key),
        };
        n++;
        if (restart->shape == SHAPE_LONG_DELETED && i % 1000 == 999) {
                ops[n] = ops[n - 1];
                ops[n - 1].code = LANEMAP_OP_DELETE;
                n++;
        }
        return n;
}

static void record_apply(const struct restart *restart, struct lanemap_writer *writer,
                         const struct lanemap_op *ops, size_t n)
{
        for (size_t i = 0; i < n && restart->model; i++)
                (void)model_apply(restart->model, &ops[i]);
        if (writer)
                cr_assert_eq(lanemap_writer_apply(writer, ops, n, NULL, NULL, NULL), 0);
}

static void long_postings_fill(const struct restart *restart, struct lanemap_writer *writer)
{
        static struct lanemap_op ops[20000];
        char key[24];

        for (uint32_t k = 0; k < restart->n_long; k++) {
                size_t key_bytes = text(key, "long", k);

                for (uint32_t at = 0; at < restart->n_ids; at += LANEMAP_N_ELEMENTS(ops)) {
                        uint32_t n =
                                LANEMAP_MIN((uint32_t)LANEMAP_N_ELEMENTS(ops), restart->n_ids - at);

                        for (uint32_t i = 0; i < n; i++)
                                ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, 2 * (at + i), key,
                                                             key_bytes};
                        record_apply(restart, writer, ops, n);
                }
        }
}

static void records_make(const struct restart *restart, struct lanemap_writer *writer)
{
        struct lanemap_op ops[OPS_MAX];
        char keys[OPS_MAX][24];
        struct rng rng;

        rng_init(&rng, restart->seed);
        for (uint32_t i = 0; i < restart->n_records; i++)
                record_apply(restart, writer, ops, record_make(restart, &rng, i, ops, keys));
}

/* Fills, compacts, applies the records, and is gone. */
static int crash_run(void *arg)
{
        struct restart *restart = arg;
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;

        restart->model = NULL;
        options_of(restart, &options);
        options.flush_bytes = 64 << 20; /* so that every record is to be replayed */
        if (lanemap_writer_open(&options, &writer) < 0)
                return 1;
        long_postings_fill(restart, writer);
        if (engine_request(writer, LANEMAP_REQUEST_COMPACT) < 0)
                return 2;
        records_make(restart, writer);
        return lanemap_writer_sync(writer, lanemap_writer_position(writer)) < 0 ? 3 : 0;
}

/*
 * Each record costs less than 160 bytes of the budget: a new cell in a table that has doubled, and
 * a change of a long posting. The budget is more than half of flush_bytes.
 */
static uint64_t flushes_max(const struct restart *restart, uint64_t n_replayed)
{
        uint64_t budget = restart->flush_bytes ? restart->flush_bytes / 2 : 140 << 10;

        return 1 + n_replayed * 160 / budget;
}

static void restart_check(const struct restart *given)
{
        struct lanemap_writer_options options;
        struct lanemap_writer_stats stats;
        struct lanemap_writer *writer;
        struct restart restart = *given;
        struct model model;
        char why[300];

        model_init(&model);
        scratch_init(&restart.scratch, "restart");
        cr_assert_eq(engine_crash_after(crash_run, &restart), 0);

        restart.model = &model;
        long_postings_fill(&restart, NULL);
        records_make(&restart, NULL);
        options_of(&restart, &options);
        for (int i = 0; i < 2; i++) {
                cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
                engine_stats(writer, &stats);
                if (i == 0 && restart.shape == SHAPE_NEW_KEY_AND_LONG)
                        cr_expect_geq(stats.recovered_records, restart.n_records);
                cr_expect_leq(stats.n_flushes, flushes_max(&restart, stats.recovered_records),
                              "%" PRIu64 " flushes for %" PRIu64 " records: %s, %" PRIu32
                              " of %" PRIu32 " ids, %" PRIu32 " lanes, flush_bytes %" PRIu64
                              ", seed %" PRIu64,
                              stats.n_flushes, stats.recovered_records, shape_names[restart.shape],
                              restart.n_long, restart.n_ids, restart.n_lanes, restart.flush_bytes,
                              restart.seed);
                cr_assert(engine_matches(writer, NULL, &model, why, sizeof(why)), "%s", why);
                if (i == 0)
                        lanemap_engine_abandon(writer);
                else
                        lanemap_writer_close(writer);
        }
        scratch_deinit(&restart.scratch);
        model_deinit(&model);
}

Test(property_restart, one_long_posting_and_thousands_of_small_records)
{
        restart_check(&(struct restart){.n_ids = 200000,
                                        .n_long = 1,
                                        .n_records = 5000,
                                        .shape = SHAPE_NEW_KEY_AND_LONG,
                                        .n_lanes = 64,
                                        .seed = 1});
}

/* More flushes than there are slots for files (W12): a flush for each record. */
Test(property_restart, a_replay_of_any_number_of_flushes)
{
        struct restart restart = {.n_ids = 1,
                                  .n_long = 1,
                                  .n_records = 1500,
                                  .n_lanes = 1,
                                  .flush_bytes = 64 << 20,
                                  .shape = SHAPE_NEW_KEY_AND_LONG};
        struct lanemap_writer_options options;
        struct lanemap_writer_stats stats;
        struct lanemap_writer *writer;
        struct model model;
        char why[300];

        model_init(&model);
        scratch_init(&restart.scratch, "flushes");
        cr_assert_eq(engine_crash_after(crash_run, &restart), 0);
        restart.model = &model;
        long_postings_fill(&restart, NULL);
        records_make(&restart, NULL);
        restart.flush_bytes = 1;
        options_of(&restart, &options);
        cr_assert_eq(lanemap_writer_open(&options, &writer), 0);
        engine_stats(writer, &stats);
        cr_expect_geq(stats.n_flushes, 1400, "or nothing is tried here");
        cr_expect_gt(stats.n_flushes, writer->segments.table->n_slots);
        cr_assert(engine_matches(writer, NULL, &model, why, sizeof(why)), "%s", why);
        lanemap_writer_close(writer);
        scratch_deinit(&restart.scratch);
        model_deinit(&model);
}

Test(property_restart, any_size_and_shape)
{
        static const uint32_t sizes[] = {1, 100, 126, 127, 128, 3000, 20000, 50000};
        struct rng rng;
        uint64_t seed = rng_test_seed(11);

        rng_init(&rng, seed);
        for (int round = 0; round < 24; round++) {
                struct restart restart = {
                        .n_ids = sizes[rng_below(&rng, LANEMAP_N_ELEMENTS(sizes))],
                        .n_long = 1 + (uint32_t)rng_below(&rng, LONG_KEYS_MAX),
                        .n_records = 500 + (uint32_t)rng_below(&rng, 3500),
                        .shape = (uint32_t)rng_below(&rng, N_SHAPES),
                        .n_lanes = rng_below(&rng, 2) ? 64 : 4,
                        .flush_bytes = rng_below(&rng, 2) ? 0 : 32 << 10,
                        .seed = rng_next(&rng),
                };

                restart_check(&restart);
        }
}
