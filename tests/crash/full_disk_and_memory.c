/*
 * Little room: /dev/shm of one MiB, and a data directory on a disk of two MiB, each a tmpfs in a
 * mount namespace of its own (W5, R4).
 *
 * Writes go on until there is no room, are refused then with a clear error, and what was refused is
 * not there; readers are right all the while. Somebody else fills every byte that is left: the
 * writer is killed, and its successor comes up all the same, on what the predecessor put aside,
 * with everything that was acknowledged. When there is room again, writing goes on by itself.
 *
 * Where namespaces are not permitted: skipped.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "small_room.h"
#include "writer/core/engine.h"
#include "writer/life/life.h"

#define FILL_KEYS_MAX 10000
#define BATCH         64
#define RECORD        2560 /* one batch of more than fits into what is put aside at once */

/* In memory shared with the writers: who is acknowledged what. */
struct tiny {
        struct scratch scratch;
        uint32_t n_lanes;
        uint32_t n_acknowledged; /* keys 0 .. n - 1 have one id, their number */
        uint32_t n_sent;
};

static struct tiny tiny;

static struct lanemap_writer *writer_new(struct lanemap_error *error)
{
        struct lanemap_writer_options options = {
                .size = sizeof(options),
                .name = tiny.scratch.name,
                .directory = tiny.scratch.directory,
                .n_lanes = tiny.n_lanes,
                .flush_bytes = 4 << 20, /* more than there is: the limit decides */
                .log_file_bytes = 64 << 10,
                .outcome_limit_ns = 100 * 1000 * 1000,
                .error = error,
        };
        struct lanemap_writer *writer = NULL;
        int r = lanemap_writer_open(&options, &writer);

        if (r < 0)
                fprintf(stderr, "open: %s: %s\n", strerror(-r), error->text);
        return writer;
}

static struct lanemap_writer *writer_up(void)
{
        struct lanemap_error error = {{0}};
        struct lanemap_writer *writer = writer_new(&error);

        must(writer);
        return writer;
}

static size_t key_text(uint32_t key, char *text)
{
        return (size_t)sprintf(text, "key-%u", key);
}

/* One batch of n new keys. Return: 0 or what refused it; whatever was applied is counted. */
static int keys_add(struct lanemap_writer *writer, uint32_t n)
{
        static struct lanemap_op ops[RECORD];
        static char texts[RECORD][16];
        uint64_t position = 0;
        size_t n_applied = 0;
        int r, r2 = 0;

        must(tiny.n_sent == tiny.n_acknowledged);
        for (uint32_t i = 0; i < n; i++) {
                uint32_t key = tiny.n_acknowledged + i;

                ops[i] = (struct lanemap_op){LANEMAP_OP_ADD, key, texts[i], 0};
                ops[i].key_bytes = key_text(key, texts[i]);
        }
        tiny.n_sent += n;
        r = lanemap_writer_apply(writer, ops, n, NULL, &n_applied, &position);
        tiny.n_sent = tiny.n_acknowledged + (uint32_t)n_applied;
        /* On a full disk the log may keep it undecided for a while. */
        if (n_applied > 0)
                for (uint32_t i = 0; i < 2000; i++) {
                        r2 = lanemap_writer_sync(writer, position);
                        if (r2 != -ENOSPC)
                                break;
                        (void)usleep(10000);
                }
        must(r2 == 0);
        tiny.n_acknowledged = tiny.n_sent;
        return r;
}

static int batch_add(struct lanemap_writer *writer)
{
        return keys_add(writer, BATCH);
}

/* Adds until it is refused. Return: the error; 0: there is room without an end. */
static int fill(struct lanemap_writer *writer)
{
        uint32_t n_max = tiny.n_acknowledged + FILL_KEYS_MAX;
        int r = 0;

        while (r == 0 && tiny.n_acknowledged < n_max)
                r = batch_add(writer);
        return r;
}

static void reader_judge(struct lanemap_reader *reader, const char *when)
{
        uint32_t ids[2];
        char text[16];

        for (uint32_t key = 0; key < tiny.n_acknowledged + BATCH; key++) {
                size_t n_ids = 0;
                int r = lanemap_reader_lookup(reader, text, key_text(key, text), ids, 2, &n_ids);
                bool there = key < tiny.n_acknowledged;

                if (r != 0 || n_ids != there || (there && ids[0] != key)) {
                        printf("%s: key %u of %u: %d, %zu ids\n", when, key, tiny.n_acknowledged, r,
                               n_ids);
                        abort();
                }
        }
}

static struct lanemap_reader *reader_new(void)
{
        struct lanemap_reader *reader;

        must(lanemap_reader_attach(tiny.scratch.name, NULL, &reader) == 0);
        return reader;
}

/* Writing goes on by itself, as soon as there is room: within ten seconds, or not at all. */
static void resume_await(struct lanemap_writer *writer, const char *what)
{
        uint64_t until_ns = now_ns() + UINT64_C(10000000000);
        uint32_t before = tiny.n_acknowledged;

        while (tiny.n_acknowledged < before + 4 * BATCH && now_ns() < until_ns)
                if (batch_add(writer) < 0)
                        (void)usleep(10000);
        if (tiny.n_acknowledged < before + 4 * BATCH) {
                printf("%s: writing does not go on\n", what);
                abort();
        }
}

static void compact(struct lanemap_writer *writer)
{
        uint64_t ticket;

        must(lanemap_writer_request(writer, LANEMAP_REQUEST_COMPACT, &ticket) == 0);
        must(lanemap_writer_request_wait(writer, ticket) == 0);
}

static void shared_memory(uint32_t n_lanes)
{
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;
        uint32_t n_before;
        int r;

        memset(&tiny, 0, sizeof(tiny));
        must(room_mount("/dev/shm", "size=1m") == 0);
        scratch_init(&tiny.scratch, "tiny");
        tiny.n_lanes = n_lanes;
        writer = writer_up();
        reader = reader_new();
        for (uint32_t i = 0; i < 20; i++)
                must(batch_add(writer) == 0);

        room_fill(ROOM_FILLER);
        r = fill(writer);
        printf("%u lanes, /dev/shm of 1 MiB: %u keys, and then %s\n", n_lanes, tiny.n_acknowledged,
               strerror(-r));
        must(r == -ENOSPC || r == 0);
        reader_judge(reader, "full");

        /* It dies; all that it gave back by dying is taken, too. */
        lanemap_engine_abandon(writer);
        room_fill(ROOM_FILLER);
        reader_judge(reader, "full, without a writer");
        for (int i = 0; i < 3; i++) {
                writer = writer_up();
                reader_judge(reader, "full, with a successor");
                /* The room is there: who asks for it first? */
                n_before = tiny.n_acknowledged;
                (void)fill(writer);
                printf("its successor adds %u more\n", tiny.n_acknowledged - n_before);
                spare_await(tiny.scratch.name);
                reader_judge(reader, "full again");
                lanemap_engine_abandon(writer);
                room_fill(ROOM_FILLER);
        }
        writer = writer_up();
        must(unlink(ROOM_FILLER) == 0);
        resume_await(writer, "shared memory");
        reader_judge(reader, "with room again");

        /* One record of the log that does not fit at once into what is put aside. */
        spare_await(tiny.scratch.name);
        compact(writer);
        must(keys_add(writer, RECORD) == 0);
        lanemap_engine_abandon(writer);
        room_fill(ROOM_FILLER);
        writer = writer_up();
        reader_judge(reader, "full, after a long record");
        must(unlink(ROOM_FILLER) == 0);

        lanemap_reader_detach(reader);
        lanemap_writer_close(writer);
        scratch_deinit(&tiny.scratch);
        must(umount2("/dev/shm", MNT_DETACH) == 0);
}

static void disk(void)
{
        struct lanemap_writer *writer;
        struct lanemap_reader *reader;
        char filler[300];
        int r;

        memset(&tiny, 0, sizeof(tiny));
        scratch_init(&tiny.scratch, "tiny");
        tiny.n_lanes = 4;
        must(room_mount(tiny.scratch.directory, "size=2m") == 0);
        snprintf(filler, sizeof(filler), "%s/filler", tiny.scratch.directory);
        writer = writer_up();
        reader = reader_new();
        for (uint32_t i = 0; i < 20; i++)
                must(batch_add(writer) == 0);

        room_fill(filler);
        r = fill(writer);
        printf("a disk of 2 MiB: %u keys, and then %s\n", tiny.n_acknowledged, strerror(-r));
        must(r < 0);
        reader_judge(reader, "full disk");
        must(unlink(filler) == 0);
        resume_await(writer, "disk");
        reader_judge(reader, "disk with room again");

        /* Its own data fill it. */
        for (r = 0; r == 0;)
                r = fill(writer);
        printf("its own data fill it: %u keys\n", tiny.n_acknowledged);
        reader_judge(reader, "disk full of data");
        lanemap_writer_close(writer);
        reader_judge(reader, "disk full of data, closed");
        lanemap_reader_detach(reader);
        must(umount2(tiny.scratch.directory, MNT_DETACH) == 0);
        scratch_deinit(&tiny.scratch);
}

int main(void)
{
        if (!room_private())
                return ROOM_SKIPPED;

        shared_memory(4);
        shared_memory(64);
        disk();
        return 0;
}
