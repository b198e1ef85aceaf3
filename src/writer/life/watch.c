/*
 * The watch: a thread that keeps the published objects and the data directory in place.
 *
 * Y1. Shared objects of a running writer that are removed (rm, a cleaner, RemoveIPC=) are published
 *     anew within two seconds: a control object if it was that, and in any case a new generation,
 *     which old attachments follow at their next lookup, since their control object names it too.
 * Y2. A lock file that is removed is made and locked again, before anything else. If another writer
 *     was faster, or publishing anew is not possible, the writer says so
 *     (lanemap_writer_get_health(): fatal), applies nothing more, and has to be closed: a name has
 *     one writer (W1).
 * Y3. While the data directory is not where it was (moved, something else mounted over it), nothing
 *     is applied. When it is back, writing goes on. One that was deleted or emptied does not come
 *     back: nothing is applied any more. A log file that was unlinked is as one
 *     whose sync failed: nothing in it is acknowledged (log_output.c).
 *
 * The kernel reports removals (inotify) within a millisecond; a check every half second finds the
 * others. Calls may hang with the disk, so nobody waits for this thread but close.
 */
#include "writer/life/life.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "common/lock.h"
#include "shm/object.h"
#include "store/lock.h"
#include "writer/apply/apply.h"
#include "writer/compact/compact.h"
#include "writer/core/core.h"

#define LOOK_MS      500
#define RETRY_MS     25
#define SETTLE_NS    (UINT64_C(50) * 1000 * 1000)
#define GIVE_UP_NS   (UINT64_C(1500) * 1000 * 1000)
#define LOCK_WAIT_NS (UINT64_C(20) * 1000 * 1000)

/* Return: true if the name leads to another file than the descriptor, or to none; false after an
 * error. */
static bool name_is_lost(int dir_fd, const char *name, int fd)
{
        struct stat here, st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return false;
        if (fstatat(dir_fd, name, &here, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT || errno == ENOTDIR;

        return here.st_ino != st.st_ino || here.st_dev != st.st_dev;
}

static void fatal_set(struct lanemap_writer *writer, int r, const char *what)
{
        if (writer->health.fatal)
                return;

        lanemap_engine_log(writer, LOG_CRIT,
                           "%s: %s (%s); nothing more is applied, and this writer has to end",
                           writer->identity.name, what, strerror(-r));
        lanemap_store_release(&writer->health.refused, -ESTALE);
        lanemap_store_release(&writer->health.fatal, r);
        lanemap_engine_event_notify(writer);
}

/* ---- locks (Y2) ---- */

/* Return: 1 it was lost and is ours again, 0 it was not lost, or a negative errno. */
static int lock_renew(int dir_fd, const struct lanemap_files *old_files, const char *name, int *fd)
{
        int r, new_fd;

        if (!name_is_lost(dir_fd, name, *fd))
                return 0;

        r = lanemap_store_lock(&lanemap_files_posix, dir_fd, name, &new_fd, NULL);
        if (r < 0)
                return r;

        lanemap_store_unlock(old_files, *fd);
        *fd = new_fd;
        return 1;
}

static int name_lock_check(struct lanemap_writer *writer)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        int r;

        lanemap_shm_lock_name(writer->identity.name, object);
        r = lock_renew(writer->place.shm_dir_fd, &lanemap_files_posix, object,
                       &writer->place.name_lock_fd);
        if (r < 0)
                fatal_set(writer, r, "the lock of its name was removed, and cannot be had again");
        else if (r > 0)
                lanemap_engine_log(writer, LOG_WARNING,
                                   "%s/%s was removed under this writer: it is made anew",
                                   LANEMAP_SHM_DIRECTORY, object);
        return r;
}

/* Who deletes the whole directory is not to find a new file in it: a moment is given to that. */
static void directory_lock_check(struct lanemap_writer *writer)
{
        struct writer_watch *watch = &writer->watch;
        uint64_t now_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        int r;

        if (!name_is_lost(writer->place.dir_fd, LANEMAP_STORE_LOCK_NAME,
                          writer->place.store_lock_fd)) {
                watch->lock_lost_ns = 0;
                return;
        }
        if (watch->lock_lost_ns == 0)
                watch->lock_lost_ns = now_ns;
        if (now_ns - watch->lock_lost_ns < SETTLE_NS)
                return;

        r = lock_renew(writer->place.dir_fd, writer->files, LANEMAP_STORE_LOCK_NAME,
                       &writer->place.store_lock_fd);
        watch->lock_lost_ns = 0;
        if (r < 0)
                fatal_set(writer, r,
                          "the lock of its data directory was removed, and cannot be had again");
        else if (r > 0)
                lanemap_engine_log(writer, LOG_WARNING,
                                   "%s/%s was removed under this writer: it is made anew",
                                   writer->identity.directory, LANEMAP_STORE_LOCK_NAME);
}

/* ---- shared objects (Y1) ---- */

static bool control_is_lost(const struct lanemap_writer *writer)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        struct stat st;

        lanemap_shm_control_name(writer->identity.name, object);
        if (fstatat(writer->place.shm_dir_fd, object, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT;

        return st.st_ino != writer->shm.control_inode;
}

static bool data_is_lost(struct lanemap_writer *writer)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        bool lost;

        /* A flip replaces it; whoever holds the lock for longer hangs, and is seen elsewhere. */
        if (!lanemap_mutex_lock_within(&writer->lanes.lock, LOCK_WAIT_NS))
                return false;

        lanemap_shm_data_name(writer->identity.name, writer->shm.object->generation, object);
        lost = name_is_lost(writer->place.shm_dir_fd, object, writer->shm.object->fd);
        lanemap_mutex_unlock(&writer->lanes.lock);
        return lost;
}

static void spare_check(struct lanemap_writer *writer)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        struct stat st;

        lanemap_shm_spare_name(writer->identity.name, object);
        if (lanemap_load_relaxed(&writer->shm.spare_bytes) == 0 ||
            fstatat(writer->place.shm_dir_fd, object, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
            errno != ENOENT)
                return;

        lanemap_store_relaxed(&writer->shm.spare_bytes, (uint64_t)0);
        (void)lanemap_engine_spare_ensure(writer);
}

static int shared_renew(struct lanemap_writer *writer, bool control_lost)
{
        struct lanemap_shm_control *control = NULL;
        int r = 0;

        if (control_lost)
                r = lanemap_shm_control_open(
                        writer->place.shm_dir_fd, writer->identity.name, writer->identity.uuid,
                        writer->options.shared_mode ? writer->options.shared_mode : 0640, &control,
                        NULL);
        if (r == 0)
                r = lanemap_engine_flip_unconditional(writer, control);
        if (r < 0 && control)
                lanemap_shm_control_close(control);
        if (r == 0 && control_lost)
                lanemap_engine_watch_control(writer);
        return r;
}

static void shared_check(struct lanemap_writer *writer)
{
        bool control_lost = control_is_lost(writer);
        uint64_t now_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        int r;

        spare_check(writer);
        if (!control_lost && !data_is_lost(writer)) {
                writer->watch.lost_ns = 0;
                return;
        }

        /* All of a removal at once: a new generation in a control object that goes next would be in
         * nobody's reach. */
        if (writer->watch.lost_ns == 0)
                writer->watch.lost_ns = now_ns;
        if (now_ns - writer->watch.lost_ns < SETTLE_NS)
                return;
        r = shared_renew(writer, control_lost);
        if (r == 0) {
                writer->watch.lost_ns = 0;
                lanemap_engine_log(writer, LOG_WARNING,
                                   "%s: shared memory was removed under this writer; it is "
                                   "published anew, and readers follow",
                                   writer->identity.name);
        } else if (r == -EEXIST || r == -EPERM || r == -EBADMSG ||
                   now_ns - writer->watch.lost_ns > GIVE_UP_NS) {
                fatal_set(writer, r, "its shared memory was removed, and cannot be published anew");
        }
}

/* ---- the data directory (Y3) ---- */

/* A directory without its manifest was emptied: it is no index any more, whatever is put into it
 * from here on. */
static bool directory_is_lost(struct lanemap_writer *writer)
{
        struct stat st;

        if (fstatat(writer->place.dir_fd, LANEMAP_MANIFEST_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
            errno == ENOENT)
                writer->watch.emptied = true;

        return writer->watch.emptied ||
               name_is_lost(AT_FDCWD, writer->identity.directory, writer->place.dir_fd);
}

static void directory_check(struct lanemap_writer *writer)
{
        bool lost = directory_is_lost(writer), was_lost = writer->health.refused == -ENOENT;

        if (writer->health.fatal || lost == was_lost)
                return;

        lanemap_store_release(&writer->health.refused, lost ? -ENOENT : 0);
        if (lost)
                lanemap_engine_log(writer, LOG_CRIT,
                                   "%s was moved or deleted under this writer: writes are refused "
                                   "until it is back; lookups go on",
                                   writer->identity.directory);
        else
                lanemap_engine_log(writer, LOG_NOTICE, "%s is back: writes go on",
                                   writer->identity.directory);
        lanemap_engine_event_notify(writer);
}

/* ---- the thread ---- */

#define REMOVALS (IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF)

static void watch_add(struct lanemap_writer *writer, const char *directory, const char *name)
{
        char path[4352];

        if (writer->watch.inotify_fd >= 0 &&
            (size_t)snprintf(path, sizeof(path), "%s/%s", directory, name) < sizeof(path))
                (void)inotify_add_watch(writer->watch.inotify_fd, path, REMOVALS);
}

/* The names that are to stay. Again whenever one was made anew. */
static void watch_arm(struct lanemap_writer *writer)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];

        lanemap_shm_lock_name(writer->identity.name, object);
        watch_add(writer, LANEMAP_SHM_DIRECTORY, object);
        lanemap_shm_control_name(writer->identity.name, object);
        watch_add(writer, LANEMAP_SHM_DIRECTORY, object);
        watch_add(writer, writer->identity.directory, ".");
        watch_add(writer, writer->identity.directory, LANEMAP_STORE_LOCK_NAME);
}

void lanemap_engine_watch_control(struct lanemap_writer *writer)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        struct stat st;

        lanemap_shm_control_name(writer->identity.name, object);
        if (fstatat(writer->place.shm_dir_fd, object, &st, AT_SYMLINK_NOFOLLOW) == 0)
                writer->shm.control_inode = st.st_ino;
}

static void watch_wait(struct lanemap_writer *writer)
{
        struct pollfd fds[2] = {{.fd = writer->watch.stop_fd, .events = POLLIN},
                                {.fd = writer->watch.inotify_fd, .events = POLLIN}};
        char events[4096];

        (void)poll(fds, 2,
                   writer->watch.lost_ns || writer->watch.lock_lost_ns ? RETRY_MS : LOOK_MS);
        if (writer->watch.inotify_fd >= 0)
                while (read(writer->watch.inotify_fd, events, sizeof(events)) > 0)
                        continue;
}

static void *watch_main(void *arg)
{
        struct lanemap_writer *writer = arg;

        while (!lanemap_load_acquire(&writer->workers.stopping)) {
                watch_arm(writer);
                if (!writer->health.fatal && name_lock_check(writer) >= 0)
                        shared_check(writer);
                directory_check(writer);
                if (!writer->health.refused)
                        directory_lock_check(writer);
                watch_wait(writer);
        }

        return NULL;
}

int lanemap_engine_watch_start(struct lanemap_writer *writer)
{
        struct writer_watch *watch = &writer->watch;
        int r;

        lanemap_engine_watch_control(writer);
        watch->stop_fd = eventfd(0, EFD_CLOEXEC);
        if (watch->stop_fd < 0)
                return -errno;

        watch->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK); /* -1: looking has to do */
        r = lanemap_engine_thread_new(&watch->thread, "lanemap-watch", watch_main, writer);
        watch->has_thread = r == 0;
        return r;
}

/* writer->workers.stopping is set. */
void lanemap_engine_watch_stop(struct lanemap_writer *writer)
{
        struct writer_watch *watch = &writer->watch;
        uint64_t one = 1;

        if (watch->has_thread) {
                (void)!write(watch->stop_fd, &one, sizeof(one));
                pthread_join(watch->thread, NULL);
        }
        watch->has_thread = false;
        if (watch->stop_fd >= 0)
                close(watch->stop_fd);
        if (watch->inotify_fd >= 0)
                close(watch->inotify_fd);
        watch->stop_fd = watch->inotify_fd = -1;
}
