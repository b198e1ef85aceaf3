/*
 * Takes the hits of guards (UM5 in verify/mapping.h): the file is marked damaged, a finding for
 * each section that can no longer be read; a copy is given up.
 *
 * Called by every thread that has discarded an outcome because of a hit, and by the serve thread
 * once a second. The engine's lock is held for looking only.
 */
#include "writer/health/damage.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "verify/mapping.h"
#include "writer/core/core.h"
#include "writer/health/health.h"

/* The marks of a section: by the handler, and after it was logged. */
#define UNREADABLE_NEWS   1
#define UNREADABLE_LOGGED 2

struct hit {
        uint64_t number;
        uint64_t offset;
        uint64_t n_bytes; /* that the file had, */
        uint64_t n_left;  /* and has now */
        char name[LANEMAP_SEGMENT_NAME_BYTES];
};

/* ---- copies ---- */

bool lanemap_engine_copies_give_up(struct lanemap_writer *writer)
{
        bool any = false;

        for (uint32_t l = 0; l < writer->identity.n_lanes; l++)
                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments; s++) {
                        struct writer_file *file = writer->lanes.items[l].segments[s]->file;

                        if (!file->copy || !lanemap_mapping_is_hit(file->copy->guard, NULL))
                                continue;
                        file->copy->former = file->former;
                        file->former = file->copy;
                        lanemap_store_release(&file->copy, NULL);
                        file->copy_lost = any = true;
                        lanemap_engine_file_publish(writer, file);
                }

        return any;
}

static void copies_tell(struct lanemap_writer *writer)
{
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        bool any;

        do {
                any = false;
                lanemap_mutex_lock(&writer->lanes.lock);
                for (uint32_t l = 0; l < writer->identity.n_lanes && !any; l++)
                        for (uint32_t s = 0; s < writer->lanes.items[l].n_segments && !any; s++) {
                                struct writer_file *file = writer->lanes.items[l].segments[s]->file;

                                any = file->copy_lost;
                                if (!any)
                                        continue;
                                file->copy_lost = false;
                                file->maybe_copied = true; /* it is replaced by another */
                                memcpy(name, file->name, sizeof(name));
                        }
                lanemap_mutex_unlock(&writer->lanes.lock);
                if (any)
                        lanemap_engine_log(writer, LOG_WARNING,
                                           "%s/%s cannot be read any more; the original is served, "
                                           "and another copy made",
                                           writer->serve.copy_directory, name);
        } while (any);
        lanemap_engine_serve_signal(writer);
}

/* ---- originals ---- */

static bool section_is_news(const struct lanemap_segment *section)
{
        return lanemap_load_acquire(&section->unreadable) == UNREADABLE_NEWS;
}

/* Under lanes.lock. */
static bool file_is_news(const struct writer_file *file)
{
        const struct lanemap_lane_file *original = file->original;
        bool news = !file->hit_taken;

        if (!lanemap_mapping_is_hit(original->guard, NULL))
                return false;
        for (uint32_t i = 0; i < original->n_sections && !news; i++)
                news = section_is_news(&original->sections[i]);
        return news;
}

/* Finds a file with a hit that is not logged yet. Return: true if there is one. */
static bool hit_next(struct lanemap_writer *writer, struct hit *ret_hit)
{
        bool any = false;

        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t l = 0; l < writer->identity.n_lanes && !any; l++)
                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments && !any; s++) {
                        struct writer_file *file = writer->lanes.items[l].segments[s]->file;

                        any = file_is_news(file);
                        if (!any)
                                continue;
                        file->hit_taken = true;
                        *ret_hit = (struct hit){
                                .number = file->mapped->number,
                                .n_bytes = file->mapped->n_bytes,
                                .n_left = file->mapped->n_bytes,
                        };
                        (void)lanemap_mapping_is_hit(file->original->guard, &ret_hit->offset);
                        memcpy(ret_hit->name, file->name, sizeof(ret_hit->name));
                }
        lanemap_mutex_unlock(&writer->lanes.lock);
        return any;
}

/* The bytes that a file has, where these are fewer than it had. */
static uint64_t file_left(int dir_fd, const char *name, uint64_t n_bytes)
{
        struct stat st;

        if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return n_bytes;
        return LANEMAP_MIN((uint64_t)st.st_size, n_bytes);
}

/* A file that was cut short is logged as such, with all that is lost (UM7). */
static void hit_look(struct lanemap_writer *writer, struct hit *hit)
{
        const struct writer_file *file;

        hit->n_left = file_left(writer->place.dir_fd, hit->name, hit->n_bytes);
        if (hit->n_left == hit->n_bytes)
                return;

        lanemap_mutex_lock(&writer->lanes.lock);
        file = lanemap_engine_file_find(writer, hit->number);
        if (file)
                lanemap_mapping_cut(file->original->guard, hit->n_left);
        lanemap_mutex_unlock(&writer->lanes.lock);
}

static int section_find(const struct hit *hit, const struct writer_file *file,
                        const struct writer_segment *segment, uint32_t lane,
                        struct lanemap_findings *findings)
{
        struct lanemap_segment *section = &file->original->sections[segment->section];
        uint64_t from = (uint64_t)(section->section - file->original->bytes);
        bool first = hit->offset >= from && hit->offset - from < section->section_bytes;

        if (!section_is_news(section))
                return 0;

        lanemap_store_relaxed(&section->unreadable, (uint8_t)UNREADABLE_LOGGED);
        if (hit->n_left < hit->n_bytes)
                return lanemap_findings_add(
                        findings, hit->name, LANEMAP_MAX(from, hit->n_left), lane, section->n_keys,
                        "the file was cut short: %" PRIu64 " of %" PRIu64 " bytes are left",
                        hit->n_left, hit->n_bytes);
        return lanemap_findings_add(findings, hit->name, first ? hit->offset : from, lane,
                                    section->n_keys, "a page cannot be read (media error?)");
}

static void hit_tell(struct lanemap_writer *writer, const struct hit *hit)
{
        struct lanemap_findings findings = {0};
        const struct writer_file *file;
        int r = 0;

        (void)lanemap_engine_file_mark(writer, hit->number);
        lanemap_mutex_lock(&writer->lanes.lock);
        file = lanemap_engine_file_find(writer, hit->number);
        for (uint32_t l = 0; l < writer->identity.n_lanes && file; l++)
                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments && r == 0; s++)
                        if (writer->lanes.items[l].segments[s]->file == file)
                                r = section_find(hit, file, writer->lanes.items[l].segments[s], l,
                                                 &findings);
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (file && findings.n == 0)
                (void)lanemap_findings_add(&findings, hit->name, hit->offset,
                                           LANEMAP_FINDING_NO_LANE, 0,
                                           "a page cannot be read (media error?)");
        for (size_t i = 0; i < findings.n; i++)
                lanemap_engine_finding_log(writer, &findings.items[i]);
        lanemap_findings_deinit(&findings);
        lanemap_engine_event_notify(writer);
}

void lanemap_engine_hits_take(struct lanemap_writer *writer)
{
        uint64_t n_hits = lanemap_mapping_n_hits();
        bool given_up;
        struct hit hit;

        if (LANEMAP_LIKELY(lanemap_load_acquire(&writer->segments.n_hits_taken) == n_hits))
                return;

        lanemap_mutex_lock(&writer->lanes.lock);
        given_up = lanemap_engine_copies_give_up(writer);
        lanemap_store_release(&writer->segments.n_hits_taken, n_hits);
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (given_up)
                copies_tell(writer);
        while (hit_next(writer, &hit)) {
                hit_look(writer, &hit);
                hit_tell(writer, &hit);
        }
}

/* ---- once a second ---- */

/* The file with the next larger number that was not found cut short before, and whether it has a
 * copy. Return: true if there is one. */
static bool file_after(struct lanemap_writer *writer, struct hit *hit, bool *ret_has_copy)
{
        const struct writer_file *next = NULL;

        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t l = 0; l < writer->identity.n_lanes; l++)
                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments; s++) {
                        const struct writer_file *file = writer->lanes.items[l].segments[s]->file;

                        if (file->mapped->number > hit->number && !file->hit_taken &&
                            (!next || file->mapped->number < next->mapped->number))
                                next = file;
                }
        if (next) {
                *hit = (struct hit){
                        .number = next->mapped->number,
                        .n_bytes = next->mapped->n_bytes,
                };
                memcpy(hit->name, next->name, sizeof(hit->name));
                *ret_has_copy = next->copy != NULL;
        }
        lanemap_mutex_unlock(&writer->lanes.lock);
        return next != NULL;
}

static void copy_look(struct lanemap_writer *writer, const struct hit *hit)
{
        uint64_t n_left = file_left(writer->serve.copy_dir_fd, hit->name, hit->n_bytes);
        const struct writer_file *file;

        if (n_left == hit->n_bytes)
                return;

        lanemap_mutex_lock(&writer->lanes.lock);
        file = lanemap_engine_file_find(writer, hit->number);
        if (file && file->copy)
                lanemap_mapping_cut(file->copy->guard, n_left);
        lanemap_mutex_unlock(&writer->lanes.lock);
}

void lanemap_engine_files_look(struct lanemap_writer *writer)
{
        struct hit hit = {.number = 0};
        bool has_copy;

        while (file_after(writer, &hit, &has_copy)) {
                hit_look(writer, &hit);
                if (has_copy)
                        copy_look(writer, &hit);
        }
        lanemap_engine_hits_take(writer);
}
