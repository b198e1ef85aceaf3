/*
 * A power cut while a directory is repaired: every state of the disk that it may leave can be
 * repaired again, to the same index (Q1, Q3, Q4 in writer_repair.h).
 *
 *         repair_states [--seed S]
 *
 * A damaged directory is repaired over a layer that records (recording_files.h). Behind each of its
 * operations, legal states of the disk are made (disk_states.h), repaired with the real thing,
 * verified, opened, and compared with what the undisturbed repair gave. Two damages: one of which
 * every byte can be put right, and one by which keys are lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "disk_states.h"
#include "segment/segment_format.h"
#include "writer/writer_private.h"
#include "writer/writer_repair.h"

#define N_KEYS 200

struct judge {
        struct scratch work;  /* where the recorded repair ran */
        struct scratch check; /* where states are repaired */
        struct recording *recording;
        struct disk disk;
        struct disk_state state;
        struct lanemap_files quiet;
        struct rng rng;
        const char *damage;
        uint64_t digest; /* of the index as the undisturbed repair gave it */
        uint64_t seen[65536];
        uint64_t n_seen;
        uint64_t n_again; /* of the states, how many had something left to repair */
};

static struct judge judge;

static int quiet_sync(const struct lanemap_files *files, int fd)
{
        return 0;
}

static void wrong(const char *what, const char *why)
{
        printf("WRONG: %s: %s: %s, in state %" PRIu64 "\n", judge.damage, what, why, judge.n_seen);
        fflush(stdout);
        abort();
}

static size_t key_text(uint32_t key, char *text)
{
        return (size_t)sprintf(text, "key-%u", key);
}

static struct lanemap_writer *writer_open(const struct scratch *scratch)
{
        struct lanemap_writer_hooks hooks = {.files = &judge.quiet};
        struct lanemap_writer_options options = {
                .n_lanes = 2,
                .shared_bytes_max = 4 << 20,
                .scrub_bytes_per_second = UINT64_MAX,
                .hooks = &hooks,
        };

        return scratch_writer_open(scratch, &options);
}

/* Two segments and a log behind them. */
static void index_make(const struct scratch *scratch)
{
        struct lanemap_writer *writer = writer_open(scratch);

        for (uint32_t i = 0; i < 2 * N_KEYS + 40; i++) {
                struct lanemap_op op = {LANEMAP_OP_ADD, i, NULL, 0};
                char text[16];
                uint64_t ticket;

                op.key = text;
                op.key_bytes = key_text(i % N_KEYS, text);
                must(lanemap_writer_apply(writer, &op, 1, NULL, NULL, NULL) == 0);
                if (i + 1 != N_KEYS && i + 1 != N_KEYS + 20)
                        continue;
                must(lanemap_writer_request(writer, LANEMAP_REQUEST_FLUSH, &ticket) == 0);
                must(lanemap_writer_request_wait(writer, ticket) == 0);
        }
        must(lanemap_writer_sync(writer, lanemap_writer_position(writer)) == 0);
        lanemap_writer_abandon(writer);
        (void)lanemap_writer_unlink(scratch->name, NULL);
}

/* The last byte of the first file, which has to be zero, or a run of bytes in the midst of it. */
static void index_damage(const struct scratch *scratch, bool for_good)
{
        unsigned char bytes[256];
        size_t n_bytes = for_good ? sizeof(bytes) : 1;
        char path[400];
        off_t at;
        int fd;

        must(scratch_find(scratch->directory, "seg-", path, sizeof(path)));
        fd = open(path, O_RDWR | O_CLOEXEC);
        must(fd >= 0);
        at = lseek(fd, 0, SEEK_END);
        at = for_good ? at / 2 : at - 1;
        must(pread(fd, bytes, n_bytes, at) == (ssize_t)n_bytes);
        for (size_t i = 0; i < n_bytes; i++)
                bytes[i] ^= 16;
        must(pwrite(fd, bytes, n_bytes, at) == (ssize_t)n_bytes);
        close(fd);
}

static void say_nothing(void *arg, const char *line)
{
        (void)arg;
        (void)line;
}

static struct lanemap_repair_report repair(const struct lanemap_files *files, const char *directory)
{
        struct lanemap_repair_options options = {
                .files = files, .directory = directory, .say = say_nothing};
        struct lanemap_repair_report report;
        struct lanemap_error error = {{0}};
        int r = lanemap_repair_directory(&options, &report, &error);

        if (r < 0)
                wrong("repair", error.text[0] ? error.text : strerror(-r));
        return report;
}

static uint64_t index_digest(const struct scratch *scratch)
{
        struct lanemap_writer *writer = writer_open(scratch);
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        XXH3_state_t *state = XXH3_createState();
        uint64_t digest, n_pairs = 0;

        must(state && XXH3_64bits_reset(state) == XXH_OK);
        for (uint32_t k = 0; k < N_KEYS; k++) {
                uint32_t ids[8];
                char text[16];
                size_t n_ids = 0;
                int r = lanemap_writer_lookup(writer, text, key_text(k, text), ids, 8, &n_ids,
                                              NULL);

                if (r < 0 || n_ids > 8)
                        wrong("lookup in a repaired index", r < 0 ? strerror(-r) : "too many ids");
                XXH3_64bits_update(state, &k, sizeof(k));
                XXH3_64bits_update(state, ids, n_ids * sizeof(ids[0]));
                n_pairs += n_ids;
        }
        /* Suspect entries may be of keys that nobody has: they are counted all the same. */
        must(lanemap_writer_get_stats(writer, &stats) == 0);
        if (stats.n_pairs < n_pairs)
                wrong("counts of a repaired index", "they are less than what is there");
        XXH3_64bits_update(state, &stats.n_pairs, sizeof(stats.n_pairs));
        digest = XXH3_64bits_digest(state);
        XXH3_freeState(state);
        lanemap_writer_abandon(writer);
        (void)lanemap_writer_unlink(scratch->name, NULL);
        return digest;
}

static bool state_is_new(uint64_t hash)
{
        for (uint64_t i = 0; i < judge.n_seen; i++)
                if (judge.seen[i] == hash)
                        return false;
        must(judge.n_seen < LANEMAP_N_ELEMENTS(judge.seen));
        judge.seen[judge.n_seen++] = hash;
        return true;
}

static void state_try(struct disk_choice choice)
{
        char quarantine[300];

        disk_state_make(&judge.disk, &choice, &judge.rng, &judge.state);
        if (!state_is_new(judge.state.hash))
                return;

        snprintf(quarantine, sizeof(quarantine), "%s/%s", judge.check.directory,
                 LANEMAP_QUARANTINE_NAME);
        scratch_remove_tree(quarantine);
        scratch_empty(judge.check.directory);
        disk_state_write(&judge.state, judge.check.directory);
        judge.n_again += repair(&judge.quiet, judge.check.directory).n_findings > 0;
        if (repair(&judge.quiet, judge.check.directory).n_findings > 0)
                wrong("a second repair", "it finds something");
        if (index_digest(&judge.check) != judge.digest)
                wrong("the index", "it is another one");
}

static void states_try(void)
{
        uint32_t n_names = judge.disk.n_pending_names;

        if (disk_n_undecided(&judge.disk) == 0) {
                state_try((struct disk_choice){0});
                return;
        }

        for (uint32_t n = 0; n <= n_names; n++)
                for (uint32_t all = 0; all <= 1024; all += 1024)
                        state_try((struct disk_choice){.names_prefix = n, .sectors_of_1024 = all});
        for (uint32_t i = 0; i < 8; i++)
                state_try((struct disk_choice){
                        .names_prefix = i % 3 == 0 ? n_names : UINT32_MAX,
                        .names_of_1024 = (uint32_t)rng_below(&judge.rng, 1025),
                        .sectors_of_1024 = (uint32_t)rng_below(&judge.rng, 1025),
                        .torn = i % 2,
                });
}

static void damage_try(const char *damage, bool for_good)
{
        struct recording_files files;
        const struct event *event = NULL;
        struct lanemap_repair_report report;
        uint64_t n_events = 0, n_again = judge.n_again;

        judge.damage = damage;
        judge.n_seen = 0;
        scratch_init(&judge.work, "repair");
        scratch_init(&judge.check, "repair");
        index_make(&judge.work);
        index_damage(&judge.work, for_good);
        recording_reset(judge.recording);
        disk_load(&judge.disk, judge.recording, judge.work.directory);
        recording_files_init(&files, judge.recording);
        report = repair(&files.files, judge.work.directory);
        if (report.n_findings == 0 || report.lossy != for_good)
                wrong("the damage", "it is not the one that was meant");
        judge.digest = index_digest(&judge.work);

        states_try();
        while ((event = recording_next(judge.recording, event))) {
                disk_apply(&judge.disk, event);
                states_try();
                n_events++;
        }
        printf("%s: %" PRIu64 " file operations, %" PRIu64 " distinct states, %" PRIu64
               " of them repaired again, 0 wrong\n",
               damage, n_events, judge.n_seen, judge.n_again - n_again);
        if (n_events < 5 || judge.n_seen < 5 || judge.n_again == n_again ||
            judge.n_again - n_again == judge.n_seen)
                wrong("the run", "it proved nothing");
        disk_reset(&judge.disk);
        scratch_deinit(&judge.work);
        scratch_deinit(&judge.check);
}

int main(int argc, char **argv)
{
        rng_init(&judge.rng, argument_seed(argc, argv));
        (void)setenv("TMPDIR", "/dev/shm", 0);
        judge.recording = recording_new(UINT64_C(16) << 20);
        judge.quiet = lanemap_files_posix;
        judge.quiet.sync = quiet_sync;
        judge.quiet.sync_directory = quiet_sync;
        damage_try("a file that can be put right", false);
        damage_try("a file with keys that are lost", true);
        disk_state_deinit(&judge.state);
        return 0;
}
