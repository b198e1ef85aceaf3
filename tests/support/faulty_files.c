/* See faulty_files.h. A helper of tests: its own failures end the process. */
#include "faulty_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A file that ever existed, with what a power cut leaves of it. Inode numbers are reused, so they
 * count for living files only. */
struct faulty_inode {
        struct faulty_inode *next;
        ino_t ino; /* 0: unlinked, and its number went to another file */
        unsigned char *bytes;
        size_t n_bytes;
        struct faulty_change *changes; /* since the last sync, newest first */
};

/* A write, or (without bytes) a change of the length. */
struct faulty_change {
        struct faulty_change *next;
        size_t at;
        size_t n_bytes;
        bool has_bytes;
        unsigned char bytes[];
};

struct faulty_name {
        struct faulty_name *next;
        struct faulty_inode *inode;
        char name[256];
};

#define must(expr)                                      \
        do {                                            \
                if (!(expr)) {                          \
                        perror("faulty_files: " #expr); \
                        abort();                        \
                }                                       \
        } while (0)

static struct faulty_files *faulty_of(const struct lanemap_files *files)
{
        return (struct faulty_files *)(uintptr_t)files;
}

static struct faulty_inode *inode_find(struct faulty_files *faulty, ino_t ino)
{
        struct faulty_inode *inode = faulty->inodes;

        while (inode && inode->ino != ino)
                inode = inode->next;
        return inode;
}

static struct faulty_inode *inode_new(struct faulty_files *faulty, ino_t ino)
{
        struct faulty_inode *inode = inode_find(faulty, ino);

        if (inode)
                inode->ino = 0;
        inode = calloc(1, sizeof(*inode));
        must(inode);
        inode->ino = ino;
        inode->next = faulty->inodes;
        faulty->inodes = inode;
        return inode;
}

static struct faulty_inode *inode_of(struct faulty_files *faulty, int fd)
{
        struct faulty_inode *inode;
        struct stat status;

        must(fstat(fd, &status) == 0);
        inode = inode_find(faulty, status.st_ino);
        return inode ? inode : inode_new(faulty, status.st_ino);
}

static void inode_free_changes(struct faulty_inode *inode)
{
        while (inode->changes) {
                struct faulty_change *next = inode->changes->next;

                free(inode->changes);
                inode->changes = next;
        }
}

static void inode_change(struct faulty_files *faulty, int fd, off_t at, const void *bytes,
                         size_t n_bytes)
{
        struct faulty_inode *inode = inode_of(faulty, fd);
        struct faulty_change *change = malloc(sizeof(*change) + (bytes ? n_bytes : 0));

        must(change);
        *change = (struct faulty_change){
                .next = inode->changes, .at = (size_t)at, .n_bytes = n_bytes, .has_bytes = bytes};
        if (bytes)
                memcpy(change->bytes, bytes, n_bytes);
        inode->changes = change;
}

/* Oldest first: a later one may overwrite an earlier one. */
static void changes_apply(int fd, const struct faulty_change *change, uint64_t *coin)
{
        if (!change)
                return;

        changes_apply(fd, change->next, coin);
        *coin = *coin * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        if (*coin >> 63)
                return;
        if (change->has_bytes)
                must(pwrite(fd, change->bytes, change->n_bytes, (off_t)change->at) ==
                     (ssize_t)change->n_bytes);
        else
                must(ftruncate(fd, (off_t)change->n_bytes) == 0);
}

static void inode_remember(struct faulty_files *faulty, int fd)
{
        struct faulty_inode *inode = inode_of(faulty, fd);
        struct stat status;

        must(fstat(fd, &status) == 0);
        inode_free_changes(inode);
        free(inode->bytes);
        inode->n_bytes = (size_t)status.st_size;
        inode->bytes = malloc(inode->n_bytes + 1);
        must(inode->bytes);
        must(pread(fd, inode->bytes, inode->n_bytes, 0) == status.st_size);
}

static void names_free(struct faulty_files *faulty)
{
        while (faulty->names) {
                struct faulty_name *next = faulty->names->next;

                free(faulty->names);
                faulty->names = next;
        }
}

/* fn for each regular file of the directory, by a descriptor that can be read. */
static void directory_each(struct faulty_files *faulty,
                           void (*fn)(struct faulty_files *faulty, const char *name, int fd))
{
        int dir_fd = openat(faulty->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const struct dirent *entry;
        DIR *dir;

        must(dir_fd >= 0);
        dir = fdopendir(dir_fd);
        must(dir);
        while ((entry = readdir(dir))) {
                struct stat status;
                int fd;

                must(fstatat(faulty->dir_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0);
                if (!S_ISREG(status.st_mode))
                        continue;
                fd = openat(faulty->dir_fd, entry->d_name, O_RDONLY | O_CLOEXEC);
                must(fd >= 0);
                fn(faulty, entry->d_name, fd);
                close(fd);
        }
        closedir(dir);
}

static void remember_content(struct faulty_files *faulty, const char *name, int fd)
{
        inode_remember(faulty, fd);
}

static void remember_name(struct faulty_files *faulty, const char *name, int fd)
{
        struct faulty_name *entry = calloc(1, sizeof(*entry));
        struct stat status;

        must(entry && fstat(fd, &status) == 0);
        entry->inode = inode_find(faulty, status.st_ino);
        if (!entry->inode)
                entry->inode = inode_new(faulty, status.st_ino);
        snprintf(entry->name, sizeof(entry->name), "%s", name);
        entry->next = faulty->names;
        faulty->names = entry;
}

/* Return: 0, or the error that this call is to answer. */
static int fault(struct faulty_files *faulty, enum faulty_call call)
{
        if (!(faulty->calls & call))
                return 0;

        faulty->n_calls++;
        if (faulty->fail_at == 0 || faulty->n_calls < faulty->fail_at ||
            faulty->n_calls - faulty->fail_at >= faulty->n_failing)
                return 0;

        faulty->n_failed++;
        return faulty->error;
}

static int faulty_open(const struct lanemap_files *files, int dir_fd, const char *name, int flags,
                       mode_t mode)
{
        struct faulty_files *faulty = faulty_of(files);
        bool creates;
        int r = 0;

        pthread_mutex_lock(&faulty->mutex);
        creates = flags & O_CREAT && faccessat(dir_fd, name, F_OK, 0) < 0;
        if (flags & O_CREAT)
                r = fault(faulty, FAULTY_OPEN);
        if (r == 0)
                r = lanemap_files_posix.open(&lanemap_files_posix, dir_fd, name, flags, mode);
        if (r >= 0 && creates) {
                struct stat status;

                must(fstat(r, &status) == 0);
                inode_new(faulty, status.st_ino);
        }
        pthread_mutex_unlock(&faulty->mutex);
        return r;
}

static off_t file_length(int fd)
{
        struct stat status;

        must(fstat(fd, &status) == 0);
        return status.st_size;
}

/* A close that fails has closed all the same. */
static int faulty_close(const struct lanemap_files *files, int fd)
{
        struct faulty_files *faulty = faulty_of(files);
        int r;

        pthread_mutex_lock(&faulty->mutex);
        r = fault(faulty, FAULTY_CLOSE);
        pthread_mutex_unlock(&faulty->mutex);
        close(fd);
        return r;
}

static ssize_t faulty_pwrite(const struct lanemap_files *files, int fd, const void *bytes,
                             size_t n_bytes, off_t at)
{
        struct faulty_files *faulty = faulty_of(files);
        ssize_t r;

        pthread_mutex_lock(&faulty->mutex);
        r = fault(faulty, FAULTY_PWRITE);
        if (faulty->write_bytes_max)
                n_bytes = LANEMAP_MIN(n_bytes, faulty->write_bytes_max);
        if (r < 0)
                n_bytes = LANEMAP_MIN(n_bytes, faulty->torn_bytes);
        else if (faulty->disk_full && at + (off_t)n_bytes > file_length(fd))
                r = -ENOSPC, n_bytes = 0;
        if (n_bytes > 0)
                inode_change(faulty, fd, at, bytes, n_bytes);
        pthread_mutex_unlock(&faulty->mutex);

        if (n_bytes > 0)
                must(pwrite(fd, bytes, n_bytes, at) == (ssize_t)n_bytes);
        return r < 0 ? r : (ssize_t)n_bytes;
}

static int faulty_allocate(const struct lanemap_files *files, int fd, off_t at, off_t n_bytes)
{
        struct faulty_files *faulty = faulty_of(files);
        int r;

        pthread_mutex_lock(&faulty->mutex);
        r = fault(faulty, FAULTY_ALLOCATE);
        if (r == 0 && faulty->disk_full)
                r = -ENOSPC;
        if (r == 0 && at + n_bytes > file_length(fd))
                inode_change(faulty, fd, 0, NULL, (size_t)(at + n_bytes));
        pthread_mutex_unlock(&faulty->mutex);
        return r < 0 ? r : lanemap_files_posix.allocate(&lanemap_files_posix, fd, at, n_bytes);
}

static int faulty_sync(const struct lanemap_files *files, int fd)
{
        struct faulty_files *faulty = faulty_of(files);
        int r;

        pthread_mutex_lock(&faulty->mutex);
        r = fault(faulty, FAULTY_SYNC);
        if (r == 0) {
                char path[64];
                int readable;

                snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
                readable = open(path, O_RDONLY | O_CLOEXEC);
                must(readable >= 0);
                inode_remember(faulty, readable);
                close(readable);
        }
        pthread_mutex_unlock(&faulty->mutex);
        return r;
}

static int faulty_sync_directory(const struct lanemap_files *files, int dir_fd)
{
        struct faulty_files *faulty = faulty_of(files);
        int r;

        pthread_mutex_lock(&faulty->mutex);
        r = fault(faulty, FAULTY_SYNC_DIRECTORY);
        if (r == 0) {
                names_free(faulty);
                directory_each(faulty, remember_name);
        }
        pthread_mutex_unlock(&faulty->mutex);
        return r;
}

static int faulty_rename(const struct lanemap_files *files, int dir_fd, const char *from,
                         const char *to)
{
        struct faulty_files *faulty = faulty_of(files);
        int r;

        pthread_mutex_lock(&faulty->mutex);
        r = fault(faulty, FAULTY_RENAME);
        if (r == 0)
                r = lanemap_files_posix.rename(&lanemap_files_posix, dir_fd, from, to);
        pthread_mutex_unlock(&faulty->mutex);
        return r;
}

static int faulty_unlink(const struct lanemap_files *files, int dir_fd, const char *name)
{
        struct faulty_files *faulty = faulty_of(files);
        int r;

        pthread_mutex_lock(&faulty->mutex);
        r = fault(faulty, FAULTY_UNLINK);
        if (r == 0)
                r = lanemap_files_posix.unlink(&lanemap_files_posix, dir_fd, name);
        pthread_mutex_unlock(&faulty->mutex);
        return r;
}

void faulty_files_init(struct faulty_files *faulty, int dir_fd)
{
        *faulty = (struct faulty_files){
                .files =
                        {
                                .open = faulty_open,
                                .close = faulty_close,
                                .pwrite = faulty_pwrite,
                                .allocate = faulty_allocate,
                                .sync = faulty_sync,
                                .sync_directory = faulty_sync_directory,
                                .rename = faulty_rename,
                                .unlink = faulty_unlink,
                        },
                .calls = FAULTY_ALL,
                .n_failing = 1,
                .error = -EIO,
                .dir_fd = dir_fd,
        };
        pthread_mutex_init(&faulty->mutex, NULL);
        directory_each(faulty, remember_content);
        directory_each(faulty, remember_name);
}

void faulty_files_deinit(struct faulty_files *faulty)
{
        names_free(faulty);
        while (faulty->inodes) {
                struct faulty_inode *next = faulty->inodes->next;

                inode_free_changes(faulty->inodes);
                free(faulty->inodes->bytes);
                free(faulty->inodes);
                faulty->inodes = next;
        }
        pthread_mutex_destroy(&faulty->mutex);
}

static void remove_name(struct faulty_files *faulty, const char *name, int fd)
{
        must(unlinkat(faulty->dir_fd, name, 0) == 0);
}

void faulty_files_cut_power(struct faulty_files *faulty, bool lose_names, uint64_t seed)
{
        uint64_t coin = seed;

        pthread_mutex_lock(&faulty->mutex);
        if (!lose_names) {
                names_free(faulty);
                directory_each(faulty, remember_name);
        }
        directory_each(faulty, remove_name);

        for (struct faulty_name *entry = faulty->names; entry; entry = entry->next) {
                int fd = openat(faulty->dir_fd, entry->name, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

                must(fd >= 0);
                must(pwrite(fd, entry->inode->bytes, entry->inode->n_bytes, 0) ==
                     (ssize_t)entry->inode->n_bytes);
                if (seed)
                        changes_apply(fd, entry->inode->changes, &coin);
                close(fd);
        }

        /* All of it is on the disk: start over from here. */
        names_free(faulty);
        for (struct faulty_inode *inode = faulty->inodes; inode; inode = inode->next) {
                inode->ino = 0;
                inode_free_changes(inode);
        }
        directory_each(faulty, remember_content);
        directory_each(faulty, remember_name);
        pthread_mutex_unlock(&faulty->mutex);
}
