/*
 * The slow paths: following a reborn writer, mapping new files, unmapping old ones, the helper
 * thread.
 */
#include "reader/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/guard.h"
#include "common/probes.h"
#include "common/signals.h"

#define HELPER_INTERVAL_NS (10 * 1000 * 1000)

#define POLL_TRIES_MAX 100

uint64_t lanemap_reader_heartbeat_age_ns(struct lanemap_reader *reader,
                                         const struct lanemap_shm_control *control)
{
        uint64_t heartbeat = lanemap_load_relaxed(&control->heartbeat),
                 now_ns = lanemap_reader_now_ns();
        uint64_t seen_ns = lanemap_load_relaxed(&reader->heartbeat_seen_ns);

        if (seen_ns == 0 || heartbeat != lanemap_load_relaxed(&reader->heartbeat)) {
                lanemap_store_relaxed(&reader->heartbeat, heartbeat);
                lanemap_store_relaxed(&reader->heartbeat_seen_ns, now_ns);
                return 0;
        }

        return now_ns > seen_ns ? now_ns - seen_ns : 0;
}

/* Under the lock: a new attachment takes the place of the one that was seen, unless somebody did it
 * already. */
static int attachment_replace(struct lanemap_reader *reader, const struct reader_attachment *seen)
{
        struct reader_attachment *old = reader->attachment, *attachment;
        uint64_t start_ns;
        int r;

        if (old != seen)
                return 0;

        start_ns = LANEMAP_PROBE_START_NS(follow, lanemap_reader_now_ns());
        r = lanemap_reader_attachment_new(reader, &attachment);
        LANEMAP_PROBE(follow, (const char *)reader->name,
                      r < 0 ? UINT64_C(0) : attachment->region.generation,
                      LANEMAP_PROBE_SINCE_NS(start_ns, lanemap_reader_now_ns()), r);
        if (r < 0)
                return r;

        /* Pairs with the acquire load in reader_attachment_get(). */
        lanemap_store_release(&reader->attachment, attachment);
        /* Another heart: what was seen of the one before says nothing. */
        if (attachment->control_inode != old->control_inode)
                lanemap_store_relaxed(&reader->heartbeat_seen_ns, 0);
        lanemap_reader_retire(reader, &old->retired);
        if (attachment->region.generation != old->region.generation)
                lanemap_add_relaxed(&reader->n_reattachments, 1);
        return 0;
}

static bool is_in_force(const struct lanemap_reader *reader, const struct reader_snapshot *seen)
{
        return reader->attachment == seen->attachment &&
               reader->attachment->region.generation == seen->generation;
}

/* "Bad bytes" may be an offset past the size that was known when it was followed. Return: 0 try
 * again. */
static int bad_bytes_refresh(struct lanemap_reader *reader, const struct reader_snapshot *seen)
{
        struct reader_attachment *attachment = reader->attachment;
        int n_done, r;

        r = lanemap_reader_files_update(reader, attachment, false, &n_done);
        if (r != 0)
                return r;

        return lanemap_load_relaxed(&attachment->region.bytes) != seen->bytes ? 0 : -EBADMSG;
}

/* A forked child has none. */
static bool helper_lives(const struct lanemap_reader *reader)
{
        return reader->has_helper && reader->helper_pid == getpid();
}

/* Where a helper lives, unmapping is its work, not a lookup's. */
int lanemap_reader_refresh(struct lanemap_reader *reader, int outcome,
                           const struct reader_snapshot *seen)
{
        bool has_helper = helper_lives(reader);
        uint64_t start_ns;
        int r = 0, n_done;

        if (outcome == -EAGAIN || outcome == -ESTALE)
                return outcome;

        start_ns = LANEMAP_PROBE_START_NS(mend, lanemap_reader_now_ns());
        lanemap_reader_lock();
        if (is_in_force(reader, seen)) {
                if (outcome == LANEMAP_SHM_E_GENERATION)
                        r = attachment_replace(reader, seen->attachment);
                else if (outcome == LANEMAP_SHM_E_UNMAPPED)
                        r = lanemap_reader_files_update(reader, reader->attachment, !has_helper,
                                                        &n_done);
                else
                        r = bad_bytes_refresh(reader, seen);
                if (r == -EBADMSG && lanemap_reader_is_outgrown(reader->attachment, false))
                        r = attachment_replace(reader, seen->attachment);
        }
        lanemap_reader_unlock();
        if (!has_helper)
                lanemap_reader_drain(reader);

        /* The generation changed during the refresh: the next try sees it. */
        r = r > 0 ? 0 : r;
        LANEMAP_PROBE(mend, (const char *)reader->name, outcome,
                      LANEMAP_PROBE_SINCE_NS(start_ns, lanemap_reader_now_ns()), r);
        return r;
}

/* Return: true if the name leads to another control object than ours: the old one was removed and a
 * new one made. Not asked while a writer beats: its state is not old, whatever the name says. */
static bool control_is_gone(const struct lanemap_reader *reader,
                            const struct reader_attachment *attachment, uint64_t age_ns)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        struct stat st;

        if (age_ns <= LANEMAP_SILENT_AFTER_NS)
                return false;

        lanemap_shm_control_name(reader->name, object);
        return fstatat(reader->shm_dir_fd, object, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
               st.st_ino != attachment->control_inode;
}

bool lanemap_reader_revive(struct lanemap_reader *reader, uint64_t age_ns)
{
        struct reader_attachment *attachment;
        bool followed = false;

        lanemap_reader_lock();
        attachment = reader->attachment;
        if (control_is_gone(reader, attachment, age_ns))
                followed = attachment_replace(reader, attachment) == 0;
        lanemap_reader_unlock();
        if (followed)
                lanemap_reader_drain(reader);
        return followed;
}

/* Under the lock. Return: 1 if the attachment was replaced, 0 if not, or a negative errno. */
static int poll_follow(struct lanemap_reader *reader)
{
        struct reader_attachment *attachment = reader->attachment;
        bool is_outgrown = false;
        int r;

        if (lanemap_load_acquire(&attachment->region.control->generation) ==
                    attachment->region.generation &&
            !control_is_gone(reader, attachment,
                             lanemap_reader_heartbeat_age_ns(reader, attachment->region.control))) {
                is_outgrown = lanemap_reader_is_outgrown(attachment, true);
                if (!is_outgrown)
                        return 0;
        }

        r = attachment_replace(reader, attachment);
        if (r < 0)
                return r;

        if (is_outgrown)
                lanemap_reader_data_populate(reader->attachment);
        return 1;
}

static int poll_once(struct lanemap_reader *reader, const bool *stop)
{
        int r, n_prepared, n_done = 0, n_followed;

        lanemap_reader_lock();
        n_followed = poll_follow(reader);
        lanemap_reader_unlock();
        if (n_followed < 0)
                return n_followed;

        n_prepared = lanemap_reader_files_prepare(reader, stop);
        if (n_prepared < 0)
                return n_prepared;

        lanemap_reader_lock();
        r = lanemap_reader_files_update(reader, reader->attachment, true, &n_done);
        lanemap_reader_unlock();
        if (r < 0)
                return r;

        /* The files of a new attachment are part of following. */
        return n_followed ? n_followed : n_prepared + n_done;
}

static int poll_run(struct lanemap_reader *reader, const bool *stop)
{
        int r = -EBADMSG;

        /* An object that outgrows its mapping meanwhile looks like bad bytes. */
        for (int i = 0; i < POLL_TRIES_MAX && r == -EBADMSG; i++) {
                bool is_outgrown;

                r = poll_once(reader, stop);
                lanemap_reader_lock();
                is_outgrown =
                        r == -EBADMSG && lanemap_reader_is_outgrown(reader->attachment, false);
                lanemap_reader_unlock();
                if (!is_outgrown)
                        break;
        }

        lanemap_reader_drain(reader);
        return r;
}

int lanemap_reader_poll(struct lanemap_reader *reader)
{
        return reader ? poll_run(reader, NULL) : -EINVAL;
}

static void *helper_main(void *arg)
{
        struct lanemap_reader *reader = arg;

        pthread_mutex_lock(&reader->helper_lock);
        while (!reader->stop_helper) {
                struct timespec until;

                pthread_mutex_unlock(&reader->helper_lock);
                (void)poll_run(reader, &reader->stop_helper);
                pthread_mutex_lock(&reader->helper_lock);

                clock_gettime(CLOCK_MONOTONIC, &until);
                until.tv_nsec += HELPER_INTERVAL_NS;
                if (until.tv_nsec >= 1000000000) {
                        until.tv_nsec -= 1000000000;
                        until.tv_sec++;
                }
                if (!reader->stop_helper)
                        (void)pthread_cond_timedwait(&reader->helper_wake, &reader->helper_lock,
                                                     &until);
        }
        pthread_mutex_unlock(&reader->helper_lock);

        return NULL;
}

int lanemap_reader_start_helper(struct lanemap_reader *reader)
{
        sigset_t before;
        int r;

        /* Signals are the program's business, not the library's thread's. */
        lanemap_signals_block(&before);
        r = pthread_create(&reader->helper, NULL, helper_main, reader);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (r != 0)
                return -r;

        (void)pthread_setname_np(reader->helper, "lanemap-helper");
        reader->has_helper = true;
        reader->helper_pid = getpid();
        return 0;
}

void lanemap_reader_stop_helper(struct lanemap_reader *reader)
{
        if (!helper_lives(reader))
                return;

        pthread_mutex_lock(&reader->helper_lock);
        /* Loaded relaxed while pages are made present. */
        lanemap_store_relaxed(&reader->stop_helper, true);
        pthread_cond_signal(&reader->helper_wake);
        pthread_mutex_unlock(&reader->helper_lock);
        pthread_join(reader->helper, NULL);
        reader->has_helper = false;
}

int lanemap_reader_open(const char *name, const struct lanemap_reader_options *options,
                        struct lanemap_reader **ret_reader)
{
        struct lanemap_reader *reader = NULL;
        pthread_condattr_t attributes;
        void *memory;
        int r;

        lanemap_guard_init();

        if (posix_memalign(&memory, LANEMAP_CACHE_LINE_BYTES, sizeof(*reader)) != 0)
                return -ENOMEM;

        reader = memset(memory, 0, sizeof(*reader));
        pthread_mutex_init(&reader->helper_lock, NULL);
        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(&reader->helper_wake, &attributes);
        pthread_condattr_destroy(&attributes);
        memcpy(reader->name, name, strlen(name) + 1);
        reader->stale_after_ns = options->stale_after_ns;
        reader->counts_lookups = options->statistics != 0;
        reader->begins_slowly = options->stale_after_ns > 0 || options->sample_every > 0;
        reader->statistics = reader->counts_lookups || options->sample_every > 0;
        reader->trust.kind = (enum lanemap_trust)options->trust;
        reader->trust.uid = options->trusted_uid;
        reader->directory = options->directory ? strdup(options->directory) : NULL;
        r = options->directory && !reader->directory ? -ENOMEM : 0;
        if (r == 0)
                r = lanemap_reader_timing_init(reader, options->sample_every, options->slow_ns);
        if (r == 0) {
                reader->shm_dir_fd = lanemap_shm_open_directory();
                r = LANEMAP_MIN(reader->shm_dir_fd, 0);
        }
        if (r < 0) {
                lanemap_reader_timing_deinit(reader);
                free(reader->directory);
                free(reader);
                return r;
        }

        *ret_reader = reader;
        return 0;
}
