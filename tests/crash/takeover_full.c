/*
 * A writer dies while /dev/shm is full to the last byte, and its successor comes up on the spare
 * object (S4, R4, W5): whatever lanes, flush sizes and postings there are, and whatever a record of
 * the log touches. All that was acknowledged is there then, and writing goes on when there is room.
 *
 * Usage: takeover_full [--rounds N] [--seed S]. Where namespaces are not permitted: skipped.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "small_room.h"
#include "engine.h"
#include "writer/core/engine.h"
#include "writer/life/life.h"

#define OPS_MAX 256

struct takeover {
        struct scratch scratch;
        struct model model;
        struct rng rng;
        uint64_t seed;
        uint64_t shm_bytes;
        uint32_t n_lanes;     /* 0: the default */
        uint64_t flush_bytes; /* 0: adapts */
        uint32_t n_keys;
        uint32_t n_ids; /* of a posting, at most */
};

static void say(const struct takeover *takeover, const char *what)
{
        printf("%s: /dev/shm of %" PRIu64 " KiB, %" PRIu32 " lanes, flush_bytes %" PRIu64
               ", %" PRIu32 " keys of %" PRIu32 " ids, seed %" PRIu64 "\n",
               what, takeover->shm_bytes >> 10, takeover->n_lanes, takeover->flush_bytes,
               takeover->n_keys, takeover->n_ids, takeover->seed);
}

static struct lanemap_writer *writer_up(struct takeover *takeover)
{
        struct lanemap_error error = {{0}};
        struct lanemap_writer_options options = {
                .size = sizeof(options),
                .name = takeover->scratch.name,
                .directory = takeover->scratch.directory,
                .n_lanes = takeover->n_lanes,
                .flush_bytes = takeover->flush_bytes,
                .appendfsync = LANEMAP_APPENDFSYNC_NO,
                .error = &error,
        };
        struct lanemap_writer *writer = NULL;

        if (lanemap_writer_open(&options, &writer) < 0) {
                printf("it does not start: %s\n", error.text);
                say(takeover, "with");
                room_print();
                abort();
        }
        return writer;
}

static void judge(struct takeover *takeover, struct lanemap_writer *writer, const char *when)
{
        struct lanemap_reader *reader;
        char why[300];

        must(lanemap_reader_attach(takeover->scratch.name, NULL, &reader) == 0);
        if (!engine_matches(writer, reader, &takeover->model, why, sizeof(why))) {
                printf("%s: %s\n", when, why);
                say(takeover, "with");
                abort();
        }
        lanemap_reader_detach(reader);
}

/* Return: what refused a part of it, which the model does not have then. */
static int apply(struct takeover *takeover, struct lanemap_writer *writer,
                 const struct lanemap_op *ops, size_t n_ops)
{
        size_t n_applied = 0;
        int r = lanemap_writer_apply(writer, ops, n_ops, NULL, &n_applied, NULL);

        for (size_t i = 0; i < n_applied; i++)
                (void)model_apply(&takeover->model, &ops[i]);
        must(r == 0 || r == -ENOSPC);
        return r;
}

static int batch_apply(struct takeover *takeover, struct lanemap_writer *writer)
{
        static struct lanemap_op ops[OPS_MAX];
        static char keys[OPS_MAX][16];
        size_t n = 1 + (size_t)rng_below(&takeover->rng, OPS_MAX);

        for (size_t i = 0; i < n; i++) {
                bool add = rng_chance(&takeover->rng, 80);

                ops[i] = (struct lanemap_op){
                        .code = add ? LANEMAP_OP_ADD : LANEMAP_OP_REMOVE,
                        .id = (uint32_t)rng_below(&takeover->rng, takeover->n_ids),
                        .key = keys[i],
                        .key_bytes = (size_t)sprintf(
                                keys[i], "%u",
                                (uint32_t)rng_below(&takeover->rng, takeover->n_keys)),
                };
        }
        return apply(takeover, writer, ops, n);
}

static void world_init(struct takeover *takeover)
{
        char options[32];

        rng_init(&takeover->rng, takeover->seed);
        model_init(&takeover->model);
        snprintf(options, sizeof(options), "size=%" PRIu64, takeover->shm_bytes);
        must(room_mount("/dev/shm", options) == 0);
        scratch_init(&takeover->scratch, "full");
}

static void world_deinit(struct takeover *takeover)
{
        scratch_deinit(&takeover->scratch);
        model_deinit(&takeover->model);
        must(umount2("/dev/shm", MNT_DETACH) == 0);
}

/* Everything that it gave back by dying is taken, too, before the next one begins. */
static struct lanemap_writer *crash(struct takeover *takeover, struct lanemap_writer *writer)
{
        must(lanemap_writer_sync(writer, lanemap_writer_position(writer)) == 0);
        room_fill(ROOM_FILLER);
        lanemap_engine_abandon(writer);
        room_fill(ROOM_FILLER);
        return writer_up(takeover);
}

static void resume_await(struct takeover *takeover, struct lanemap_writer *writer)
{
        static const struct lanemap_op op = {LANEMAP_OP_ADD, 77, "resumed", 7};
        uint64_t until_ns = now_ns() + UINT64_C(10000000000);

        must(unlink(ROOM_FILLER) == 0);
        while (apply(takeover, writer, &op, 1) < 0 && now_ns() < until_ns)
                (void)usleep(10000);
        must(model_contains(&takeover->model, "resumed", 7, 77));
}

static void random_round(uint64_t seed)
{
        struct takeover takeover = {.seed = seed};
        struct lanemap_writer *writer;
        int r = 0;

        rng_init(&takeover.rng, seed);
        takeover.n_lanes = 4 + (uint32_t)rng_below(&takeover.rng, 61);
        takeover.shm_bytes = (700 + rng_below(&takeover.rng, (8 << 10) - 700)) << 10;
        takeover.flush_bytes = rng_below(&takeover.rng, 2) ? 0 : 16 << rng_below(&takeover.rng, 17);
        takeover.n_ids =
                rng_below(&takeover.rng, 2) ? 2 + (uint32_t)rng_below(&takeover.rng, 119) : 1000;
        takeover.n_keys = 1 + (uint32_t)rng_below(&takeover.rng, 2000);
        world_init(&takeover);
        writer = writer_up(&takeover);
        for (int i = 0; i < 4; i++) {
                int n_batches = 1 + (int)rng_below(&takeover.rng, 100);

                for (int k = 0; k < n_batches && r == 0; k++)
                        r = batch_apply(&takeover, writer);
                if (i == 0)
                        spare_await(takeover.scratch.name);
                writer = crash(&takeover, writer);
                judge(&takeover, writer, "full, with a successor");
                r = 0;
                if (i == 2) {
                        resume_await(&takeover, writer);
                        spare_await(takeover.scratch.name);
                }
        }
        lanemap_writer_close(writer);
        world_deinit(&takeover);
}

/* One key of so many ids, in a segment; one more in the log. */
static void one_posting(uint32_t n_ids)
{
        struct takeover takeover = {.shm_bytes = 8 << 20, .n_keys = 1, .n_ids = n_ids};
        struct lanemap_op ops[OPS_MAX];
        struct lanemap_writer *writer;

        world_init(&takeover);
        writer = writer_up(&takeover);
        for (uint32_t at = 0, n; at < n_ids; at += n) {
                n = LANEMAP_MIN(n_ids - at, (uint32_t)OPS_MAX);
                for (uint32_t i = 0; i < n; i++)
                        ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, 2 * (at + i), "key", 3};
                must(apply(&takeover, writer, ops, n) == 0);
        }
        must(engine_request(writer, LANEMAP_REQUEST_FLUSH) == 0);
        ops[0].id = 1;
        must(apply(&takeover, writer, ops, 1) == 0);
        spare_await(takeover.scratch.name);
        writer = crash(&takeover, writer);
        judge(&takeover, writer, "one posting, full, with a successor");
        /* Once more: what the successor has set aside serves the next one. */
        (void)apply(&takeover, writer, &(struct lanemap_op){LANEMAP_OP_ADD, 3, "key", 3}, 1);
        writer = crash(&takeover, writer);
        judge(&takeover, writer, "one posting, full, the second time");
        resume_await(&takeover, writer);
        judge(&takeover, writer, "one posting, with room again");
        lanemap_writer_close(writer);
        world_deinit(&takeover);
}

int main(int argc, char **argv)
{
        uint64_t n_rounds = argument_u64(argc, argv, "--rounds", 24);
        uint64_t seed = argument_seed(argc, argv);

        if (!room_private())
                return ROOM_SKIPPED;

        for (uint32_t n_ids = 1000; n_ids <= 256000; n_ids *= 4)
                one_posting(n_ids);
        one_posting(3000);
        for (uint64_t i = 0; i < n_rounds; i++)
                random_round(seed + i);
        printf("%" PRIu64 " rounds of four takeovers\n", n_rounds);
        return 0;
}
