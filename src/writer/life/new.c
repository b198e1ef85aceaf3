/*
 * An engine that has nothing yet: options checked and filled in, locks and conditions made. Nothing
 * outside of the process is touched. life/open.c goes on from here; lanemap_engine_abandon() takes
 * back whatever there is, also after a failure half way.
 */
#include "writer/life/life.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <syslog.h>

#include "common/alloc.h"
#include "writer/compact/compact.h"
#include "writer/core/core.h"

#define SHARED_BYTES_MAX_DEFAULT (UINT64_C(64) << 30)

/* Shared memory is mapped to its limit at once, replay takes twice as much, a flip the same again:
 * that leaves half of what RLIMIT_AS allows to all the rest. */
static void address_space_share(struct lanemap_writer *writer)
{
        struct lanemap_writer_options *kept = &writer->options;
        struct rlimit limit;
        uint64_t share;

        if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
                return;

        share = limit.rlim_cur / 8 & ~(uint64_t)(LANEMAP_SHM_PAGE_BYTES - 1);
        if (share == 0 || share >= kept->shared_bytes_max)
                return;

        kept->shared_bytes_max = share;
        lanemap_engine_log(writer, LOG_WARNING,
                           "%s: shared memory may grow to %llu bytes: an eighth of the address "
                           "space (ulimit -v, LimitAS=)",
                           kept->name, (unsigned long long)share);
}

static int options_check(struct lanemap_writer *writer,
                         const struct lanemap_writer_options *options)
{
        struct lanemap_writer_options *kept = &writer->options;

        *kept = *options;
        if (kept->error)
                kept->error->text[0] = '\0';
        if (!lanemap_shm_name_is_valid(kept->name))
                return lanemap_engine_fail(
                        writer, -EINVAL,
                        "\"%s\" is not a name: it takes 1 to %d characters of A-Z a-z 0-9 _ -",
                        kept->name ? kept->name : "", LANEMAP_NAME_BYTES_MAX);
        if (!kept->directory || !kept->directory[0])
                return lanemap_engine_fail(writer, -EINVAL, "no data directory was given");
        if (kept->n_lanes > LANEMAP_N_LANES_MAX)
                return lanemap_engine_fail(writer, -EINVAL, "%u lanes: an index has 1 to %d",
                                           kept->n_lanes, LANEMAP_N_LANES_MAX);
        if (kept->fingerprint_bits != 0 && kept->fingerprint_bits != 64 &&
            kept->fingerprint_bits != 80 && kept->fingerprint_bits != 96)
                return lanemap_engine_fail(writer, -EINVAL,
                                           "%u fingerprint bits: an index has 64, 80 or 96",
                                           kept->fingerprint_bits);
        if (kept->appendfsync > LANEMAP_APPENDFSYNC_NO)
                return lanemap_engine_fail(writer, -EINVAL,
                                           "appendfsync is always (0), everysec (1) or no (2)");

        if (kept->segment_kind_young > LANEMAP_SEGMENT_BBHASH ||
            kept->segment_kind_bottom > LANEMAP_SEGMENT_BBHASH)
                return lanemap_engine_fail(
                        writer, -EINVAL,
                        "a segment kind is packed (1), recsplit (2) or bbhash (3)");

        if (kept->filter > LANEMAP_FILTER_ALWAYS)
                return lanemap_engine_fail(writer, -EINVAL,
                                           "a filter policy is never (1), auto (2) or always (3)");

        if (kept->shared_bytes_max == 0)
                kept->shared_bytes_max = SHARED_BYTES_MAX_DEFAULT;
        kept->shared_bytes_max =
                LANEMAP_ALIGN_UP(kept->shared_bytes_max, (uint64_t)LANEMAP_SHM_PAGE_BYTES);
        address_space_share(writer);
        if (kept->n_workers == 0)
                kept->n_workers = 1;
        return 0;
}

int lanemap_engine_new(const struct lanemap_writer_options *options,
                       struct lanemap_writer **ret_writer)
{
        struct lanemap_writer *writer;
        int r;

        if (!options || options->size != sizeof(*options))
                return -EINVAL;

        writer = lanemap_alloc_pages(sizeof(*writer));
        if (!writer)
                return -ENOMEM;

        *ret_writer = writer;
        writer->place.dir_fd = writer->place.shm_dir_fd = writer->place.store_lock_fd =
                writer->place.name_lock_fd = writer->sync.event_fd = writer->serve.copy_parent_fd =
                        writer->serve.copy_dir_fd = writer->watch.inotify_fd =
                                writer->watch.stop_fd = -1;
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(writer->shm.retired_object_fds); i++)
                writer->shm.retired_object_fds[i] = -1;
        writer->files = options->hooks && options->hooks->files ? options->hooks->files
                                                                : &lanemap_files_owned;
        writer->clock = options->hooks && options->hooks->clock ? options->hooks->clock
                                                                : &lanemap_clock_monotonic;
        if (options->hooks)
                writer->hooks = *options->hooks;
        lanemap_mutex_init(&writer->commit.flush_lock);
        lanemap_mutex_init(&writer->commit.lock);
        lanemap_mutex_init(&writer->lanes.lock);
        lanemap_mutex_init(&writer->sync.lock);
        lanemap_mutex_init(&writer->workers.lock);
        lanemap_mutex_init(&writer->requests.lock);
        lanemap_mutex_init(&writer->heart.lock);
        pthread_cond_init(&writer->requests.done, NULL);
        lanemap_engine_cond_init(&writer->pressure.wake);
        lanemap_engine_cond_init(&writer->sync.wake);
        lanemap_engine_cond_init(&writer->sync.write_wake);
        lanemap_engine_cond_init(&writer->sync.durable_wake);
        lanemap_engine_cond_init(&writer->workers.flusher_wake);
        lanemap_engine_cond_init(&writer->workers.wake);
        lanemap_engine_cond_init(&writer->workers.scrub_wake);
        lanemap_engine_cond_init(&writer->serve.wake);
        lanemap_engine_cond_init(&writer->heart.wake);
        cds_wfcq_init(&writer->requests.head, &writer->requests.tail);

        r = options_check(writer, options);
        if (r < 0)
                return r;

        lanemap_engine_executor_init(writer, writer->options.n_workers);
        writer->sync.appendfsync = writer->options.appendfsync;
        writer->identity.name = lanemap_strdup(options->name);
        writer->sync.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (!writer->identity.name)
                return -ENOMEM;
        return writer->sync.event_fd < 0 ? -errno : 0;
}
