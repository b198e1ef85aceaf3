/* See write.h. */
#include "shm/write.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/order.h"

/* ---- control object ---- */

static int error_set(struct lanemap_error *error, int r, const char *format, const char *name)
{
        if (error)
                snprintf(error->text, sizeof(error->text), "%s/lanemap.%s: %s",
                         LANEMAP_SHM_DIRECTORY, name, format);
        return r;
}

/* A quota and RLIMIT_FSIZE are a full /dev/shm: the same is to be done. */
static int object_extend(int fd, uint64_t from, uint64_t bytes)
{
        int r;

        do {
                r = posix_fallocate(fd, (off_t)from, (off_t)(bytes - from));
        } while (r == EINTR);

        return r == EFBIG || r == EDQUOT ? -ENOSPC : -r;
}

/* Writes an object aside and links it into place: it is whole when it has its name. `head` and then
 * zeros, all of it allocated. */
static int object_link(int shm_dir_fd, const char *object, uint64_t bytes, const void *head,
                       size_t head_bytes, mode_t mode)
{
        char path[64];
        int fd, r;

        fd = openat(shm_dir_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;

        r = object_extend(fd, 0, bytes);
        if (r == 0 && head_bytes && pwrite(fd, head, head_bytes, 0) != (ssize_t)head_bytes)
                r = -EIO;
        if (r == 0 && fchmod(fd, mode) < 0)
                r = -errno;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (r == 0 && linkat(AT_FDCWD, path, shm_dir_fd, object, AT_SYMLINK_FOLLOW) < 0)
                r = -errno;

        close(fd);
        return r;
}

/* -EEXIST: somebody else's is there now. */
static int control_create(int shm_dir_fd, const char *name, const unsigned char *uuid, mode_t mode)
{
        struct lanemap_shm_control control = {
                .magic = LANEMAP_SHM_CONTROL_MAGIC,
                .version = LANEMAP_SHM_CONTROL_VERSION,
                .epoch = 1,
                .state = LANEMAP_STATE_STARTING,
        };
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];

        memcpy(control.uuid, uuid, sizeof(control.uuid));
        lanemap_shm_control_name(name, object);
        return object_link(shm_dir_fd, object, sizeof(control), &control, sizeof(control), mode);
}

static int control_map(int fd, const char *name, const unsigned char *uuid,
                       struct lanemap_shm_control **ret_control, struct lanemap_error *error)
{
        struct lanemap_shm_control *control;
        struct stat st;
        int r = 0;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode) || st.st_size != LANEMAP_SHM_CONTROL_BYTES)
                return error_set(
                        error, -EBADMSG,
                        "this is not a lanemap control object (wrong size or type); remove it if "
                        "nothing uses it",
                        name);

        control = mmap(NULL, LANEMAP_SHM_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (control == MAP_FAILED)
                return -errno;

        if (control->magic != LANEMAP_SHM_CONTROL_MAGIC)
                r = error_set(error, -EBADMSG,
                              "this is not a lanemap control object (bad magic); remove it "
                              "if nothing uses it",
                              name);
        else if (control->version != LANEMAP_SHM_CONTROL_VERSION)
                r = error_set(error, -EPROTONOSUPPORT,
                              "the control object has a format that this version does not know",
                              name);
        else if (memcmp(control->uuid, uuid, sizeof(control->uuid)) != 0)
                r = error_set(
                        error, -EEXIST,
                        "this name was published by another index (another data directory); choose "
                        "another name, or remove the object if that index is gone for good",
                        name);
        else if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
                r = error_set(error, -EPERM,
                              "the control object belongs to another user, or others may write it: "
                              "whoever can truncate it can kill the writer; remove it",
                              name);
        if (r < 0) {
                munmap(control, LANEMAP_SHM_CONTROL_BYTES);
                return r;
        }

        *ret_control = control;
        return 0;
}

int lanemap_shm_control_open(int shm_dir_fd, const char *name, const unsigned char *uuid,
                             mode_t mode, struct lanemap_shm_control **ret_control,
                             struct lanemap_error *error)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        int fd, r;

        lanemap_shm_control_name(name, object);
        fd = openat(shm_dir_fd, object, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && errno == ENOENT) {
                r = control_create(shm_dir_fd, name, uuid, mode);
                if (r < 0 && r != -EEXIST)
                        return error_set(error, r,
                                         r == -ENOSPC
                                                 ? "no room in shared memory for the control object"
                                                 : "the control object cannot be created",
                                         name);
                fd = openat(shm_dir_fd, object, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        }
        if (fd < 0)
                return error_set(error, -errno, "the control object cannot be opened for writing",
                                 name);

        r = control_map(fd, name, uuid, ret_control, error);
        close(fd);
        return r;
}

int lanemap_shm_control_check(int shm_dir_fd, const char *name, const unsigned char *uuid,
                              struct lanemap_error *error)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        struct lanemap_shm_control *control;
        int fd, r;

        lanemap_shm_control_name(name, object);
        fd = openat(shm_dir_fd, object, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return errno == ENOENT ? 0
                                       : error_set(error, -errno,
                                                   "the control object cannot be opened for "
                                                   "writing",
                                                   name);

        r = control_map(fd, name, uuid, &control, error);
        close(fd);
        if (r == 0)
                lanemap_shm_control_close(control);
        return r;
}

void lanemap_shm_control_close(struct lanemap_shm_control *control)
{
        if (control)
                munmap(control, LANEMAP_SHM_CONTROL_BYTES);
}

/* ---- data objects ---- */

/* Extends the object and makes its pages present in one go: a first touch of each costs
 * microseconds. */
static int data_grow(void *arg, uint64_t bytes)
{
        struct lanemap_shm_data_object *object = arg;
        struct stat st;
        int r;

        if (fstat(object->fd, &st) < 0)
                return -errno;
        if ((uint64_t)st.st_size >= bytes)
                return 0;

        r = object->spare_ensure ? object->spare_ensure(object->spare_arg) : 0;
        if (r == -ENOSPC) /* what comes in this moment is for the spare, too */
                return r;
        r = object_extend(object->fd, (uint64_t)st.st_size, bytes);
        if (r < 0)
                return r;

#ifdef MADV_POPULATE_WRITE
        (void)madvise(object->base + st.st_size, bytes - (uint64_t)st.st_size, MADV_POPULATE_WRITE);
#endif
        if (object->known_bytes)
                lanemap_store_relaxed(object->known_bytes, bytes);
        return 0;
}

/* ---- the spare ---- */

/* Return: true if it is as lanemap_shm_spare_make() makes it: who else could write it could
 * truncate it. */
static bool spare_is_good(int fd)
{
        struct stat st;

        return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
               (st.st_mode & 07777) == 0600 && st.st_nlink == 1 && st.st_size > 0 &&
               st.st_size % LANEMAP_SHM_PAGE_BYTES == 0 && st.st_blocks * 512 >= st.st_size;
}

/* Nobody has it mapped, and a size that is not all allocated is never there to be seen. */
static int spare_extend(int shm_dir_fd, const char *object, uint64_t bytes)
{
        struct stat st;
        int fd, r;

        fd = openat(shm_dir_fd, object, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return errno == ELOOP || errno == EACCES ? -EPERM : -errno;

        r = spare_is_good(fd) ? 0 : -EPERM;
        if (r == 0 && fstat(fd, &st) < 0)
                r = -errno;
        if (r == 0 && (uint64_t)st.st_size < bytes)
                r = object_extend(fd, 0, bytes);
        close(fd);
        return r;
}

int lanemap_shm_spare_make(int shm_dir_fd, const char *name, uint64_t bytes)
{
        char object[LANEMAP_SHM_OBJECT_NAME_BYTES];
        int r;

        lanemap_shm_spare_name(name, object);
        r = spare_extend(shm_dir_fd, object, bytes);
        if (r == -ENOENT)
                r = object_link(shm_dir_fd, object, bytes, NULL, 0, 0600);
        return r == -EEXIST ? spare_extend(shm_dir_fd, object, bytes) : r;
}

/* Renames the spare. Return: its descriptor; -ENOENT there is none that will do; -EEXIST the name
 * is taken. */
static int spare_take(int shm_dir_fd, const char *name, const char *object)
{
        char spare[LANEMAP_SHM_OBJECT_NAME_BYTES];
        int fd, r = 0;

        lanemap_shm_spare_name(name, spare);
        fd = openat(shm_dir_fd, spare, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -ENOENT;

        if (!spare_is_good(fd))
                r = -ENOENT;
        else if (renameat2(shm_dir_fd, spare, shm_dir_fd, object, RENAME_NOREPLACE) < 0)
                r = errno == EEXIST ? -EEXIST : -ENOENT;
        if (r < 0)
                close(fd);
        return r < 0 ? r : fd;
}

/* ---- a new one ---- */

static int data_open_name(int shm_dir_fd, const struct lanemap_shm_data_options *options,
                          const char *object)
{
        int fd = options->from_spare ? spare_take(shm_dir_fd, options->name, object) : -ENOENT;

        if (fd != -ENOENT)
                return fd;

        fd = openat(shm_dir_fd, object, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        return fd < 0 ? -errno : fd;
}

/* The number is random, and nobody learns it before the object is in force: nobody can be there
 * first (S2). */
static int data_open_new(int shm_dir_fd, const struct lanemap_shm_data_options *options,
                         struct lanemap_shm_data_object *object)
{
        char name[LANEMAP_SHM_OBJECT_NAME_BYTES];
        uint64_t generation = 0;
        int fd;

        if (options->is_private) {
                object->fd = memfd_create("lanemap", MFD_CLOEXEC);
                return object->fd < 0 ? -errno : 0;
        }

        while (generation == 0)
                if (getrandom(&generation, sizeof(generation), 0) != sizeof(generation))
                        return -EIO;

        lanemap_shm_data_name(options->name, generation, name);
        fd = data_open_name(shm_dir_fd, options, name);
        if (fd < 0)
                return fd;

        object->generation = generation;
        object->fd = fd;
        return fchmod(fd, options->mode) < 0 ? -errno : 0;
}

static void data_fill_head(const struct lanemap_shm_data_options *options,
                           struct lanemap_shm_data_object *object, uint64_t slots_off,
                           uint64_t lanes_off)
{
        struct lanemap_shm_data *data = object->data;

        data->version = LANEMAP_SHM_DATA_VERSION;
        data->layout_hash = LANEMAP_SHM_LAYOUT_HASH;
        data->generation = object->generation;
        memcpy(data->uuid, options->uuid, sizeof(data->uuid));
        memcpy(data->hash_key, options->hash_key, sizeof(data->hash_key));
        data->fingerprint_bits = options->fingerprint_bits;
        data->n_lanes = options->n_lanes;
        data->bytes_max = options->bytes_max;
        data->slots_off = slots_off;
        data->lanes_off = lanes_off;
        snprintf(data->directory, sizeof(data->directory), "%s%c%s", options->directory, 0,
                 options->copy_directory ? options->copy_directory : "");
        memcpy(object->base + slots_off, options->slots, LANEMAP_N_SLOTS * sizeof(*options->slots));
        data->magic = LANEMAP_SHM_DATA_MAGIC;
}

int lanemap_shm_data_create(int shm_dir_fd, struct lanemap_shm_control *control,
                            const struct lanemap_shm_data_options *options,
                            struct lanemap_shm_data_object *ret_object)
{
        struct lanemap_shm_data_object *object = ret_object;
        uint64_t slots_off = sizeof(struct lanemap_shm_data);
        uint64_t lanes_off = slots_off + LANEMAP_N_SLOTS * sizeof(struct lanemap_slot);
        uint64_t head_bytes =
                LANEMAP_ALIGN_UP(lanes_off + options->n_lanes * sizeof(struct lanemap_lane_shm),
                                 (uint64_t)LANEMAP_SHM_PAGE_BYTES);
        struct lanemap_shm_arena_config config;
        struct stat st;
        int r;

        *object = (struct lanemap_shm_data_object){.fd = -1};
        if (strlen(options->directory) +
                    (options->copy_directory ? strlen(options->copy_directory) : 0) + 2 >
            LANEMAP_SHM_DIRECTORY_BYTES)
                return -ENAMETOOLONG;
        /* No more than bytes_max is mapped. */
        if (head_bytes > options->bytes_max)
                return -ENOSPC;

        r = data_open_new(shm_dir_fd, options, object);
        if (r < 0)
                goto fail;

        object->mapped_bytes = options->bytes_max;
        object->base = mmap(NULL, object->mapped_bytes, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_NORESERVE, object->fd, 0);
        if (object->base == MAP_FAILED) {
                r = -errno;
                object->base = NULL;
                goto fail;
        }
        /* A forked child has no business in it. */
        (void)madvise(object->base, object->mapped_bytes, MADV_DONTFORK);

        r = data_grow(object, LANEMAP_MAX(head_bytes, options->bytes_min));
        if (r == -ENOSPC)
                r = data_grow(object, head_bytes);
        if (r == 0 && fstat(object->fd, &st) < 0)
                r = -errno;
        if (r < 0)
                goto fail;

        object->data = (void *)object->base;
        object->lanes = (void *)(object->base + lanes_off);
        data_fill_head(options, object, slots_off, lanes_off);

        config = (struct lanemap_shm_arena_config){
                .base = object->base,
                .bytes = LANEMAP_MIN((uint64_t)st.st_size, options->bytes_max),
                .bytes_max = options->bytes_max,
                .first_off = head_bytes,
                .control = control,
                .clock = options->clock,
                .quarantine = options->quarantine,
                .grow = data_grow,
                .grow_arg = object,
        };
        r = lanemap_shm_arena_new(&config, &object->arena);
        if (r < 0)
                goto fail;

        return 0;

fail:
        if (object->fd >= 0 && !options->is_private) {
                char name[LANEMAP_SHM_OBJECT_NAME_BYTES];

                lanemap_shm_data_name(options->name, object->generation, name);
                (void)unlinkat(shm_dir_fd, name, 0);
        }
        lanemap_shm_data_close(object);
        return r;
}

int lanemap_shm_data_reset(struct lanemap_shm_data_object *object)
{
        struct lanemap_shm_arena *arena;
        int r = lanemap_shm_arena_renew(object->arena, &arena);

        if (r < 0)
                return r;

        lanemap_shm_arena_free(object->arena);
        object->arena = arena;
        return 0;
}

void lanemap_shm_data_close(struct lanemap_shm_data_object *object)
{
        lanemap_shm_arena_free(object->arena);
        if (object->base)
                munmap(object->base, object->mapped_bytes);
        if (object->fd >= 0)
                close(object->fd);
        *object = (struct lanemap_shm_data_object){.fd = -1};
}

void lanemap_shm_publish(struct lanemap_shm_control *control, uint64_t generation)
{
        /* Pairs with the acquire load of the generation word in a lookup and in attach: whoever
         * sees it sees the data object complete. */
        lanemap_store_release(&control->generation, generation);
}

int lanemap_shm_unlink_others(int shm_dir_fd, const char *name, uint64_t keep_generation)
{
        char prefix[LANEMAP_SHM_OBJECT_NAME_BYTES], keep[LANEMAP_SHM_OBJECT_NAME_BYTES];
        struct dirent *entry;
        size_t prefix_bytes;
        DIR *dir;
        int fd;

        fd = openat(shm_dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        dir = fdopendir(fd);
        if (!dir) {
                close(fd);
                return -ENOMEM;
        }

        snprintf(prefix, sizeof(prefix), "lanemap.%s.", name);
        prefix_bytes = strlen(prefix);
        lanemap_shm_data_name(name, keep_generation, keep);
        while ((entry = readdir(dir))) {
                const char *rest = entry->d_name + prefix_bytes;

                if (strncmp(entry->d_name, prefix, prefix_bytes) != 0 || strlen(rest) != 16 ||
                    strspn(rest, "0123456789abcdef") != 16 || strcmp(entry->d_name, keep) == 0)
                        continue;
                (void)unlinkat(shm_dir_fd, entry->d_name, 0);
        }

        closedir(dir);
        return 0;
}
