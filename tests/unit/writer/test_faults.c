/*
 * The n-th call of the file layer fails, for n rising: once, or from then on for good, as in a
 * process that died there. Whatever the writer answers, nothing that it called durable is lost,
 * nothing that it refused is there, and when the fault is gone it goes on by itself.
 *
 * Every batch ends with its number as the mark, so the mark says how many are there.
 */
#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/engine.h"
#include "support/faulty_files.h"
#include "support/rng.h"
#include "writer/core/hooks.h"

TestSuite(writer_faults, .timeout = 120);

#define N_BATCHES 14
#define N_OPS     24

struct batch {
        struct lanemap_op ops[N_OPS];
        char keys[N_OPS][16];
};

struct trial {
        struct scratch scratch;
        struct faulty_files faulty;
        struct lanemap_writer_hooks hooks;
        struct lanemap_writer_options options;
        struct lanemap_error error;
        struct lanemap_writer *writer;
        struct model models[N_BATCHES + 1]; /* after so many batches */
        uint32_t n_applied;                 /* batches */
        uint32_t n_acked;
};

static void batch_make(uint32_t number, struct batch *batch)
{
        struct rng rng;

        rng_init(&rng, number);
        for (uint32_t i = 0; i < N_OPS; i++) {
                char *key = batch->keys[i];

                snprintf(key, sizeof(batch->keys[i]), "k%" PRIu64, rng_below(&rng, 60));
                batch->ops[i] = (struct lanemap_op){
                        rng_chance(&rng, 70) ? LANEMAP_OP_ADD : LANEMAP_OP_REMOVE,
                        (uint32_t)rng_below(&rng, 40), key, strlen(key)};
        }
        if (number == 9)
                batch->ops[3].code = LANEMAP_OP_CLEAR;
        snprintf(batch->keys[N_OPS - 1], sizeof(batch->keys[0]), "%" PRIu32, number);
        batch->ops[N_OPS - 1].code = LANEMAP_OP_MARK;
        batch->ops[N_OPS - 1].key_bytes = strlen(batch->keys[N_OPS - 1]);
}

static void trial_init(struct trial *trial)
{
        memset(trial, 0, sizeof(*trial));
        scratch_init(&trial->scratch, "faults");
        faulty_files_init(&trial->faulty, trial->scratch.dir_fd);
        trial->hooks.files = &trial->faulty.files;
        engine_options_init(&trial->options, &trial->scratch, &trial->error);
        trial->options.n_lanes = 2;
        trial->options.hooks = &trial->hooks;
        trial->options.log_file_bytes = 4096;
        trial->options.outcome_limit_ns = 30 * 1000 * 1000;
        for (uint32_t i = 1; i <= N_BATCHES; i++) {
                struct batch batch;

                batch_make(i, &batch);
                model_copy(&trial->models[i - 1], &trial->models[i]);
                for (uint32_t k = 0; k < N_OPS; k++)
                        (void)model_apply(&trial->models[i], &batch.ops[k]);
        }
}

static void trial_deinit(struct trial *trial)
{
        for (uint32_t i = 0; i <= N_BATCHES; i++)
                model_deinit(&trial->models[i]);
        faulty_files_deinit(&trial->faulty);
        scratch_deinit(&trial->scratch);
}

static bool is_refusal(int r)
{
        return r == -EIO || r == -ENOSPC;
}

static void pause_ms(long ms)
{
        struct timespec pause = {.tv_nsec = ms * 1000 * 1000};

        nanosleep(&pause, NULL);
}

/* One batch; whole or not at all. Return: whether it was applied. */
static bool batch_try(struct trial *trial, uint64_t fail_at)
{
        struct batch batch;
        uint64_t position = 0;
        size_t n_applied = 99;
        char why[256];
        int r;

        batch_make(trial->n_applied + 1, &batch);
        r = lanemap_writer_apply(trial->writer, batch.ops, N_OPS, NULL, &n_applied, &position);
        cr_assert(r == 0 || is_refusal(r), "call %" PRIu64 ": apply %d", fail_at, r);
        cr_assert_eq(n_applied, r == 0 ? N_OPS : 0, "call %" PRIu64 ": %zu", fail_at, n_applied);
        trial->n_applied += r == 0;
        cr_assert(engine_matches(trial->writer, NULL, &trial->models[trial->n_applied], why,
                                 sizeof(why)),
                  "call %" PRIu64 ": %s", fail_at, why);
        if (r == 0 && trial->n_applied % 2 == 0) {
                r = lanemap_writer_sync(trial->writer, position);
                cr_assert(r == 0 || is_refusal(r), "call %" PRIu64 ": sync %d", fail_at, r);
                if (r == 0)
                        trial->n_acked = trial->n_applied;
                return true;
        }

        return r == 0;
}

/* Opens, works, flushes, merges, flips. Gives up a batch that is refused twenty times. */
static void work(struct trial *trial, uint64_t fail_at)
{
        uint32_t n_refused = 0;
        int r;

        r = lanemap_writer_open(&trial->options, &trial->writer);
        if (r < 0) {
                trial->writer = NULL;
                cr_assert(is_refusal(r), "call %" PRIu64 ": open %d, %s", fail_at, r,
                          trial->error.text);
                cr_assert(strlen(trial->error.text) > 0);
                return;
        }

        while (trial->n_applied < N_BATCHES && n_refused < 3) {
                if (!batch_try(trial, fail_at)) {
                        n_refused++;
                        pause_ms(40);
                        continue;
                }
                if (trial->n_applied % 3 == 0) {
                        r = engine_request(trial->writer, trial->n_applied % 2
                                                                  ? LANEMAP_REQUEST_FLUSH
                                                                  : LANEMAP_REQUEST_COMPACT);
                        cr_assert(r == 0 || is_refusal(r), "call %" PRIu64 ": request %d", fail_at,
                                  r);
                }
        }
}

/* Faults are over: everything works again, within seconds and by itself. */
static void recover_and_finish(struct trial *trial, uint64_t fail_at)
{
        char why[256];
        int r;

        trial->faulty.fail_at = 0;
        if (!trial->writer) {
                r = lanemap_writer_open(&trial->options, &trial->writer);
                cr_assert_eq(r, 0, "call %" PRIu64 ": second open %d, %s", fail_at, r,
                             trial->error.text);
        }
        for (int i = 0; trial->n_applied < N_BATCHES && i < 200; i++)
                if (!batch_try(trial, fail_at))
                        pause_ms(20);
        cr_assert_eq(trial->n_applied, N_BATCHES, "call %" PRIu64, fail_at);
        for (int i = 0; i < 200; i++) {
                r = lanemap_writer_sync(trial->writer, lanemap_writer_position(trial->writer));
                if (r == 0)
                        break;
                pause_ms(20);
        }
        cr_assert_eq(r, 0, "call %" PRIu64 ": the log stays broken: %d", fail_at, r);
        r = engine_request(trial->writer, LANEMAP_REQUEST_COMPACT);
        cr_assert_eq(r, 0, "call %" PRIu64 ": compact %d", fail_at, r);
        trial->n_acked = N_BATCHES;
        cr_assert(engine_matches(trial->writer, NULL, &trial->models[N_BATCHES], why, sizeof(why)),
                  "call %" PRIu64 ": %s", fail_at, why);
}

static uint32_t mark_number(struct lanemap_writer *writer)
{
        char mark[LANEMAP_MARK_BYTES_MAX + 1] = {0};
        size_t n;

        lanemap_writer_mark(writer, mark, &n, NULL);
        return (uint32_t)strtoul(mark, NULL, 10);
}

/* Another start, in the real world: all that was acknowledged, and whole batches only. */
static void reopen_and_compare(struct trial *trial, uint64_t fail_at)
{
        char why[256];
        uint32_t n;
        int r;

        trial->options.hooks = NULL;
        r = lanemap_writer_open(&trial->options, &trial->writer);
        cr_assert_eq(r, 0, "call %" PRIu64 ": open afterwards: %d, %s", fail_at, r,
                     trial->error.text);
        n = mark_number(trial->writer);
        cr_assert(n >= trial->n_acked && n <= N_BATCHES,
                  "call %" PRIu64 ": %" PRIu32 " batches are there, %" PRIu32
                  " acknowledged, %" PRIu32 " applied",
                  fail_at, n, trial->n_acked, trial->n_applied);
        cr_assert(n <= trial->n_applied);
        cr_assert(engine_matches(trial->writer, NULL, &trial->models[n], why, sizeof(why)),
                  "call %" PRIu64 ": %s", fail_at, why);
        lanemap_writer_close(trial->writer);
}

/* Criterion copies these: no pointers. */
struct fault {
        unsigned calls;
        int error;
        uint64_t n_failing;
        size_t torn_bytes;
        bool lose_names;
};

static uint64_t trial_run(const struct fault *fault, uint64_t fail_at)
{
        struct trial trial;
        uint64_t n_calls;

        trial_init(&trial);
        trial.faulty.calls = fault->calls;
        trial.faulty.error = fault->error;
        trial.faulty.n_failing = fault->n_failing;
        trial.faulty.torn_bytes = fault->torn_bytes;
        trial.faulty.fail_at = fail_at;
        work(&trial, fail_at);
        if (fault->n_failing < UINT64_MAX)
                recover_and_finish(&trial, fail_at);
        n_calls = trial.faulty.n_calls;
        lanemap_writer_close(trial.writer);
        if (fault->n_failing == UINT64_MAX)
                faulty_files_cut_power(&trial.faulty, fault->lose_names, fail_at);
        reopen_and_compare(&trial, fail_at);
        trial_deinit(&trial);
        return n_calls;
}

ParameterizedTestParameters(writer_faults, nth_call)
{
        static struct fault faults[] = {
                {FAULTY_ALL & ~FAULTY_CLOSE, -EIO, 1, 0, false},
                {FAULTY_PWRITE | FAULTY_ALLOCATE | FAULTY_OPEN, -ENOSPC, 3, 100, false},
                {FAULTY_SYNC | FAULTY_SYNC_DIRECTORY | FAULTY_RENAME, -EIO, 3, 0, false},
                {FAULTY_ALL, -EIO, UINT64_MAX, 0, false},
                {FAULTY_ALL, -EIO, UINT64_MAX, 50, true},
        };

        return cr_make_param_array(struct fault, faults, LANEMAP_N_ELEMENTS(faults));
}

ParameterizedTest(struct fault *fault, writer_faults, nth_call, .timeout = 600)
{
        uint64_t n_calls = trial_run(fault, 0);
        uint64_t n_trials = rng_test_steps(14),
                 stride = LANEMAP_MAX(n_calls / n_trials, UINT64_C(1));

        /* The first calls are those of open; later ones, every so many. */
        cr_assert_gt(n_calls, 20);
        for (uint64_t n = 1; n <= n_calls; n += n < 12 ? 1 : stride)
                (void)trial_run(fault, n);
}
