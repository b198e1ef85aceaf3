/*
 * A backup by the running writer: flush, then, while no manifest can follow, hard links to what the
 * manifest in force names (or descriptors of it, where the destination is elsewhere: they are
 * copied when commits go on). See verify/copy.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "segment/file_read.h"
#include "store/manifest_write.h"
#include "store/error.h"
#include "verify/copy.h"
#include "writer/core/engine.h"

#define TRIES_MAX 5

struct backup {
        struct lanemap_writer *writer;
        int dir_fd;
        struct lanemap_manifest manifest;
        int *fds; /* per file: -1 linked, else to be copied */
};

static bool index_is_degraded(struct lanemap_writer *writer)
{
        bool degraded;

        lanemap_mutex_lock(&writer->lanes.lock);
        degraded = writer->segments.n_damaged > 0;
        lanemap_mutex_unlock(&writer->lanes.lock);
        return degraded;
}

static int index_flush(struct lanemap_writer *writer)
{
        uint64_t ticket;
        int r;

        r = lanemap_writer_request(writer, LANEMAP_REQUEST_FLUSH, &ticket);
        return r < 0 ? r : lanemap_writer_request_wait(writer, ticket);
}

static void file_name(const struct backup *backup, uint32_t i,
                      char ret_name[LANEMAP_SEGMENT_NAME_BYTES])
{
        const struct lanemap_manifest_file *file = &backup->manifest.files[i];

        lanemap_segment_file_name(file->number, file->checksum, ret_name);
}

static int file_take(struct backup *backup, uint32_t i)
{
        const struct lanemap_files *files = backup->writer->files;
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        int r;

        file_name(backup, i, name);
        backup->fds[i] = -1;
        r = files->link(files, backup->writer->place.dir_fd, name, backup->dir_fd, name);
        if (r != -EXDEV && r != -EPERM && r != -EOPNOTSUPP && r != -EMLINK)
                return r;

        backup->fds[i] =
                openat(backup->writer->place.dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        return backup->fds[i] < 0 ? -errno : 0;
}

/* Under commit.lock: what the manifest in force names stays. Return: 1 a clear came in between, and
 * the lanes are not all at one position: flush again. */
static int files_take(struct backup *backup)
{
        struct lanemap_writer *writer = backup->writer;
        int r;

        r = lanemap_manifest_read(writer->files, writer->place.dir_fd, &backup->manifest, NULL);
        if (r < 0)
                return r;
        if (lanemap_manifest_lowest_position(&backup->manifest) !=
            lanemap_manifest_highest_position(&backup->manifest)) {
                lanemap_manifest_deinit(&backup->manifest);
                return 1;
        }

        backup->fds = lanemap_alloc((backup->manifest.n_files + 1) * sizeof(*backup->fds));
        if (!backup->fds)
                return -ENOMEM;
        for (uint32_t i = 0; i < backup->manifest.n_files; i++)
                backup->fds[i] = -1;
        for (uint32_t i = 0; i < backup->manifest.n_files && r == 0; i++)
                r = file_take(backup, i);
        return r;
}

static int files_copy(struct backup *backup)
{
        const struct lanemap_files *files = backup->writer->files;
        int r = 0;

        for (uint32_t i = 0; i < backup->manifest.n_files && r == 0; i++) {
                char name[LANEMAP_SEGMENT_NAME_BYTES];

                if (backup->fds[i] < 0)
                        continue;
                file_name(backup, i, name);
                r = lanemap_copy_file(files, backup->fds[i], backup->dir_fd, name);
        }

        return r < 0 ? r : files->sync_directory(files, backup->dir_fd);
}

static int backup_run(struct backup *backup)
{
        struct lanemap_writer *writer = backup->writer;
        int r = 1;

        for (uint32_t i = 0; i < TRIES_MAX && r == 1; i++) {
                r = index_flush(writer);
                if (r < 0)
                        return r;
                lanemap_mutex_lock(&writer->commit.lock);
                r = files_take(backup);
                lanemap_mutex_unlock(&writer->commit.lock);
        }
        if (r == 1)
                return -EAGAIN;
        if (r == 0)
                r = files_copy(backup);
        if (r == 0) {
                backup->manifest.log_number = 0;
                r = lanemap_manifest_write(writer->files, backup->dir_fd, &backup->manifest);
        }
        return r;
}

static int degraded_refuse(struct lanemap_writer *writer, struct lanemap_error *error)
{
        if (!index_is_degraded(writer))
                return 0;
        return lanemap_store_error(error, -EBADMSG,
                                   "a segment file is damaged: stop the writer and run "
                                   "lanemap repair first");
}

/* Closes dir_fd. */
static int backup_into(struct lanemap_writer *writer, int dir_fd, const char *name,
                       struct lanemap_error *error)
{
        struct backup backup = {.writer = writer, .dir_fd = dir_fd};
        int r = backup_run(&backup);

        for (uint32_t i = 0; i < backup.manifest.n_files && backup.fds; i++)
                if (backup.fds[i] >= 0)
                        close(backup.fds[i]);
        lanemap_free(backup.fds);
        lanemap_manifest_deinit(&backup.manifest);
        close(dir_fd);
        return r < 0 ? lanemap_store_error(error, r, "%.300s: %s", name, strerror(-r)) : 0;
}

int lanemap_writer_backup(struct lanemap_writer *writer, const char *destination,
                          struct lanemap_error *error)
{
        int dir_fd, r;

        if (destination[0] != '/')
                return lanemap_store_error(error, -EINVAL, "\"%.300s\" is not an absolute path",
                                           destination);
        r = degraded_refuse(writer, error);
        if (r == 0)
                r = lanemap_copy_open_empty(destination, &dir_fd, error);
        return r < 0 ? r : backup_into(writer, dir_fd, destination, error);
}

int lanemap_writer_backup_at(struct lanemap_writer *writer, int dir_fd, const char *name,
                             struct lanemap_error *error)
{
        int own_fd, r;

        r = degraded_refuse(writer, error);
        if (r == 0)
                r = lanemap_copy_take_empty(dir_fd, name, &own_fd, error);
        return r < 0 ? r : backup_into(writer, own_fd, name, error);
}
