/* See recording_files.h. */
#include "recording_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base.h"

struct recording *recording_new(uint64_t capacity)
{
        struct recording *recording = mmap(NULL, capacity, PROT_READ | PROT_WRITE,
                                           MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        pthread_mutexattr_t attributes;

        must(recording != MAP_FAILED);
        recording->capacity = capacity - sizeof(*recording);
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        must(pthread_mutex_init(&recording->lock, &attributes) == 0);
        pthread_mutexattr_destroy(&attributes);
        return recording;
}

void recording_reset(struct recording *recording)
{
        recording->n_bytes = 0;
        recording->n_events = 0;
        recording->n_inodes = 0;
        recording->n_known = 0;
        recording->n_directories = 0;
}

static void lock(struct recording *recording)
{
        if (pthread_mutex_lock(&recording->lock) == EOWNERDEAD)
                must(pthread_mutex_consistent(&recording->lock) == 0);
}

static void unlock(struct recording *recording)
{
        pthread_mutex_unlock(&recording->lock);
}

uint32_t recording_know(struct recording *recording, ino_t ino)
{
        uint32_t i = 0;

        while (i < recording->n_known && recording->known[i].ino != ino)
                i++;
        must(i < LANEMAP_N_ELEMENTS(recording->known));
        recording->known[i].ino = ino;
        recording->known[i].inode = recording->n_inodes++;
        if (i == recording->n_known)
                recording->n_known++;
        return recording->known[i].inode;
}

void recording_know_directory(struct recording *recording, ino_t ino, const char *name)
{
        uint32_t i = recording->n_directories++;

        must(i < RECORDING_DIRECTORIES_MAX && strlen(name) < RECORDING_DIRECTORY_BYTES);
        recording->directories[i].ino = ino;
        strcpy(recording->directories[i].name, name);
}

static const char *directory_of(const struct recording *recording, int dir_fd)
{
        struct stat st;

        must(fstat(dir_fd, &st) == 0);
        for (uint32_t i = 0; i < recording->n_directories; i++)
                if (recording->directories[i].ino == st.st_ino)
                        return recording->directories[i].name;
        abort();
}

static uint32_t inode_of(const struct recording *recording, ino_t ino)
{
        for (uint32_t i = 0; i < recording->n_known; i++)
                if (recording->known[i].ino == ino)
                        return recording->known[i].inode;
        abort();
}

static uint32_t inode_of_fd(const struct recording *recording, int fd)
{
        struct stat st;

        must(fstat(fd, &st) == 0);
        return inode_of(recording, st.st_ino);
}

static uint32_t inode_of_name(const struct recording *recording, int dir_fd, const char *name)
{
        struct stat st;

        must(fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        return inode_of(recording, st.st_ino);
}

/* Under the lock, before the call is executed: whoever dies here has not made it. */
static struct event *event_begin(struct recording_files *files, uint32_t kind)
{
        struct recording *recording = files->recording;
        struct event *event = (struct event *)(recording->events + recording->n_bytes);

        if (files->kill_at && recording->n_events + 1 >= files->kill_at)
                kill(getpid(), SIGKILL);

        *event = (struct event){.kind = kind};
        return event;
}

static void event_name(const struct recording *recording, struct event *event, int dir_fd,
                       const char *name, uint32_t *ret_bytes)
{
        char *to = event->data + event->name_bytes + event->name2_bytes;

        *ret_bytes = 1 + (uint32_t)sprintf(to, "%s%s", directory_of(recording, dir_fd), name);
}

static void event_end(struct recording *recording, struct event *event)
{
        uint64_t bytes = sizeof(*event) + event->name_bytes + event->name2_bytes + event->n_bytes;

        must(recording->n_bytes + bytes + 4096 < recording->capacity);
        recording->n_events++;
        recording->n_bytes += LANEMAP_ALIGN_UP(bytes, UINT64_C(8));
}

static struct recording_files *files_of(const struct lanemap_files *files)
{
        return (struct recording_files *)(uintptr_t)files;
}

static bool fails(struct recording_files *files)
{
        return files->fail_once && rng_below(&files->rng, files->fail_once) == 0;
}

static int recording_open(const struct lanemap_files *base, int dir_fd, const char *name, int flags,
                          mode_t mode)
{
        struct recording_files *files = files_of(base);
        struct recording *recording = files->recording;
        struct event *event;
        struct stat st;
        bool exists;
        int fd;

        lock(recording);
        exists = faccessat(dir_fd, name, F_OK, 0) == 0;
        event = event_begin(files, flags & O_CREAT && !exists ? EVENT_CREATE : EVENT_TRUNCATE);
        fd = flags & O_CREAT && !exists && fails(files)
                     ? -EIO
                     : lanemap_files_posix.open(&lanemap_files_posix, dir_fd, name, flags, mode);
        if (fd >= 0 && flags & O_CREAT && !exists) {
                must(fstat(fd, &st) == 0);
                event->inode = recording_know(recording, st.st_ino);
                event_name(recording, event, dir_fd, name, &event->name_bytes);
                event_end(recording, event);
        } else if (fd >= 0 && flags & O_TRUNC) {
                event->inode = inode_of_fd(recording, fd);
                event_end(recording, event);
        }
        unlock(recording);
        return fd;
}

static int recording_close(const struct lanemap_files *base, int fd)
{
        return lanemap_files_posix.close(&lanemap_files_posix, fd);
}

static ssize_t recording_pwrite(const struct lanemap_files *base, int fd, const void *bytes,
                                size_t n_bytes, off_t at)
{
        struct recording_files *files = files_of(base);
        struct recording *recording = files->recording;
        struct event *event;
        bool failing;
        ssize_t n;

        lock(recording);
        event = event_begin(files, EVENT_WRITE);
        failing = fails(files);
        if (failing)
                n_bytes = rng_below(&files->rng, n_bytes + 1);
        must(recording->n_bytes + n_bytes + 4096 < recording->capacity);
        n = lanemap_files_posix.pwrite(&lanemap_files_posix, fd, bytes, n_bytes, at);
        must(n >= 0);
        event->inode = inode_of_fd(recording, fd);
        event->at = (uint64_t)at;
        event->n_bytes = (uint32_t)n;
        memcpy(event->data, bytes, (size_t)n);
        event_end(recording, event);
        unlock(recording);
        return failing ? -EIO : n;
}

/* An allocation only says how long the file is. */
static int recording_allocate(const struct lanemap_files *base, int fd, off_t at, off_t n_bytes)
{
        struct recording_files *files = files_of(base);
        struct recording *recording = files->recording;
        struct event *event;
        int r;

        lock(recording);
        event = event_begin(files, EVENT_ALLOCATE);
        r = fails(files) ? -EIO
                         : lanemap_files_posix.allocate(&lanemap_files_posix, fd, at, n_bytes);
        if (r == 0) {
                event->inode = inode_of_fd(recording, fd);
                event->at = (uint64_t)(at + n_bytes);
                event_end(recording, event);
        }
        unlock(recording);
        return r;
}

static int recording_sync(const struct lanemap_files *base, int fd)
{
        struct recording_files *files = files_of(base);
        struct event *event;
        bool failing;

        lock(files->recording);
        failing = fails(files);
        event = event_begin(files, failing ? EVENT_SYNC_FAILED : EVENT_SYNC);
        event->inode = inode_of_fd(files->recording, fd);
        event_end(files->recording, event);
        unlock(files->recording);
        return failing ? -EIO : 0;
}

static int recording_sync_directory(const struct lanemap_files *base, int dir_fd)
{
        struct recording_files *files = files_of(base);
        struct event *event;
        bool failing;

        lock(files->recording);
        failing = fails(files);
        if (!failing) {
                event = event_begin(files, EVENT_SYNC_DIRECTORY);
                event_name(files->recording, event, dir_fd, "", &event->name_bytes);
                event_end(files->recording, event);
        }
        unlock(files->recording);
        return failing ? -EIO : 0;
}

static int recording_rename(const struct lanemap_files *base, int dir_fd, const char *from,
                            const char *to)
{
        struct recording_files *files = files_of(base);
        struct event *event;
        int r;

        lock(files->recording);
        event = event_begin(files, EVENT_RENAME);
        r = fails(files) ? -EIO
                         : lanemap_files_posix.rename(&lanemap_files_posix, dir_fd, from, to);
        if (r == 0) {
                event->inode = inode_of_name(files->recording, dir_fd, to);
                event_name(files->recording, event, dir_fd, from, &event->name_bytes);
                event_name(files->recording, event, dir_fd, to, &event->name2_bytes);
                event_end(files->recording, event);
        }
        unlock(files->recording);
        return r;
}

static int recording_unlink(const struct lanemap_files *base, int dir_fd, const char *name)
{
        struct recording_files *files = files_of(base);
        struct event *event;
        int r = -ENOENT;

        lock(files->recording);
        if (faccessat(dir_fd, name, F_OK, 0) == 0) {
                event = event_begin(files, EVENT_UNLINK);
                event->inode = inode_of_name(files->recording, dir_fd, name);
                r = fails(files) ? -EIO
                                 : lanemap_files_posix.unlink(&lanemap_files_posix, dir_fd, name);
                if (r == 0) {
                        event_name(files->recording, event, dir_fd, name, &event->name_bytes);
                        event_end(files->recording, event);
                }
        }
        unlock(files->recording);
        return r;
}

static int recording_link(const struct lanemap_files *base, int dir_fd, const char *from,
                          int to_dir_fd, const char *to)
{
        struct recording_files *files = files_of(base);
        struct event *event;
        int r = -EXDEV;

        lock(files->recording);
        event = event_begin(files, EVENT_LINK);
        if (!files->no_links)
                r = fails(files) ? -EIO
                                 : lanemap_files_posix.link(&lanemap_files_posix, dir_fd, from,
                                                            to_dir_fd, to);
        if (r == 0) {
                event->inode = inode_of_name(files->recording, to_dir_fd, to);
                event_name(files->recording, event, dir_fd, from, &event->name_bytes);
                event_name(files->recording, event, to_dir_fd, to, &event->name2_bytes);
                event_end(files->recording, event);
        }
        unlock(files->recording);
        return r;
}

static int recording_make_directory(const struct lanemap_files *base, int dir_fd, const char *name,
                                    mode_t mode)
{
        struct recording_files *files = files_of(base);
        char prefix[RECORDING_DIRECTORY_BYTES];
        struct event *event;
        struct stat st;
        int r;

        lock(files->recording);
        event = event_begin(files, EVENT_MAKE_DIRECTORY);
        r = fails(files)
                    ? -EIO
                    : lanemap_files_posix.make_directory(&lanemap_files_posix, dir_fd, name, mode);
        if (r == 0) {
                must(fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
                must(snprintf(prefix, sizeof(prefix), "%s/", name) < (int)sizeof(prefix));
                recording_know_directory(files->recording, st.st_ino, prefix);
                event_name(files->recording, event, dir_fd, name, &event->name_bytes);
                event_end(files->recording, event);
        }
        unlock(files->recording);
        return r;
}

void recording_files_init(struct recording_files *files, struct recording *recording)
{
        *files = (struct recording_files){
                .files = {.open = recording_open,
                          .close = recording_close,
                          .pwrite = recording_pwrite,
                          .allocate = recording_allocate,
                          .sync = recording_sync,
                          .sync_directory = recording_sync_directory,
                          .rename = recording_rename,
                          .unlink = recording_unlink,
                          .link = recording_link,
                          .make_directory = recording_make_directory},
                .recording = recording,
        };
}

void recording_note(struct recording_files *files, uint32_t kind, uint64_t at)
{
        struct event *event;

        lock(files->recording);
        event = event_begin(files, kind);
        event->at = at;
        event_end(files->recording, event);
        unlock(files->recording);
}

const struct event *recording_next(const struct recording *recording, const struct event *event)
{
        uint64_t off = 0;

        if (event)
                off = (uint64_t)((const char *)event - recording->events) +
                      LANEMAP_ALIGN_UP(sizeof(*event) + event->name_bytes + event->name2_bytes +
                                               event->n_bytes,
                                       UINT64_C(8));
        return off < recording->n_bytes ? (const struct event *)(recording->events + off) : NULL;
}
