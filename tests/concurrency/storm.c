/*
 * Readers of every kind of misfortune against a writer at full speed; every answer judged.
 *
 *         storm [--seconds N] [--readers N] [--seed S] [--immediate-reuse] [--quarantine-ms N]
 *               [--takeover-ms N]
 *               [--kind packed|recsplit|bbhash|mixed] [--fingerprint-bits 64|80|96] [--views]
 *
 * Readers are stopped, continued, killed, forked and attached anew all the time (R1, R4, R6, R8);
 * the writer is killed every takeover-ms and succeeded (R10, W3). With --immediate-reuse freed
 * memory is reused at once, so that only validation keeps the answers true: a run in which nothing
 * had to be tried again proved nothing, and fails. So does one without enough flushes, merges,
 * growths and flips. With --views most lookups are views that take their time (R9); together with
 * --immediate-reuse some of them have to have been told that what they read may be false.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "storm.h"

/* A run of two seconds has a tenth of these, and most of what it needs. */
#define OPERATIONS_MORE_MAX UINT64_C(4000000)
#define COMES_UP_NS         UINT64_C(120000000000)

struct control {
        struct storm *storm;
        struct rng rng;
        uint32_t n_readers;
        pid_t readers[STORM_READERS_MAX];
        bool stopped[STORM_READERS_MAX];
        pid_t writer;
        uint64_t n_signals, n_killed;
        uint64_t takeover_ns;
};

static pid_t spawn(struct control *control, bool writer)
{
        uint64_t seed = rng_next(&control->rng);
        pid_t pid;

        fflush(stdout);
        pid = fork();
        must(pid >= 0);
        if (pid == 0 && writer)
                storm_writer_main(control->storm, seed);
        if (pid == 0)
                storm_reader_main(control->storm, seed);
        return pid;
}

/* An end that nobody asked for is a crash. */
static void end_judge(struct control *control, const char *who, int status, bool killed)
{
        if (WIFSIGNALED(status) && !(killed && WTERMSIG(status) == SIGKILL))
                storm_wrong(control->storm, "the %s died by signal %d", who, WTERMSIG(status));
        else if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
                storm_wrong(control->storm, "the %s ended with status %d", who,
                            WEXITSTATUS(status));
}

static void reader_kill(struct control *control, uint32_t i)
{
        int status;

        must(kill(control->readers[i], SIGKILL) == 0);
        must(waitpid(control->readers[i], &status, 0) == control->readers[i]);
        end_judge(control, "reader", status, true);
        control->stopped[i] = false;
        control->readers[i] = spawn(control, false);
        control->n_killed++;
}

static void signal_send(struct control *control)
{
        uint32_t i = (uint32_t)rng_below(&control->rng, control->n_readers);

        control->n_signals++;
        if (rng_below(&control->rng, 60) == 0) {
                reader_kill(control, i);
                return;
        }

        must(kill(control->readers[i], control->stopped[i] ? SIGCONT : SIGSTOP) == 0);
        control->stopped[i] = !control->stopped[i];
}

static void writer_succeed(struct control *control)
{
        int status;

        __atomic_fetch_add(&control->storm->era, 1, __ATOMIC_SEQ_CST);
        must(kill(control->writer, SIGKILL) == 0);
        must(waitpid(control->writer, &status, 0) == control->writer);
        end_judge(control, "writer", status, true);
        control->writer = spawn(control, true);
        control->storm->writer.n_takeovers++;
}

/* Until the running writer has said what came back; an odd era is not interrupted. */
static bool writer_is_up(const struct control *control)
{
        return !(lanemap_load_acquire(&control->storm->era) & 1);
}

/* A run that saw less than this proved nothing. */
static bool enough_happened(const struct storm *storm)
{
        return lanemap_load_relaxed(&storm->writer.n_flushes) >= 20 &&
               lanemap_load_relaxed(&storm->writer.n_merges) >= STORM_MERGES_LEAST &&
               lanemap_load_relaxed(&storm->writer.n_growths) >= 5 &&
               lanemap_load_relaxed(&storm->writer.n_flips) >= 1 &&
               lanemap_load_relaxed(&storm->readers.n_strict) > 0 &&
               (!storm->immediate_reuse || lanemap_load_relaxed(&storm->readers.n_retries) > 0) &&
               (!storm->immediate_reuse || !storm->views ||
                lanemap_load_relaxed(&storm->readers.n_views_void) > 0);
}

/*
 * Until the time is up, and then until enough has happened: writers ask for it, and have to get
 * there within so many operations, however long a slow machine takes for them. Takeovers go on,
 * since what a successor finds is merged.
 */
static void storm_run(struct control *control, uint64_t until_ns)
{
        struct storm *storm = control->storm;
        uint64_t takeover_at_ns = now_ns() + control->takeover_ns, n_operations_max = 0;

        while (!lanemap_load_relaxed(&storm->stop)) {
                struct timespec pause = {.tv_nsec =
                                                 (long)rng_below(&control->rng, 2000000) + 20000};
                uint64_t n_operations = lanemap_load_relaxed(&storm->writer.n_operations);

                if (now_ns() >= until_ns && !storm->hurry) {
                        n_operations_max = n_operations + OPERATIONS_MORE_MAX;
                        lanemap_store_relaxed(&storm->hurry, 1);
                }
                if (storm->hurry && writer_is_up(control) &&
                    (enough_happened(storm) || n_operations > n_operations_max))
                        break;

                signal_send(control);
                (void)nanosleep(&pause, NULL);
                if (now_ns() > takeover_at_ns && writer_is_up(control)) {
                        writer_succeed(control);
                        /* A slow one has to get somewhere. */
                        if (storm->hurry)
                                control->takeover_ns *= 2;
                        takeover_at_ns = now_ns() + control->takeover_ns;
                }
                if (now_ns() > until_ns + COMES_UP_NS && !writer_is_up(control))
                        storm_wrong(storm, "the writer does not come up");
        }
}

static void storm_end(struct control *control)
{
        int status;

        lanemap_store_release(&control->storm->stop_writer, 1);
        must(waitpid(control->writer, &status, 0) == control->writer);
        end_judge(control, "writer", status, false);
        lanemap_store_release(&control->storm->stop, 1);
        for (uint32_t i = 0; i < control->n_readers; i++) {
                must(kill(control->readers[i], SIGCONT) == 0);
                must(waitpid(control->readers[i], &status, 0) == control->readers[i]);
                end_judge(control, "reader", status, false);
        }
}

static void storm_report(const struct control *control)
{
        const struct storm_writer_counts *w = &control->storm->writer;
        const struct storm_reader_counts *r = &control->storm->readers;

        printf("%" PRIu64 " lookups (%" PRIu64 " judged by what was published, %" PRIu64
               " of trees), %u wrong, %" PRIu64 " tried again, %" PRIu64 " given up\n",
               r->n_lookups, r->n_strict, r->n_long, control->storm->n_wrong, r->n_retries,
               r->n_again);
        printf("%" PRIu64 " views, %" PRIu64 " of them not believed\n", r->n_views,
               r->n_views_void);
        printf("%" PRIu64 " signals, %" PRIu64 " readers killed, %" PRIu64 " forks, %" PRIu64
               " attaches, %" PRIu64 " generations followed\n",
               control->n_signals, control->n_killed, r->n_forks, r->n_attaches,
               r->n_reattachments);
        printf("%" PRIu64 " operations, %" PRIu64 " flushes, %" PRIu64 " merges, %" PRIu64
               " growths, %" PRIu64 " flips, %" PRIu64 " takeovers\n",
               w->n_operations, w->n_flushes, w->n_merges, w->n_growths, w->n_flips,
               w->n_takeovers);
        printf("retry rate %.3g\n", r->n_lookups ? (double)r->n_retries / (double)r->n_lookups : 0);
}

static bool storm_proved(const struct storm *storm)
{
        if (storm->n_wrong > 0) {
                printf("WRONG: %s\n", storm->wrong);
                return false;
        }
        if (!enough_happened(storm)) {
                printf("too little happened, or nothing had to be tried again: this run proves "
                       "nothing\n");
                return false;
        }

        return true;
}

int main(int argc, char **argv)
{
        uint64_t seconds = argument_u64(argc, argv, "--seconds", 8);
        struct control control = {
                .n_readers = (uint32_t)argument_u64(argc, argv, "--readers", 3),
                .takeover_ns = argument_u64(argc, argv, "--takeover-ms", 1500) * 1000000,
        };
        struct scratch scratch;
        bool good;

        rng_init(&control.rng, argument_seed(argc, argv));
        argument_shape(argc, argv);
        must(control.n_readers >= 1 && control.n_readers <= STORM_READERS_MAX);
        (void)setenv("TMPDIR", "/dev/shm", 0);
        scratch_init(&scratch, "storm");
        control.storm = mmap(NULL, sizeof(*control.storm), PROT_READ | PROT_WRITE,
                             MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        must(control.storm != MAP_FAILED);
        control.storm->scratch = scratch;
        control.storm->immediate_reuse = argument_flag(argc, argv, "--immediate-reuse");
        control.storm->quarantine_ns =
                argument_u64(argc, argv, "--quarantine-ms", 0) * UINT64_C(1000000);
        control.storm->views = argument_flag(argc, argv, "--views");
        control.storm->era = 1;

        control.writer = spawn(&control, true);
        for (uint32_t i = 0; i < control.n_readers; i++)
                control.readers[i] = spawn(&control, false);
        storm_run(&control, now_ns() + seconds * UINT64_C(1000000000));
        storm_end(&control);
        storm_report(&control);
        good = storm_proved(control.storm);
        scratch_deinit(&scratch);
        return !good;
}
