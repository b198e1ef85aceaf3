/* See states_session.h. */
#include "states_session.h"

#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#define N_KEYS STATES_KEYS
#define N_IDS  STATES_IDS

uint64_t states_digest(const struct states_model *model)
{
        uint64_t digest = XXH3_64bits(model, sizeof(*model));

        return digest ? digest : 1;
}

struct lanemap_writer_options states_options(const struct lanemap_writer_hooks *hooks)
{
        struct lanemap_writer_options options = {
                .size = sizeof(struct lanemap_writer_options),
                .n_lanes = 2,
                .flush_bytes = 6000,
                .log_file_bytes = 12000,
                .shared_bytes_max = 16 << 20,
                .outcome_limit_ns = 400 * 1000 * 1000,
                .hooks = hooks,
        };

        index_shape(&options);
        return options;
}

static size_t key_of(uint32_t key, char *text)
{
        return (size_t)sprintf(text, "key-%u", key);
}

bool states_read(struct lanemap_writer *writer, struct states_model *model)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        uint64_t n_keys = 0, n_pairs = 0;
        unsigned char mark[LANEMAP_MARK_BYTES_MAX];
        uint32_t ids[N_IDS];
        size_t n_ids, n_bytes;
        char key[16];

        memset(model, 0, sizeof(*model));
        for (uint32_t k = 0; k < N_KEYS; k++) {
                if (lanemap_writer_lookup(writer, key, key_of(k, key), ids, N_IDS, &n_ids, NULL) !=
                            0 ||
                    n_ids > N_IDS)
                        return false;
                for (size_t i = 0; i < n_ids; i++) {
                        if (ids[i] >= N_IDS || (i > 0 && ids[i] <= ids[i - 1]))
                                return false;
                        model->ids[k][ids[i] / 64] |= UINT64_C(1) << (ids[i] % 64);
                }
                n_keys += n_ids > 0;
                n_pairs += n_ids;
        }

        lanemap_writer_mark(writer, mark, &n_bytes, NULL);
        if (n_bytes == sizeof(model->mark))
                memcpy(&model->mark, mark, n_bytes);
        must(lanemap_writer_get_stats(writer, &stats) == 0);
        return stats.n_keys == n_keys && stats.n_pairs == n_pairs &&
               (n_bytes == 0 || n_bytes == sizeof(model->mark));
}

/* ---- batches ---- */

#define OPS_MAX 64

struct batch {
        struct lanemap_op ops[OPS_MAX];
        char keys[OPS_MAX][16];
        uint64_t mark;
        size_t n;
};

static void batch_push(struct batch *batch, struct states_model *model, uint32_t code, uint32_t key,
                       uint32_t id)
{
        struct lanemap_op *op = &batch->ops[batch->n];

        *op = (struct lanemap_op){.code = code, .id = id, .key = batch->keys[batch->n]};
        op->key_bytes = key_of(key, batch->keys[batch->n++]);
        switch (code) {
        case LANEMAP_OP_ADD:
                model->ids[key][id / 64] |= UINT64_C(1) << (id % 64);
                break;
        case LANEMAP_OP_REMOVE:
                model->ids[key][id / 64] &= ~(UINT64_C(1) << (id % 64));
                break;
        case LANEMAP_OP_DELETE:
                memset(model->ids[key], 0, sizeof(model->ids[key]));
                break;
        case LANEMAP_OP_CLEAR:
                memset(model->ids, 0, sizeof(model->ids));
                break;
        default:
                op->key = &batch->mark;
                op->key_bytes = sizeof(batch->mark);
                model->mark = batch->mark;
                break;
        }
}

static uint32_t id_pick(struct rng *rng)
{
        return (uint32_t)rng_below(rng, rng_below(rng, 4) ? 8 : N_IDS);
}

static void batch_make(struct batch *batch, struct states_model *model, struct rng *rng)
{
        uint32_t key = (uint32_t)rng_below(rng, N_KEYS);
        uint32_t n = 1 + (uint32_t)rng_below(rng, 6);

        batch->n = 0;
        batch->mark = rng_next(rng);
        if (rng_below(rng, 30) == 0)
                batch_push(batch, model, LANEMAP_OP_CLEAR, 0, 0);
        if (rng_below(rng, 8) == 0) /* a posting that becomes long */
                for (int i = 0; i < 50; i++)
                        batch_push(batch, model, LANEMAP_OP_ADD, key,
                                   (uint32_t)rng_below(rng, N_IDS));
        for (uint32_t i = 0; i < n; i++) {
                uint32_t what = (uint32_t)rng_below(rng, 16);

                key = (uint32_t)rng_below(rng, N_KEYS);
                batch_push(batch, model,
                           what < 9    ? LANEMAP_OP_ADD
                           : what < 13 ? LANEMAP_OP_REMOVE
                           : what < 15 ? LANEMAP_OP_DELETE
                                       : LANEMAP_OP_MARK,
                           key, id_pick(rng));
        }
        /* Half of them as one group: several keys, all or nothing. */
        if (rng_below(rng, 2))
                for (size_t i = 0; i < batch->n; i++)
                        batch->ops[i].code |= LANEMAP_OP_WITH_NEXT;
}

int states_go_on(struct lanemap_writer *writer, struct states_model *model, struct rng *rng)
{
        struct batch batch;
        uint64_t position;
        int r;

        batch_make(&batch, model, rng);
        r = lanemap_writer_apply(writer, batch.ops, batch.n, NULL, NULL, &position);
        return r < 0 ? r : lanemap_writer_sync(writer, position);
}

/* ---- the session ---- */

struct session {
        struct recording_files files;
        struct lanemap_writer *writer;
        struct states_model model;
        struct rng rng;
        uint64_t positions[STATES_BATCHES_MAX]; /* of the batches of this session */
        uint32_t n_batches;
        uint32_t n_durable;
};

static void durable_note(struct session *session)
{
        uint64_t durable = lanemap_writer_durable(session->writer, NULL);
        uint32_t n = session->n_durable;

        while (n < session->n_batches && session->positions[n] <= durable)
                n++;
        if (n == session->n_durable)
                return;
        session->n_durable = n;
        recording_note(&session->files, EVENT_DURABLE, n);
}

static void batch_run(struct session *session)
{
        struct states_model model = session->model;
        struct batch batch;
        uint64_t position;
        size_t n_applied;
        int r;

        batch_make(&batch, &model, &session->rng);
        recording_note(&session->files, EVENT_SENT, states_digest(&model));
        r = lanemap_writer_apply(session->writer, batch.ops, batch.n, NULL, &n_applied, &position);
        if (r < 0) {
                must(n_applied == 0);
                recording_note(&session->files, EVENT_REFUSED, 0);
                usleep(20000);
                return;
        }

        session->model = model;
        session->positions[session->n_batches++] = position;
        if (rng_below(&session->rng, 3) == 0)
                (void)lanemap_writer_sync(session->writer, position);
}

static void request_run(struct session *session)
{
        uint32_t what = (uint32_t)rng_below(&session->rng, 60);
        uint64_t ticket;

        if (what >= 3)
                return;
        must(lanemap_writer_request(session->writer, 1 + what, &ticket) == 0);
        if (rng_below(&session->rng, 2))
                (void)lanemap_writer_request_wait(session->writer, ticket);
}

_Noreturn void states_session_main(const struct scratch *scratch, struct recording *recording,
                                   uint64_t seed, bool faults)
{
        static struct session session;
        struct lanemap_writer_hooks hooks = {.files = &session.files.files};
        struct lanemap_writer_options options = states_options(&hooks);
        uint64_t n;

        rng_init(&session.rng, seed);
        n = 10 + rng_below(&session.rng, 90);
        options.appendfsync = (uint32_t)rng_below(&session.rng, 3);
        recording_files_init(&session.files, recording);
        rng_init(&session.files.rng, seed ^ 1);
        if (rng_below(&session.rng, 4))
                session.files.kill_at =
                        recording->n_events + 1 +
                        rng_below(&session.rng, rng_below(&session.rng, 2) ? 20 : 12 * n);

        session.writer = scratch_writer_open(scratch, &options);
        must(states_read(session.writer, &session.model));
        recording_note(&session.files, EVENT_RECOVERED, states_digest(&session.model));
        if (faults)
                session.files.fail_once = 40 + rng_below(&session.rng, 100);

        for (uint64_t i = 0; i < n; i++) {
                batch_run(&session);
                request_run(&session);
                durable_note(&session);
                if (rng_below(&session.rng, 2))
                        usleep((useconds_t)rng_below(&session.rng, 400));
        }

        session.files.fail_once = 0;
        if (rng_below(&session.rng, 2)) {
                lanemap_writer_close(session.writer);
                _exit(0);
        }
        kill(getpid(), SIGKILL);
        abort();
}
