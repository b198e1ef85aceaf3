/*
 * The power goes while a directory is resharded: every state of the disk that it may leave is the
 * index with the old number of lanes or with the new one, whole, and can be resharded again (H1 in
 * directory/reshard.h).
 *
 *         reshard_states [--seed S]
 *
 * A resharding runs over a layer that records (recording_files.h). Behind each of its operations,
 * legal states of the disk are made (disk_states.h), opened and compared; then they are resharded,
 * with the real thing, and compared again.
 */
#include <inttypes.h>
#include <string.h>

#include "small_index.h"
#include "state_walk.h"
#include "directory/reshard.h"

#define N_STATES 20000 /* at most */
#define N_LANES  7

struct judge {
        struct scratch work;  /* where the recorded resharding ran */
        struct scratch check; /* where states are judged */
        struct recording *recording;
        struct state_walk walk;
        struct lanemap_files quiet;
        uint64_t digest;  /* of the index */
        uint64_t n_again; /* of the states, how many had the old number of lanes */
};

static struct judge judge;

static void wrong(const char *what, const char *why)
{
        printf("WRONG: %s: %s, in state %" PRIu64 "\n", what, why, judge.walk.n_seen);
        fflush(stdout);
        abort();
}

/* Return: whether there was anything to do. */
static bool reshard(const struct lanemap_files *files, const char *directory)
{
        struct lanemap_reshard_options options = {
                .files = files, .directory = directory, .n_lanes = N_LANES};
        struct lanemap_reshard_report report;
        struct lanemap_error error = {{0}};
        int r = lanemap_reshard_directory(&options, &report, &error);

        if (r < 0)
                wrong("reshard", error.text[0] ? error.text : strerror(-r));
        return r == 0;
}

static void index_judge(const struct scratch *scratch, const char *what)
{
        struct lanemap_error error;
        uint64_t digest = 0;
        int r = small_index_read(&judge.quiet, scratch->name, scratch->directory, &digest, &error);

        if (r < 0)
                wrong(what, error.text[0] ? error.text : strerror(-r));
        if (digest != judge.digest)
                wrong(what, "it is another index");
}

static void state_judge(void)
{
        scratch_empty(judge.check.directory);
        disk_state_write(&judge.walk.state, judge.check.directory);
        judge.n_again += reshard(&judge.quiet, judge.check.directory);
        index_judge(&judge.check, "resharded again");

        /* As the next start finds it, and takes what is left over away. */
        scratch_empty(judge.check.directory);
        disk_state_write(&judge.walk.state, judge.check.directory);
        index_judge(&judge.check, "as it was left");
}

int main(int argc, char **argv)
{
        struct recording_files files;
        const struct event *event = NULL;
        struct lanemap_error error;
        uint64_t n_events = 0;

        state_walk_init(&judge.walk, argument_seed(argc, argv), N_STATES);
        judge.walk.n_subsets = 8;
        judge.walk.n_mixtures = 8;
        (void)setenv("TMPDIR", "/dev/shm", 0);
        judge.recording = recording_new(UINT64_C(16) << 20);
        judge.quiet = files_without_sync();
        scratch_init(&judge.work, "reshard");
        scratch_init(&judge.check, "reshard");
        small_index_make(&judge.quiet, &judge.work);
        scratch_remove_tree(judge.check.directory);
        scratch_copy_directory(judge.work.directory, judge.check.directory);
        recording_reset(judge.recording);
        disk_load(&judge.walk.disk, judge.recording, judge.work.directory);
        must(small_index_read(&judge.quiet, judge.check.name, judge.check.directory, &judge.digest,
                              &error) == 0);

        recording_files_init(&files, judge.recording);
        must(reshard(&files.files, judge.work.directory));
        state_walk_here(&judge.walk, 0, state_judge);
        while ((event = recording_next(judge.recording, event))) {
                disk_apply(&judge.walk.disk, event);
                state_walk_here(&judge.walk, 0, state_judge);
                n_events++;
        }
        printf("%" PRIu64 " file operations, %" PRIu64 " distinct states, %" PRIu64
               " of them resharded again, 0 wrong\n",
               n_events, judge.walk.n_seen, judge.n_again);
        if (n_events < 5 || judge.n_again == 0 || judge.n_again == judge.walk.n_seen)
                wrong("the run", "it proved nothing");
        scratch_deinit(&judge.work);
        scratch_deinit(&judge.check);
        state_walk_deinit(&judge.walk);
        return 0;
}
