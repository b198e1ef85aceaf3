/*
 * Serving segment files: a thread of its own makes their pages present
 * (warming), puts copies of them on a tmpfs (serve/copy.c), and locks what is served into memory
 * (serve/pin.c). After a restart all lanes are served from their files at once; this thread
 * follows, newest levels first: copies that a predecessor left, warming, locking, new copies.
 *
 *   T1  No lookup, add or reply ever waits for this thread: it takes the engine's lock only to look
 *       and to swap, never over I/O, and nothing waits for what it has not done yet. A failure here
 *       is logged, and the step tried again; it is never an error of the service.
 *   T2  A file that it works on is held (n_holds), so it stays mapped and named; if its segments go
 *       meanwhile, it dies when it is released.
 */
#include "writer/serve/serve.h"

#include <errno.h>
#include <unistd.h>

#include "common/alloc.h"
#include "lane/file_read.h"
#include "verify/mapping.h"
#include "writer/core/core.h"
#include "writer/health/health.h"

#define IDLE_NS (UINT64_C(1000) * 1000 * 1000)

/* Bytes read between two checks for the end of the engine. */
#define WARM_BYTES (UINT64_C(4) << 20)

/* The original's pages leave the page cache when nobody has them mapped: readers go over to the
 * copy within a poll or so. */
#define N_DROPS_MAX   3
#define DROP_AGAIN_NS (UINT64_C(1000) * 1000 * 1000)
#define ROOM_RETRY_NS (UINT64_C(1000) * 1000 * 1000)
#define COPY_RETRY_NS (UINT64_C(60) * 1000 * 1000 * 1000)

/* Warming more than this would push out what was warmed first. */
static uint64_t warm_limit(void)
{
        return (uint64_t)sysconf(_SC_PHYS_PAGES) / 4 * 3 * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- what is to be done ---- */

enum serve_work { WORK_ADOPT, WORK_WARM, WORK_COPY, WORK_DROP };

static bool file_needs(const struct lanemap_writer *writer, const struct writer_file *file,
                       enum serve_work work, uint64_t now)
{
        switch (work) {
        case WORK_ADOPT:
                return file->maybe_copied && !file->copy && !file->damaged;
        case WORK_WARM:
                return !file->copy && file->warmed_bytes < file->mapped->n_bytes &&
                       file->mapped->n_bytes - file->warmed_bytes <= writer->serve.n_left_bytes;
        case WORK_COPY:
                return writer->serve.copy_directory && !file->copy && !file->damaged &&
                       now >= file->copy_due_ns;
        default:
                return file->drop_due_ns && now >= file->drop_due_ns;
        }
}

/* Newest levels first, and in a level the newest file. */
static bool segment_is_newer(const struct writer_segment *a, const struct writer_segment *b)
{
        return a->level != b->level ? a->level < b->level
                                    : a->file->mapped->number > b->file->mapped->number;
}

/* Return: a file, held, or NULL. */
static struct writer_file *file_choose(struct lanemap_writer *writer, enum serve_work work)
{
        uint64_t now = lanemap_now_ns(&lanemap_clock_monotonic);
        const struct writer_segment *best = NULL;

        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t l = 0; l < writer->identity.n_lanes; l++)
                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments; s++) {
                        const struct writer_segment *segment = writer->lanes.items[l].segments[s];

                        if ((!best || segment_is_newer(segment, best)) &&
                            file_needs(writer, segment->file, work, now))
                                best = segment;
                }
        if (best)
                lanemap_engine_file_hold(best->file);
        lanemap_mutex_unlock(&writer->lanes.lock);
        return best ? best->file : NULL;
}

static void file_done(struct lanemap_writer *writer, struct writer_file *file)
{
        lanemap_mutex_lock(&writer->lanes.lock);
        lanemap_engine_file_release(writer, file);
        lanemap_mutex_unlock(&writer->lanes.lock);
        lanemap_engine_files_reap(writer);
}

/* ---- warming ---- */

/* Some of it; the rest when nothing newer wants to be warm. A page that cannot be read is not tried
 * again: the scrub, which checks the file next, logs it. */
static void file_warm(struct lanemap_writer *writer, struct writer_file *file)
{
        uint64_t at = lanemap_load_relaxed(&file->warmed_bytes);
        uint64_t n_bytes = LANEMAP_MIN(file->mapped->n_bytes - at, WARM_BYTES);
        int r;

        lanemap_engine_serve_step(writer, LANEMAP_SERVE_WARM);
        r = lanemap_lane_file_populate(file->mapped->bytes + at, n_bytes);

        lanemap_mutex_lock(&writer->lanes.lock);
        file->warmed_bytes += n_bytes;
        writer->serve.n_left_bytes -= n_bytes;
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (r < 0)
                lanemap_engine_file_doubt(writer, file);
}

/* ---- copies ---- */

static void file_copy(struct lanemap_writer *writer, struct writer_file *file)
{
        uint64_t now;
        int r = lanemap_engine_copy_make(writer, file);

        now = lanemap_now_ns(&lanemap_clock_monotonic);
        lanemap_mutex_lock(&writer->lanes.lock);
        file->maybe_copied = false;
        if (r == 0)
                file->drop_due_ns = now;
        else
                file->copy_due_ns = now + (file->copy_no_room ? ROOM_RETRY_NS : COPY_RETRY_NS);
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (r == 0)
                writer->serve.lock_due = true;
}

static void file_drop(struct lanemap_writer *writer, struct writer_file *file)
{
        lanemap_engine_original_drop(writer, file);
        lanemap_engine_serve_step(writer, LANEMAP_SERVE_DROPPED);

        lanemap_mutex_lock(&writer->lanes.lock);
        file->n_drops++;
        file->drop_due_ns = file->n_drops < N_DROPS_MAX ? lanemap_now_ns(&lanemap_clock_monotonic) +
                                                                  file->n_drops * DROP_AGAIN_NS
                                                        : 0;
        lanemap_mutex_unlock(&writer->lanes.lock);
}

/* ---- the thread ---- */

/* Return: true if something was done. */
static bool work_run(struct lanemap_writer *writer)
{
        static const struct {
                enum serve_work work;
                void (*run)(struct lanemap_writer *writer, struct writer_file *file);
        } works[] = {
                {WORK_ADOPT, file_copy},
                {WORK_WARM, file_warm},
                {WORK_DROP, file_drop},
                {WORK_COPY, file_copy},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(works); i++) {
                struct writer_file *file = file_choose(writer, works[i].work);

                if (file) {
                        lanemap_engine_progress(writer, WRITER_PART_SERVE);
                        works[i].run(writer, file);
                        lanemap_engine_idle(writer, WRITER_PART_SERVE);
                        file_done(writer, file);
                        return true;
                }
                /* Warm files are locked before copies take their time. */
                if (works[i].work == WORK_WARM && writer->serve.lock_due) {
                        writer->serve.lock_due = false;
                        lanemap_engine_memory_lock(writer);
                        return true;
                }
        }

        return false;
}

static void files_look(struct lanemap_writer *writer)
{
        uint64_t now = lanemap_now_ns(&lanemap_clock_monotonic);

        if (now - writer->serve.looked_ns < IDLE_NS / 2)
                return;
        writer->serve.looked_ns = now;
        lanemap_engine_files_look(writer);
}

void *lanemap_engine_serve_main(void *arg)
{
        struct lanemap_writer *writer = arg;

        writer->serve.n_left_bytes = warm_limit();
        writer->serve.lock_due = true;
        if (writer->serve.copy_directory)
                lanemap_engine_copies_begin(writer);
        while (!lanemap_load_acquire(&writer->workers.stopping)) {
                files_look(writer);
                if (!work_run(writer))
                        lanemap_engine_serve_sleep(writer, IDLE_NS);
        }

        return NULL;
}

/* writer->workers.stopping is set. */
void lanemap_engine_serve_stop(struct lanemap_writer *writer)
{
        if (!writer->serve.has_thread)
                return;

        lanemap_engine_serve_signal(writer);
        pthread_join(writer->serve.thread, NULL);
        writer->serve.has_thread = false;
}

void lanemap_engine_serve_deinit(struct lanemap_writer *writer)
{
        struct writer_serve *serve = &writer->serve;

        if (serve->copy_dir_fd >= 0)
                close(serve->copy_dir_fd);
        if (serve->copy_parent_fd >= 0)
                close(serve->copy_parent_fd);
        lanemap_free(serve->copy_directory);
}

/* Counts each file once, however many lanes have a section in it. */
void lanemap_engine_serve_count(struct lanemap_writer *writer, struct lanemap_writer_stats *stats)
{
        uint64_t pass = ++writer->serve.n_counts;

        for (uint32_t l = 0; l < writer->identity.n_lanes; l++)
                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments; s++) {
                        struct writer_file *file = writer->lanes.items[l].segments[s]->file;

                        if (file->counted == pass)
                                continue;
                        file->counted = pass;
                        stats->warmed_bytes += file->warmed_bytes;
                        stats->served_copies += file->copy != NULL;
                        stats->served_bytes += file->copy ? file->copy->n_bytes : 0;
                        stats->serve_no_room |= file->copy_no_room;
                }
        stats->lock_refused = writer->serve.lock_refused;
        stats->locked_bytes = writer->serve.locked_bytes;
}
