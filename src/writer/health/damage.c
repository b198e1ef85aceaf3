/* See health/damage.h. */
#include "writer/health/damage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "verify/mapping.h"
#include "verify/verify.h"
#include "writer/core/core.h"
#include "writer/health/health.h"

/* A merge believes a file that was sound so recently. */
#define FRESH_NS (UINT64_C(600) * 1000 * 1000 * 1000)

/* ---- the state of a file, under lanes.lock ---- */

/* Through the mapping. A page that cannot be read hits the guard. */
static bool mapping_is_sound(const struct writer_file *file, const struct lanemap_lane_file *mapped)
{
        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];

        return lanemap_verify_checksum(mapped->bytes, mapped->n_bytes, checksum) == 0 &&
               memcmp(checksum, file->checksum, sizeof(checksum)) == 0 &&
               !lanemap_mapping_is_hit(mapped->guard, NULL);
}

/* The copy is memory: it can be read through its mapping. */
static bool copy_is_sound(const struct writer_file *file)
{
        const struct lanemap_lane_file *copy = lanemap_load_acquire(&file->copy);

        return !copy || mapping_is_sound(file, copy);
}

/* A mapping that was hit is never believed again (UM1): *ret_again is another one, or NULL where
 * none is needed. Return: true if the original's mapping, the present or the new one, is sound. */
static bool original_map_again(struct lanemap_writer *writer, const struct writer_file *file,
                               struct lanemap_lane_file **ret_again)
{
        const struct lanemap_lane_file *original = lanemap_load_acquire(&file->original);
        struct lanemap_lane_file *again;
        int fd, r;

        *ret_again = NULL;
        if (!lanemap_mapping_is_hit(original->guard, NULL))
                return true;

        fd = writer->files->open(writer->files, writer->place.dir_fd, file->name, O_RDONLY, 0);
        if (fd < 0)
                return false;
        r = lanemap_engine_file_map(writer, fd, false, original->number, file->checksum, &again);
        writer->files->close(writer->files, fd);
        if (r < 0)
                return false;
        if (!mapping_is_sound(file, again)) {
                lanemap_engine_file_unmap(again);
                return false;
        }

        *ret_again = again;
        return true;
}

static void original_replace(struct lanemap_writer *writer, struct writer_file *file,
                             struct lanemap_lane_file *again) LANEMAP_REQUIRES(writer->lanes.lock)
{
        if (file->original != file->mapped) {
                file->original->former = file->former;
                file->former = file->original;
        }
        /* Pairs with the acquire load in lanemap_engine_file_served(). */
        lanemap_store_release(&file->original, again);
        file->hit_taken = false;
        lanemap_engine_file_publish(writer, file);
}

void lanemap_engine_file_unmark(struct lanemap_writer *writer, uint64_t number, uint32_t n_marked)
{
        struct lanemap_lane_file *again = NULL;
        struct writer_file *file;
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        bool sound, done = false;

        lanemap_mutex_lock(&writer->lanes.lock);
        file = lanemap_engine_file_find(writer, number);
        if (file)
                lanemap_engine_file_hold(file);
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (!file)
                return;

        sound = copy_is_sound(file) && original_map_again(writer, file, &again);
        memcpy(name, file->name, sizeof(name));
        lanemap_mutex_lock(&writer->lanes.lock);
        if (sound && file->damaged && file->n_marked == n_marked) {
                file->damaged = false;
                file->sound_ns = 0;
                writer->segments.n_damaged--;
                lanemap_engine_degraded_publish(writer);
                if (again)
                        original_replace(writer, file, again);
                done = true;
        }
        lanemap_engine_file_release(writer, file);
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (!done) {
                lanemap_engine_file_unmap(again);
                return;
        }

        lanemap_engine_log(
                writer, LOG_NOTICE,
                "%s/%s was found damaged and now reads as it was written: it is believed "
                "again; look after the disk",
                writer->identity.directory, name);
        lanemap_engine_event_notify(writer);
        lanemap_engine_workers_signal(writer);
}

/* ---- before a flush or a merge reads ---- */

static bool file_was_checked_lately(struct lanemap_writer *writer, const struct writer_file *file)
{
        return file->sound_ns && lanemap_now_ns(writer->clock) - file->sound_ns < FRESH_NS;
}

/* The file is mapped for as long as the job has its segments. Return: true if it is sound. */
static bool input_is_sound(struct lanemap_writer *writer, struct writer_file *file)
{
        const struct lanemap_lane_file *served = lanemap_engine_file_served(file);
        struct lanemap_finding finding = {
                .offset = LANEMAP_FINDING_NO_OFFSET,
                .lane = LANEMAP_FINDING_NO_LANE,
                .what = "the checksum is wrong; found before a merge",
        };

        if (mapping_is_sound(file, served)) {
                lanemap_mutex_lock(&writer->lanes.lock);
                file->sound_ns = lanemap_now_ns(writer->clock);
                lanemap_mutex_unlock(&writer->lanes.lock);
                return true;
        }

        if (lanemap_mapping_is_hit(served->guard, NULL)) {
                lanemap_engine_hits_take(writer); /* it logs the hit (UM5) */
                return false;
        }
        snprintf(finding.file, sizeof(finding.file), "%s", file->name);
        for (uint32_t i = 0; i < file->mapped->n_sections; i++)
                finding.n_keys += file->mapped->sections[i].n_keys;
        if (lanemap_engine_file_mark(writer, file->mapped->number))
                lanemap_engine_finding_log(writer, &finding);
        return false;
}

int lanemap_engine_inputs_check(struct lanemap_writer *writer,
                                const struct writer_build_lane *lanes, uint32_t n_lanes,
                                bool check_again)
{
        struct writer_file *last = NULL;
        int r = 0;

        lanemap_engine_hits_take(writer);
        for (uint32_t l = 0; l < n_lanes; l++)
                for (uint32_t s = 0; s < lanes[l].n_segments; s++) {
                        struct writer_file *file = lanes[l].segments[s]->file;
                        bool checked_lately;

                        if (file == last)
                                continue;
                        lanemap_mutex_lock(&writer->lanes.lock);
                        checked_lately = file_was_checked_lately(writer, file) && !check_again;
                        lanemap_mutex_unlock(&writer->lanes.lock);
                        /* UM2: from here on the job looks whether any guard is hit. */
                        checked_lately = checked_lately &&
                                         !lanemap_mapping_is_hit(
                                                 lanemap_engine_file_served(file)->guard, NULL);
                        if (!checked_lately && !input_is_sound(writer, file))
                                r = WRITER_E_DAMAGED;
                        last = file;
                }

        return r;
}

int lanemap_engine_inputs_failed(struct lanemap_writer *writer,
                                 const struct writer_build_lane *lane)
{
        if (lanemap_engine_inputs_check(writer, lane, 1, true) != 0)
                return WRITER_E_DAMAGED;

        /* Bytes that were signed as they are, and are no section. Which input it was is not known.
         */
        for (uint32_t s = 0; s < lane->n_segments; s++) {
                struct writer_file *file = lane->segments[s]->file;
                struct lanemap_finding finding = {
                        .offset = LANEMAP_FINDING_NO_OFFSET,
                        .lane = lane->lane,
                        .n_keys = lanemap_load_acquire(&lane->segments[s]->segment)->n_keys,
                        .what = "entries do not validate; found in a merge",
                };

                snprintf(finding.file, sizeof(finding.file), "%s", file->name);
                if (lanemap_engine_file_mark(writer, file->mapped->number))
                        lanemap_engine_finding_log(writer, &finding);
        }

        return lane->n_segments > 0 ? WRITER_E_DAMAGED : -EBADMSG;
}
