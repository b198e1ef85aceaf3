/*
 * Every state that a power cut may leave behind is recovered, and compared with what was promised.
 *
 *         crash_states [--states N] [--seed S]
 *                    [--kind packed|recsplit|bbhash|mixed] [--fingerprint-bits 64|80|96]
 *
 * The method is that of ALICE (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014).
 * A round runs some sessions of the engine (states_session.h), each in a process of its own that is
 * killed at some file operation or closed in good order, over a file layer that records
 * (recording_files.h). Then, behind every single recorded operation, legal states of the disk are
 * made (disk_states.h, state_walk.h), recovered with the real engine, and must equal the index
 * after batch j for some j that is not below what had been reported durable by then and not above
 * what had been sent. The next round begins from one of those states: so crashes hit recoveries
 * too, and recoveries of recoveries. A few rounds more are run where too little has happened by
 * chance.
 *
 * Backups, restores and repairs are backup_states.c's and repair_states.c's.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "state_walk.h"
#include "states_session.h"
#include "writer/core/engine.h"
#include "writer/life/life.h"

#define N_SESSIONS_MAX  4
#define ROUNDS_MORE_MAX 50

/* What may come back: line[low] .. line[high]. */
struct line {
        uint64_t digests[STATES_BATCHES_MAX];
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
                must(line->high + 1 < STATES_BATCHES_MAX);
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

struct judge {
        struct scratch work;  /* where the sessions run */
        struct scratch check; /* where states are recovered */
        struct recording *recording;
        struct state_walk walk;
        struct line line;
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
               what, judge.round, judge.walk.n_seen, judge.line.low, judge.line.high,
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
        disk_state_write(&judge.walk.state, judge.check.directory);
}

static void on_signal(int number)
{
        state_rewrite();
        wrong(number == SIGALRM ? "recovery hangs" : "recovery dies");
}

/* Else a run of one kind would prove nothing of it. */
static void kinds_check(struct lanemap_writer *writer)
{
        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++)
                for (uint32_t s = 0; s < writer->lanes.items[i].n_segments; s++) {
                        must(index_shape_has(writer->lanes.items[i].segments[s]->segment->kind));
                        judge.n_lane_segments++;
                }
        lanemap_mutex_unlock(&writer->lanes.lock);
}

static struct lanemap_writer *state_open(void)
{
        struct lanemap_writer_hooks hooks = {.files = &judge.quiet};
        struct lanemap_writer_options options = states_options(&hooks);
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
static void state_go_on(struct lanemap_writer *writer, struct states_model *model)
{
        struct states_model again;

        if (states_go_on(writer, model, &judge.rng) < 0)
                wrong("a recovered index cannot be written");
        lanemap_engine_abandon(writer);

        writer = state_open();
        if (!states_read(writer, &again) || states_digest(&again) != states_digest(model))
                wrong("a recovered index does not recover again");
        lanemap_engine_abandon(writer);
        judge.n_second_recoveries++;
}

static void state_check(void)
{
        struct lanemap_writer *writer;
        struct states_model model;

        scratch_empty(judge.check.directory);
        disk_state_write(&judge.walk.state, judge.check.directory);
        alarm(60);
        writer = state_open();
        if (!states_read(writer, &model) || !line_has(&judge.line, states_digest(&model))) {
                state_rewrite();
                wrong("recovery lies");
        }

        if (rng_below(&judge.rng, 8) == 0)
                state_go_on(writer, &model);
        else
                lanemap_engine_abandon(writer);
        alarm(0);
        (void)lanemap_writer_unlink(judge.check.name, NULL);
        judge.n_recoveries++;
}

/* One of the states is what the next round begins with. */
static void state_judge(void)
{
        state_check();
        if (!judge.has_next && rng_below(&judge.rng, 400) == 0) {
                scratch_empty(judge.work.directory);
                disk_state_write(&judge.walk.state, judge.work.directory);
                judge.next_line = judge.line;
                judge.has_next = true;
        }
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
                        states_session_main(&judge.work, judge.recording, seed + i * 7919, faults);
                }
                must(waitpid(pid, &status, 0) == pid);
                judge.n_sessions++;
                judge.n_kills += WIFSIGNALED(status);
                if (WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL) {
                        printf("WRONG: round %" PRIu64 ": a session died by signal %d, in %s\n",
                               judge.round, WTERMSIG(status), judge.work.directory);
                        fflush(stdout);
                        _exit(1);
                }
        }
}

/* A run that saw less than this proved nothing. */
static bool enough_happened(void)
{
        return judge.n_segments > 0 && judge.n_lane_segments > 0 && judge.n_manifests > 0 &&
               judge.n_logs >= 2 && judge.n_second_recoveries > 0;
}

/* Every file operation of the round, and the states behind it, until there are so many. */
static void round_judge(void)
{
        const struct event *event = NULL;

        judge.has_next = false;
        state_walk_here(&judge.walk, judge.line.low, state_judge);
        while ((event = recording_next(judge.recording, event)) &&
               (judge.walk.n_seen < judge.n_target || !enough_happened())) {
                event_count(event);
                disk_apply(&judge.walk.disk, event);
                if (!line_apply(&judge.line, event))
                        wrong("what a killed process left came back wrong");
                /* What only the caller was told makes no new state. */
                if (event->kind < EVENT_SENT || event->kind == EVENT_DURABLE)
                        state_walk_here(&judge.walk, judge.line.low, state_judge);
        }
}

static void round_run(bool fresh)
{
        static const struct states_model nothing;

        (void)lanemap_writer_unlink(judge.work.name, NULL);
        if (fresh) {
                scratch_empty(judge.work.directory);
                memset(&judge.line, 0, sizeof(judge.line));
                judge.line.digests[0] = states_digest(&nothing);
        } else {
                judge.line = judge.next_line;
        }

        recording_reset(judge.recording);
        disk_load(&judge.walk.disk, judge.recording, judge.work.directory);
        sessions_run(rng_next(&judge.rng));
        round_judge();
}

static void judge_init(uint64_t n_states)
{
        judge.n_target = n_states;
        judge.recording = recording_new(UINT64_C(256) << 20);
        state_walk_init(&judge.walk, rng_next(&judge.rng), n_states);
        judge.quiet = files_without_sync();
        scratch_init(&judge.work, "states");
        scratch_init(&judge.check, "states");
        signal(SIGABRT, on_signal);
        signal(SIGSEGV, on_signal);
        signal(SIGBUS, on_signal);
        signal(SIGALRM, on_signal);
}

int main(int argc, char **argv)
{
        uint64_t n_states = argument_u64(argc, argv, "--states", 3000), start_ns = now_ns(),
                 n_more = 0;

        rng_init(&judge.rng, argument_seed(argc, argv));
        argument_shape(argc, argv);
        /* No sync is executed, so the disk would only slow it down. */
        (void)setenv("TMPDIR", "/dev/shm", 0);
        judge_init(n_states);
        while (judge.walk.n_seen < n_states || (!enough_happened() && n_more++ < ROUNDS_MORE_MAX)) {
                round_run(judge.round == 0 || !judge.has_next || rng_below(&judge.rng, 3) == 0);
                judge.round++;
        }

        printf("%" PRIu64 " distinct states of the disk, %" PRIu64 " recoveries and %" PRIu64
               " second ones, 0 wrong, in %.1f s\n",
               judge.walk.n_seen, judge.n_recoveries, judge.n_second_recoveries,
               (double)(now_ns() - start_ns) / 1e9);
        printf("%" PRIu64 " rounds, %" PRIu64 " sessions (%" PRIu64 " killed), %" PRIu64
               " file operations, %" PRIu64 " segment files, %" PRIu64 " manifests, %" PRIu64
               " log files, %" PRIu64 " failed syncs\n",
               judge.round, judge.n_sessions, judge.n_kills, judge.n_events, judge.n_segments,
               judge.n_manifests, judge.n_logs, judge.n_failed_syncs);
        state_walk_deinit(&judge.walk);
        scratch_deinit(&judge.work);
        scratch_deinit(&judge.check);
        if (!enough_happened())
                printf("too little happened: this run proves nothing\n");
        return !enough_happened();
}
