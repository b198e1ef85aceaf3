/*
 * The power goes while a backup is made, or brought back: every state of the disk that it may leave
 * is refused as a copy, or is all of it, and it is all of it where its manifest is (BK1 and BK3 in
 * verify/copy.h); and the index that the backup is of is what it was.
 *
 *         backup_states [--seed S]
 *
 * Over a layer that records (recording_files.h): a writer makes a backup beside its index, by links
 * and, as between two file systems, by copies; a backup and a directory with its log are restored.
 * Behind each operation, legal states of the disk are made (disk_states.h). What is in the copy's
 * place is restored, and opened by a writer: both refuse, or it is the index; once the call has
 * said 0 it is the index. Where a power cut has left nothing at all, a writer begins a new index,
 * as it would have before.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "small_index.h"
#include "state_walk.h"
#include "directory/restore.h"
#include "writer/core/engine.h"
#include "writer/life/life.h"

#define N_STATES 20000 /* at most, of each kind */
#define COPY     "backup"

struct judge {
        struct scratch work;     /* where it was recorded */
        struct scratch check;    /* where states are looked at */
        struct scratch restored; /* where copies are brought back */
        struct recording *recording;
        struct state_walk walk;
        struct lanemap_files quiet;
        const char *what;
        const char *prefix; /* of the copy's names: "", or it is beside the index */
        uint64_t digest;    /* of the index */
        bool is_done;       /* the call has said so */
        uint64_t n_whole, n_refused, n_nothing;
};

static struct judge judge;

static void wrong(const char *what, const char *why)
{
        printf("WRONG: %s: %s: %s, in state %" PRIu64 "\n", judge.what, what, why,
               judge.walk.n_seen);
        fflush(stdout);
        abort();
}

static const char *why_of(const struct lanemap_error *error, int r)
{
        return error->text[0] ? error->text : strerror(-r);
}

/* ---- the judge ---- */

static void expect_index(const char *what, const struct scratch *scratch, const char *directory)
{
        struct lanemap_error error;
        uint64_t digest = 0;
        int r = small_index_read(&judge.quiet, scratch->name, directory, &digest, &error);

        if (r < 0)
                wrong(what, why_of(&error, r));
        if (digest != judge.digest)
                wrong(what, "it is another index");
}

/* A lock and what is only in the making is nothing. */
static bool nothing_is_there(void)
{
        size_t n_prefix = strlen(judge.prefix);

        for (uint32_t i = 0; i < judge.walk.state.n_files; i++) {
                const char *name = judge.walk.state.files[i].name;

                if (strncmp(name, judge.prefix, n_prefix) != 0)
                        continue;
                if (strncmp(name + n_prefix, "seg-", 4) == 0 ||
                    strncmp(name + n_prefix, "log-", 4) == 0 ||
                    strcmp(name + n_prefix, LANEMAP_MANIFEST_NAME) == 0)
                        return false;
        }
        return true;
}

/* Return: whether it is the index. */
static bool copy_is_restored(const char *copy)
{
        char to[320];
        struct lanemap_error error = {{0}};
        int r;

        snprintf(to, sizeof(to), "%s/to", judge.restored.directory);
        scratch_remove_tree(to);
        r = lanemap_restore_directory(&judge.quiet, copy, to, &error);
        if (r < 0 && judge.is_done)
                wrong("restore of what is done", why_of(&error, r));
        if (r < 0)
                return false;

        expect_index("what was restored", &judge.restored, to);
        return true;
}

/* A writer looks at it as it is. */
static void copy_is_opened(const char *copy, bool is_whole)
{
        struct lanemap_error error;
        uint64_t digest = 0;
        int r = small_index_read(&judge.quiet, judge.restored.name, copy, &digest, &error);

        if (is_whole && (r < 0 || digest != judge.digest))
                wrong("a writer of what is whole", r < 0 ? why_of(&error, r) : "another index");
        if (!is_whole && r == 0 && !nothing_is_there())
                wrong("a writer", "it takes what cannot be restored");
        if (r < 0 && !error.text[0])
                wrong("a writer", "it refuses without a word");
}

static void state_judge(void)
{
        char copy[320], manifest[64];
        bool is_whole;

        scratch_empty(judge.check.directory);
        disk_state_write(&judge.walk.state, judge.check.directory);
        if (judge.prefix[0])
                expect_index("the index itself", &judge.check, judge.check.directory);

        snprintf(copy, sizeof(copy), "%s/%s", judge.check.directory, judge.prefix);
        is_whole = copy_is_restored(copy);
        snprintf(manifest, sizeof(manifest), "%s" LANEMAP_MANIFEST_NAME, judge.prefix);
        if (!is_whole && disk_state_find(&judge.walk.state, manifest))
                wrong("a copy with its manifest", "it is not whole");
        if (nothing_is_there())
                judge.n_nothing++;
        else if (is_whole)
                judge.n_whole++;
        else
                judge.n_refused++;
        copy_is_opened(copy, is_whole);
}

/* ---- what is recorded ---- */

/* A writer that has something to flush first. The note says from where on it is the backup. */
static int backup_make(struct recording_files *files)
{
        struct lanemap_error error;
        struct lanemap_writer *writer;
        char copy[320];
        int r;

        snprintf(copy, sizeof(copy), "%s/" COPY, judge.work.directory);
        must(small_index_open(&files->files, judge.work.name, judge.work.directory, &writer,
                              &error) == 0);
        must(small_index_digest(writer, &judge.digest) == 0);
        recording_note(files, EVENT_SENT, 0);
        r = lanemap_writer_backup(writer, copy, &error);
        recording_note(files, EVENT_DURABLE, 0);
        lanemap_engine_abandon(writer);
        (void)lanemap_writer_unlink(judge.work.name, NULL);
        return r;
}

static struct scratch source;

static int restore_make(struct recording_files *files)
{
        struct lanemap_error error;
        uint64_t digest;
        int r;

        recording_note(files, EVENT_SENT, 0);
        r = lanemap_restore_directory(&files->files, source.directory, judge.work.directory,
                                      &error);
        recording_note(files, EVENT_DURABLE, 0);
        must(small_index_read(&judge.quiet, source.name, source.directory, &digest, &error) == 0);
        judge.digest = digest;
        return r;
}

/* Without its log: what a backup is. */
static void source_make(bool is_backup)
{
        struct lanemap_error error;
        struct lanemap_writer *writer;
        char copy[320];

        scratch_init(&source, "source");
        small_index_make(&judge.quiet, &source);
        if (!is_backup)
                return;

        snprintf(copy, sizeof(copy), "%s.copy", source.directory);
        must(small_index_open(&judge.quiet, source.name, source.directory, &writer, &error) == 0);
        must(lanemap_writer_backup(writer, copy, &error) == 0);
        lanemap_writer_close(writer);
        (void)lanemap_writer_unlink(source.name, NULL);
        scratch_remove_tree(source.directory);
        must(rename(copy, source.directory) == 0);
}

static void states_judge(const char *what, int (*make)(struct recording_files *files),
                         bool no_links)
{
        struct recording_files files;
        const struct event *event = NULL;
        bool has_begun = false;
        uint64_t n_events = 0;
        int r;

        judge.what = what;
        judge.is_done = false;
        judge.n_whole = judge.n_refused = judge.n_nothing = 0;
        state_walk_forget(&judge.walk);
        recording_reset(judge.recording);
        disk_load(&judge.walk.disk, judge.recording, judge.work.directory);
        recording_files_init(&files, judge.recording);
        files.no_links = no_links;
        r = make(&files);
        if (r < 0)
                wrong("undisturbed", strerror(-r));

        while ((event = recording_next(judge.recording, event))) {
                has_begun |= event->kind == EVENT_SENT;
                judge.is_done |= event->kind == EVENT_DURABLE;
                disk_apply(&judge.walk.disk, event);
                if (has_begun)
                        state_walk_here(&judge.walk, judge.is_done, state_judge);
                n_events += has_begun;
        }
        printf("%-32s %3" PRIu64 " operations, %4" PRIu64 " states: %4" PRIu64 " whole, %4" PRIu64
               " refused, %3" PRIu64 " with nothing\n",
               what, n_events, judge.walk.n_seen, judge.n_whole, judge.n_refused, judge.n_nothing);
        if (judge.n_whole == 0 || judge.n_refused == 0 || judge.n_nothing == 0)
                wrong("the run", "it proved nothing");
}

static void backup_try(const char *what, bool no_links)
{
        char copy[320];

        scratch_init(&judge.work, "backup");
        small_index_make(&judge.quiet, &judge.work);
        snprintf(copy, sizeof(copy), "%s/" COPY, judge.work.directory);
        must(mkdir(copy, 0750) == 0);
        judge.prefix = COPY "/";
        states_judge(what, backup_make, no_links);
        scratch_deinit(&judge.work);
}

static void restore_try(const char *what, bool of_backup)
{
        scratch_init(&judge.work, "restore");
        source_make(of_backup);
        judge.prefix = "";
        states_judge(what, restore_make, false);
        scratch_deinit(&source);
        scratch_deinit(&judge.work);
}

int main(int argc, char **argv)
{
        state_walk_init(&judge.walk, argument_seed(argc, argv), N_STATES);
        judge.walk.n_subsets = 8;
        (void)setenv("TMPDIR", "/dev/shm", 0);
        judge.recording = recording_new(UINT64_C(64) << 20);
        judge.quiet = files_without_sync();
        scratch_init(&judge.check, "check");
        scratch_init(&judge.restored, "restored");
        backup_try("a backup by links", false);
        backup_try("a backup by copies", true);
        restore_try("a restore of a backup", true);
        restore_try("a restore of a directory", false);
        scratch_deinit(&judge.restored);
        scratch_deinit(&judge.check);
        state_walk_deinit(&judge.walk);
        return 0;
}
