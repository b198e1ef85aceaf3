/*
 * Mapped segment files of an attachment. A file is immutable and keeps its bytes for as long as it
 * is mapped, also after the writer unlinked it; only the table that leads to it is protected, by
 * RCU.
 *
 * M1. No lookup waits for pages: one that finds a file unmapped maps it and goes on; what it then
 *     touches may fault. Pages are made present by poll, by the helper thread and by attach, in a
 *     mapping that nobody sees yet, with no lock held and outside any guard; then it
 *     takes the place of what lookups have mapped in the meantime.
 */
#include "reader/private.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lane/file_read.h"

static void table_release(struct reader_retired *retired)
{
        free(retired);
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
        /* Pairs with the acquire load in lanemap_shm_levels_decode() (shm/read.c). */
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

/* A file that has just left the table. What lookups keep of it is no longer found once the serial
 * number is another one (P9 in shm/kept_read.h): before it is stamped. */
static void file_retire(struct lanemap_reader *reader, struct reader_attachment *attachment,
                        struct lanemap_lane_file *file)
{
        /* Pairs with the acquire load in lanemap_shm_levels_decode() (shm/read.c): weaker, a file
         * could be kept that was found in the table before it left, under the number of the time
         * after. */
        lanemap_store_release(&attachment->region.files_serial,
                              attachment->region.files_serial + 1);
        retire(reader, reader_retired_of(file));
}

/* Return: 1 it was mapped, 0 it was there already, or a negative errno; -EBADMSG also where the
 * file has no such section, which no mapping would change. */
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
                retire(reader, reader_retired_of(old_table));
        old = attachment->region.files->slots[entry->file_slot];
        if (old && old->number == entry->file_number)
                return entry->section < old->n_sections ? 0 : -EBADMSG;

        r = lanemap_reader_file_map(attachment, entry, &file);
        if (r < 0)
                return r;
        if (entry->section >= file->n_sections) {
                lanemap_reader_file_release(file);
                return -EBADMSG;
        }

        /* Pairs with the acquire load in lanemap_lane_segment(). */
        lanemap_store_release(&attachment->region.files->slots[entry->file_slot], file);
        if (old)
                file_retire(reader, attachment, old);
        return 1;
}

/*
 * A file that a view names is gone. Views are swapped before files are unlinked: so it was retired
 * in the meantime, unless the view names it still. Return: -EINTR look again; -ENOENT it is named
 * still; or as lanemap_shm_lane_segments().
 */
static int missing_judge(const struct reader_attachment *attachment, uint32_t lane,
                         const struct lanemap_lane_segment_shm *missing)
{
        struct lanemap_lane_segment_shm segments[LANEMAP_LANE_SEGMENTS_MAX];
        uint32_t n;
        int r;

        r = lanemap_shm_lane_segments(&attachment->region, lane, segments, &n);
        if (r != 0)
                return r;

        for (uint32_t i = 0; i < n; i++)
                if (segments[i].file_number == missing->file_number &&
                    segments[i].file_check == missing->file_check)
                        return -ENOENT;

        return -EINTR;
}

/* One pass over all lanes. -EINTR: look again. live: which slots some view names;
 * LANEMAP_LANE_FILE_SLOTS_MAX bits, may be NULL. */
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
                        if (r == -ENOENT)
                                return missing_judge(attachment, lane, &segments[i]);
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
                if (r != -EINTR)
                        return r;
        }

        return -ENOENT;
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
                file_retire(reader, attachment, file);
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

/* ---- pages, ahead of the lookups ---- */

/* A poll makes so many bytes present between two looks at `stop`. */
#define POPULATE_BYTES (UINT64_C(4) << 20)

/* The work that a view's file needs: the least number first. */
enum { WANTED_UNMAPPED, WANTED_UNPOPULATED, WANTED_ELSEWHERE, WANTED_NOT };

static int file_wanted(const struct lanemap_lane_files *files,
                       const struct lanemap_lane_segment_shm *entry)
{
        const struct lanemap_lane_file *file =
                entry->file_slot < files->n_slots ? files->slots[entry->file_slot] : NULL;

        if (!file || file->number != entry->file_number)
                return WANTED_UNMAPPED;
        if (!file->populated)
                return WANTED_UNPOPULATED;
        /* Never back: another lane's view may not yet say what this one's said. */
        return entry->flags & LANEMAP_LANE_SEGMENT_COPY && !file->wanted_copy ? WANTED_ELSEWHERE
                                                                              : WANTED_NOT;
}

/* Under the lock: the entry that needs it most; newest levels first. Return: 1 and the entry, 0
 * there is none, -EINTR the object has grown, look again, or a negative errno. */
static int wanted_find(struct reader_attachment *attachment, uint32_t *ret_lane,
                       struct lanemap_lane_segment_shm *ret_entry)
{
        struct lanemap_lane_segment_shm segments[LANEMAP_LANE_SEGMENTS_MAX];
        uint32_t n, best = WANTED_NOT * LANEMAP_LANE_SEGMENTS_MAX;
        bool found = false;
        int r;

        size_refresh(attachment);
        for (uint32_t lane = 0; lane < attachment->region.n_lanes; lane++) {
                r = lanemap_shm_lane_segments(&attachment->region, lane, segments, &n);
                if (r == -EBADMSG && size_refresh(attachment))
                        return -EINTR;
                if (r != 0)
                        return r < 0 ? r : 0;

                for (uint32_t i = 0; i < n; i++) {
                        uint32_t rank =
                                (uint32_t)file_wanted(attachment->region.files, &segments[i]) *
                                        LANEMAP_LANE_SEGMENTS_MAX +
                                i;

                        if (rank >= best)
                                continue;
                        best = rank;
                        *ret_lane = lane;
                        *ret_entry = segments[i];
                        found = true;
                }
        }

        return found;
}

/* Return: true if all of it was looked at; false when it is time to stop. */
static bool file_populate(struct lanemap_lane_file *file, const bool *stop)
{
        for (uint64_t at = 0; at < file->n_bytes; at += POPULATE_BYTES) {
                if (stop && lanemap_load_relaxed(stop))
                        return false;
                if (lanemap_lane_file_populate(file->bytes + at,
                                               LANEMAP_MIN(file->n_bytes - at, POPULATE_BYTES)) < 0)
                        break;
        }
        if (file->is_copy)
                (void)lanemap_lane_file_collapse(file->bytes, file->n_bytes);

        /* Also when not all of it could be read: it is not tried for ever. */
        file->populated = true;
        return true;
}

/* Under the lock. Return: 1 the file is in the table, 0 it is not needed there any more, or a
 * negative errno. */
static int file_put(struct lanemap_reader *reader, struct reader_attachment *attachment,
                    uint32_t slot, struct lanemap_lane_file *file)
{
        struct lanemap_lane_files *old_table;
        struct lanemap_lane_file *old;
        int r;

        r = table_fit(attachment, slot, &old_table);
        if (r < 0)
                return r;

        if (old_table)
                retire(reader, reader_retired_of(old_table));
        old = attachment->region.files->slots[slot];
        /* File numbers rise: a greater one has come into the slot since. */
        if (old && (old->number > file->number || (old->number == file->number && old->populated &&
                                                   old->wanted_copy == file->wanted_copy)))
                return 0;

        /* Pairs with the acquire load in lanemap_lane_segment(). */
        lanemap_store_release(&attachment->region.files->slots[slot], file);
        if (old)
                file_retire(reader, attachment, old);
        return 1;
}

/* One file. Return: 1 something was put into place, 0 there is nothing to do, or a negative errno;
 * -EINTR: look again. */
static int prepare_one(struct lanemap_reader *reader, const bool *stop)
{
        struct reader_attachment *attachment;
        struct lanemap_lane_segment_shm entry;
        struct lanemap_lane_file *file;
        uint64_t generation;
        uint32_t lane;
        int r;

        lanemap_reader_lock();
        attachment = reader->attachment;
        generation = attachment->region.generation;
        r = wanted_find(attachment, &lane, &entry);
        if (r == 1) {
                r = lanemap_reader_file_map(attachment, &entry, &file);
                if (r == -ENOENT)
                        r = LANEMAP_MIN(missing_judge(attachment, lane, &entry), 0);
                else
                        r = r < 0 ? r : 1;
        }
        lanemap_reader_unlock();
        if (r <= 0)
                return r;

        if (!file_populate(file, stop)) {
                lanemap_reader_file_release(file);
                return 0;
        }

        /* Only compared: the attachment may be gone, and another at its address. */
        lanemap_reader_lock();
        r = -EINTR;
        if (reader->attachment == attachment && attachment->region.generation == generation)
                r = file_put(reader, attachment, entry.file_slot, file);
        lanemap_reader_unlock();
        if (r != 1)
                lanemap_reader_file_release(file);
        return r == 0 ? -EINTR : r;
}

int lanemap_reader_files_prepare(struct lanemap_reader *reader, const bool *stop)
{
        int r = 1, n_done = 0;

        for (uint32_t i = 0, n_again = 0; r != 0 && i < LANEMAP_LANE_FILE_SLOTS_MAX; i++) {
                if (stop && lanemap_load_relaxed(stop))
                        break;

                r = prepare_one(reader, stop);
                if (r > 0)
                        n_done++;
                else if (r < 0 && (r != -EINTR || ++n_again >= LANEMAP_SHM_TRIES_MAX))
                        return r;
        }

        return n_done;
}

void lanemap_reader_files_release(struct lanemap_lane_files *files)
{
        if (!files)
                return;

        for (uint32_t slot = 0; slot < files->n_slots; slot++)
                if (files->slots[slot])
                        lanemap_reader_file_release(files->slots[slot]);
        table_release(reader_retired_of(files));
}
