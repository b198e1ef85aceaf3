/*
 * A process that writes and is killed at a random moment, then a recovery beside the model.
 *
 * Both processes make the same batches from the same seed. Each batch ends with a mark that is its
 * number, so the mark that is there after the recovery says how many batches are; and since a batch
 * is one record, the state must be the model's after exactly so many.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/check.h"
#include "world.h"

/* What the child tells, in one write each. */
struct message {
        uint64_t n_sent;  /* batches that an apply was begun for */
        uint64_t n_acked; /* batches that are durable */
};

static void tell(int fd, uint64_t n_sent, uint64_t n_acked)
{
        struct message message = {n_sent, n_acked};

        lanemap_check(write(fd, &message, sizeof(message)) == sizeof(message));
}

/* The next batch, with its number as a mark behind it. */
static void batch_make_numbered(struct rng *rng, const struct world *world, uint64_t number,
                                struct world_batch *batch)
{
        struct world_config config = world->config;
        char *key;

        /* What a record does after a CLEAR of its own shows in a replay only. */
        config.clear_one_in = 30;
        world_batch_make(rng, &config, &world->model, batch);
        if (batch->n == WORLD_BATCH_OPS_MAX)
                batch->n--;
        key = batch->keys[batch->n];
        snprintf(key, WORLD_KEY_BYTES_MAX, "%" PRIu64, number);
        batch->ops[batch->n++] = (struct lanemap_op){LANEMAP_OP_MARK, 0, key, strlen(key)};
}

static _Noreturn void child_main(struct world *world, uint64_t seed, uint64_t n_batches, int fd)
{
        static struct world_batch batch;
        struct rng rng, own;
        uint64_t n_acked = 0, ticket;

        rng_init(&rng, seed);
        rng_init(&own, seed + 1);
        world_open(world);
        for (uint64_t i = 1; i <= n_batches; i++) {
                uint64_t position;

                batch_make_numbered(&rng, world, i, &batch);
                tell(fd, i, n_acked);
                if (lanemap_writer_apply(world->writer, batch.ops, batch.n, NULL, NULL,
                                         &position) != 0)
                        _exit(3);
                for (size_t k = 0; k < batch.n; k++)
                        (void)model_apply(&world->model, &batch.ops[k]);

                if (rng_below(&own, 4) == 0) {
                        if (lanemap_writer_sync(world->writer, position) != 0)
                                _exit(4);
                        n_acked = i;
                        tell(fd, i, n_acked);
                }
                if (rng_below(&own, 12) == 0)
                        (void)lanemap_writer_request(
                                world->writer, LANEMAP_REQUEST_FLUSH + (uint32_t)rng_below(&own, 3),
                                &ticket);
        }
        _exit(0);
}

/* Reads what the child tells, and kills it when it has acknowledged enough. */
static struct message child_watch(struct world *world, pid_t child, int fd, uint64_t n_acked_wanted)
{
        struct message message, last = {0};
        bool killed = false;
        int status;

        while (read(fd, &message, sizeof(message)) == sizeof(message)) {
                last = message;
                if (last.n_acked >= n_acked_wanted && !killed) {
                        /* Somewhere in the midst of what it does next. */
                        usleep((useconds_t)rng_below(&world->rng, 3000));
                        kill(child, SIGKILL);
                        killed = true;
                }
                if (world->reader) {
                        int r = lanemap_reader_contains(world->reader, "public.t0.c=0", 13, 1);

                        if (r < 0)
                                world_fail(world, "a lookup while the writer dies: %d", r);
                }
        }

        lanemap_check(waitpid(child, &status, 0) == child);
        if (!(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) &&
            !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
                world_fail(world, "the writing process ended with status %x", (unsigned)status);
        return last;
}

static uint64_t mark_number(struct world *world)
{
        char mark[LANEMAP_MARK_BYTES_MAX + 1] = {0};
        size_t n;

        lanemap_writer_mark(world->writer, mark, &n, NULL);
        return strtoull(mark, NULL, 10);
}

void world_kill(struct world *world)
{
        static struct world_batch batch;
        uint64_t seed = rng_next(&world->rng), n_batches = 1 + rng_below(&world->rng, 120);
        uint64_t n_acked_wanted = rng_below(&world->rng, n_batches + n_batches / 4 + 1), n_there;
        struct lanemap_op zero = {LANEMAP_OP_MARK, 0, "0", 1};
        struct message told;
        struct rng rng;
        int fds[2];
        pid_t child;

        if (engine_apply_durably(world->writer, &zero, 1) != 0)
                world_fail(world, "the mark before a kill");
        (void)model_apply(&world->model, &zero);
        world_close(world);

        lanemap_check(pipe(fds) == 0);
        child = fork();
        lanemap_check(child >= 0);
        if (child == 0) {
                close(fds[0]);
                child_main(world, seed, n_batches, fds[1]);
        }
        close(fds[1]);
        told = child_watch(world, child, fds[0], n_acked_wanted);
        close(fds[0]);

        world_open(world);
        n_there = mark_number(world);
        if (n_there < told.n_acked || n_there > told.n_sent)
                world_fail(world,
                           "after a kill %" PRIu64 " batches are there; %" PRIu64
                           " were acknowledged and %" PRIu64 " sent",
                           n_there, told.n_acked, told.n_sent);

        rng_init(&rng, seed);
        for (uint64_t i = 1; i <= n_there; i++) {
                batch_make_numbered(&rng, world, i, &batch);
                for (size_t k = 0; k < batch.n; k++)
                        (void)model_apply(&world->model, &batch.ops[k]);
        }
        world->seen.n_kills++;
}
