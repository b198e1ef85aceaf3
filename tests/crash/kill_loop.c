/*
 * The writer is killed, again and again, and what comes back is compared with what it had promised.
 *
 *         kill_loop [--rounds N] [--seed S]
 *                    [--kind packed|recsplit|bbhash|mixed] [--fingerprint-bits 64|80|96]
 *
 * A child applies batches of versions (tests/concurrency/versions.h), each with its number as the
 * mark, and tells in shared memory what it has sent and what the engine called durable. It dies by
 * SIGKILL: at a random moment, or at the n-th file operation, n enumerated, also in the midst of
 * its own recovery; every fourth round at a random moment after it has flushed. Then this process
 * opens the index: it must be exactly what it was after some batch between the last durable one and
 * the last one sent, pairs, counts and mark (W2, W3).
 *
 * Two readers are attached all the while and judge every answer (storm_reader.c); one more tells
 * how old the state is (R8).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../concurrency/storm.h"
#include "engine.h"
#include "writer/core/engine.h"
#include "writer/life/life.h"

#define BATCH_MAX   24
#define BATCHES_MAX 20000
#define N_READERS   2

struct batch {
        uint64_t position;
        uint32_t n;
        uint32_t keys[BATCH_MAX];
        uint64_t versions[BATCH_MAX];
};

/* What one child tells. */
struct round {
        uint64_t base; /* the mark that the round began with */
        uint64_t n_sent;
        uint64_t n_durable;
        uint32_t is_up;
        uint32_t flush_asked; /* the child asks for a flush soon after it is up */
        uint64_t n_flushes;
        struct batch batches[BATCHES_MAX];
};

struct loop {
        struct storm *storm;
        struct round *round;
        struct scratch scratch;
        struct rng rng;
        struct lanemap_reader *reader;
        uint64_t versions[STORM_KEYS]; /* as of the last verification */
        uint64_t n_rounds, n_batches, n_undone, n_in_open, n_flushes, n_file_operation_kills;
        uint64_t generation;
};

static struct loop loop;

/* ---- a file layer that ends the process ---- */

static uint64_t n_operations_left = UINT64_MAX; /* before the n-th one */

static void operation(void)
{
        if (__atomic_sub_fetch(&n_operations_left, 1, __ATOMIC_RELAXED) == 0)
                kill(getpid(), SIGKILL);
}

static int killing_open(const struct lanemap_files *files, int dir_fd, const char *name, int flags,
                        mode_t mode)
{
        if (flags & O_CREAT)
                operation();
        return lanemap_files_posix.open(files, dir_fd, name, flags, mode);
}

static ssize_t killing_pwrite(const struct lanemap_files *files, int fd, const void *bytes,
                              size_t n_bytes, off_t at)
{
        operation();
        return lanemap_files_posix.pwrite(files, fd, bytes, n_bytes, at);
}

static int killing_allocate(const struct lanemap_files *files, int fd, off_t at, off_t n_bytes)
{
        operation();
        return lanemap_files_posix.allocate(files, fd, at, n_bytes);
}

static int killing_sync(const struct lanemap_files *files, int fd)
{
        operation();
        return lanemap_files_posix.sync(files, fd);
}

static int killing_sync_directory(const struct lanemap_files *files, int dir_fd)
{
        operation();
        return lanemap_files_posix.sync_directory(files, dir_fd);
}

static int killing_rename(const struct lanemap_files *files, int dir_fd, const char *from,
                          const char *to)
{
        operation();
        return lanemap_files_posix.rename(files, dir_fd, from, to);
}

static int killing_unlink(const struct lanemap_files *files, int dir_fd, const char *name)
{
        operation();
        return lanemap_files_posix.unlink(files, dir_fd, name);
}

static struct lanemap_files killing_files(void)
{
        struct lanemap_files files = lanemap_files_posix;

        files.open = killing_open;
        files.pwrite = killing_pwrite;
        files.allocate = killing_allocate;
        files.sync = killing_sync;
        files.sync_directory = killing_sync_directory;
        files.rename = killing_rename;
        files.unlink = killing_unlink;
        return files;
}

/* ---- the child ---- */

static struct lanemap_writer_options options_of(const struct lanemap_writer_hooks *hooks)
{
        struct lanemap_writer_options options = {
                .n_lanes = 4,
                .flush_bytes = 30000,
                .log_file_bytes = 64 << 10,
                .hooks = hooks,
        };

        index_shape(&options);
        return options;
}

static void durable_tell(struct lanemap_writer *writer)
{
        struct round *round = loop.round;
        uint64_t durable = lanemap_writer_durable(writer, NULL), n = round->n_durable;

        while (n < round->n_sent && round->batches[n].position <= durable) {
                const struct batch *batch = &round->batches[n++];

                for (uint32_t i = 0; i < batch->n; i++)
                        lanemap_store_relaxed(&loop.storm->keys[batch->keys[i]].durable,
                                              batch->versions[i]);
        }
        lanemap_store_release(&round->n_durable, n);
}

static void batch_send(struct lanemap_writer *writer)
{
        struct round *round = loop.round;
        struct batch *batch = &round->batches[round->n_sent];
        struct storm_key *keys = loop.storm->keys;
        struct lanemap_op ops[BATCH_MAX + 1];
        char texts[BATCH_MAX][VERSIONS_KEY_BYTES];
        uint64_t mark = round->base + round->n_sent + 1;

        batch->n = 1 + (uint32_t)rng_below(&loop.rng, BATCH_MAX);
        for (uint32_t i = 0; i < batch->n; i++) {
                uint32_t k = rng_below(&loop.rng, 4) ? (uint32_t)rng_below(&loop.rng, STORM_KEYS)
                                                     : 7 + 64 * (uint32_t)rng_below(&loop.rng, 4);

                batch->keys[i] = k;
                batch->versions[i] = keys[k].started + 1;
                ops[i] = versions_op(k, batch->versions[i]);
                ops[i].key = texts[i];
                ops[i].key_bytes = versions_key(k, texts[i]);
                lanemap_store_release(&keys[k].started, batch->versions[i]);
                if (keys[k].highest < batch->versions[i])
                        lanemap_store_release(&keys[k].highest, batch->versions[i]);
        }
        ops[batch->n] = (struct lanemap_op){
                .code = LANEMAP_OP_MARK, .key = &mark, .key_bytes = sizeof(mark)};
        batch->position = UINT64_MAX;
        lanemap_store_release(&round->n_sent, round->n_sent + 1);

        must(lanemap_writer_apply(writer, ops, batch->n + 1, NULL, NULL, &batch->position) == 0);
        for (uint32_t i = 0; i < batch->n; i++)
                lanemap_store_release(&keys[batch->keys[i]].finished, batch->versions[i]);
}

_Noreturn static void child_main(uint64_t kill_at)
{
        struct lanemap_files files = killing_files();
        struct lanemap_writer_hooks hooks = {.files = &files};
        struct lanemap_writer_options options = options_of(&hooks);
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        struct lanemap_writer *writer;
        uint64_t ticket;

        n_operations_left = kill_at ? kill_at : UINT64_MAX;
        writer = scratch_writer_open(&loop.scratch, &options);
        __atomic_fetch_add(&loop.storm->era, 1, __ATOMIC_SEQ_CST);
        lanemap_store_release(&loop.round->is_up, 1);

        while (loop.round->n_sent < BATCHES_MAX) {
                batch_send(writer);
                durable_tell(writer);
                if (rng_below(&loop.rng, 8) == 0)
                        (void)lanemap_writer_sync(writer, lanemap_writer_position(writer));
                if (rng_below(&loop.rng, 100) == 0)
                        must(lanemap_writer_request(writer, 1 + (uint32_t)rng_below(&loop.rng, 3),
                                                    &ticket) == 0);
                if (loop.round->flush_asked && loop.round->n_sent == 8)
                        must(engine_request(writer, LANEMAP_REQUEST_FLUSH) == 0);
                must(lanemap_writer_get_stats(writer, &stats) == 0);
                loop.round->n_flushes = stats.n_flushes;
        }
        for (;;)
                pause();
}

/* ---- verification ---- */

static void wrong(const char *what, uint64_t number)
{
        storm_wrong(loop.storm,
                    "round %" PRIu64 ": %s (%" PRIu64 "); sent %" PRIu64 ", durable %" PRIu64,
                    loop.n_rounds, what, number, loop.round->n_sent, loop.round->n_durable);
}

/* The batch after which the index stopped, by its mark; the versions as of then. */
static bool versions_find(struct lanemap_writer *writer)
{
        const struct round *round = loop.round;
        uint64_t mark = 0, n;
        size_t n_bytes;
        unsigned char bytes[LANEMAP_MARK_BYTES_MAX];

        lanemap_writer_mark(writer, bytes, &n_bytes, NULL);
        if (n_bytes == sizeof(mark))
                memcpy(&mark, bytes, sizeof(mark));
        n = mark - round->base;
        if (mark < round->base || n < round->n_durable || n > round->n_sent) {
                wrong("the mark came back as another one", mark);
                return false;
        }

        for (uint64_t b = 0; b < n; b++)
                for (uint32_t i = 0; i < round->batches[b].n; i++)
                        loop.versions[round->batches[b].keys[i]] = round->batches[b].versions[i];
        loop.n_batches += n;
        loop.n_undone += round->n_sent - n;
        loop.round->base = mark;
        return true;
}

static void index_verify(struct lanemap_writer *writer)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        uint32_t ids[VERSIONS_IDS_MAX], n, first;
        char text[VERSIONS_KEY_BYTES];
        uint64_t n_keys = 0, n_pairs = 0;
        size_t n_ids;

        if (!versions_find(writer))
                return;

        for (uint32_t k = 0; k < STORM_KEYS; k++) {
                struct storm_key *key = &loop.storm->keys[k];

                n = versions_ids(k, loop.versions[k], &first);
                n_keys += n > 0;
                n_pairs += n;
                n_ids = 0;
                if (lanemap_writer_lookup(writer, text, versions_key(k, text), ids,
                                          VERSIONS_IDS_MAX, &n_ids, NULL) != 0 ||
                    n_ids != n || (n > 0 && (ids[0] != first || ids[n - 1] != first + n - 1)))
                        wrong("a key came back with other ids", k);
                lanemap_store_relaxed(&key->started, loop.versions[k]);
                lanemap_store_relaxed(&key->finished, loop.versions[k]);
                lanemap_store_relaxed(&key->durable, loop.versions[k]);
        }

        must(lanemap_writer_get_stats(writer, &stats) == 0);
        if (stats.n_keys != n_keys || stats.n_pairs != n_pairs)
                wrong("the counts are not those of the index", stats.n_pairs);
}

/* ---- what a reader can tell ---- */

static struct lanemap_status status_get(void)
{
        struct lanemap_status status = {.size = sizeof(status)};

        must(lanemap_reader_status(loop.reader, &status) == 0);
        return status;
}

/* Nobody is there: the age grows. */
static void age_of_the_dead(void)
{
        (void)status_get();
        (void)usleep(400000);
        if (status_get().heartbeat_age_ns < 250 * 1000000)
                wrong("the heartbeat of a dead writer is young", status_get().heartbeat_age_ns);
}

/* Somebody is there: the age falls within a bounded time, and one lookup is in the new generation.
 */
static void age_of_the_reborn(void)
{
        uint64_t until_ns = now_ns() + UINT64_C(10000000000);
        struct lanemap_status status;
        size_t n_ids;

        do {
                must(lanemap_reader_lookup(loop.reader, "x", 1, NULL, 0, &n_ids) == 0);
                status = status_get();
        } while (now_ns() < until_ns &&
                 (status.generation == loop.generation || status.heartbeat_age_ns > 300 * 1000000));

        if (status.generation == loop.generation || status.state != LANEMAP_STATE_RUNNING)
                wrong("a reborn writer is not followed", status.state);
        loop.generation = status.generation;
}

/* ---- rounds ---- */

static void child_wait(pid_t pid)
{
        int status;

        must(waitpid(pid, &status, 0) == pid);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
                storm_wrong(loop.storm, "round %" PRIu64 ": the writer ended with status 0x%x",
                            loop.n_rounds, status);
}

/* However slow the machine is, some rounds see a flush, and readers that judge what is
 * published. */
static void child_await(pid_t pid)
{
        const struct storm_reader_counts *readers = &loop.storm->readers;
        uint64_t until_ns = now_ns() + UINT64_C(120000000000);

        while ((lanemap_load_relaxed(&loop.round->n_flushes) == 0 ||
                lanemap_load_relaxed(&readers->n_strict) == 0) &&
               !lanemap_load_acquire(&loop.storm->stop)) {
                (void)usleep(1000);
                if (now_ns() > until_ns) {
                        wrong("no flush, or no answer that could be judged", (uint64_t)pid);
                        return;
                }
        }
}

/* Runs a child until it is dead; the era is odd from then on. */
static void child_run(uint64_t kill_at, uint64_t kill_after_us)
{
        pid_t pid;

        rng_init(&loop.rng, rng_next(&loop.rng));
        fflush(stdout);
        pid = fork();
        must(pid >= 0);
        if (pid == 0)
                child_main(kill_at);

        if (kill_at) {
                child_wait(pid);
        } else {
                if (loop.round->flush_asked)
                        child_await(pid);
                (void)usleep((useconds_t)kill_after_us);
                must(kill(pid, SIGKILL) == 0);
                child_wait(pid);
        }
        if (!(lanemap_load_acquire(&loop.storm->era) & 1))
                __atomic_fetch_add(&loop.storm->era, 1, __ATOMIC_SEQ_CST);
}

static void round_run(uint64_t kill_at)
{
        struct lanemap_writer_options options = options_of(NULL);
        struct lanemap_writer *writer;
        bool ages = loop.n_rounds % 10 == 3;
        uint64_t base = loop.round->base;

        loop.round->n_sent = loop.round->n_durable = loop.round->n_flushes = 0;
        loop.round->base = base;
        loop.round->is_up = 0;
        loop.round->flush_asked = loop.n_rounds % 4 == 0;
        child_run(kill_at, 500 + rng_below(&loop.rng, 120000));
        loop.n_in_open += !loop.round->is_up;
        loop.n_flushes += loop.round->n_flushes;
        loop.n_file_operation_kills += kill_at > 0;
        if (ages)
                age_of_the_dead();

        writer = scratch_writer_open(&loop.scratch, &options);
        index_verify(writer);
        if (ages)
                age_of_the_reborn();
        /* The next child recovers the same log again, or begins after a good end. */
        if (rng_below(&loop.rng, 4) == 0)
                lanemap_writer_close(writer);
        else
                lanemap_engine_abandon(writer);
        loop.n_rounds++;
}

static void readers_run(pid_t *pids, bool start)
{
        for (int i = 0; i < N_READERS; i++) {
                int status;

                if (start) {
                        uint64_t seed = rng_next(&loop.rng);

                        fflush(stdout);
                        pids[i] = fork();
                        must(pids[i] >= 0);
                        if (pids[i] == 0)
                                storm_reader_main(loop.storm, seed);
                        continue;
                }
                must(waitpid(pids[i], &status, 0) == pids[i]);
                if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                        storm_wrong(loop.storm, "a reader ended with status 0x%x", status);
        }
}

static void loop_init(void)
{
        struct lanemap_writer_options options = options_of(NULL);

        loop.storm = mmap(NULL, sizeof(*loop.storm), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        loop.round = mmap(NULL, sizeof(*loop.round), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        must(loop.storm != MAP_FAILED && loop.round != MAP_FAILED);
        scratch_init(&loop.scratch, "kill");
        loop.storm->scratch = loop.scratch;
        loop.storm->era = 1;

        /* Before the first child: something to attach to. */
        lanemap_writer_close(scratch_writer_open(&loop.scratch, &options));
        must(lanemap_reader_attach(loop.scratch.name, NULL, &loop.reader) == 0);
}

int main(int argc, char **argv)
{
        uint64_t n_rounds = argument_u64(argc, argv, "--rounds", 40), kill_at = 0;
        uint64_t step = n_rounds < 400 ? 400 / n_rounds : 1;
        const struct storm_reader_counts *readers;
        pid_t pids[N_READERS];

        rng_init(&loop.rng, argument_seed(argc, argv));
        argument_shape(argc, argv);
        loop_init();
        readers_run(pids, true);
        while (loop.n_rounds < n_rounds && !lanemap_load_acquire(&loop.storm->stop)) {
                bool at_operation = loop.n_rounds % 2;

                /* Every n up to 200, then again. */
                if (at_operation)
                        kill_at = (kill_at + 1 + rng_below(&loop.rng, step)) % 200;
                round_run(at_operation ? kill_at + 1 : 0);
        }

        lanemap_store_release(&loop.storm->stop, 1);
        readers_run(pids, false);
        readers = &loop.storm->readers;
        printf("%" PRIu64 " writers killed (%" PRIu64 " at a file operation, %" PRIu64
               " while they came up), %" PRIu64 " batches came back, %" PRIu64
               " unacknowledged ones did not, %" PRIu64 " flushes\n",
               loop.n_rounds, loop.n_file_operation_kills, loop.n_in_open, loop.n_batches,
               loop.n_undone, loop.n_flushes);
        printf("%" PRIu64 " lookups meanwhile (%" PRIu64
               " judged by what was published), %u wrong, "
               "%" PRIu64 " generations followed\n",
               readers->n_lookups, readers->n_strict, loop.storm->n_wrong,
               readers->n_reattachments);
        lanemap_reader_detach(loop.reader);
        scratch_deinit(&loop.scratch);
        return loop.storm->n_wrong > 0 || readers->n_strict == 0 || loop.n_flushes == 0;
}
