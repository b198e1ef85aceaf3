/*
 * Locking what is served in memory: mlock(2), by section, newest levels first, within a limit of
 * our own and within the system's. A section that no lane names any more is not locked again; a
 * file that is unmapped takes its locks with it.
 *
 * Neighbouring sections share pages, and a page is locked or not, however often: so the sections of
 * a file are always locked anew, all together, when one of them has come or gone.
 *
 * Runs in the serve thread only; a refusal is logged once and shown in the statistics, and ends
 * nothing.
 */
#include "writer/serve/serve.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <syslog.h>
#include <unistd.h>

#include "common/alloc.h"
#include "lane/file_read.h"
#include "writer/core/core.h"

/* A section that could be locked. */
struct pin {
        struct writer_file *file; /* held */
        const struct lanemap_lane_file *served;
        bool damaged;
        uint32_t section;
        uint32_t level;
        bool wanted;
};

static uint64_t pin_bytes(const struct pin *pin)
{
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        const struct lanemap_segment *segment = &pin->served->sections[pin->section];
        uint64_t start = (uintptr_t)segment->section & ~(page - 1);
        uint64_t end = LANEMAP_ALIGN_UP((uintptr_t)segment->section + segment->section_bytes, page);

        return end - start;
}

static int newest_first(const void *a, const void *b)
{
        const struct pin *left = a, *right = b;
        uint64_t left_number = left->file->mapped->number;
        uint64_t right_number = right->file->mapped->number;

        if (left->level != right->level)
                return left->level < right->level ? -1 : 1;
        if (left_number != right_number)
                return left_number > right_number ? -1 : 1;
        return left->section < right->section ? -1 : left->section > right->section;
}

static int by_file(const void *a, const void *b)
{
        const struct pin *left = a, *right = b;

        if (left->file != right->file)
                return (uintptr_t)left->file < (uintptr_t)right->file ? -1 : 1;
        return left->section < right->section ? -1 : left->section > right->section;
}

/* The number of pins[0 .. n) that are of the first one's file. */
static size_t file_pins(const struct pin *pins, size_t n)
{
        size_t n_same = 1;

        while (n_same < n && pins[n_same].file == pins[0].file)
                n_same++;
        return n_same;
}

/* A file is as new as the newest of its sections: they are locked together. */
static void pins_level(struct pin *pins, size_t n)
{
        qsort(pins, n, sizeof(*pins), by_file);
        for (size_t i = 0, m; i < n; i += m) {
                uint32_t level = UINT32_MAX;

                m = file_pins(pins + i, n - i);
                for (size_t k = i; k < i + m; k++)
                        level = LANEMAP_MIN(level, pins[k].level);
                for (size_t k = i; k < i + m; k++)
                        pins[k].level = level;
        }
}

/* Every section that a lane names, its file held. Owner: the caller. */
static struct pin *pins_collect(struct lanemap_writer *writer, size_t *ret_n)
{
        struct pin *pins =
                lanemap_alloc(writer->identity.n_lanes * LANEMAP_LANE_SEGMENTS_MAX * sizeof(*pins));
        size_t n = 0;

        if (!pins)
                return NULL;

        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t l = 0; l < writer->identity.n_lanes; l++)
                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments; s++) {
                        const struct writer_segment *segment = writer->lanes.items[l].segments[s];

                        lanemap_engine_file_hold(segment->file);
                        pins[n++] = (struct pin){
                                .file = segment->file,
                                .served = lanemap_engine_file_served(segment->file),
                                .damaged = segment->file->damaged,
                                .section = segment->section,
                                .level = segment->level,
                        };
                }
        lanemap_mutex_unlock(&writer->lanes.lock);

        pins_level(pins, n);
        *ret_n = n;
        return pins;
}

static void pins_free(struct lanemap_writer *writer, struct pin *pins, size_t n)
{
        lanemap_mutex_lock(&writer->lanes.lock);
        for (size_t i = 0; i < n; i++)
                lanemap_engine_file_release(writer, pins[i].file);
        lanemap_mutex_unlock(&writer->lanes.lock);
        lanemap_free(pins);
        lanemap_engine_files_reap(writer);
}

static void pins_choose(struct pin *pins, size_t n, uint64_t limit)
{
        qsort(pins, n, sizeof(*pins), newest_first);
        for (size_t i = 0; i < n; i++) {
                uint64_t bytes = pin_bytes(&pins[i]);

                /* A page that cannot be read cannot be locked, and is no reason to stop. */
                if (bytes > limit || pins[i].damaged)
                        continue;
                pins[i].wanted = true;
                limit -= bytes;
        }
}

static int pin_lock(struct lanemap_writer *writer, const struct pin *pin)
{
        const struct lanemap_segment *segment = &pin->served->sections[pin->section];

        if (writer->hooks.lock_memory)
                return writer->hooks.lock_memory(writer->hooks.arg, segment->section,
                                                 segment->section_bytes);
        return mlock(segment->section, segment->section_bytes) < 0 ? -errno : 0;
}

static int pin_populate(const struct pin *pin)
{
        const struct lanemap_segment *segment = &pin->served->sections[pin->section];

        return lanemap_lane_file_populate(segment->section, segment->section_bytes);
}

/* Return: true if the file has the locks that are wanted. */
static bool file_is_as_wanted(const struct pin *pins, size_t n)
{
        const struct writer_file *file = pins[0].file;
        size_t n_locked = 0, n_wanted = 0;

        for (size_t i = 0; i < n; i++) {
                n_wanted += pins[i].wanted;
                if (pins[i].wanted && (!file->locked || !file->locked[pins[i].section]))
                        return false;
        }
        for (uint32_t i = 0; i < file->mapped->n_sections && file->locked; i++)
                n_locked += file->locked[i];

        return n_locked == n_wanted &&
               (n_locked == 0 || file->locked_base == pins[0].served->bytes);
}

/* Takes a file's locks away; the mapping they were in is still there (F3). */
static void file_unlock(struct writer_file *file)
{
        if (!file->locked || !file->locked_base)
                return;

        (void)munlock(file->locked_base, file->mapped->n_bytes);
        memset(file->locked, 0, file->mapped->n_sections);
        file->locked_base = NULL;
}

/* The pins of one file. Return: 0, or what locking answered. */
static int file_lock(struct lanemap_writer *writer, const struct pin *pins, size_t n)
{
        struct writer_file *file = pins[0].file;
        int r = 0;

        if (!file->locked) {
                file->locked = lanemap_alloc_zero(file->mapped->n_sections);
                if (!file->locked)
                        return -ENOMEM;
        }

        file->locked_base = pins[0].served->bytes;
        for (size_t i = 0; i < n && r == 0; i++) {
                if (!pins[i].wanted)
                        continue;
                r = pin_lock(writer, &pins[i]);
                file->locked[pins[i].section] = r == 0;
                /* Refused for a page that cannot be read: the scrub logs it, others follow. */
                if (r < 0 && pin_populate(&pins[i]) < 0) {
                        lanemap_engine_file_doubt(writer, file);
                        r = 0;
                }
        }

        return r;
}

static void outcome_note(struct lanemap_writer *writer, int r, uint64_t locked_bytes)
{
        lanemap_mutex_lock(&writer->lanes.lock);
        writer->serve.locked_bytes = locked_bytes;
        writer->serve.lock_refused = r < 0;
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (r < 0 && !writer->serve.lock_refusal_logged) {
                writer->serve.lock_refusal_logged = true;
                lanemap_engine_log(writer, LOG_WARNING,
                                   "%" PRIu64 " bytes are locked in memory, not the %" PRIu64
                                   " that were asked for (%s): raise LimitMEMLOCK= in the unit, or "
                                   "ulimit -l",
                                   locked_bytes, writer->options.lock_bytes, strerror(-r));
        }
}

/*
 * First all that must go, so that the system's limit has room for what comes; then, newest first, a
 * file at a time, what is missing. After a refusal no older file is tried.
 */
static int pins_apply(struct lanemap_writer *writer, struct pin *pins, size_t n)
{
        int r = 0;

        qsort(pins, n, sizeof(*pins), by_file);
        for (size_t i = 0, m; i < n; i += m) {
                m = file_pins(pins + i, n - i);
                if (!file_is_as_wanted(pins + i, m))
                        file_unlock(pins[i].file);
        }
        qsort(pins, n, sizeof(*pins), newest_first);
        for (size_t i = 0, m; i < n && r == 0; i += m) {
                m = file_pins(pins + i, n - i);
                if (lanemap_load_acquire(&writer->workers.stopping))
                        break;
                if (!file_is_as_wanted(pins + i, m))
                        r = file_lock(writer, pins + i, m);
        }

        return r;
}

void lanemap_engine_memory_lock(struct lanemap_writer *writer)
{
        uint64_t locked_bytes = 0;
        struct pin *pins;
        size_t n;
        int r;

        if (writer->options.lock_bytes == 0)
                return;

        lanemap_engine_serve_step(writer, LANEMAP_SERVE_LOCK);
        pins = pins_collect(writer, &n);
        if (!pins)
                return;

        pins_choose(pins, n, writer->options.lock_bytes);
        r = pins_apply(writer, pins, n);
        for (size_t i = 0; i < n; i++)
                if (pins[i].file->locked && pins[i].file->locked[pins[i].section])
                        locked_bytes += pin_bytes(&pins[i]);
        outcome_note(writer, r, locked_bytes);
        pins_free(writer, pins, n);
}
