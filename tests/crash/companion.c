/* See companion.h. */
#include "companion.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/object.h"

#define N_STABLE    300
#define N_MOVING    1000
#define BATCH       32
#define WAIT_NS     UINT64_C(30000000000)
#define KEY_BYTES   24
#define FLUSH_EVERY 40

static size_t key_text(char kind, uint32_t number, char *ret_text)
{
        return (size_t)snprintf(ret_text, KEY_BYTES, "%c-%" PRIu32, kind, number);
}

struct companion *companion_new(const char *what)
{
        struct companion *companion = mmap(NULL, sizeof(*companion), PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        must(companion != MAP_FAILED);
        scratch_init(&companion->scratch, what);
        return companion;
}

int companion_free(struct companion *companion)
{
        int r = companion->n_wrong > 0;

        if (r)
                fprintf(stderr, "%" PRIu32 " wrong, the first: %s\n", companion->n_wrong,
                        companion->wrong);
        printf("%" PRIu64 " batches, %" PRIu64 " refused, %" PRIu64 " flushes, %" PRIu64
               " flips, %" PRIu64 " flips refused, %" PRIu64 " lookups\n",
               companion->n_batches, companion->n_refused, companion->n_flushes, companion->n_flips,
               companion->n_flips_refused, companion->n_lookups);
        scratch_deinit(&companion->scratch);
        munmap(companion, sizeof(*companion));
        return r;
}

void companion_wrong(struct companion *companion, const char *format, ...)
{
        va_list arguments;

        if (__atomic_fetch_add(&companion->n_wrong, 1, __ATOMIC_RELAXED) != 0)
                return;

        va_start(arguments, format);
        vsnprintf(companion->wrong, sizeof(companion->wrong), format, arguments);
        va_end(arguments);
}

/* ---- processes ---- */

pid_t companion_fork(int (*fn)(struct companion *companion), struct companion *companion)
{
        pid_t pid;

        fflush(NULL);
        pid = fork();
        must(pid >= 0);
        if (pid == 0) {
                must(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
                _exit(fn(companion));
        }

        return pid;
}

void companion_join(struct companion *companion, pid_t pid, const char *what)
{
        int status;

        must(waitpid(pid, &status, 0) == pid);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                companion_wrong(companion, "%s ended with status 0x%x", what, status);
}

void companion_kill(pid_t pid)
{
        int status;

        must(kill(pid, SIGKILL) == 0);
        must(waitpid(pid, &status, 0) == pid);
        must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Counters of two widths are waited for alike. */
#define WAIT_UNTIL(condition)                                                   \
        do {                                                                    \
                uint64_t until_ns = now_ns() + WAIT_NS;                         \
                                                                                \
                while (!(condition) && now_ns() < until_ns)                     \
                        (void)usleep(1000);                                     \
                if (!(condition))                                               \
                        companion_wrong(companion, "%s: waited in vain", what); \
        } while (0)

void companion_wait_u32(struct companion *companion, const uint32_t *counter, uint32_t least,
                        const char *what)
{
        WAIT_UNTIL(lanemap_load_acquire(counter) >= least);
}

void companion_wait_u64(struct companion *companion, const uint64_t *counter, uint64_t least,
                        const char *what)
{
        WAIT_UNTIL(lanemap_load_acquire(counter) >= least);
}

int companion_drop(uid_t uid, gid_t gid)
{
        if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
                return -errno;

        /* Both are lost with the identity: the end with the parent, and its own /proc/self. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0)
                return -errno;
        return 0;
}

static uid_t other_uid;
static gid_t other_gid;

static int other_try(struct companion *companion)
{
        (void)companion;
        return companion_drop(other_uid, other_gid) == 0 ? 0 : COMPANION_SKIPPED;
}

bool companion_two_users(struct companion *companion, uid_t uid, gid_t gid)
{
        struct stat st;
        int status = 1;
        pid_t pid;

        if (geteuid() == 0 && stat(LANEMAP_SHM_DIRECTORY, &st) == 0 &&
            (st.st_mode & 01002) == 01002) {
                other_uid = uid;
                other_gid = gid;
                pid = companion_fork(other_try, companion);
                must(waitpid(pid, &status, 0) == pid);
        }
        if (status != 0)
                printf("skipped: this takes root, a second user and a sticky %s\n",
                       LANEMAP_SHM_DIRECTORY);
        return status == 0;
}

/* ---- the writer ---- */

static void stable_keys_add(struct companion *companion, struct lanemap_writer *writer)
{
        static struct lanemap_op ops[2 * N_STABLE];
        static char texts[N_STABLE][KEY_BYTES];
        uint64_t position = 0;
        int r;

        for (uint32_t i = 0; i < 2 * N_STABLE; i++)
                ops[i] = (struct lanemap_op){
                        .code = LANEMAP_OP_ADD,
                        .id = i,
                        .key = texts[i / 2],
                        .key_bytes = key_text('s', i / 2, texts[i / 2]),
                };
        r = lanemap_writer_apply(writer, ops, 2 * N_STABLE, NULL, NULL, &position);
        if (r == 0)
                r = lanemap_writer_sync(writer, position);
        if (r < 0)
                companion_wrong(companion, "the stable keys cannot be added: %s", strerror(-r));
}

/* Adds in even batches what it removes in the odd ones. */
static int batch_apply(struct lanemap_writer *writer, uint64_t batch)
{
        struct lanemap_op ops[BATCH];
        char texts[BATCH][KEY_BYTES];

        for (uint32_t i = 0; i < BATCH; i++) {
                uint32_t key = (uint32_t)((batch / 2 * BATCH + i) % N_MOVING);
                uint32_t id = 1000000 + key;

                ops[i] = (struct lanemap_op){
                        .code = batch % 2 ? LANEMAP_OP_REMOVE : LANEMAP_OP_ADD,
                        .id = id,
                        .key = texts[i],
                        .key_bytes = key_text('m', key, texts[i]),
                };
        }
        return lanemap_writer_apply(writer, ops, BATCH, NULL, NULL, NULL);
}

static void request_run(struct companion *companion, struct lanemap_writer *writer,
                        uint32_t request)
{
        uint64_t ticket = 0;
        int r = lanemap_writer_request(writer, request, &ticket);

        if (r == 0)
                r = lanemap_writer_request_wait(writer, ticket);
        if (request == LANEMAP_REQUEST_FLUSH && r == 0)
                lanemap_store_release(&companion->n_flushes, companion->n_flushes + 1);
        else if (request == LANEMAP_REQUEST_FLIP && r == 0)
                lanemap_store_release(&companion->n_flips, companion->n_flips + 1);
        else if (request == LANEMAP_REQUEST_FLIP && r == -EBUSY)
                lanemap_store_release(&companion->n_flips_refused, companion->n_flips_refused + 1);
        else
                companion_wrong(companion, "request %" PRIu32 ": %s", request, strerror(-r));
}

static struct lanemap_writer *writer_new(struct companion *companion)
{
        /* Freed memory that lingers (A3) would make a small object larger than its content
         * needs. */
        struct lanemap_writer_options options = {.n_lanes = 4,
                                                 .flush_bytes = 30000,
                                                 .log_file_bytes = 64 << 10,
                                                 .quarantine_ns = 5 * 1000 * 1000,
                                                 .shared_bytes_max = companion->shared_bytes};

        return scratch_writer_open(&companion->scratch, &options);
}

int companion_writer(struct companion *companion)
{
        struct lanemap_writer *writer;

        if (companion->gid)
                must(setresgid(companion->gid, companion->gid, companion->gid) == 0);
        writer = writer_new(companion);
        stable_keys_add(companion, writer);
        __atomic_fetch_add(&companion->n_ups, 1, __ATOMIC_RELEASE);

        for (uint64_t batch = 0; !lanemap_load_acquire(&companion->stop_writer); batch++) {
                int r = batch_apply(writer, batch);

                if (r < 0)
                        companion_wrong(companion, "batch %" PRIu64 ": %s", batch, strerror(-r));
                if (batch % FLUSH_EVERY == FLUSH_EVERY - 1) {
                        r = lanemap_writer_sync(writer, lanemap_writer_position(writer));
                        if (r < 0)
                                companion_wrong(companion, "sync: %s", strerror(-r));
                        request_run(companion, writer,
                                    batch / FLUSH_EVERY % 2 ? LANEMAP_REQUEST_FLIP
                                                            : LANEMAP_REQUEST_FLUSH);
                }
                lanemap_store_release(&companion->n_batches, companion->n_batches + 1);
                if (batch % 4 == 3)
                        (void)usleep(500);
        }

        lanemap_writer_close(writer);
        return 0;
}

/* ---- readers ---- */

void companion_look(struct companion *companion, struct lanemap_reader *reader, uint32_t round)
{
        uint32_t ids[4] = {0}, stable = round * 7 % N_STABLE, moving = round * 13 % N_MOVING;
        char text[KEY_BYTES];
        size_t n_ids = 0;
        int r;

        r = lanemap_reader_lookup(reader, text, key_text('s', stable, text), ids, 4, &n_ids);
        if (r != 0 || n_ids != 2 || ids[0] != 2 * stable || ids[1] != 2 * stable + 1)
                companion_wrong(companion, "lookup of %s: %d, %zu ids, %" PRIu32, text, r, n_ids,
                                ids[0]);

        r = lanemap_reader_lookup(reader, text, key_text('m', moving, text), ids, 4, &n_ids);
        if (r != 0 || n_ids > 1 || (n_ids == 1 && ids[0] != 1000000 + moving))
                companion_wrong(companion, "lookup of %s: %d, %zu ids, %" PRIu32, text, r, n_ids,
                                ids[0]);
        __atomic_fetch_add(&companion->n_lookups, 2, __ATOMIC_RELAXED);
}

struct lanemap_reader *companion_attach(struct companion *companion, const char *directory)
{
        struct lanemap_error error = {{0}};
        struct lanemap_reader_options options = {
                .size = sizeof(options), .directory = directory, .error = &error};
        struct lanemap_reader *reader = NULL;
        int r = lanemap_reader_attach(companion->scratch.name, &options, &reader);

        if (r == 0)
                return reader;

        companion_wrong(companion, "attach: %s: %s", strerror(-r), error.text);
        return NULL;
}

int companion_reader(struct companion *companion)
{
        struct lanemap_reader *reader = companion_attach(companion, NULL);

        if (!reader)
                return 1;

        for (uint32_t round = 0; !lanemap_load_acquire(&companion->stop_readers); round++) {
                companion_look(companion, reader, round);
                if (round % 64 == 0)
                        (void)usleep(500);
        }
        lanemap_reader_detach(reader);
        return 0;
}

void companion_verify(struct companion *companion)
{
        struct lanemap_writer *writer = writer_new(companion);
        struct lanemap_finding *findings = NULL;
        struct lanemap_reader *reader = companion_attach(companion, NULL);
        size_t n_findings = 0;

        for (uint32_t round = 0; reader && round < N_STABLE; round++)
                companion_look(companion, reader, round);
        lanemap_reader_detach(reader);
        if (lanemap_writer_verify(writer, &findings, &n_findings) != 0 || n_findings > 0)
                companion_wrong(companion, "verify: %s", n_findings ? findings[0].what : "failed");
        lanemap_writer_findings_free(findings);
        lanemap_writer_close(writer);
}
