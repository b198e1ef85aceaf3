/*
 * Every state that a power cut may leave behind is recovered, and compared with what was promised.
 *
 *         crash_states [--states N] [--seed S]
 *                    [--kind packed|recsplit|bbhash|mixed] [--fingerprint-bits 64|80|96]
 *
 * The method is that of ALICE (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
 * A round runs some sessions of the engine, each in a process of its own that is killed at some
 * file operation or closed in good order, over a file layer that records (recording_files.h). Then,
 * behind every single recorded operation, legal states of the disk are made (disk_states.h),
 * recovered with the real engine, and must equal the index after batch j for some j that is not
 * below what had been reported durable by then and not above what had been sent. The next round
 * begins from one of those states: so crashes hit recoveries too, and recoveries of recoveries.
 *
 * States are counted once however often they come up, by their content; one that comes up again
 * when more had been promised is checked again.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include "disk_states.h"
#include "writer/writer_private.h"

#define N_KEYS         40
#define N_IDS          512
#define N_SESSIONS_MAX 4
#define BATCHES_MAX    4096

/* The index, as far as anybody can ask. */
struct model {
        uint64_t ids[N_KEYS][N_IDS / 64];
        uint64_t mark;
};

static uint64_t model_digest(const struct model *model)
{
        uint64_t digest = XXH3_64bits(model, sizeof(*model));

        return digest ? digest : 1;
}

/* ---- the engine under test ---- */

static int quiet_sync(const struct lanemap_files *files, int fd)
{
        return 0;
}

static struct lanemap_writer_options options_of(const struct lanemap_writer_hooks *hooks)
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

/* Reads everything back. Return: false when the engine contradicts itself. */
static bool model_read(struct lanemap_writer *writer, struct model *model)
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

static void batch_push(struct batch *batch, struct model *model, uint32_t code, uint32_t key,
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

static void batch_make(struct batch *batch, struct model *model, struct rng *rng)
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
}

/* ---- a session: the recorded process ---- */

struct session {
        struct recording_files files;
        struct lanemap_writer *writer;
        struct model model;
        struct rng rng;
        uint64_t positions[BATCHES_MAX]; /* of the batches of this session */
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
        struct model model = session->model;
        struct batch batch;
        uint64_t position;
        size_t n_applied;
        int r;

        batch_make(&batch, &model, &session->rng);
        recording_note(&session->files, EVENT_SENT, model_digest(&model));
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

_Noreturn static void session_main(const struct scratch *scratch, struct recording *recording,
                                   uint64_t seed, bool faults)
{
        static struct session session;
        struct lanemap_writer_hooks hooks = {.files = &session.files.files};
        struct lanemap_writer_options options = options_of(&hooks);
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
        must(model_read(session.writer, &session.model));
        recording_note(&session.files, EVENT_RECOVERED, model_digest(&session.model));
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

/* ---- the judge ---- */

/* What may come back: line[low] .. line[high]. */
struct line {
        uint64_t digests[BATCHES_MAX];
        uint32_t low;
        uint32_t high;
        uint32_t session; /* the state from which the running session began */
};

static bool line_has(const struct line *line, uint64_t digest)
{
        for (uint32_t i = line->low; i <= line->high; i++)
                if (line->digests[i] == digest)
                        return true;
        return false;
}

/* A recovered state is where the line goes on; opening has made it durable. */
static bool line_recover(struct line *line, uint64_t digest)
{
        for (uint32_t i = line->high + 1; i-- > line->low;)
                if (line->digests[i] == digest) {
                        line->low = line->high = line->session = i;
                        return true;
                }
        return false;
}

static bool line_apply(struct line *line, const struct event *event)
{
        switch (event->kind) {
        case EVENT_SENT:
                must(line->high + 1 < BATCHES_MAX);
                line->digests[++line->high] = event->at;
                return true;
        case EVENT_REFUSED:
                line->high--;
                return true;
        case EVENT_DURABLE:
                line->low = LANEMAP_MAX(line->low, line->session + (uint32_t)event->at);
                return true;
        case EVENT_RECOVERED:
                return line_recover(line, event->at);
        default:
                return true;
        }
}

/* Contents that were checked, and against which lower bound: an open table. */
struct seen {
        uint64_t *hashes;
        uint64_t *lows;
        uint64_t n_slots;
        uint64_t n;
};

/* Return: whether it is to be checked. */
static bool seen_add(struct seen *seen, uint64_t hash, uint64_t low)
{
        uint64_t at = hash % seen->n_slots;

        while (seen->hashes[at] && seen->hashes[at] != hash)
                at = (at + 1) % seen->n_slots;
        if (seen->hashes[at] && seen->lows[at] >= low)
                return false;

        must(seen->n < seen->n_slots - seen->n_slots / 4);
        seen->n += !seen->hashes[at];
        seen->hashes[at] = hash;
        seen->lows[at] = low;
        return true;
}

struct judge {
        struct scratch work;  /* where the sessions run */
        struct scratch check; /* where states are recovered */
        struct recording *recording;
        struct disk disk;
        struct disk_state state;
        struct line line;
        struct seen seen;
        struct rng rng;
        struct lanemap_files quiet;
        uint64_t n_target;
        uint64_t n_recoveries, n_second_recoveries;
        uint64_t n_events, n_segments, n_lane_segments, n_manifests, n_logs, n_failed_syncs,
                n_sessions, n_kills;
        uint64_t round;
        bool has_next; /* the next round's beginning has been chosen */
        struct line next_line;
};

static struct judge judge;

static void wrong(const char *what)
{
        char kept[sizeof(judge.check.directory) + 8];

        printf("WRONG: %s: round %" PRIu64 ", %" PRIu64
               " states; want one of the batches %u to %u; "
               "the state is kept in %s.wrong\n",
               what, judge.round, judge.seen.n, judge.line.low, judge.line.high,
               judge.check.directory);
        snprintf(kept, sizeof(kept), "%s.wrong", judge.check.directory);
        (void)rename(judge.check.directory, kept);
        fflush(stdout);
        _exit(1);
}

/* The state as it was, not as recovery left it. */
static void state_rewrite(void)
{
        scratch_empty(judge.check.directory);
        disk_state_write(&judge.state, judge.check.directory);
}

static void on_signal(int number)
{
        state_rewrite();
        wrong(number == SIGALRM ? "recovery hangs" : "recovery dies");
}

/* Else a run of one kind would prove nothing of it. */
static void kinds_check(struct lanemap_writer *writer)
{
        pthread_mutex_lock(&writer->lock);
        for (uint32_t i = 0; i < writer->n_lanes; i++)
                for (uint32_t s = 0; s < writer->lanes[i].n_segments; s++) {
                        must(index_shape_has(writer->lanes[i].segments[s]->segment->kind));
                        judge.n_lane_segments++;
                }
        pthread_mutex_unlock(&writer->lock);
}

static struct lanemap_writer *state_open(void)
{
        struct lanemap_writer_hooks hooks = {.files = &judge.quiet};
        struct lanemap_writer_options options = options_of(&hooks);
        struct lanemap_error error = {{0}};
        struct lanemap_writer *writer;
        int r;

        options.name = judge.check.name;
        options.directory = judge.check.directory;
        options.error = &error;
        r = lanemap_writer_open(&options, &writer);
        if (r < 0) {
                printf("open: %s: %s\n", strerror(-r), error.text);
                state_rewrite();
                wrong("recovery refuses");
        }

        kinds_check(writer);
        return writer;
}

/* The index goes on from the recovered state as if nothing had been. */
static void state_go_on(struct lanemap_writer *writer, struct model *model)
{
        struct model again;
        struct batch batch;
        uint64_t position;

        batch_make(&batch, model, &judge.rng);
        if (lanemap_writer_apply(writer, batch.ops, batch.n, NULL, NULL, &position) < 0 ||
            lanemap_writer_sync(writer, position) < 0)
                wrong("a recovered index cannot be written");
        lanemap_writer_abandon(writer);

        writer = state_open();
        if (!model_read(writer, &again) || model_digest(&again) != model_digest(model))
                wrong("a recovered index does not recover again");
        lanemap_writer_abandon(writer);
        judge.n_second_recoveries++;
}

static void state_check(void)
{
        struct lanemap_writer *writer;
        struct model model;

        scratch_empty(judge.check.directory);
        disk_state_write(&judge.state, judge.check.directory);
        alarm(60);
        writer = state_open();
        if (!model_read(writer, &model) || !line_has(&judge.line, model_digest(&model))) {
                state_rewrite();
                wrong("recovery lies");
        }

        if (rng_below(&judge.rng, 8) == 0)
                state_go_on(writer, &model);
        else
                lanemap_writer_abandon(writer);
        alarm(0);
        (void)lanemap_writer_unlink(judge.check.name, NULL);
        judge.n_recoveries++;
}

static void state_try(struct disk_choice choice)
{
        disk_state_make(&judge.disk, &choice, &judge.rng, &judge.state);
        if (!seen_add(&judge.seen, judge.state.hash, judge.line.low))
                return;

        state_check();
        /* One of the states is what the next round begins with. */
        if (!judge.has_next && rng_below(&judge.rng, 400) == 0) {
                scratch_empty(judge.work.directory);
                disk_state_write(&judge.state, judge.work.directory);
                judge.next_line = judge.line;
                judge.has_next = true;
        }
}

static void states_try(void)
{
        uint32_t n_names = judge.disk.n_pending_names;

        if (disk_n_undecided(&judge.disk) == 0) {
                state_try((struct disk_choice){0});
                return;
        }

        for (uint32_t n = 0; n <= LANEMAP_MIN(n_names, 3); n++)
                for (uint32_t all = 0; all <= 1024; all += 1024)
                        state_try((struct disk_choice){
                                .names_prefix =
                                        n_names <= 3 ? n
                                                     : (uint32_t)rng_below(&judge.rng, n_names + 1),
                                .sectors_of_1024 = all,
                        });
        for (uint32_t i = 0; i < 6; i++)
                state_try((struct disk_choice){
                        .names_prefix = i % 3 == 0 ? n_names : UINT32_MAX,
                        .names_of_1024 = (uint32_t)rng_below(&judge.rng, 1025),
                        .sectors_of_1024 = (uint32_t)rng_below(&judge.rng, 1025),
                        .torn = i % 2,
                });
}

static void event_count(const struct event *event)
{
        judge.n_events++;
        judge.n_failed_syncs += event->kind == EVENT_SYNC_FAILED;
        judge.n_logs += event->kind == EVENT_CREATE && strncmp(event->data, "log-", 4) == 0;
        if (event->kind == EVENT_RENAME) {
                judge.n_segments += strncmp(event->data, "tmp-seg-", 8) == 0;
                judge.n_manifests += strncmp(event->data, "manifest", 8) == 0;
        }
}

static void sessions_run(uint64_t seed)
{
        uint64_t n = 1 + rng_below(&judge.rng, N_SESSIONS_MAX);
        bool faults = rng_below(&judge.rng, 3) == 0;

        for (uint64_t i = 0; i < n; i++) {
                int status;
                pid_t pid = fork();

                must(pid >= 0);
                if (pid == 0) {
                        signal(SIGABRT, SIG_DFL);
                        signal(SIGSEGV, SIG_DFL);
                        session_main(&judge.work, judge.recording, seed + i * 7919, faults);
                }
                must(waitpid(pid, &status, 0) == pid);
                judge.n_sessions++;
                judge.n_kills += WIFSIGNALED(status);
                if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
                        printf("WRONG: round %" PRIu64 ": a session died by signal %d, in %s\n",
                               judge.round, WTERMSIG(status), judge.work.directory);
                        _exit(1);
                }
        }
}

/* Every file operation of the round, and the states behind it. */
static void round_judge(void)
{
        const struct event *event = NULL;

        judge.has_next = false;
        states_try();
        while ((event = recording_next(judge.recording, event)) && judge.seen.n < judge.n_target) {
                event_count(event);
                disk_apply(&judge.disk, event);
                if (!line_apply(&judge.line, event))
                        wrong("what a killed process left came back wrong");
                /* What only the caller was told makes no new state. */
                if (event->kind < EVENT_SENT || event->kind == EVENT_DURABLE)
                        states_try();
        }
}

static void round_run(bool fresh)
{
        static const struct model nothing;

        (void)lanemap_writer_unlink(judge.work.name, NULL);
        if (fresh) {
                scratch_empty(judge.work.directory);
                memset(&judge.line, 0, sizeof(judge.line));
                judge.line.digests[0] = model_digest(&nothing);
        } else {
                judge.line = judge.next_line;
        }

        recording_reset(judge.recording);
        disk_load(&judge.disk, judge.recording, judge.work.directory);
        sessions_run(rng_next(&judge.rng));
        round_judge();
}

static void judge_init(uint64_t n_states)
{
        judge.n_target = n_states;
        judge.recording = recording_new(UINT64_C(256) << 20);
        judge.seen.n_slots = n_states * 2 + 4096;
        judge.seen.hashes = calloc(judge.seen.n_slots, sizeof(uint64_t));
        judge.seen.lows = calloc(judge.seen.n_slots, sizeof(uint64_t));
        must(judge.seen.hashes && judge.seen.lows);
        judge.quiet = lanemap_files_posix;
        judge.quiet.sync = quiet_sync;
        judge.quiet.sync_directory = quiet_sync;
        scratch_init(&judge.work, "states");
        scratch_init(&judge.check, "states");
        signal(SIGABRT, on_signal);
        signal(SIGSEGV, on_signal);
        signal(SIGBUS, on_signal);
        signal(SIGALRM, on_signal);
}

int main(int argc, char **argv)
{
        uint64_t n_states = argument_u64(argc, argv, "--states", 3000), start_ns = now_ns();

        rng_init(&judge.rng, argument_seed(argc, argv));
        argument_shape(argc, argv);
        /* No sync is executed, so the disk would only slow it down. */
        (void)setenv("TMPDIR", "/dev/shm", 0);
        judge_init(n_states);
        while (judge.seen.n < n_states) {
                round_run(judge.round == 0 || !judge.has_next || rng_below(&judge.rng, 3) == 0);
                judge.round++;
        }

        printf("%" PRIu64 " distinct states of the disk, %" PRIu64 " recoveries and %" PRIu64
               " second ones, 0 wrong, in %.1f s\n",
               judge.seen.n, judge.n_recoveries, judge.n_second_recoveries,
               (double)(now_ns() - start_ns) / 1e9);
        printf("%" PRIu64 " rounds, %" PRIu64 " sessions (%" PRIu64 " killed), %" PRIu64
               " file operations, %" PRIu64 " segment files, %" PRIu64 " manifests, %" PRIu64
               " log files, %" PRIu64 " failed syncs\n",
               judge.round, judge.n_sessions, judge.n_kills, judge.n_events, judge.n_segments,
               judge.n_manifests, judge.n_logs, judge.n_failed_syncs);
        disk_state_deinit(&judge.state);
        scratch_deinit(&judge.work);
        scratch_deinit(&judge.check);
        return judge.n_segments == 0 || judge.n_lane_segments == 0 || judge.n_manifests == 0 ||
               judge.n_logs < 2;
}
