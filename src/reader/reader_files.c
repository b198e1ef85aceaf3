/*
 * Mapped segment files of an attachment. A file is immutable and keeps its bytes for as long as it
 * is mapped, also after the writer unlinked it; only the table that leads to it is protected, by
 * RCU.
 */
#include "reader/reader_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/rcu.h"

/* A file, or a whole old table, that lookups may still look at. */
struct retired_file {
        struct reader_retired retired; /* first */
        struct lanemap_lane_file *file;
        struct lanemap_lane_files *table;
};

static void file_unmap(struct lanemap_lane_file *file)
{
        if (!file)
                return;

        munmap((void *)(uintptr_t)file->bytes, file->n_bytes);
        free(file);
}

static void retired_file_release(struct reader_retired *retired)
{
        struct retired_file *file = (struct retired_file *)retired;

        file_unmap(file->file);
        free(file->table);
        free(file);
}

/* Parses every section of a mapping. The mapping stays the caller's when this fails. */
static int file_parse(const struct lanemap_shm_region *region, const unsigned char *uuid,
                      uint64_t number, const void *bytes, uint64_t n_bytes,
                      struct lanemap_lane_file **ret_file)
{
        struct lanemap_segment_file_section section;
        struct lanemap_segment_file header;
        struct lanemap_lane_file *file;
        int r;

        r = lanemap_segment_file_open(&header, bytes, n_bytes);
        if (r < 0)
                return r;
        if (header.file_number != number || memcmp(header.uuid, uuid, sizeof(header.uuid)) != 0)
                return -EBADMSG;

        file = malloc(sizeof(*file) + header.n_sections * sizeof(file->sections[0]));
        if (!file)
                return -ENOMEM;

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
                        free(file);
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

        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
                close(fd);
                return -EBADMSG;
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
        uint32_t n_old = old ? old->n_slots : 0, n = n_old ? n_old : 64;

        *ret_old = NULL;
        if (slot < n_old)
                return 0;
        if (slot >= LANEMAP_LANE_FILE_SLOTS_MAX)
                return -EBADMSG;

        while (n <= slot)
                n *= 2;
        table = calloc(1, sizeof(*table) + n * sizeof(table->slots[0]));
        if (!table)
                return -ENOMEM;

        table->n_slots = n;
        if (old)
                memcpy(table->slots, old->slots, n_old * sizeof(table->slots[0]));
        /* Pairs with the acquire load in a lookup's try_begin(). */
        lanemap_store_release(&attachment->region.files, table);
        *ret_old = old;
        return 0;
}

static void retire_file(struct lanemap_reader *reader, struct lanemap_lane_file *file,
                        struct lanemap_lane_files *table)
{
        struct retired_file *retired;

        if (!file && !table)
                return;

        retired = malloc(sizeof(*retired));
        /* Without memory to remember it, it stays mapped: harmless. */
        if (!retired)
                return;

        *retired = (struct retired_file){
                .retired = {.release = retired_file_release},
                .file = file,
                .table = table,
        };
        if (reader)
                lanemap_reader_retire(reader, &retired->retired);
        else
                retired_file_release(&retired->retired);
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

        retire_file(reader, NULL, old_table);
        old = attachment->region.files->slots[entry->file_slot];
        if (old && old->number == entry->file_number)
                return 0;

        r = file_map(attachment, entry, &file);
        if (r < 0)
                return r;

        /* Pairs with the acquire load in lanemap_lane_segment(). */
        lanemap_store_release(&attachment->region.files->slots[entry->file_slot], file);
        retire_file(reader, old, NULL);
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
                retire_file(reader, file, NULL);
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
                file_unmap(files->slots[slot]);
        free(files);
}
