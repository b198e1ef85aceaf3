/*
 * Mapped segment files of an attachment. A file is immutable and keeps its bytes for as long as it
 * is mapped, also after the writer unlinked it; only the table that leads to it is protected, by
 * RCU.
 */
#include "reader/reader_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/rcu.h"

/*
 * In front of each mapped file, and of each table of files, lies what remembers it once it is
 * retired and lookups may still look at it: retiring needs no memory, so it cannot fail.
 */
static_assert(sizeof(struct reader_retired) % alignof(max_align_t) == 0,
              "what lies behind it is aligned as malloc() would");

static struct reader_retired *retired_of(void *file_or_table)
{
        return (struct reader_retired *)file_or_table - 1;
}

static void file_release(struct reader_retired *retired)
{
        struct lanemap_lane_file *file = (void *)(retired + 1);

        munmap((void *)(uintptr_t)file->bytes, file->n_bytes);
        free(retired);
}

static void table_release(struct reader_retired *retired)
{
        free(retired);
}

/* Parses every section of a mapping. The mapping stays the caller's when this fails. */
static int file_parse(const struct lanemap_shm_region *region, const unsigned char *uuid,
                      uint64_t number, const void *bytes, uint64_t n_bytes,
                      struct lanemap_lane_file **ret_file)
{
        struct lanemap_segment_file_section section;
        struct lanemap_segment_file header;
        struct lanemap_lane_file *file;
        struct reader_retired *retired;
        int r;

        r = lanemap_segment_file_open(&header, bytes, n_bytes);
        if (r < 0)
                return r;
        if (header.file_number != number || memcmp(header.uuid, uuid, sizeof(header.uuid)) != 0)
                return -EBADMSG;

        retired = malloc(sizeof(*retired) + sizeof(*file) +
                         header.n_sections * sizeof(file->sections[0]));
        if (!retired)
                return -ENOMEM;

        retired->release = file_release;
        file = (void *)(retired + 1);
        file->number = number;
        file->check = lanemap_load_le64(header.checksum);
        file->bytes = bytes;
        file->n_bytes = n_bytes;
        file->n_sections = header.n_sections;
        for (uint32_t i = 0; i < header.n_sections; i++) {
                r = lanemap_segment_file_section(&header, i, &section);
                if (r == 0)
                        r = lanemap_segment_open(&file->sections[i], header.bytes + section.offset,
                                                 section.n_bytes,
                                                 region->hash_key.fingerprint_bits);
                if (r < 0) {
                        free(retired);
                        return r;
                }
        }

        *ret_file = file;
        return 0;
}

static int file_map(const struct reader_attachment *attachment,
                    const struct lanemap_lane_segment_shm *entry,
                    struct lanemap_lane_file **ret_file)
{
        unsigned char check[LANEMAP_SEGMENT_CHECKSUM_BYTES] = {0};
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        struct stat st;
        void *bytes;
        int fd, r;

        lanemap_store_le64(check, entry->file_check);
        lanemap_segment_file_name(entry->file_number, check, name);
        fd = openat(attachment->directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return -errno;

        r = fstat(fd, &st) < 0 ? -errno : 0;
        if (r == 0 && (!S_ISREG(st.st_mode) || st.st_size == 0))
                r = -EBADMSG;
        if (r < 0) {
                close(fd);
                return r;
        }

        /* Populated: no lookup meets a fault for a page that is in the page cache anyway. */
        bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
        close(fd);
        if (bytes == MAP_FAILED)
                return -errno;

        r = file_parse(&attachment->region, attachment->data->uuid, entry->file_number, bytes,
                       (uint64_t)st.st_size, ret_file);
        if (r < 0)
                munmap(bytes, (size_t)st.st_size);

        return r;
}

/* A table with room for `slot`. The old one is the caller's to retire; *ret_old is NULL when
 * nothing changed. */
static int table_fit(struct reader_attachment *attachment, uint32_t slot,
                     struct lanemap_lane_files **ret_old)
{
        struct lanemap_lane_files *old = attachment->region.files, *table;
        struct reader_retired *retired;
        uint32_t n_old = old ? old->n_slots : 0, n = n_old ? n_old : 64;

        *ret_old = NULL;
        if (slot < n_old)
                return 0;
        if (slot >= LANEMAP_LANE_FILE_SLOTS_MAX)
                return -EBADMSG;

        while (n <= slot)
                n *= 2;
        retired = calloc(1, sizeof(*retired) + sizeof(*table) + n * sizeof(table->slots[0]));
        if (!retired)
                return -ENOMEM;

        retired->release = table_release;
        table = (void *)(retired + 1);
        table->n_slots = n;
        if (old)
                memcpy(table->slots, old->slots, n_old * sizeof(table->slots[0]));
        /* Pairs with the acquire load in a lookup's try_begin(). */
        lanemap_store_release(&attachment->region.files, table);
        *ret_old = old;
        return 0;
}

/* reader: NULL while nobody looks up yet. */
static void retire(struct lanemap_reader *reader, struct reader_retired *retired)
{
        if (reader)
                lanemap_reader_retire(reader, retired);
        else
                retired->release(retired);
}

/* Return: 1 it was mapped, 0 it was there already, or a negative errno. */
static int segment_ensure(struct lanemap_reader *reader, struct reader_attachment *attachment,
                          const struct lanemap_lane_segment_shm *entry)
{
        struct lanemap_lane_files *old_table;
        struct lanemap_lane_file *file = NULL, *old;
        int r;

        r = table_fit(attachment, entry->file_slot, &old_table);
        if (r < 0)
                return r;

        if (old_table)
                retire(reader, retired_of(old_table));
        old = attachment->region.files->slots[entry->file_slot];
        if (old && old->number == entry->file_number)
                return 0;

        r = file_map(attachment, entry, &file);
        if (r < 0)
                return r;

        /* Pairs with the acquire load in lanemap_lane_segment(). */
        lanemap_store_release(&attachment->region.files->slots[entry->file_slot], file);
        if (old)
                retire(reader, retired_of(old));
        return 1;
}

/* One pass over all lanes. live: which slots some view names; LANEMAP_LANE_FILE_SLOTS_MAX bits, may
 * be NULL. */
static int lanes_ensure(struct lanemap_reader *reader, struct reader_attachment *attachment,
                        uint64_t *live, int *n_mapped)
{
        struct lanemap_lane_segment_shm segments[LANEMAP_LANE_SEGMENTS_MAX];
        uint32_t n;
        int r;

        for (uint32_t lane = 0; lane < attachment->region.n_lanes; lane++) {
                r = lanemap_shm_lane_segments(&attachment->region, lane, segments, &n);
                if (r != 0)
                        return r;

                for (uint32_t i = 0; i < n; i++) {
                        r = segment_ensure(reader, attachment, &segments[i]);
                        if (r < 0)
                                return r;
                        *n_mapped += r;
                        if (live)
                                live[segments[i].file_slot >> 6] |= UINT64_C(1)
                                                                    << (segments[i].file_slot & 63);
                }
        }

        return 0;
}

/* The object may have grown past what this process knows. */
static bool size_refresh(struct reader_attachment *attachment)
{
        struct stat st;
        uint64_t bytes;

        if (fstat(attachment->data_fd, &st) < 0)
                return false;

        bytes = LANEMAP_MIN((uint64_t)st.st_size, attachment->mapped_bytes);
        if (bytes <= lanemap_load_relaxed(&attachment->region.bytes))
                return false;

        lanemap_store_relaxed(&attachment->region.bytes, bytes);
        return true;
}

/*
 * A file that a view names but that is gone was retired in the meantime: the view is read again. A
 * thousand merges in a row would be needed to run out of tries.
 */
static int files_update(struct lanemap_reader *reader, struct reader_attachment *attachment,
                        uint64_t *live, int *n_mapped)
{
        int r = 0;

        for (int i = 0; i < LANEMAP_SHM_TRIES_MAX; i++) {
                r = lanes_ensure(reader, attachment, live, n_mapped);
                if (r == -EBADMSG && size_refresh(attachment))
                        continue;
                if (r != -ENOENT)
                        return r;
        }

        return r;
}

int lanemap_reader_files_map_all(struct reader_attachment *attachment)
{
        struct lanemap_lane_files *old;
        int r, n_mapped = 0;

        r = table_fit(attachment, 0, &old);
        if (r < 0)
                return r;

        return files_update(NULL, attachment, NULL, &n_mapped);
}

static int files_trim(struct lanemap_reader *reader, struct reader_attachment *attachment,
                      const uint64_t *live)
{
        struct lanemap_lane_files *files = attachment->region.files;
        int n_retired = 0;

        for (uint32_t slot = 0; slot < files->n_slots; slot++) {
                struct lanemap_lane_file *file = files->slots[slot];

                if (!file || live[slot >> 6] >> (slot & 63) & 1)
                        continue;

                lanemap_store_release(&files->slots[slot], NULL);
                retire(reader, retired_of(file));
                n_retired++;
        }

        return n_retired;
}

int lanemap_reader_files_update(struct lanemap_reader *reader, struct reader_attachment *attachment,
                                bool trim, int *ret_n_done)
{
        uint64_t *live = NULL;
        int r, n_done = 0;

        if (trim) {
                live = calloc(LANEMAP_LANE_FILE_SLOTS_MAX / 64, sizeof(*live));
                if (!live)
                        return -ENOMEM;
        }

        size_refresh(attachment);
        r = files_update(reader, attachment, live, &n_done);
        if (r == 0 && trim)
                n_done += files_trim(reader, attachment, live);

        free(live);
        if (r == 0)
                *ret_n_done = n_done;
        return r;
}

void lanemap_reader_files_release(struct lanemap_lane_files *files)
{
        if (!files)
                return;

        for (uint32_t slot = 0; slot < files->n_slots; slot++)
                if (files->slots[slot])
                        file_release(retired_of(files->slots[slot]));
        table_release(retired_of(files));
}
