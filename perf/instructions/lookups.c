/*
 * perf/lookup-instructions: one loop of lookups in a whole index, by the public calls, for
 * count.py, which runs it under callgrind and counts the instructions of counted_lookups(),
 * counted_batches() or counted_prints(). Alone it only says whether the answers are right.
 *
 * The writer is this program again, in a process that callgrind does not follow: it publishes the
 * name on its standard output, and ends with its standard input. Keys are 13 to 28 bytes long.
 *
 * Usage: lookup-instructions KIND LEVEL WHAT DIRECTORY
 *
 *   KIND   of the segments, by its number in enum lanemap_segment_kind
 *   LEVEL  `segment`: all keys in one segment of each lane; `overlay`: in the overlays;
 *          `levels`: in the oldest of three segments, under younger ones and overlays
 *   WHAT   hit, miss, batch_hit, batch_miss; print_hit, print_miss: by fingerprints made before
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/die.h"
#include "support/engine.h"
#include "support/keys.h"

#define N_KEYS      20000
#define N_YOUNGER   200
#define N_LOOKUPS   1984 /* whole batches */
#define N_WARMING   4096 /* every lane is met */
#define BATCH_KEYS  32
#define FLUSH_BYTES (UINT64_C(256) << 20) /* no flush but those that are asked for */

static uint64_t n_found; /* kept, so that no lookup is left out */

static char texts[N_WARMING][PERF_KEY_BYTES_MAX];
static struct lanemap_key keys[N_WARMING];
static struct lanemap_reader_fingerprint prints[N_LOOKUPS];

/* Prototypes, since they are not static: callgrind has to find them by name. */
void counted_lookups(struct lanemap_reader *reader, const struct lanemap_key *wanted, size_t n);
void counted_batches(struct lanemap_reader *reader, const struct lanemap_key *wanted, size_t n);
void counted_prints(struct lanemap_reader *reader, size_t n);

static void lookups_run(struct lanemap_reader *reader, const struct lanemap_key *wanted, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                size_t n_ids = 0;
                uint32_t id;

                if (lanemap_reader_lookup(reader, wanted[i].data, wanted[i].bytes, &id, 1,
                                          &n_ids) != 0)
                        perf_die("lookup", 0);
                n_found += n_ids;
        }
}

__attribute__((noinline)) void counted_lookups(struct lanemap_reader *reader,
                                               const struct lanemap_key *wanted, size_t n)
{
        lookups_run(reader, wanted, n);
}

__attribute__((noinline)) void counted_batches(struct lanemap_reader *reader,
                                               const struct lanemap_key *wanted, size_t n)
{
        for (size_t at = 0; at < n; at += BATCH_KEYS) {
                struct lanemap_span spans[BATCH_KEYS];
                uint32_t ids[BATCH_KEYS];

                if (lanemap_reader_lookup_batch(reader, wanted + at, BATCH_KEYS, ids, BATCH_KEYS,
                                                spans) != 0)
                        perf_die("lookup", 0);
                for (size_t i = 0; i < BATCH_KEYS; i++)
                        n_found += spans[i].n_ids;
        }
}

__attribute__((noinline)) void counted_prints(struct lanemap_reader *reader, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                size_t n_ids = 0;
                uint32_t id;

                if (lanemap_reader_lookup_fingerprint(reader, &prints[i], &id, 1, &n_ids) != 0)
                        perf_die("lookup", 0);
                n_found += n_ids;
        }
}

static void prints_make(struct lanemap_reader *reader)
{
        for (size_t i = 0; i < N_LOOKUPS; i++)
                if (lanemap_reader_fingerprint(reader, keys[i].data, keys[i].bytes, &prints[i]) !=
                    0)
                        perf_die("fingerprint", 0);
}

/* The keys that are in the index, or as many that are not. */
static void keys_make(bool hit)
{
        for (size_t i = 0; i < N_WARMING; i++) {
                uint64_t number = hit ? perf_mix64(i + 77) % N_KEYS : PERF_KEYS_ABSENT + i;

                keys[i].data = texts[i];
                keys[i].bytes = perf_key_text(PERF_MIX_SINGLE, number, texts[i]);
        }
}

static void levels_make(struct lanemap_writer *writer, const char *level)
{
        perf_engine_apply(writer, LANEMAP_OP_ADD, 0, N_KEYS);
        if (strcmp(level, "overlay") == 0)
                return;

        (void)perf_engine_request(writer, LANEMAP_REQUEST_COMPACT);
        if (strcmp(level, "levels") != 0)
                return;

        for (uint64_t i = 1; i <= 3; i++) {
                perf_engine_apply(writer, LANEMAP_OP_ADD, i * N_KEYS, N_YOUNGER);
                if (i < 3)
                        (void)perf_engine_request(writer, LANEMAP_REQUEST_FLUSH);
        }
}

static void what_run(const char *name, const char *what)
{
        bool hit = strstr(what, "hit") != NULL;
        struct lanemap_reader *reader;
        int r;

        r = lanemap_reader_attach(name, NULL, &reader);
        if (r < 0)
                perf_die("attach", r);

        keys_make(hit);
        lookups_run(reader, keys, N_WARMING);
        prints_make(reader);
        n_found = 0;
        if (strncmp(what, "batch", 5) == 0)
                counted_batches(reader, keys, N_LOOKUPS);
        else if (strncmp(what, "print", 5) == 0)
                counted_prints(reader, N_LOOKUPS);
        else
                counted_lookups(reader, keys, N_LOOKUPS);
        if (n_found != (hit ? N_LOOKUPS : 0))
                perf_die("a wrong answer", 0);
        lanemap_reader_detach(reader);
        printf("%d\n", N_LOOKUPS);
}

static void writer_run(uint32_t kind, const char *level, const char *dir)
{
        const struct lanemap_writer_options options = {
                .appendfsync = LANEMAP_APPENDFSYNC_NO,
                .flush_bytes = FLUSH_BYTES,
                .segment_kind_young = kind,
                .segment_kind_bottom = kind,
        };
        struct lanemap_writer *writer;
        struct perf_place place;
        char end;

        perf_place_make(NULL, dir, &place);
        writer = perf_engine_open(&place, &options);
        levels_make(writer, level);
        printf("%s\n", place.name);
        (void)fflush(stdout);
        (void)!read(STDIN_FILENO, &end, 1);
        lanemap_writer_close(writer);
        perf_place_remove(&place);
}

/* A child whose standard input and output are the two pipes. */
static pid_t writer_start(char **argv, int *ret_in, int *ret_out)
{
        int in[2], out[2];
        pid_t pid;

        if (pipe(in) < 0 || pipe(out) < 0)
                perf_die("pipe", errno);
        pid = fork();
        if (pid < 0)
                perf_die("fork", errno);
        if (pid == 0) {
                if (dup2(in[0], STDIN_FILENO) < 0 || dup2(out[1], STDOUT_FILENO) < 0)
                        _exit(1);
                close(in[1]);
                close(out[0]);
                execl(argv[0], argv[0], argv[1], argv[2], "writer", argv[4], NULL);
                _exit(1);
        }

        close(in[0]);
        close(out[1]);
        *ret_in = in[1];
        *ret_out = out[0];
        return pid;
}

int main(int argc, char **argv)
{
        char name[LANEMAP_NAME_BYTES_MAX + 2] = "";
        int in, out, status;
        FILE *from;
        pid_t pid;

        if (argc != 5) {
                fputs("lookup-instructions: run perf/instructions/count.py\n", stderr);
                return 2;
        }
        if (strcmp(argv[3], "writer") == 0) {
                writer_run((uint32_t)atoi(argv[1]), argv[2], argv[4]);
                return 0;
        }

        pid = writer_start(argv, &in, &out);
        from = fdopen(out, "r");
        if (!from || !fgets(name, sizeof(name), from))
                perf_die("the writer", EPROTO);
        name[strcspn(name, "\n")] = '\0';
        what_run(name, argv[3]);
        close(in);
        if (waitpid(pid, &status, 0) != pid || status != 0)
                perf_die("the writer", EPROTO);
        return 0;
}
