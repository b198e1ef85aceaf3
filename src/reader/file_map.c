/*
 * Mapping one segment file: by the name that a view's entry gives, from the copies or from the data
 * directory, with every section parsed before a lookup can see it. A file that an attachment before
 * has mapped is taken over with its pages; the last attachment that has it unmaps it.
 */
#include "reader/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/probes.h"
#include "lane/file_read.h"

static_assert(sizeof(struct reader_retired) % alignof(max_align_t) == 0,
              "the file after it is aligned as malloc() would");

static void file_release(struct reader_retired *retired)
{
        struct lanemap_lane_file *file = (void *)(retired + 1);

        if (__atomic_sub_fetch(&file->n_tables, 1, __ATOMIC_ACQ_REL) > 0)
                return;

        munmap((void *)(uintptr_t)file->bytes, file->n_bytes);
        free(retired);
}

void lanemap_reader_file_release(struct lanemap_lane_file *file)
{
        file_release(reader_retired_of(file));
}

/* Parses every section of a mapping, which becomes the file's; it stays the caller's when this
 * fails. */
static int file_parse(const struct reader_attachment *attachment,
                      const struct lanemap_lane_segment_shm *entry, const void *bytes,
                      uint64_t n_bytes, struct lanemap_lane_file **ret_file)
{
        struct lanemap_segment_file header;
        struct lanemap_lane_file *file;
        struct reader_retired *retired;
        int r;

        r = lanemap_segment_file_open(&header, bytes, n_bytes);
        if (r < 0)
                return r;
        if (header.file_number != entry->file_number ||
            lanemap_load_le64(header.checksum) != entry->file_check ||
            memcmp(header.uuid, attachment->data->uuid, sizeof(header.uuid)) != 0)
                return -EBADMSG;

        retired = malloc(sizeof(*retired) + lanemap_lane_file_bytes(&header));
        if (!retired)
                return -ENOMEM;

        retired->release = file_release;
        file = (void *)(retired + 1);
        r = lanemap_lane_file_parse(&header, attachment->region.hash_key.fingerprint_bits, file);
        if (r < 0) {
                free(retired);
                return r;
        }

        *ret_file = file;
        return 0;
}

/*
 * A file that the attachment before has mapped: with its pages, so that following a writer costs
 * what is new and not the whole index. Only the very same file: a damaged one may have been
 * replaced while no writer ran. Or a copy, whose original may be on the disk only, where the next
 * writer makes copies too; once that one's view names its copy, a poll goes over to it.
 */
static struct lanemap_lane_file *file_adopt(const struct reader_attachment *attachment,
                                            const struct lanemap_lane_segment_shm *entry,
                                            const struct stat *st)
{
        const struct reader_attachment *before = attachment->predecessor;
        const struct lanemap_lane_files *files = before ? before->region.files : NULL;

        if (!files ||
            memcmp(before->data->uuid, attachment->data->uuid, sizeof(before->data->uuid)) != 0)
                return NULL;

        for (uint32_t slot = 0; slot < files->n_slots; slot++) {
                struct lanemap_lane_file *file = files->slots[slot];

                if (!file || file->number != entry->file_number ||
                    file->check != entry->file_check || file->n_bytes != (uint64_t)st->st_size)
                        continue;
                if (file->is_copy ? !attachment->copy_directory
                                  : file->device != st->st_dev || file->inode != st->st_ino)
                        continue;

                lanemap_add_relaxed(&file->n_tables, 1);
                return file;
        }

        return NULL;
}

static int file_map_fd(const struct reader_attachment *attachment,
                       const struct lanemap_lane_segment_shm *entry, int fd, bool is_copy,
                       struct lanemap_lane_file **ret_file)
{
        struct stat st;
        uint64_t n_bytes;
        void *bytes;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;

        r = lanemap_lane_file_map(fd, is_copy, &bytes, &n_bytes);
        if (r == -ENOMEM || r == -EINVAL)
                return lanemap_reader_map_error(attachment, -r, "a segment file",
                                                (uint64_t)st.st_size);
        if (r < 0)
                return r;

        r = file_parse(attachment, entry, bytes, n_bytes, ret_file);
        if (r < 0) {
                munmap(bytes, n_bytes);
                return r;
        }

        (*ret_file)->is_copy = is_copy;
        (*ret_file)->n_tables = 1;
        (*ret_file)->device = st.st_dev;
        (*ret_file)->inode = st.st_ino;
        return 0;
}

/* A user that can write or truncate a file mapped here can kill this process. So a copy is used
 * only if it belongs to the owner of the data object, and nobody else may write it. */
static bool copy_is_the_writers(const struct reader_attachment *attachment, int fd)
{
        struct stat object, copy;

        return fstat(attachment->data_fd, &object) == 0 && fstat(fd, &copy) == 0 &&
               copy.st_uid == object.st_uid && !(copy.st_mode & (S_IWGRP | S_IWOTH));
}

static int copy_map(const struct reader_attachment *attachment,
                    const struct lanemap_lane_segment_shm *entry, const char *name,
                    struct lanemap_lane_file **ret_file)
{
        int dir_fd, fd, r = -EPERM;

        dir_fd = open(attachment->copy_directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (dir_fd < 0)
                return -errno;

        fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        close(dir_fd);
        if (fd < 0)
                return -errno;

        if (copy_is_the_writers(attachment, fd))
                r = file_map_fd(attachment, entry, fd, true, ret_file);
        close(fd);
        return r;
}

static int original_map(const struct reader_attachment *attachment,
                        const struct lanemap_lane_segment_shm *entry, const char *name,
                        struct lanemap_lane_file **ret_file)
{
        struct lanemap_lane_file *file;
        struct stat st;
        int fd, r;

        fd = openat(attachment->directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        r = fstat(fd, &st) < 0 ? -errno : lanemap_reader_trust_check(attachment, name, &st);
        file = r == 0 ? file_adopt(attachment, entry, &st) : NULL;
        if (file)
                *ret_file = file;
        else if (r == 0)
                r = file_map_fd(attachment, entry, fd, false, ret_file);
        close(fd);
        if (r == -EPROTONOSUPPORT || r == -EBADMSG)
                return lanemap_reader_detail(attachment, r, "segment file %s", name);
        return r;
}

int lanemap_reader_file_map(const struct reader_attachment *attachment,
                            const struct lanemap_lane_segment_shm *entry,
                            struct lanemap_lane_file **ret_file)
{
        bool wants_copy = entry->flags & LANEMAP_LANE_SEGMENT_COPY;
        unsigned char check[LANEMAP_SEGMENT_CHECKSUM_BYTES] = {0};
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        uint64_t start_ns = LANEMAP_PROBE_START_NS(segment__map, lanemap_reader_now_ns());
        int r = -ENOENT;

        lanemap_store_le64(check, entry->file_check);
        lanemap_segment_file_name(entry->file_number, check, name);
        if (wants_copy && attachment->copy_directory)
                r = copy_map(attachment, entry, name, ret_file);
        if (r < 0)
                r = original_map(attachment, entry, name, ret_file);
        LANEMAP_PROBE(segment__map, entry->file_number, r < 0 ? UINT64_C(0) : (*ret_file)->n_bytes,
                      r == 0 && (*ret_file)->is_copy,
                      LANEMAP_PROBE_SINCE_NS(start_ns, lanemap_reader_now_ns()), r);
        if (r < 0)
                return r;

        (*ret_file)->wanted_copy = wants_copy;
        return 0;
}
