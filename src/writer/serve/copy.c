/*
 * Copies of segment files on a tmpfs, where huge pages are to be had: `--serve-from DIR`.
 *
 *   DIR/                      an existing directory; several indexes may share it
 *   DIR/<index uuid>/         0750 or as the data directory; the index's own
 *       seg-*.lms             a copy, under the original's name
 *       tmp-seg-<number>      in the making; garbage after a crash
 *
 *   allocated (never sparse) -> written -> huge pages -> checksum of what is there now -> renamed
 *   -> lock: lookups of this process and the views name it -> the original leaves the page cache
 *
 *   K1  A copy is served only after its checksum, computed over the copy, is the manifest's; one
 *       that a predecessor left is checked in the same way, or removed.
 *   K2  A copy is never the only one: the original stays in the data directory until it is retired,
 *       and a reader that cannot use the copy uses it. So nothing here is synced, and no crash,
 *       full tmpfs or missing directory is more than a slower page.
 *   K3  Only files of our names in the index's own directory are touched; the directory is ours, is
 *       no symbolic link, and nobody else may write it.
 *   K4  A copy that cannot be read any more (UM5 in verify/mapping.h) is given up: the original is
 *   served,
 *       and another copy is made.
 */
#include "writer/serve/serve.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <syslog.h>
#include <unistd.h>

#include "common/alloc.h"
#include "lane/file_read.h"
#include "segment/file_write.h"
#include "verify/verify.h"
#include "writer/core/core.h"

#define COPY_CHUNK_BYTES (UINT64_C(1) << 20)
#define TMPFS_MAGIC_     0x01021994

#define UUID_DIGITS 32

/* ---- the directory ---- */

static int copies_refuse(struct lanemap_writer *writer, int r, const char *path, const char *what)
{
        return lanemap_engine_fail(writer, r, "the directory to serve from, %s: %s", path, what);
}

static bool others_may_write(const struct stat *st)
{
        return st->st_mode & (S_IWGRP | S_IWOTH);
}

/* Group and mode of the original; nobody but the owner ever writes. Who may not give things to that
 * group goes on without. */
static int permissions_take(int fd, const struct stat *original)
{
        if (fchown(fd, (uid_t)-1, original->st_gid) < 0 && errno != EPERM)
                return -errno;
        return fchmod(fd, original->st_mode & 07777 & ~(mode_t)(S_IWGRP | S_IWOTH)) < 0 ? -errno
                                                                                        : 0;
}

/* Makes the index's own directory, with the data directory's permissions, unless it is there.
 * Return: 0, -ENOSPC and -EDQUOT: later; any other errno: never. */
static int copies_directory_open(struct lanemap_writer *writer)
{
        struct writer_serve *serve = &writer->serve;
        const char *name = strrchr(serve->copy_directory, '/') + 1;
        struct stat st, data;
        int fd, r;

        if (fstat(writer->place.dir_fd, &data) < 0)
                return -errno;
        if (mkdirat(serve->copy_parent_fd, name, 0700) < 0 && errno != EEXIST)
                return -errno;

        fd = openat(serve->copy_parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || others_may_write(&st)) {
                close(fd);
                return -EPERM;
        }

        r = permissions_take(fd, &data);
        if (r < 0) {
                close(fd);
                return r;
        }

        serve->copy_dir_fd = fd;
        return 0;
}

static int copies_path_set(struct lanemap_writer *writer)
{
        char path[PATH_MAX + 1 + UUID_DIGITS + 1];
        size_t n;

        if (!realpath(writer->options.serve_from, path))
                return -errno;

        n = strlen(path);
        if (n > 1)
                path[n++] = '/';
        for (size_t i = 0; i < sizeof(writer->identity.uuid); i++)
                n += (size_t)snprintf(path + n, sizeof(path) - n, "%02x", writer->identity.uuid[i]);
        if (strlen(writer->identity.directory) + n + 2 > LANEMAP_SHM_DIRECTORY_BYTES)
                return -ENAMETOOLONG;

        writer->serve.copy_directory = lanemap_strdup(path);
        return writer->serve.copy_directory ? 0 : -ENOMEM;
}

int lanemap_engine_copies_find(struct lanemap_writer *writer)
{
        const char *path = writer->options.serve_from;
        struct statfs fs;
        struct stat st;
        int fd;

        if (!path)
                return 0;

        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return copies_refuse(writer, -errno, path,
                                     errno == ELOOP || errno == ENOTDIR
                                             ? "not a directory, or a symbolic link"
                                             : strerror(errno));

        writer->serve.copy_parent_fd = fd;
        if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
                return -errno;
        if ((st.st_uid != 0 && st.st_uid != geteuid()) ||
            (others_may_write(&st) && !(st.st_mode & S_ISVTX)))
                return copies_refuse(writer, -EPERM, path,
                                     "it belongs to another user, or others may rename what is in "
                                     "it (no sticky bit)");
        if (fs.f_type != TMPFS_MAGIC_)
                lanemap_engine_log(writer, LOG_WARNING,
                                   "%s is not on a tmpfs: copies there are served, but no faster "
                                   "than the originals",
                                   path);
        return 0;
}

int lanemap_engine_copies_init(struct lanemap_writer *writer)
{
        const char *path = writer->options.serve_from;
        int r;

        if (!path)
                return 0;

        r = copies_path_set(writer);
        if (r == 0)
                r = copies_directory_open(writer);
        if (r == -ENOSPC || r == -EDQUOT)
                return 0;
        if (r == -EPERM || r == -ELOOP || r == -ENOTDIR)
                return copies_refuse(writer, -EPERM, writer->serve.copy_directory,
                                     "it is not a directory that belongs to this user and that "
                                     "nobody else may write; remove it");
        return r < 0 ? copies_refuse(writer, r, path, strerror(-r)) : 0;
}

/* ---- what a predecessor left ---- */

static struct writer_file *file_of_name(struct lanemap_writer *writer, const char *name)
{
        for (uint32_t l = 0; l < writer->identity.n_lanes; l++)
                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments; s++)
                        if (strcmp(writer->lanes.items[l].segments[s]->file->name, name) == 0)
                                return writer->lanes.items[l].segments[s]->file;

        return NULL;
}

/* Return: true if a name is one of ours that nothing needs. Files in use are marked: their copy is
 * checked before it is served (K1). */
static bool leftover_is_garbage(struct lanemap_writer *writer, const char *name)
{
        struct writer_file *file;
        uint64_t number, check;

        if (strncmp(name, LANEMAP_SEGMENT_TEMPORARY_PREFIX,
                    strlen(LANEMAP_SEGMENT_TEMPORARY_PREFIX)) == 0)
                return true;
        if (lanemap_segment_file_name_parse(name, &number, &check) < 0)
                return false;

        lanemap_mutex_lock(&writer->lanes.lock);
        file = file_of_name(writer, name);
        if (file)
                file->maybe_copied = true;
        lanemap_mutex_unlock(&writer->lanes.lock);
        return !file;
}

void lanemap_engine_copies_begin(struct lanemap_writer *writer)
{
        struct writer_serve *serve = &writer->serve;
        const struct dirent *entry;
        DIR *dir;
        int fd;

        if (serve->copy_dir_fd < 0)
                return;

        fd = openat(serve->copy_dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        dir = fd < 0 ? NULL : fdopendir(fd);
        if (!dir) {
                if (fd >= 0)
                        close(fd);
                return;
        }

        while ((entry = readdir(dir)))
                if (leftover_is_garbage(writer, entry->d_name))
                        (void)writer->files->unlink(writer->files, serve->copy_dir_fd,
                                                    entry->d_name);
        closedir(dir);
}

/* ---- making one ---- */

/* K1. On success the mapping is the caller's. */
static int copy_check(struct lanemap_writer *writer, const struct writer_file *file, int fd,
                      struct lanemap_lane_file **ret_copy)
{
        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];
        struct lanemap_lane_file *copy;
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || others_may_write(&st) ||
            (uint64_t)st.st_size != file->mapped->n_bytes ||
            (uint64_t)st.st_blocks * 512 < file->mapped->n_bytes)
                return -EBADMSG;

        r = lanemap_engine_file_map(writer, fd, true, file->mapped->number, file->checksum, &copy);
        if (r < 0)
                return r;

        (void)lanemap_lane_file_collapse(copy->bytes, copy->n_bytes);
        r = lanemap_verify_checksum(copy->bytes, copy->n_bytes, checksum);
        if (r == 0 && memcmp(checksum, file->checksum, sizeof(checksum)) != 0)
                r = -EBADMSG;
        if (r < 0) {
                lanemap_engine_file_unmap(copy);
                return r;
        }

        *ret_copy = copy;
        return 0;
}

/* A copy that a predecessor, or an attempt that could not publish it, left. */
static int copy_adopt(struct lanemap_writer *writer, const struct writer_file *file,
                      struct lanemap_lane_file **ret_copy)
{
        int fd, r;

        fd = writer->files->open(writer->files, writer->serve.copy_dir_fd, file->name,
                                 O_RDONLY | O_NONBLOCK, 0);
        if (fd < 0)
                return fd;

        r = copy_check(writer, file, fd, ret_copy);
        writer->files->close(writer->files, fd);
        if (r < 0)
                (void)writer->files->unlink(writer->files, writer->serve.copy_dir_fd, file->name);
        return r;
}

/* Shared memory itself may be on this tmpfs: an eighth of it is not ours to fill. */
static bool copy_has_room(const struct lanemap_writer *writer, const struct writer_file *file)
{
        struct stat copies, shared;
        struct statvfs fs;
        uint64_t free_bytes, kept = 0;

        if (fstatvfs(writer->serve.copy_dir_fd, &fs) < 0 ||
            fstat(writer->serve.copy_dir_fd, &copies) < 0 ||
            fstat(writer->place.shm_dir_fd, &shared) < 0)
                return false;

        free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
        if (copies.st_dev == shared.st_dev)
                kept = (uint64_t)fs.f_blocks * fs.f_frsize / 8;
        return fs.f_blocks == 0 || free_bytes >= file->mapped->n_bytes + kept;
}

/* Read, not mapped: bytes that the disk does not give up are an error and no signal. */
static int copy_bytes(struct lanemap_writer *writer, int from, int to, uint64_t n_bytes)
{
        unsigned char *buffer = lanemap_alloc(COPY_CHUNK_BYTES);
        uint64_t at = 0;
        int r = buffer ? 0 : -ENOMEM;

        while (r == 0 && at < n_bytes) {
                ssize_t n =
                        pread(from, buffer, LANEMAP_MIN(n_bytes - at, COPY_CHUNK_BYTES), (off_t)at);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        r = n < 0 ? -errno : -EBADMSG;
                else
                        r = lanemap_files_pwrite_all(writer->files, to, buffer, (size_t)n,
                                                     (off_t)at);
                if (lanemap_load_acquire(&writer->workers.stopping))
                        r = -ECANCELED;
                at += n > 0 ? (uint64_t)n : 0;
        }

        lanemap_free(buffer);
        return r;
}

/* The new file has the original's permissions. */
static int copy_fill(struct lanemap_writer *writer, const struct writer_file *file, int to,
                     struct lanemap_lane_file **ret_copy)
{
        struct stat st;
        int from, r;

        from = writer->files->open(writer->files, writer->place.dir_fd, file->name, O_RDONLY, 0);
        if (from < 0)
                return from;

        r = fstat(from, &st) < 0 ? -errno : permissions_take(to, &st);
        if (r == 0)
                r = writer->files->allocate(writer->files, to, 0, (off_t)file->mapped->n_bytes);
        if (r == 0) {
                lanemap_engine_serve_step(writer, LANEMAP_SERVE_COPY_ALLOCATED);
                r = copy_bytes(writer, from, to, file->mapped->n_bytes);
        }
        writer->files->close(writer->files, from);
        if (r < 0)
                return r;

        lanemap_engine_serve_step(writer, LANEMAP_SERVE_COPY_WRITTEN);
        r = copy_check(writer, file, to, ret_copy);
        if (r == 0)
                lanemap_engine_serve_step(writer, LANEMAP_SERVE_COPY_CHECKED);
        return r;
}

static int copy_write(struct lanemap_writer *writer, const struct writer_file *file,
                      struct lanemap_lane_file **ret_copy)
{
        const struct lanemap_files *files = writer->files;
        char temporary[sizeof(LANEMAP_SEGMENT_TEMPORARY_PREFIX) + 16];
        int dir_fd = writer->serve.copy_dir_fd, fd, r;

        snprintf(temporary, sizeof(temporary), LANEMAP_SEGMENT_TEMPORARY_PREFIX "%016llx",
                 (unsigned long long)file->mapped->number);
        (void)files->unlink(files, dir_fd, temporary);
        fd = files->open(files, dir_fd, temporary, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd < 0)
                return fd;

        r = copy_fill(writer, file, fd, ret_copy);
        files->close(files, fd);
        if (r == 0) {
                r = files->rename(files, dir_fd, temporary, file->name);
                if (r < 0)
                        lanemap_engine_file_unmap(*ret_copy);
        }
        if (r < 0)
                (void)files->unlink(files, dir_fd, temporary);
        else
                lanemap_engine_serve_step(writer, LANEMAP_SERVE_COPY_RENAMED);
        return r;
}

/* From here on lookups use it. */
static void copy_publish(struct lanemap_writer *writer, struct writer_file *file,
                         struct lanemap_lane_file *copy)
{
        lanemap_mutex_lock(&writer->lanes.lock);
        /* Pairs with the acquire loads in lanemap_engine_file_served() and in jobs: whoever sees
         * it sees its sections. */
        lanemap_store_release(&file->copy, copy);
        lanemap_engine_file_publish(writer, file);
        lanemap_mutex_unlock(&writer->lanes.lock);
        lanemap_engine_serve_step(writer, LANEMAP_SERVE_COPY_PUBLISHED);
}

/* A failure is logged once, and again only after it was over for that file; the statistics show it
 * meanwhile. */
static void outcome_note(struct lanemap_writer *writer, struct writer_file *file, int r)
{
        struct writer_serve *serve = &writer->serve;
        bool no_room = r == -ENOSPC || r == -EDQUOT;
        bool better;

        lanemap_mutex_lock(&writer->lanes.lock);
        better = r == 0 && file->copy_failed;
        file->copy_failed = r < 0;
        file->copy_no_room = no_room;
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (r < 0 && r != -ECANCELED && !serve->copy_failure_logged) {
                serve->copy_failure_logged = true;
                lanemap_engine_log(writer, LOG_WARNING,
                                   "%s: a copy of %s cannot be made (%s); the original is served "
                                   "until it can",
                                   serve->copy_directory, file->name,
                                   no_room ? "there is no room" : strerror(-r));
        }
        if (better)
                serve->copy_failure_logged = false;
}

int lanemap_engine_copy_make(struct lanemap_writer *writer, struct writer_file *file)
{
        struct writer_serve *serve = &writer->serve;
        struct lanemap_lane_file *copy = NULL;
        int r = 0;

        lanemap_engine_serve_step(writer, LANEMAP_SERVE_COPY);
        if (serve->copy_dir_fd < 0) {
                r = copies_directory_open(writer);
                if (r == 0)
                        lanemap_engine_copies_begin(writer);
        }
        if (r == 0) {
                r = copy_adopt(writer, file, &copy);
                if (r < 0)
                        r = copy_has_room(writer, file) ? copy_write(writer, file, &copy) : -ENOSPC;
        }
        outcome_note(writer, file, r);
        if (r == -EBADMSG)
                lanemap_engine_file_doubt(writer, file); /* the original's bytes may be wrong */
        if (r == 0)
                copy_publish(writer, file, copy);
        return r;
}

void lanemap_engine_original_drop(struct lanemap_writer *writer, struct writer_file *file)
{
        const struct lanemap_lane_file *original = lanemap_load_acquire(&file->original);
        int fd;

        /* Pages that somebody has mapped stay. */
        (void)madvise((void *)(uintptr_t)original->bytes, original->n_bytes, MADV_DONTNEED);
        fd = openat(writer->place.dir_fd, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return;

        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
}
