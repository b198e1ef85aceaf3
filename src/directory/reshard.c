/* See directory/reshard.h for the order of things. */
#include "directory/reshard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"
#include "lane/file_read.h"
#include "store/manifest_write.h"
#include "store/error.h"
#include "store/lock.h"
#include "verify/mapping.h"
#include "verify/verify.h"

/* ---- what there is ---- */

static int source_check(struct lanemap_reshard *reshard, int fd, uint32_t i)
{
        const struct lanemap_verify_options options = {.files = reshard->options->files,
                                                       .dir_fd = reshard->dir_fd};
        struct lanemap_findings findings = {0};
        struct lanemap_verify_file file;
        int r;

        r = lanemap_verify_file_init(&reshard->before, i, &file);
        if (r < 0)
                return r;

        r = lanemap_verify_file_run(&options, fd, &file, &findings);
        if (r == 0 && findings.n > 0)
                r = lanemap_store_error(reshard->error, -EBADMSG,
                                        "%s: %.200s; run 'lanemap repair' first", file.name,
                                        findings.items[0].what);
        lanemap_findings_deinit(&findings);
        lanemap_verify_file_deinit(&file);
        return r;
}

static int source_map(struct lanemap_reshard *reshard, int fd,
                      struct lanemap_lane_file **ret_source)
{
        struct lanemap_lane_file *source = NULL;
        struct lanemap_segment_file header;
        struct lanemap_mapping *guard = NULL;
        uint64_t n_bytes;
        void *bytes;
        int r;

        r = lanemap_lane_file_map(fd, false, &bytes, &n_bytes);
        if (r < 0)
                return r;

        r = lanemap_mapping_new(bytes, n_bytes, &guard);
        if (r == 0)
                r = lanemap_segment_file_open(&header, bytes, n_bytes);
        source = r == 0 ? lanemap_alloc(lanemap_lane_file_bytes(&header)) : NULL;
        if (r == 0)
                r = source ? lanemap_lane_file_parse(&header, reshard->before.fingerprint_bits,
                                                     source)
                           : -ENOMEM;
        if (r < 0) {
                lanemap_mapping_free(guard);
                lanemap_free(source);
                munmap(bytes, n_bytes);
                return r;
        }

        source->guard = guard;
        *ret_source = source;
        return 0;
}

static int source_open(struct lanemap_reshard *reshard, uint32_t i)
{
        const struct lanemap_manifest_file *entry = &reshard->before.files[i];
        const struct lanemap_files *files = reshard->options->files;
        char name[LANEMAP_SEGMENT_NAME_BYTES];
        int fd, r;

        lanemap_segment_file_name(entry->number, entry->checksum, name);
        fd = files->open(files, reshard->dir_fd, name, O_RDONLY, 0);
        if (fd == -ENOENT)
                return lanemap_store_error(reshard->error, -EBADMSG,
                                           "%s is missing; run 'lanemap repair' first", name);
        if (fd < 0)
                return lanemap_store_error(reshard->error, fd, "%s: %s", name, strerror(-fd));

        r = source_check(reshard, fd, i);
        if (r == 0)
                r = source_map(reshard, fd, &reshard->sources[i]);
        files->close(files, fd);
        return r;
}

/* H4. A lane that is ahead of the others would make the next start replay into all of them what it
 * has already. */
static int lanes_check(const struct lanemap_reshard *reshard)
{
        const struct lanemap_manifest *manifest = &reshard->before;

        for (uint32_t i = 0; i < manifest->n_lanes; i++) {
                const struct lanemap_manifest_lane *lane = &manifest->lanes[i];

                if (lane->position != manifest->lanes[0].position)
                        return lanemap_store_error(reshard->error, -EINVAL,
                                                   "lane %u is as of log position %" PRIu64
                                                   ", lane 0 as of %" PRIu64
                                                   "; start and stop the writer once",
                                                   i, lane->position, manifest->lanes[0].position);
                if (lane->n_segments > LANEMAP_LANE_SEGMENTS_MAX)
                        return lanemap_store_error(reshard->error, -EPROTONOSUPPORT,
                                                   "lane %u has %u segments; this version reads %d",
                                                   i, lane->n_segments, LANEMAP_LANE_SEGMENTS_MAX);
        }

        return 0;
}

/* Return: 0, LANEMAP_RESHARD_E_SAME. */
static int before_load(struct lanemap_reshard *reshard)
{
        const struct lanemap_files *files = reshard->options->files;
        struct lanemap_error error = {.text = ""};
        int r;

        r = lanemap_manifest_read(files, reshard->dir_fd, &reshard->before, &error);
        if (r < 0)
                return lanemap_store_error(reshard->error, r, "%s: %.400s", LANEMAP_MANIFEST_NAME,
                                           error.text[0] ? error.text : strerror(-r));

        reshard->report->n_lanes_before = reshard->before.n_lanes;
        if (reshard->before.n_lanes == reshard->options->n_lanes)
                return LANEMAP_RESHARD_E_SAME;

        r = lanes_check(reshard);
        /* A writer that was killed may have renamed it and not synced the directory. */
        if (r == 0)
                r = files->sync_directory(files, reshard->dir_fd);
        if (r < 0)
                return r;

        reshard->sources =
                lanemap_alloc_zero((reshard->before.n_files + 1) * sizeof(*reshard->sources));
        if (!reshard->sources)
                return -ENOMEM;
        for (uint32_t i = 0; i < reshard->before.n_files && r == 0; i++)
                r = source_open(reshard, i);
        return r;
}

/* ---- what there is to be ---- */

/* Everything but lanes and files stays. */
static int after_init(struct lanemap_reshard *reshard)
{
        uint32_t n_lanes = reshard->options->n_lanes;
        struct lanemap_manifest made;
        int r;

        r = lanemap_manifest_init(n_lanes, &made);
        if (r < 0)
                return r;

        reshard->after = reshard->before;
        reshard->after.generation++;
        reshard->after.n_lanes = n_lanes;
        reshard->after.lanes = made.lanes;
        reshard->after.files = made.files;
        reshard->after.n_files = made.n_files;
        for (uint32_t i = 0; i < n_lanes; i++)
                reshard->after.lanes[i].position = reshard->before.lanes[0].position;

        reshard->slots_before = lanemap_alloc(LANEMAP_N_SLOTS * sizeof(*reshard->slots_before));
        reshard->slots_after = lanemap_alloc(LANEMAP_N_SLOTS * sizeof(*reshard->slots_after));
        if (!reshard->slots_before || !reshard->slots_after)
                return -ENOMEM;

        lanemap_slot_table_init(reshard->slots_before, reshard->before.n_lanes);
        lanemap_slot_table_init(reshard->slots_after, n_lanes);
        return 0;
}

/* H3 */
static int counts_check(struct lanemap_reshard *reshard)
{
        struct lanemap_reshard_report *report = reshard->report;
        uint64_t n_keys = 0, n_pairs = 0;

        for (uint32_t i = 0; i < reshard->before.n_lanes; i++) {
                n_keys += reshard->before.lanes[i].n_keys;
                n_pairs += reshard->before.lanes[i].n_pairs;
        }
        for (uint32_t i = 0; i < reshard->after.n_lanes; i++) {
                report->n_keys += reshard->after.lanes[i].n_keys;
                report->n_pairs += reshard->after.lanes[i].n_pairs;
        }
        if (n_keys == report->n_keys && n_pairs == report->n_pairs)
                return 0;

        return lanemap_store_error(reshard->error, -EBADMSG,
                                   "the segments hold %" PRIu64 " keys and %" PRIu64
                                   " pairs, and the manifest says %" PRIu64 " and %" PRIu64
                                   "; run 'lanemap repair' first",
                                   report->n_keys, report->n_pairs, n_keys, n_pairs);
}

/* UM2 in verify/mapping.h: what was built is believed if every page of the sources was read. */
static int sources_check(struct lanemap_reshard *reshard)
{
        for (uint32_t i = 0; i < reshard->before.n_files; i++) {
                const struct lanemap_manifest_file *entry = &reshard->before.files[i];
                char name[LANEMAP_SEGMENT_NAME_BYTES];
                uint64_t offset;

                if (!lanemap_mapping_is_hit(reshard->sources[i]->guard, &offset))
                        continue;
                lanemap_segment_file_name(entry->number, entry->checksum, name);
                return lanemap_store_error(reshard->error, -EIO,
                                           "%s, offset %" PRIu64
                                           ": a page cannot be read (media error?); run 'lanemap "
                                           "repair' first",
                                           name, offset);
        }

        return 0;
}

/* Unlinks files that no manifest names. The next start unlinks those that fail here. */
static void after_unlink(struct lanemap_reshard *reshard)
{
        const struct lanemap_files *files = reshard->options->files;
        char name[LANEMAP_SEGMENT_NAME_BYTES];

        for (uint32_t i = 0; i < reshard->after.n_files; i++) {
                const struct lanemap_manifest_file *file = &reshard->after.files[i];

                lanemap_segment_file_name(file->number, file->checksum, name);
                (void)files->unlink(files, reshard->dir_fd, name);
        }
}

static int reshard_run(struct lanemap_reshard *reshard)
{
        const struct lanemap_files *files = reshard->options->files;
        int r;

        r = before_load(reshard);
        if (r == 0)
                r = after_init(reshard);
        if (r != 0)
                return r;

        r = lanemap_reshard_build(reshard);
        if (sources_check(reshard) < 0)
                r = -EIO;
        if (r == 0)
                r = counts_check(reshard);
        if (r == 0)
                r = files->sync_directory(files, reshard->dir_fd);
        if (r < 0) {
                after_unlink(reshard);
                return r;
        }

        r = lanemap_manifest_write(files, reshard->dir_fd, &reshard->after);
        return r < 0 ? lanemap_store_error(reshard->error, r,
                                           "%s cannot be written: %s; either number of lanes may "
                                           "be in force: run it again",
                                           LANEMAP_MANIFEST_NAME, strerror(-r))
                     : 0;
}

static void reshard_deinit(struct lanemap_reshard *reshard)
{
        for (uint32_t i = 0; i < reshard->before.n_files && reshard->sources; i++)
                if (reshard->sources[i]) {
                        lanemap_mapping_free(reshard->sources[i]->guard);
                        munmap((void *)(uintptr_t)reshard->sources[i]->bytes,
                               reshard->sources[i]->n_bytes);
                        lanemap_free(reshard->sources[i]);
                }
        lanemap_free(reshard->sources);
        lanemap_free(reshard->slots_before);
        lanemap_free(reshard->slots_after);
        lanemap_manifest_deinit(&reshard->before);
        lanemap_manifest_deinit(&reshard->after);
}

int lanemap_reshard_directory(const struct lanemap_reshard_options *options,
                              struct lanemap_reshard_report *ret_report,
                              struct lanemap_error *error)
{
        struct lanemap_error why = {.text = ""};
        struct lanemap_reshard reshard = {.options = options, .report = ret_report, .error = &why};
        int lock_fd = -1, r;

        *ret_report = (struct lanemap_reshard_report){0};
        if (options->n_lanes < 1 || options->n_lanes > LANEMAP_N_LANES_MAX)
                return lanemap_store_error(error, -EINVAL, "%u lanes: 1 to %d are possible",
                                           options->n_lanes, LANEMAP_N_LANES_MAX);

        r = lanemap_store_open_directory(options->directory, false, &reshard.dir_fd, error);
        if (r < 0)
                return r;

        r = lanemap_store_lock(options->files, reshard.dir_fd, LANEMAP_STORE_LOCK_NAME, &lock_fd,
                               &why);
        if (r == -EBUSY)
                lanemap_store_error(&why, r, "a writer has this data directory; stop it first");
        if (r == 0)
                r = reshard_run(&reshard);
        if (r < 0)
                lanemap_store_error(error, r, "%s", why.text[0] ? why.text : strerror(-r));

        reshard_deinit(&reshard);
        lanemap_store_unlock(options->files, lock_fd);
        close(reshard.dir_fd);
        return r;
}
