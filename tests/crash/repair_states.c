/*
 * The power goes while a directory is repaired: every state of the disk that it may leave still has
 * the bytes that were damaged, and can be repaired again, to the same index (Q1 to Q4 in
 * directory/repair.h).
 *
 *         repair_states [--seed S]
 *
 * A damaged directory is repaired over a layer that records (recording_files.h). Behind each of its
 * operations, legal states of the disk are made (disk_states.h), repaired with the real thing,
 * verified, opened, and compared with what the undisturbed repair gave. Two damages: one of which
 * every byte can be put right, and one by which keys are lost.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "small_index.h"
#include "state_walk.h"
#include "directory/repair.h"

#define N_STATES 20000 /* at most */

struct judge {
        struct scratch work;  /* where the recorded repair ran */
        struct scratch check; /* where states are repaired */
        struct recording *recording;
        struct state_walk walk;
        struct lanemap_files quiet;
        const char *damage;
        struct disk_bytes damaged; /* what is to be kept */
        uint64_t digest;           /* of the index as the undisturbed repair gave it */
        uint64_t n_again;          /* of the states, how many had something left to repair */
};

static struct judge judge;

static void wrong(const char *what, const char *why)
{
        printf("WRONG: %s: %s: %s, in state %" PRIu64 "\n", judge.damage, what, why,
               judge.walk.n_seen);
        fflush(stdout);
        abort();
}

/* The last byte of the first file, which has to be zero, or a run of bytes in the midst of it. */
static void index_damage(const struct scratch *scratch, bool for_good)
{
        unsigned char bytes[256];
        size_t n_bytes = for_good ? sizeof(bytes) : 1;
        struct disk_bytes *damaged = &judge.damaged;
        char path[400];
        struct stat st;
        off_t at;
        int fd;

        must(scratch_find(scratch->directory, "seg-", path, sizeof(path)));
        fd = open(path, O_RDWR | O_CLOEXEC);
        must(fd >= 0 && fstat(fd, &st) == 0);
        at = for_good ? st.st_size / 2 : st.st_size - 1;
        must(pread(fd, bytes, n_bytes, at) == (ssize_t)n_bytes);
        for (size_t i = 0; i < n_bytes; i++)
                bytes[i] ^= 16;
        must(pwrite(fd, bytes, n_bytes, at) == (ssize_t)n_bytes);

        damaged->n_bytes = (uint64_t)st.st_size;
        damaged->bytes = realloc(damaged->bytes, damaged->n_bytes);
        must(damaged->bytes);
        must(pread(fd, damaged->bytes, damaged->n_bytes, 0) == st.st_size);
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
        struct lanemap_error error;
        uint64_t digest = 0;
        int r = small_index_read(&judge.quiet, scratch->name, scratch->directory, &digest, &error);

        if (r < 0)
                wrong("a repaired index", error.text[0] ? error.text : strerror(-r));
        return digest;
}

/* Q2, under whatever name. */
static bool damaged_is_kept(const struct disk_state *state)
{
        for (uint32_t i = 0; i < state->n_files; i++) {
                const struct disk_bytes *content = &state->files[i].content;

                if (content->n_bytes == judge.damaged.n_bytes &&
                    memcmp(content->bytes, judge.damaged.bytes, content->n_bytes) == 0)
                        return true;
        }
        return false;
}

static void state_judge(void)
{
        if (!damaged_is_kept(&judge.walk.state))
                wrong("what was damaged", "it is gone");
        scratch_empty(judge.check.directory);
        disk_state_write(&judge.walk.state, judge.check.directory);
        judge.n_again += repair(&judge.quiet, judge.check.directory).n_findings > 0;
        if (repair(&judge.quiet, judge.check.directory).n_findings > 0)
                wrong("a second repair", "it finds something");
        if (index_digest(&judge.check) != judge.digest)
                wrong("the index", "it is another one");
}

static void damage_try(const char *damage, bool for_good)
{
        struct recording_files files;
        const struct event *event = NULL;
        struct lanemap_repair_report report;
        uint64_t n_events = 0;

        judge.damage = damage;
        judge.n_again = 0;
        scratch_init(&judge.work, "repair");
        scratch_init(&judge.check, "repair");
        small_index_make(&judge.quiet, &judge.work);
        index_damage(&judge.work, for_good);
        recording_reset(judge.recording);
        state_walk_forget(&judge.walk);
        disk_load(&judge.walk.disk, judge.recording, judge.work.directory);
        recording_files_init(&files, judge.recording);
        report = repair(&files.files, judge.work.directory);
        if (report.n_findings == 0 || report.lossy != for_good)
                wrong("the damage", "it is not the one that was meant");
        judge.digest = index_digest(&judge.work);

        state_walk_here(&judge.walk, 0, state_judge);
        while ((event = recording_next(judge.recording, event))) {
                disk_apply(&judge.walk.disk, event);
                state_walk_here(&judge.walk, 0, state_judge);
                n_events++;
        }
        printf("%s: %" PRIu64 " file operations, %" PRIu64 " distinct states, %" PRIu64
               " of them repaired again, 0 wrong\n",
               damage, n_events, judge.walk.n_seen, judge.n_again);
        if (n_events < 5 || judge.n_again == 0 || judge.n_again == judge.walk.n_seen)
                wrong("the run", "it proved nothing");
        scratch_deinit(&judge.work);
        scratch_deinit(&judge.check);
}

int main(int argc, char **argv)
{
        state_walk_init(&judge.walk, argument_seed(argc, argv), N_STATES);
        judge.walk.n_subsets = 8;
        judge.walk.n_mixtures = 8;
        (void)setenv("TMPDIR", "/dev/shm", 0);
        judge.recording = recording_new(UINT64_C(16) << 20);
        judge.quiet = files_without_sync();
        damage_try("a file that can be put right", false);
        damage_try("a file with keys that are lost", true);
        state_walk_deinit(&judge.walk);
        free(judge.damaged.bytes);
        return 0;
}
