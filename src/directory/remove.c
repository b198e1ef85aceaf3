/* See directory/remove.h. */
#include "directory/remove.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/owner.h"
#include "shm/object.h"
#include "store/manifest_read.h"
#include "store/error.h"
#include "store/garbage.h"
#include "store/lock.h"
#include "store/name.h"

#define SOCKET_NAME     "lanemapd.sock"
#define QUARANTINE_NAME "quarantine"

struct removal {
        const struct lanemap_remove_options *options;
        struct lanemap_remove_report *report;
        struct lanemap_error *error;
        int shm_fd, dir_fd;      /* -1: not there, or not asked for */
        int name_lock, dir_lock; /* -1: not held */
        char lock_name[LANEMAP_SHM_OBJECT_NAME_BYTES];
        bool name_lock_made, dir_lock_made; /* here, only to keep writers out */
        int r;                              /* the first error of what goes on in spite of it */
};

static void failed(struct removal *removal, int r, const char *name, uid_t uid)
{
        char owner[32];

        if (removal->r == 0)
                removal->r = lanemap_store_error(
                        removal->error, r, "%s, which belongs to %s, cannot be removed: %s", name,
                        lanemap_owner_describe(uid, owner), strerror(-r));
}

/* Unlinks one name of a directory. A missing one is no error. */
static void entry_remove(struct removal *removal, int dir_fd, const char *name, uint32_t *n,
                         uint64_t *bytes)
{
        struct stat st;

        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return;
        if (unlinkat(dir_fd, name, 0) < 0) {
                if (errno != ENOENT)
                        failed(removal, -errno, name, st.st_uid);
                return;
        }
        ++*n;
        *bytes += (uint64_t)st.st_blocks * 512;
}

static void object_remove(struct removal *removal, const char *name)
{
        entry_remove(removal, removal->shm_fd, name, &removal->report->n_objects,
                     &removal->report->object_bytes);
}

static void file_remove(struct removal *removal, int dir_fd, const char *name)
{
        entry_remove(removal, dir_fd, name, &removal->report->n_files,
                     &removal->report->file_bytes);
}

/* ---- 1. locks ---- */

/* The lock that is there, whoever made it: it is to go. Without one, one of our own keeps writers
 * out. */
static int lock_take(struct removal *removal, int dir_fd, const char *lock, int *ret_lock,
                     bool *ret_made)
{
        const struct lanemap_files *files = removal->options->files;
        int r;

        r = lanemap_store_lock_found(files, dir_fd, lock, ret_lock);
        if (r == -ENOENT) {
                r = lanemap_store_lock(files, dir_fd, lock, ret_lock, NULL);
                *ret_made = r == 0;
        }
        if (r == -EBUSY)
                return lanemap_store_error(removal->error, r,
                                           "its writer is running (it holds %s): stop it first "
                                           "(systemctl stop lanemapd@%s.socket)",
                                           lock, removal->options->name);
        if (r < 0)
                return lanemap_store_error(removal->error, r, "%s cannot be locked: %s", lock,
                                           strerror(-r));
        return 0;
}

/* Those that were made here are nobody's to find, and do not count as removed. */
static void locks_made_remove(const struct removal *removal)
{
        if (removal->name_lock_made)
                (void)unlinkat(removal->shm_fd, removal->lock_name, 0);
        if (removal->dir_lock_made)
                (void)unlinkat(removal->dir_fd, LANEMAP_STORE_LOCK_NAME, 0);
}

static int shared_open(struct removal *removal)
{
        int r;

        r = lanemap_shm_open_directory();
        if (r < 0)
                return lanemap_store_error(removal->error, r, LANEMAP_SHM_DIRECTORY ": %s",
                                           strerror(-r));
        removal->shm_fd = r;
        lanemap_shm_lock_name(removal->options->name, removal->lock_name);
        return lock_take(removal, removal->shm_fd, removal->lock_name, &removal->name_lock,
                         &removal->name_lock_made);
}

static bool holds_an_index(int dir_fd)
{
        struct stat st;

        return fstatat(dir_fd, LANEMAP_MANIFEST_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
               fstatat(dir_fd, LANEMAP_STORE_LOCK_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
               lanemap_store_has_data(dir_fd) == 1;
}

static int directory_open(struct removal *removal)
{
        const char *path = removal->options->directory;
        int r;

        if (!path)
                return 0;
        r = lanemap_store_open_directory(path, false, &removal->dir_fd, removal->error);
        if (r == -ENOENT)
                return 0;
        if (r < 0)
                return r;
        if (!holds_an_index(removal->dir_fd))
                return lanemap_store_error(removal->error, -EINVAL,
                                           "%s holds no index; if it is empty, rmdir removes it",
                                           path);
        return lock_take(removal, removal->dir_fd, LANEMAP_STORE_LOCK_NAME, &removal->dir_lock,
                         &removal->dir_lock_made);
}

/* RM3. A control object that cannot be read names no index, and is removed. */
static int same_index_check(const struct removal *removal)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        struct lanemap_shm_control control;
        struct lanemap_manifest manifest;
        struct stat st;
        bool same = true;
        int fd;

        if (removal->dir_fd < 0)
                return 0;
        lanemap_shm_control_name(removal->options->name, object);
        fd = lanemap_shm_open_object(removal->shm_fd, object, &st);
        if (fd < 0)
                return 0;
        if (pread(fd, &control, sizeof(control), 0) == (ssize_t)sizeof(control) &&
            control.magic == LANEMAP_SHM_CONTROL_MAGIC &&
            lanemap_manifest_read(removal->options->files, removal->dir_fd, &manifest, NULL) == 0) {
                same = memcmp(control.uuid, manifest.uuid, sizeof(control.uuid)) == 0;
                lanemap_manifest_deinit(&manifest);
        }
        close(fd);
        return same ? 0
                    : lanemap_store_error(removal->error, -EEXIST,
                                          "%s holds another index than the one that was published "
                                          "as %s: remove them apart, with the name and with the "
                                          "directory of each",
                                          removal->options->directory, removal->options->name);
}

/* ---- 2. shared memory ---- */

static int shared_remove(struct removal *removal)
{
        char control[LANEMAP_SHM_OBJECT_NAME_BYTES];
        struct dirent *entry;
        size_t n_control;
        DIR *dir;
        int r;

        lanemap_shm_control_name(removal->options->name, control);
        n_control = strlen(control);
        object_remove(removal, control);
        r = lanemap_store_open_listing(removal->shm_fd, &dir);
        if (r < 0)
                return lanemap_store_error(removal->error, r, LANEMAP_SHM_DIRECTORY ": %s",
                                           strerror(-r));
        /* No name has a dot, so all that begins like this is this index's. */
        while ((entry = readdir(dir)))
                if (strncmp(entry->d_name, control, n_control) == 0 &&
                    entry->d_name[n_control] == '.' &&
                    strcmp(entry->d_name, removal->lock_name) != 0)
                        object_remove(removal, entry->d_name);
        closedir(dir);
        return 0;
}

/* ---- 3. the directory ---- */

static int files_remove(struct removal *removal, int dir_fd)
{
        char **names;
        size_t n_names = 0;
        int r;

        r = lanemap_store_list_garbage(dir_fd, NULL, NULL, 0, &names, &n_names);
        if (r < 0)
                return lanemap_store_error(removal->error, r, "%s: %s", removal->options->directory,
                                           strerror(-r));
        for (size_t i = 0; i < n_names; i++)
                file_remove(removal, dir_fd, names[i]);
        lanemap_free(names);
        return 0;
}

static int quarantine_remove(struct removal *removal)
{
        int fd, r;

        fd = openat(removal->dir_fd, QUARANTINE_NAME,
                    O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return 0;
        r = files_remove(removal, fd);
        close(fd);
        (void)unlinkat(removal->dir_fd, QUARANTINE_NAME, AT_REMOVEDIR);
        return r;
}

static void socket_remove(struct removal *removal)
{
        struct stat st;

        if (fstatat(removal->dir_fd, SOCKET_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISSOCK(st.st_mode))
                file_remove(removal, removal->dir_fd, SOCKET_NAME);
}

static int directory_remove(struct removal *removal)
{
        int r;

        if (removal->dir_fd < 0)
                return 0;
        file_remove(removal, removal->dir_fd, LANEMAP_MANIFEST_NAME);
        r = files_remove(removal, removal->dir_fd);
        if (r == 0)
                r = quarantine_remove(removal);
        if (r == 0)
                socket_remove(removal);
        return r;
}

/* ---- 4. locks and the directory itself ---- */

/* RM2. The names that are left, for the error. */
static int directory_left(const struct removal *removal)
{
        const char *path = removal->options->directory;
        char name[256] = "?";
        struct dirent *entry;
        DIR *dir;

        if (lanemap_store_open_listing(removal->dir_fd, &dir) == 0) {
                while ((entry = readdir(dir)))
                        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                                snprintf(name, sizeof(name), "%s", entry->d_name);
                closedir(dir);
        }
        return lanemap_store_error(removal->error, -ENOTEMPTY,
                                   "%s stays: '%s' in it is not the index's; everything else is "
                                   "removed",
                                   path, name);
}

static int locks_remove(struct removal *removal)
{
        object_remove(removal, removal->lock_name);
        if (removal->dir_fd < 0)
                return 0;
        file_remove(removal, removal->dir_fd, LANEMAP_STORE_LOCK_NAME);
        if (removal->r == 0 && rmdir(removal->options->directory) < 0 && errno != ENOENT)
                return errno == ENOTEMPTY || errno == EEXIST
                               ? directory_left(removal)
                               : lanemap_store_error(removal->error, -errno,
                                                     "%s is empty, and cannot be removed: %s",
                                                     removal->options->directory, strerror(errno));
        return 0;
}

int lanemap_remove_index(const struct lanemap_remove_options *options,
                         struct lanemap_remove_report *ret_report, struct lanemap_error *error)
{
        struct removal removal = {.options = options,
                                  .report = ret_report,
                                  .error = error,
                                  .shm_fd = -1,
                                  .dir_fd = -1,
                                  .name_lock = -1,
                                  .dir_lock = -1};
        int r;

        *ret_report = (struct lanemap_remove_report){0};
        if (!lanemap_shm_name_is_valid(options->name))
                return lanemap_store_error(error, -EINVAL, "'%.80s' is no name of an index",
                                           options->name);
        r = shared_open(&removal);
        if (r == 0)
                r = directory_open(&removal);
        if (r == 0)
                r = same_index_check(&removal);
        if (r == 0)
                r = shared_remove(&removal);
        if (r == 0)
                r = directory_remove(&removal);
        locks_made_remove(&removal);
        if (r == 0)
                r = locks_remove(&removal);
        lanemap_store_unlock(options->files, removal.dir_lock);
        lanemap_store_unlock(options->files, removal.name_lock);
        if (removal.dir_fd >= 0)
                close(removal.dir_fd);
        if (removal.shm_fd >= 0)
                close(removal.shm_fd);
        return r < 0 ? r : removal.r;
}
