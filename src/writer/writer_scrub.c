/*
 * Looking for damage beside the writer's work: the scrub reads each segment file soon after it was
 * written or found at open, and again once a day, at a limited rate, past the page cache where the
 * file system lets it; a full pass is made when somebody asks for it; and a flush or merge checks
 * the checksum of what it reads, so that damaged bytes never get a new one.
 *
 *   D1  A file that was found damaged is an input of nothing. Its lanes go on: what is newer is
 *       merged above it, lookups go through it, and answer -EBADMSG where they meet bad bytes.
 *   D2  It is told once, in the log, and `degraded` stays up while a lane names the file.
 *   D3  When its last name goes (a clear), the file moves to quarantine/ instead of being unlinked.
 *
 * No engine lock is held over I/O, and nothing is held back for it: the scrub reads through a
 * descriptor of its own, so that a file that goes meanwhile goes.
 */
#include "writer/writer_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "common/alloc.h"
#include "writer/writer_repair.h"
#include "writer/writer_verify.h"

#define RATE_DEFAULT (UINT64_C(8) << 20)
#define AGAIN_NS     (UINT64_C(24) * 3600 * 1000 * 1000 * 1000)
#define RETRY_NS     (UINT64_C(60) * 1000 * 1000 * 1000)
#define IDLE_NS      (UINT64_C(1000) * 1000 * 1000)

/* A merge believes a file that was sound so recently. */
#define FRESH_NS (UINT64_C(600) * 1000 * 1000 * 1000)

/* ---- what is known, under lock ---- */

static struct writer_file *file_find(struct lanemap_writer *writer, uint64_t number)
{
        for (uint32_t l = 0; l < writer->n_lanes; l++)
                for (uint32_t s = 0; s < writer->lanes[l].n_segments; s++)
                        if (writer->lanes[l].segments[s]->file->mapped->number == number)
                                return writer->lanes[l].segments[s]->file;

        return NULL;
}

void lanemap_writer_degraded_publish(struct lanemap_writer *writer)
{
        lanemap_store_relaxed(&writer->object->data->degraded,
                              (uint32_t)(writer->n_damaged_files + writer->n_other_findings > 0));
}

static void finding_log(struct lanemap_writer *writer, const struct lanemap_finding *finding)
{
        char offset[40] = "", lane[24] = "";

        if (finding->offset != LANEMAP_FINDING_NO_OFFSET)
                snprintf(offset, sizeof(offset), ", offset %" PRIu64, finding->offset);
        if (finding->lane != LANEMAP_FINDING_NO_LANE)
                snprintf(lane, sizeof(lane), ", lane %u", finding->lane);
        lanemap_writer_log(
                writer, LOG_CRIT,
                "%s/%s%s%s: %s; up to %" PRIu64
                " keys are affected; everything else goes on; stop the writer and run lanemap "
                "repair",
                writer->directory, finding->file, offset, lane, finding->what, finding->n_keys);
}

/* D2. Return: whether it was news. */
static bool file_mark(struct lanemap_writer *writer, uint64_t number)
{
        struct writer_file *file;
        bool news = false;

        pthread_mutex_lock(&writer->lock);
        file = file_find(writer, number);
        if (file && !file->damaged) {
                file->damaged = news = true;
                writer->n_damaged_files++;
                lanemap_writer_degraded_publish(writer);
        }
        pthread_mutex_unlock(&writer->lock);
        return news;
}

/* The findings about one file: marks it, and tells of them if it was not marked before. */
static void findings_take(struct lanemap_writer *writer, const struct lanemap_verify_file *file,
                          const struct lanemap_findings *findings)
{
        if (findings->n == 0 || !file_mark(writer, file->number))
                return;

        for (size_t i = 0; i < findings->n; i++)
                finding_log(writer, &findings->items[i]);
        lanemap_writer_event_notify(writer);
}

/* What the engine knows of a file, as the manifest would say it. */
static int verify_file_of(struct lanemap_writer *writer, const struct writer_file *file,
                          struct lanemap_verify_file *ret_file)
{
        struct lanemap_verify_file verify = {
                .number = file->mapped->number,
                .n_bytes = file->mapped->n_bytes,
                .n_sections = file->mapped->n_sections,
                .fingerprint_bits = writer->hash_key.fingerprint_bits,
                .uses = lanemap_alloc((file->mapped->n_sections + 1) * sizeof(*verify.uses)),
        };

        if (!verify.uses)
                return -ENOMEM;

        memcpy(verify.checksum, file->checksum, sizeof(verify.checksum));
        memcpy(verify.uuid, writer->uuid, sizeof(verify.uuid));
        memcpy(verify.name, file->name, sizeof(verify.name));
        for (uint32_t l = 0; l < writer->n_lanes; l++) {
                const struct writer_lane *lane = &writer->lanes[l];

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

/* ---- before a flush or a merge reads ---- */

static bool file_is_fresh(struct lanemap_writer *writer, const struct writer_file *file)
{
        return file->sound_ns && lanemap_now_ns(writer->clock) - file->sound_ns < FRESH_NS;
}

/* The file is mapped for as long as the job has its segments. Return: whether it is sound. */
static bool input_is_sound(struct lanemap_writer *writer, struct writer_file *file)
{
        const struct lanemap_lane_file *served = lanemap_writer_file_served(file);
        unsigned char checksum[LANEMAP_SEGMENT_CHECKSUM_BYTES];
        struct lanemap_finding finding = {
                .offset = LANEMAP_FINDING_NO_OFFSET,
                .lane = LANEMAP_FINDING_NO_LANE,
                .what = "the checksum is wrong; found before a merge",
        };

        if (lanemap_verify_checksum(served->bytes, served->n_bytes, checksum) == 0 &&
            memcmp(checksum, file->checksum, sizeof(checksum)) == 0) {
                pthread_mutex_lock(&writer->lock);
                file->sound_ns = lanemap_now_ns(writer->clock);
                pthread_mutex_unlock(&writer->lock);
                return true;
        }

        snprintf(finding.file, sizeof(finding.file), "%s", file->name);
        for (uint32_t i = 0; i < file->mapped->n_sections; i++)
                finding.n_keys += file->mapped->sections[i].n_keys;
        if (file_mark(writer, file->mapped->number))
                finding_log(writer, &finding);
        return false;
}

int lanemap_writer_inputs_check(struct lanemap_writer *writer,
                                const struct writer_build_lane *lanes, uint32_t n_lanes,
                                bool even_fresh)
{
        struct writer_file *last = NULL;
        int r = 0;

        for (uint32_t l = 0; l < n_lanes; l++)
                for (uint32_t s = 0; s < lanes[l].n_segments; s++) {
                        struct writer_file *file = lanes[l].segments[s]->file;
                        bool fresh;

                        if (file == last)
                                continue;
                        pthread_mutex_lock(&writer->lock);
                        fresh = file_is_fresh(writer, file) && !even_fresh;
                        pthread_mutex_unlock(&writer->lock);
                        if (!fresh && !input_is_sound(writer, file))
                                r = WRITER_E_DAMAGED;
                        last = file;
                }

        return r;
}

int lanemap_writer_inputs_failed(struct lanemap_writer *writer,
                                 const struct writer_build_lane *lane)
{
        if (lanemap_writer_inputs_check(writer, lane, 1, true) != 0)
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
                if (file_mark(writer, file->mapped->number))
                        finding_log(writer, &finding);
        }

        return lane->n_segments > 0 ? WRITER_E_DAMAGED : -EBADMSG;
}

/* ---- a damaged file's last name is gone ---- */

int lanemap_writer_file_quarantine(struct lanemap_writer *writer, const char *name)
{
        char aside[sizeof(LANEMAP_QUARANTINE_NAME) + LANEMAP_SEGMENT_NAME_BYTES];
        int r;

        r = writer->files->make_directory(writer->files, writer->dir_fd, LANEMAP_QUARANTINE_NAME,
                                          0750);
        /* Its name is durable before a file's only name is in it, whoever made it. */
        if (r == 0 || r == -EEXIST)
                r = writer->files->sync_directory(writer->files, writer->dir_fd);
        if (r < 0)
                return r;

        snprintf(aside, sizeof(aside), LANEMAP_QUARANTINE_NAME "/%s", name);
        r = writer->files->rename(writer->files, writer->dir_fd, name, aside);
        if (r == 0)
                lanemap_writer_log(writer, LOG_WARNING,
                                   "%s/%s is damaged and no longer used; it is kept as %s",
                                   writer->directory, name, aside);
        return r;
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

static void scrub_wait(struct lanemap_writer *writer, uint64_t ns)
{
        pthread_mutex_lock(&writer->work_lock);
        if (!lanemap_load_acquire(&writer->stopping))
                lanemap_writer_cond_wait_ns(&writer->scrub_wake, &writer->work_lock, ns);
        pthread_mutex_unlock(&writer->work_lock);
}

void lanemap_writer_scrub_signal(struct lanemap_writer *writer)
{
        pthread_mutex_lock(&writer->work_lock);
        pthread_cond_signal(&writer->scrub_wake);
        pthread_mutex_unlock(&writer->work_lock);
}

static bool scrub_file_lives(struct scrub *scrub)
{
        bool lives;

        pthread_mutex_lock(&scrub->writer->lock);
        lives = file_find(scrub->writer, scrub->number) != NULL;
        pthread_mutex_unlock(&scrub->writer->lock);
        return lives;
}

/* Waits until n_bytes may be read. The pace is real time's, whatever the engine's clock says. */
static int scrub_pace(void *arg, uint64_t n_bytes)
{
        struct scrub *scrub = arg;
        uint64_t now = lanemap_now_ns(&lanemap_clock_monotonic);

        for (; now < scrub->next_ns; now = lanemap_now_ns(&lanemap_clock_monotonic)) {
                if (lanemap_load_acquire(&scrub->writer->stopping))
                        return -ECANCELED;
                scrub_wait(scrub->writer, LANEMAP_MIN(scrub->next_ns - now, IDLE_NS));
        }
        if (lanemap_load_acquire(&scrub->writer->stopping))
                return -ECANCELED;
        if (now - scrub->looked_ns > IDLE_NS) {
                scrub->looked_ns = now;
                if (!scrub_file_lives(scrub))
                        return -ESTALE;
        }

        scrub->next_ns = LANEMAP_MAX(now, scrub->next_ns) +
                         (uint64_t)((double)n_bytes * 1e9 / (double)scrub->rate);
        scrub->n_bytes += n_bytes;
        return 0;
}

static bool scrub_is_due(const struct writer_file *file, uint64_t now)
{
        return !file->damaged && now >= file->scrub_due_ns;
}

/* The file that has been due for longest. Return: 0, 1 there is none, -ENOMEM. */
static int scrub_choose(struct lanemap_writer *writer, struct lanemap_verify_file *ret_file)
{
        uint64_t now = lanemap_now_ns(writer->clock);
        struct writer_file *chosen = NULL;
        int r = 1;

        pthread_mutex_lock(&writer->lock);
        for (uint32_t l = 0; l < writer->n_lanes; l++)
                for (uint32_t s = 0; s < writer->lanes[l].n_segments; s++) {
                        struct writer_file *file = writer->lanes[l].segments[s]->file;

                        if (scrub_is_due(file, now) &&
                            (!chosen || file->scrub_due_ns < chosen->scrub_due_ns))
                                chosen = file;
                }
        if (chosen)
                r = verify_file_of(writer, chosen, ret_file);
        pthread_mutex_unlock(&writer->lock);
        return r;
}

/* Opened by the real file layer: what a test counts and fails is the engine's own work. */
static int scrub_read(struct scrub *scrub, const struct lanemap_verify_file *file,
                      struct lanemap_findings *findings)
{
        struct lanemap_verify_options options = {
                .files = &lanemap_files_posix,
                .dir_fd = scrub->writer->dir_fd,
                .from_disk = true,
                .chunk_bytes = UINT64_C(256) << 10,
                .pace = scrub_pace,
                .pace_arg = scrub,
        };
        int fd, r;

        while (options.chunk_bytes > 4096 && options.chunk_bytes > scrub->rate / 8)
                options.chunk_bytes /= 2;

        fd = openat(scrub->writer->dir_fd, file->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0 && errno == ENOENT && scrub_file_lives(scrub))
                return lanemap_findings_add(findings, file->name, LANEMAP_FINDING_NO_OFFSET,
                                            file->n_uses == 1 ? file->uses[0].lane
                                                              : LANEMAP_FINDING_NO_LANE,
                                            lanemap_verify_file_keys(file), "the file is missing");
        if (fd < 0)
                return -errno;

        r = lanemap_verify_file_run(&options, fd, file, findings);
        close(fd);
        return r;
}

static void scrub_file(struct scrub *scrub, const struct lanemap_verify_file *file)
{
        struct lanemap_writer *writer = scrub->writer;
        struct lanemap_findings findings = {0};
        struct writer_file *known;
        uint64_t now;
        int r;

        scrub->number = file->number;
        scrub->looked_ns = lanemap_now_ns(&lanemap_clock_monotonic);
        scrub->n_bytes = 0;
        r = scrub_read(scrub, file, &findings);
        findings_take(writer, file, &findings);

        now = lanemap_now_ns(writer->clock);
        pthread_mutex_lock(&writer->lock);
        known = file_find(writer, file->number);
        if (known && r == 0 && findings.n == 0)
                known->sound_ns = now;
        if (known)
                known->scrub_due_ns = now + (r == 0 ? AGAIN_NS : RETRY_NS);
        writer->stats.scrubbed_files += r == 0;
        writer->stats.scrubbed_bytes += scrub->n_bytes;
        pthread_mutex_unlock(&writer->lock);
        lanemap_findings_deinit(&findings);
}

void *lanemap_writer_scrub_main(void *arg)
{
        struct lanemap_writer *writer = arg;
        uint64_t rate = writer->options.scrub_bytes_per_second;
        struct scrub scrub = {.writer = writer, .rate = rate ? rate : RATE_DEFAULT};
        struct lanemap_verify_file file;

        while (!lanemap_load_acquire(&writer->stopping)) {
                if (scrub_choose(writer, &file) != 0) {
                        scrub_wait(writer, IDLE_NS);
                        continue;
                }
                scrub_file(&scrub, &file);
                lanemap_verify_file_deinit(&file);
                lanemap_alloc_give_back();
        }

        return NULL;
}

/* ---- a full pass, for somebody who asks ---- */

/* Marks what is named, tells of the rest; then everything else in use is known to be sound. */
static void pass_take(struct lanemap_writer *writer, const struct lanemap_findings *findings)
{
        uint64_t n_other = 0, before = UINT64_MAX;

        for (size_t i = 0; i < findings->n; i++) {
                const struct lanemap_finding *finding = &findings->items[i];
                uint64_t number, start;

                if (lanemap_segment_file_name_parse(finding->file, &number, &start) < 0) {
                        n_other++;
                        finding_log(writer, finding);
                        continue;
                }
                /* One file's findings come one behind the other. */
                if (file_mark(writer, number) || number == before) {
                        before = number;
                        finding_log(writer, finding);
                }
        }

        pthread_mutex_lock(&writer->lock);
        writer->n_other_findings = n_other;
        lanemap_writer_degraded_publish(writer);
        pthread_mutex_unlock(&writer->lock);
}

int lanemap_writer_verify(struct lanemap_writer *writer, struct lanemap_finding **ret_findings,
                          size_t *ret_n_findings)
{
        struct lanemap_verify_report report;
        int r;

        r = lanemap_verify_directory(&lanemap_files_posix, writer->dir_fd, &report, NULL);
        if (r < 0) {
                lanemap_findings_deinit(&report.findings);
                return r;
        }

        pass_take(writer, &report.findings);
        *ret_findings = report.findings.items;
        *ret_n_findings = report.findings.n;
        return 0;
}

void lanemap_writer_findings_free(struct lanemap_finding *findings)
{
        lanemap_free(findings);
}
