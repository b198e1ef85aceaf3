/*
 * Segment files that the engine has mapped.
 *
 * F1. A file is unlinked only when no lane names it and no manifest, in force or perhaps in
 *     force, names it.
 * F2. A mapping is undone only when no lookup of this process can be looking at it.
 * F3. Every mapping of a file stays to the file's end, since jobs may be reading through it: of the
 *     original when a copy is served (serve/copy.c), of a copy that was given up, of an original
 *     that was mapped again since pages of it could not be read. Nothing new is read there.
 * F4. The header, the table and the sections' headers are read by pread(2) before a file is mapped:
 *     one where that fails is refused with its error. A page that fails later is in
 *     verify/mapping.h.
 */
#include "writer/core/core.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/rcu.h"
#include "lane/file_read.h"
#include "verify/verify.h"
#include "verify/mapping.h"

static int file_parse(struct lanemap_writer *writer, uint64_t number, const unsigned char *checksum,
                      const void *bytes, uint64_t n_bytes, struct lanemap_lane_file **ret_mapped)
{
        struct lanemap_segment_file header;
        struct lanemap_lane_file *mapped;
        int r;

        r = lanemap_segment_file_open(&header, bytes, n_bytes);
        if (r < 0)
                return r;
        if (header.file_number != number ||
            memcmp(header.uuid, writer->identity.uuid, sizeof(header.uuid)) != 0 ||
            memcmp(header.checksum, checksum, sizeof(header.checksum)) != 0)
                return -EBADMSG;

        mapped = lanemap_alloc(lanemap_lane_file_bytes(&header));
        if (!mapped)
                return -ENOMEM;

        r = lanemap_lane_file_parse(&header, writer->identity.hash_key.fingerprint_bits, mapped);
        if (r < 0) {
                lanemap_free(mapped);
                return r;
        }

        *ret_mapped = mapped;
        return 0;
}

int lanemap_engine_file_map(struct lanemap_writer *writer, int fd, bool huge, uint64_t number,
                            const unsigned char *checksum, struct lanemap_lane_file **ret_mapped)
{
        struct lanemap_lane_file *mapped = NULL;
        struct lanemap_mapping *guard = NULL;
        uint64_t n_bytes;
        void *bytes;
        int r;

        r = lanemap_lane_file_probe(fd); /* F4 */
        if (r == 0)
                r = lanemap_lane_file_map(fd, huge, &bytes, &n_bytes);
        if (r < 0)
                return r;

        r = lanemap_mapping_new(bytes, n_bytes, &guard);
        if (r == 0)
                r = file_parse(writer, number, checksum, bytes, n_bytes, &mapped);
        if (guard && lanemap_mapping_is_hit(guard, NULL))
                r = -EIO;
        if (r < 0) {
                lanemap_mapping_free(guard);
                lanemap_free(mapped);
                munmap(bytes, n_bytes);
                return r;
        }

        mapped->guard = guard;
        lanemap_mapping_watch(guard, mapped);
        *ret_mapped = mapped;
        return 0;
}

void lanemap_engine_file_unmap(struct lanemap_lane_file *mapped)
{
        if (!mapped)
                return;

        lanemap_mapping_free(mapped->guard);
        munmap((void *)(uintptr_t)mapped->bytes, mapped->n_bytes);
        lanemap_free(mapped);
}

int lanemap_engine_file_open(struct lanemap_writer *writer, uint64_t number,
                             const unsigned char *checksum, struct writer_file **ret_file)
{
        struct writer_file *file = lanemap_alloc_zero(sizeof(*file));
        int fd, r;

        if (!file)
                return -ENOMEM;

        file->slot = UINT32_MAX;
        memcpy(file->checksum, checksum, sizeof(file->checksum));
        lanemap_segment_file_name(number, checksum, file->name);
        r = fd = writer->files->open(writer->files, writer->place.dir_fd, file->name, O_RDONLY, 0);
        if (fd >= 0) {
                r = lanemap_engine_file_map(writer, fd, false, number, checksum, &file->mapped);
                writer->files->close(writer->files, fd);
        }
        if (r < 0) {
                lanemap_free(file);
                return r;
        }

        file->original = file->mapped;
        *ret_file = file;
        return 0;
}

void lanemap_engine_file_free(struct writer_file *file)
{
        if (!file)
                return;

        lanemap_engine_file_unmap(file->copy);
        if (file->original != file->mapped)
                lanemap_engine_file_unmap(file->original);
        lanemap_engine_file_unmap(file->mapped);
        while (file->former) {
                struct lanemap_lane_file *former = file->former;

                file->former = former->former;
                lanemap_engine_file_unmap(former);
        }
        lanemap_free(file->locked);
        lanemap_free(file);
}

int lanemap_engine_file_install(struct lanemap_writer *writer, struct writer_file *file)
{
        struct lanemap_lane_files *table = writer->segments.table;

        /* In one slot only: the other one would name it after its end. */
        lanemap_check(file->slot == UINT32_MAX);
        for (uint32_t slot = 0; slot < table->n_slots; slot++) {
                if (table->slots[slot])
                        continue;

                file->slot = slot;
                /* Pairs with the acquire load in lanemap_lane_segment(). */
                lanemap_store_release(&table->slots[slot], file->mapped);
                return 0;
        }

        return -EMFILE;
}

/* The flag in a view is a hint, so a lane for whose view there is no block now says so with its
 * next one. */
void lanemap_engine_file_publish(struct lanemap_writer *writer, struct writer_file *file)
{
        struct lanemap_lane_file *served =
                (struct lanemap_lane_file *)(uintptr_t)lanemap_engine_file_served(file);

        /* Another mapping of the same file: views and segments name its sections by number. */
        lanemap_check(served->number == file->mapped->number &&
                      served->n_sections == file->mapped->n_sections);
        /* Pairs with the acquire load in lanemap_lane_segment(). */
        if (file->n_refs > 0)
                lanemap_store_release(&writer->segments.table->slots[file->slot], served);
        for (uint32_t l = 0; l < writer->identity.n_lanes; l++) {
                bool names_it = false;

                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments; s++) {
                        struct writer_segment *segment = writer->lanes.items[l].segments[s];

                        if (segment->file != file)
                                continue;
                        names_it = true;
                        lanemap_store_release(&segment->segment,
                                              &served->sections[segment->section]);
                }
                if (names_it)
                        (void)lanemap_engine_lane_publish_new(writer, l);
        }
        lanemap_shm_arena_end_batch(writer->shm.object->arena);
}

int lanemap_engine_segment_new(struct writer_file *file, uint32_t section, uint32_t level,
                               uint64_t n_pairs, uint64_t bytes,
                               struct writer_segment **ret_segment)
{
        struct writer_segment *segment = lanemap_alloc_zero(sizeof(*segment));

        if (!segment)
                return -ENOMEM;

        /* A view would have readers look past the file's sections. */
        lanemap_check(section < file->mapped->n_sections);
        *segment = (struct writer_segment){
                .file = file,
                .segment = &lanemap_engine_file_served(file)->sections[section],
                .section = section,
                .level = level,
                .n_refs = 1,
                .n_pairs = n_pairs,
                .bytes = bytes,
        };
        file->n_refs++;
        *ret_segment = segment;
        return 0;
}

void lanemap_engine_segment_ref(struct writer_segment *segment)
{
        segment->n_refs++;
}

/* One reference less: the last one. */
static void file_unused_check(struct lanemap_writer *writer, struct writer_file *file)
{
        if (file->n_refs > 0 || file->n_holds > 0)
                return;

        file->next_dead = writer->segments.dead;
        writer->segments.dead = file;
}

void lanemap_engine_segment_unref(struct lanemap_writer *writer, struct writer_segment *segment)
{
        struct writer_file *file = segment->file;

        /* One release too many, and a file that a lane names is unlinked. */
        lanemap_check(segment->n_refs > 0 && file->n_refs > 0);
        if (--segment->n_refs > 0)
                return;

        lanemap_free(segment);
        file->n_refs--;
        file_unused_check(writer, file);
}

void lanemap_engine_file_hold(struct writer_file *file)
{
        file->n_holds++;
}

void lanemap_engine_file_release(struct lanemap_writer *writer, struct writer_file *file)
{
        lanemap_check(file->n_holds > 0); /* as above */
        file->n_holds--;
        file_unused_check(writer, file);
}

static void file_slot_release(struct lanemap_writer *writer, struct writer_file *file)
{
        if (file->slot != UINT32_MAX)
                lanemap_store_release(&writer->segments.table->slots[file->slot], NULL);
        file->slot = UINT32_MAX;
}

/* Readers of the predecessor's generation still find its files until this writer's is published. A
 * replay's own files nobody has ever seen. */
static bool file_is_predecessors(const struct lanemap_writer *writer,
                                 const struct writer_file *file)
{
        return writer->lanes.recovering &&
               file->mapped->number < writer->commit.recovery_file_number;
}

/* The kernel may have had another reason than the file: a page that cannot be read hits the
 * guard. */
static void pages_touch(const struct lanemap_lane_file *mapped)
{
        for (uint64_t at = 0; at < mapped->n_bytes; at += (uint64_t)sysconf(_SC_PAGESIZE))
                (void)*(const volatile unsigned char *)(mapped->bytes + at);
}

int lanemap_engine_file_populate(struct writer_file *file)
{
        if (lanemap_lane_file_populate(file->mapped->bytes, file->mapped->n_bytes) < 0)
                pages_touch(file->mapped);
        file->warmed_bytes = file->mapped->n_bytes;
        return lanemap_mapping_is_hit(file->mapped->guard, NULL) ? -EIO : 0;
}

void lanemap_engine_copy_unlink(struct lanemap_writer *writer, struct writer_file *file)
{
        if (!file->copy && !file->maybe_copied)
                return;

        /* One that stays is thrown away at the next start. */
        (void)writer->files->unlink(writer->files, writer->serve.copy_dir_fd, file->name);
}

void lanemap_engine_file_doubt(struct lanemap_writer *writer, struct writer_file *file)
{
        lanemap_mutex_lock(&writer->lanes.lock);
        file->sound_ns = 0;
        file->scrub_due_ns = 0;
        lanemap_mutex_unlock(&writer->lanes.lock);
        lanemap_engine_scrub_signal(writer);
}

int lanemap_engine_file_quarantine(struct lanemap_writer *writer, const char *name)
{
        char quarantined[sizeof(LANEMAP_QUARANTINE_NAME) + LANEMAP_SEGMENT_NAME_BYTES];
        int r;

        r = writer->files->make_directory(writer->files, writer->place.dir_fd,
                                          LANEMAP_QUARANTINE_NAME, 0750);
        /* Its name is durable before a file's only name is in it, whoever made it. */
        if (r == 0 || r == -EEXIST)
                r = writer->files->sync_directory(writer->files, writer->place.dir_fd);
        if (r < 0)
                return r;

        snprintf(quarantined, sizeof(quarantined), LANEMAP_QUARANTINE_NAME "/%s", name);
        r = writer->files->rename(writer->files, writer->place.dir_fd, name, quarantined);
        if (r == 0)
                lanemap_engine_log(writer, LOG_WARNING,
                                   "%s/%s is damaged and no longer used; it is kept as %s",
                                   writer->identity.directory, name, quarantined);
        return r;
}

struct writer_file *lanemap_engine_file_find(struct lanemap_writer *writer, uint64_t number)
{
        for (uint32_t l = 0; l < writer->identity.n_lanes; l++)
                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments; s++)
                        if (writer->lanes.items[l].segments[s]->file->mapped->number == number)
                                return writer->lanes.items[l].segments[s]->file;

        return NULL;
}

/* Takes the files off the list that no manifest names (F1). A slot is free as soon as no lane of
 * this writer names the file, so a replay of any number of flushes has one. */
static struct writer_file *dead_take(struct lanemap_writer *writer)
        LANEMAP_REQUIRES(writer->lanes.lock)
{
        uint64_t in_force = lanemap_load_relaxed(&writer->commit.generation);
        struct writer_file *taken = NULL, **link = &writer->segments.dead;

        while (*link) {
                struct writer_file *file = *link;

                if (file->named_generation >= in_force && file->named_generation > 0) {
                        link = &file->next_dead;
                        continue;
                }
                if (file_is_predecessors(writer, file)) {
                        file_slot_release(writer, file);
                        link = &file->next_dead;
                        continue;
                }

                /* F1: it is unlinked next. */
                lanemap_check(file->n_refs == 0 && file->n_holds == 0);
                *link = file->next_dead;
                file->next_dead = taken;
                taken = file;
                if (file->damaged) {
                        writer->segments.n_damaged--;
                        lanemap_engine_degraded_publish(writer);
                }
                file_slot_release(writer, file);
        }

        return taken;
}

void lanemap_engine_files_reap(struct lanemap_writer *writer)
{
        struct writer_file *file;
        int r;

        lanemap_mutex_lock(&writer->lanes.lock);
        file = dead_take(writer);
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (!file)
                return;

        lanemap_rcu_synchronize();
        while (file) {
                struct writer_file *next = file->next_dead;

                r = file->damaged ? lanemap_engine_file_quarantine(writer, file->name)
                                  : writer->files->unlink(writer->files, writer->place.dir_fd,
                                                          file->name);
                if (r < 0 && r != -ENOENT)
                        lanemap_engine_log(writer, LOG_WARNING,
                                           "%s/%s cannot be unlinked (%s); the next start will",
                                           writer->identity.directory, file->name, strerror(-r));
                lanemap_engine_copy_unlink(writer, file);
                lanemap_engine_file_free(file);
                file = next;
        }
}
