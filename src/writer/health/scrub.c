/*
 * Looking for damage while the writer works: the scrub reads each segment file soon after it was
 * written or found at open, and again once a day, at a limited rate, past the page cache where the
 * file system lets it; a full pass is made when somebody asks for it. The states of a damaged file
 * are in health/damage.h (D1 to D4).
 *
 * No engine lock is held over I/O, and nothing is held back for it: the scrub reads through a
 * descriptor of its own, so that a file that goes meanwhile goes.
 */
#include "writer/health/damage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "writer/core/core.h"
#include "writer/health/health.h"

#define RATE_DEFAULT (UINT64_C(8) << 20)
#define AGAIN_NS     (UINT64_C(24) * 3600 * 1000 * 1000 * 1000)
#define RETRY_NS     (UINT64_C(60) * 1000 * 1000 * 1000)
#define IDLE_NS      (UINT64_C(1000) * 1000 * 1000)

/* The manifest's description of a file, from the engine's state. */
static int verify_file_of(struct lanemap_writer *writer, const struct writer_file *file,
                          struct lanemap_verify_file *ret_file)
{
        struct lanemap_verify_file verify = {
                .number = file->mapped->number,
                .n_bytes = file->mapped->n_bytes,
                .n_sections = file->mapped->n_sections,
                .fingerprint_bits = writer->identity.hash_key.fingerprint_bits,
                .uses = lanemap_alloc((file->mapped->n_sections + 1) * sizeof(*verify.uses)),
        };

        if (!verify.uses)
                return -ENOMEM;

        memcpy(verify.checksum, file->checksum, sizeof(verify.checksum));
        memcpy(verify.uuid, writer->identity.uuid, sizeof(verify.uuid));
        memcpy(verify.name, file->name, sizeof(verify.name));
        for (uint32_t l = 0; l < writer->identity.n_lanes; l++) {
                const struct writer_lane *lane = &writer->lanes.items[l];

                for (uint32_t s = 0; s < lane->n_segments; s++) {
                        const struct writer_segment *segment = lane->segments[s];

                        if (segment->file != file || verify.n_uses == verify.n_sections)
                                continue;
                        verify.uses[verify.n_uses++] = (struct lanemap_verify_use){
                                .lane = l,
                                .section = segment->section,
                                .n_keys = segment->segment->n_keys,
                                .n_pairs = segment->n_pairs,
                        };
                }
        }

        *ret_file = verify;
        return 0;
}

/* ---- the scrub ---- */

struct scrub {
        struct lanemap_writer *writer;
        uint64_t number; /* of the file at hand */
        uint64_t rate;
        uint64_t next_ns;   /* when the next bytes may be read */
        uint64_t looked_ns; /* when the file was last seen to be in use */
        uint64_t n_bytes;
};

static bool scrub_file_lives(struct scrub *scrub)
{
        bool lives;

        lanemap_mutex_lock(&scrub->writer->lanes.lock);
        lives = lanemap_engine_file_find(scrub->writer, scrub->number) != NULL;
        lanemap_mutex_unlock(&scrub->writer->lanes.lock);
        return lives;
}

/* Waits until n_bytes may be read. The pace is real time's, whatever the engine's clock says. */
static int scrub_pace(void *arg, uint64_t n_bytes)
{
        struct scrub *scrub = arg;
        uint64_t now = lanemap_now_ns(&lanemap_clock_monotonic);

        lanemap_engine_idle(scrub->writer, WRITER_PART_SCRUB);
        for (; now < scrub->next_ns; now = lanemap_now_ns(&lanemap_clock_monotonic)) {
                if (lanemap_load_acquire(&scrub->writer->workers.stopping))
                        return -ECANCELED;
                lanemap_engine_scrub_sleep(scrub->writer,
                                           LANEMAP_MIN(scrub->next_ns - now, IDLE_NS));
        }
        if (lanemap_load_acquire(&scrub->writer->workers.stopping))
                return -ECANCELED;
        if (now - scrub->looked_ns > IDLE_NS) {
                scrub->looked_ns = now;
                if (!scrub_file_lives(scrub))
                        return -ESTALE;
        }

        scrub->next_ns = LANEMAP_MAX(now, scrub->next_ns) +
                         (uint64_t)((double)n_bytes * 1e9 / (double)scrub->rate);
        scrub->n_bytes += n_bytes;
        lanemap_engine_progress(scrub->writer, WRITER_PART_SCRUB);
        return 0;
}

static bool scrub_is_due(const struct writer_file *file, uint64_t now)
{
        return now >= file->scrub_due_ns;
}

/* The file that has been due for longest. Return: 0, 1 there is none, -ENOMEM. */
static int scrub_choose(struct lanemap_writer *writer, struct lanemap_verify_file *ret_file)
{
        uint64_t now = lanemap_now_ns(writer->clock);
        struct writer_file *chosen = NULL;
        int r = 1;

        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t l = 0; l < writer->identity.n_lanes; l++)
                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments; s++) {
                        struct writer_file *file = writer->lanes.items[l].segments[s]->file;

                        if (scrub_is_due(file, now) &&
                            (!chosen || file->scrub_due_ns < chosen->scrub_due_ns))
                                chosen = file;
                }
        if (chosen)
                r = verify_file_of(writer, chosen, ret_file);
        lanemap_mutex_unlock(&writer->lanes.lock);
        return r;
}

/* Opened by the real file layer: what a test counts and fails is the engine's own work. */
static int scrub_read(struct scrub *scrub, const struct lanemap_verify_file *file, bool from_disk,
                      struct lanemap_findings *findings)
{
        struct lanemap_verify_options options = {
                .files = &lanemap_files_posix,
                .dir_fd = scrub->writer->place.dir_fd,
                .from_disk = from_disk,
                .chunk_bytes = UINT64_C(256) << 10,
                .pace = scrub_pace,
                .pace_arg = scrub,
        };
        int fd, r;

        while (options.chunk_bytes > 4096 && options.chunk_bytes > scrub->rate / 8)
                options.chunk_bytes /= 2;

        fd = openat(scrub->writer->place.dir_fd, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && errno == ENOENT && scrub_file_lives(scrub))
                return lanemap_findings_add(findings, file->name, LANEMAP_FINDING_NO_OFFSET,
                                            file->n_uses == 1 ? file->uses[0].lane
                                                              : LANEMAP_FINDING_NO_LANE,
                                            lanemap_verify_file_keys(file), "the file is missing");
        if (fd < 0)
                return -errno;

        r = lanemap_verify_file_run(&options, fd, file, findings);
        lanemap_engine_idle(scrub->writer, WRITER_PART_SCRUB);
        close(fd);
        return r;
}

/* The findings about one file: marks it, and logs them if it was not marked before. */
static void findings_take(struct lanemap_writer *writer, const struct lanemap_verify_file *file,
                          const struct lanemap_findings *findings)
{
        if (findings->n == 0 || !lanemap_engine_file_mark(writer, file->number))
                return;

        for (size_t i = 0; i < findings->n; i++)
                lanemap_engine_finding_log(writer, &findings->items[i]);
        lanemap_engine_event_notify(writer);
}

/* Return: true if the file is marked as damaged. ret_n_marked: how often it was found to be. */
static bool file_is_marked(struct scrub *scrub, uint32_t *ret_n_marked)
{
        const struct writer_file *file;
        bool marked;

        lanemap_mutex_lock(&scrub->writer->lanes.lock);
        file = lanemap_engine_file_find(scrub->writer, scrub->number);
        marked = file && file->damaged;
        *ret_n_marked = file ? file->n_marked : 0;
        lanemap_mutex_unlock(&scrub->writer->lanes.lock);
        return marked;
}

/* Reads a whole file, marks it or takes the mark back. Return: 0 it was read. */
static int scrub_look(struct scrub *scrub, const struct lanemap_verify_file *file,
                      struct lanemap_findings *findings)
{
        uint32_t n_marked;
        bool marked;
        int r;

        scrub->number = file->number;
        scrub->looked_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        scrub->n_bytes = 0;
        marked = file_is_marked(scrub, &n_marked);
        r = scrub_read(scrub, file, true, findings);
        /* Lookups and merges read what the page cache has. */
        if (r == 0 && marked && findings->n == 0)
                r = scrub_read(scrub, file, false, findings);
        findings_take(scrub->writer, file, findings);
        if (r == 0 && marked && findings->n == 0)
                lanemap_engine_file_unmark(scrub->writer, file->number, n_marked);

        return r;
}

static uint64_t again_ns(const struct writer_file *file, int r)
{
        if (r != 0)
                return RETRY_NS;
        return file->damaged ? LANEMAP_DAMAGE_AGAIN_NS : AGAIN_NS;
}

static void scrub_file(struct scrub *scrub, const struct lanemap_verify_file *file)
{
        struct lanemap_writer *writer = scrub->writer;
        struct lanemap_findings findings = {0};
        struct writer_file *known;
        uint64_t now;
        int r;

        r = scrub_look(scrub, file, &findings);
        now = lanemap_now_ns(writer->clock);
        lanemap_mutex_lock(&writer->lanes.lock);
        known = lanemap_engine_file_find(writer, file->number);
        if (known && r == 0 && findings.n == 0 && !known->damaged)
                known->sound_ns = now;
        if (known)
                known->scrub_due_ns = now + again_ns(known, r);
        writer->lanes.stats.scrubbed_files += r == 0;
        writer->lanes.stats.scrubbed_bytes += scrub->n_bytes;
        lanemap_mutex_unlock(&writer->lanes.lock);
        lanemap_findings_deinit(&findings);
}

void *lanemap_engine_scrub_main(void *arg)
{
        struct lanemap_writer *writer = arg;
        uint64_t rate = writer->options.scrub_bytes_per_second;
        struct scrub scrub = {.writer = writer, .rate = rate ? rate : RATE_DEFAULT};
        struct lanemap_verify_file file;

        while (!lanemap_load_acquire(&writer->workers.stopping)) {
                if (scrub_choose(writer, &file) != 0) {
                        lanemap_engine_scrub_sleep(writer, IDLE_NS);
                        continue;
                }
                scrub_file(&scrub, &file);
                lanemap_verify_file_deinit(&file);
                lanemap_alloc_give_back();
        }

        return NULL;
}

/* ---- a full pass, for somebody who asks ---- */

/* Marks the files that are named, logs the rest. */
static void pass_take(struct lanemap_writer *writer, const struct lanemap_findings *findings)
{
        uint64_t n_other = 0, before = UINT64_MAX;

        for (size_t i = 0; i < findings->n; i++) {
                const struct lanemap_finding *finding = &findings->items[i];
                uint64_t number, start;

                if (lanemap_segment_file_name_parse(finding->file, &number, &start) < 0) {
                        n_other++;
                        lanemap_engine_finding_log(writer, finding);
                        continue;
                }
                /* The findings about one file are adjacent. */
                if (lanemap_engine_file_mark(writer, number) || number == before) {
                        before = number;
                        lanemap_engine_finding_log(writer, finding);
                }
        }

        lanemap_mutex_lock(&writer->lanes.lock);
        writer->segments.n_other_findings = n_other;
        lanemap_engine_degraded_publish(writer);
        lanemap_mutex_unlock(&writer->lanes.lock);
}

static bool findings_name(const struct lanemap_findings *findings, const char *name)
{
        for (size_t i = 0; i < findings->n; i++)
                if (strcmp(findings->items[i].file, name) == 0)
                        return true;

        return false;
}

/* Under lanes.lock. The damaged file with the next larger number. Return: as scrub_choose(). */
static int marked_next(struct lanemap_writer *writer, uint64_t number,
                       struct lanemap_verify_file *ret_file)
{
        const struct writer_file *next = NULL;

        for (uint32_t l = 0; l < writer->identity.n_lanes; l++)
                for (uint32_t s = 0; s < writer->lanes.items[l].n_segments; s++) {
                        const struct writer_file *file = writer->lanes.items[l].segments[s]->file;

                        if (file->damaged && file->mapped->number > number &&
                            (!next || file->mapped->number < next->mapped->number))
                                next = file;
                }

        return next ? verify_file_of(writer, next, ret_file) : 1;
}

/* Files that are marked, and that the pass has nothing to say of (D4). */
static void pass_reprieve(struct lanemap_writer *writer, const struct lanemap_findings *findings)
{
        struct scrub scrub = {.writer = writer, .rate = UINT64_MAX};
        uint64_t number = 0;

        for (;;) {
                struct lanemap_findings own = {0};
                struct lanemap_verify_file file;
                int r;

                lanemap_mutex_lock(&writer->lanes.lock);
                r = marked_next(writer, number, &file);
                lanemap_mutex_unlock(&writer->lanes.lock);
                if (r != 0)
                        return;

                number = file.number;
                if (!findings_name(findings, file.name))
                        (void)scrub_look(&scrub, &file, &own);
                lanemap_findings_deinit(&own);
                lanemap_verify_file_deinit(&file);
        }
}

int lanemap_writer_verify(struct lanemap_writer *writer, struct lanemap_finding **ret_findings,
                          size_t *ret_n_findings)
{
        struct lanemap_verify_report report;
        int r;

        r = lanemap_verify_directory(&lanemap_files_posix, writer->place.dir_fd, &report, NULL);
        if (r < 0) {
                lanemap_findings_deinit(&report.findings);
                return r;
        }

        pass_take(writer, &report.findings);
        pass_reprieve(writer, &report.findings);
        *ret_findings = report.findings.items;
        *ret_n_findings = report.findings.n;
        return 0;
}

void lanemap_writer_findings_free(struct lanemap_finding *findings)
{
        lanemap_free(findings);
}
