/*
 * The flusher thread: it serves requests, flushes when a flush is due, settles quiet lanes, gives
 * shared memory back, and makes the spare object.
 */
#include "writer/life/life.h"

#include <string.h>
#include <syslog.h>

#include "common/alloc.h"
#include "writer/apply/apply.h"
#include "writer/compact/compact.h"
#include "writer/core/core.h"

/* After a failure the flusher tries again this much later. */
#define RETRY_NS (UINT64_C(200) * 1000 * 1000)

/* A lane without a write for so long is settled into one segment. */
#define SETTLE_NS (UINT64_C(10) * 1000 * 1000 * 1000)

/* A log that has grown far past one file is pinned by overlays that nobody needed to flush. */
static bool log_wants_flush(struct lanemap_writer *writer)
{
        struct lanemap_log_stats stats;
        uint64_t limit = writer->options.log_file_bytes ? writer->options.log_file_bytes
                                                        : LANEMAP_LOG_FILE_BYTES_DEFAULT;

        lanemap_log_get_stats(writer->log, &stats);
        return stats.bytes > 2 * limit;
}

static bool take_flush_wanted(struct lanemap_writer *writer)
{
        bool wanted, log_wanted = log_wants_flush(writer);

        lanemap_mutex_lock(&writer->lanes.lock);
        /* Another flush at the same position makes the log no smaller. */
        log_wanted &= writer->lanes.frozen_position < writer->lanes.position;
        wanted = writer->pressure.flush_wanted || writer->segments.dead != NULL || log_wanted;
        lanemap_mutex_unlock(&writer->lanes.lock);
        return wanted;
}

/* Quiet since the open at most: a restart does not rewrite every lane at once. */
static void settle_begin(struct lanemap_writer *writer)
{
        uint64_t now_ns = lanemap_now_ns(writer->clock);

        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                writer->lanes.items[i].quiet_position = writer->lanes.items[i].changed_position;
                writer->lanes.items[i].quiet_ns = now_ns;
        }
        lanemap_mutex_unlock(&writer->lanes.lock);
}

/* A lane that nobody has changed for a while becomes one segment, whatever the others do. */
static void settle_when_quiet(struct lanemap_writer *writer)
{
        uint64_t now_ns = lanemap_now_ns(writer->clock);
        bool any = false;

        lanemap_mutex_lock(&writer->lanes.lock);
        for (uint32_t i = 0; i < writer->identity.n_lanes; i++) {
                struct writer_lane *lane = &writer->lanes.items[i];

                if (lane->quiet_position != lane->changed_position) {
                        lane->quiet_position = lane->changed_position;
                        lane->quiet_ns = now_ns;
                }
                if (now_ns - lane->quiet_ns > SETTLE_NS && lane->n_segments > 1 &&
                    !lane->compact_wanted)
                        lane->compact_wanted = any = true;
        }
        lanemap_mutex_unlock(&writer->lanes.lock);
        if (any)
                lanemap_engine_workers_signal(writer);
}

void *lanemap_engine_flusher_main(void *arg)
{
        struct lanemap_writer *writer = arg;
        bool was_failing = false;
        int r;

        lanemap_engine_thread_yields(LANEMAP_ENGINE_NICE_FLUSHER);
        settle_begin(writer);
        while (!lanemap_load_acquire(&writer->workers.stopping)) {
                lanemap_engine_requests_serve(writer);
                lanemap_engine_retired_objects_drop(writer);
                (void)lanemap_engine_spare_ensure(writer);
                settle_when_quiet(writer);
                lanemap_engine_give_back(writer);
                if (!take_flush_wanted(writer)) {
                        lanemap_alloc_give_back(); /* making a thread allocates, too */
                        lanemap_engine_flusher_sleep(writer, UINT64_C(1000) * 1000 * 1000);
                        continue;
                }

                r = lanemap_engine_flush_run(writer, true);
                if (r < 0) {
                        if (!was_failing)
                                lanemap_engine_log(
                                        writer, LOG_ERR,
                                        "%s: the overlays cannot be flushed (%s); lookups go on, "
                                        "writes go on while there is room, tried again",
                                        writer->identity.directory, strerror(-r));
                        lanemap_engine_flusher_sleep(writer, RETRY_NS);
                } else {
                        if (was_failing)
                                lanemap_engine_log(writer, LOG_NOTICE,
                                                   "%s: the overlays were flushed again",
                                                   writer->identity.directory);
                        lanemap_engine_workers_signal(writer);
                }
                was_failing = r < 0;
        }

        return NULL;
}
