/* See open.h. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "daemon/client/health.h"
#include "daemon/client/memory.h"
#include "daemon/client/stop.h"
#include "daemon/loop/job.h"
#include "daemon/loop/listen.h"
#include "daemon/loop/log.h"
#include "daemon/loop/notify.h"
#include "daemon/open.h"
#include "daemon/reload.h"

/* An opening that found no room is tried again; meanwhile the service manager is told that the
 * start takes its time. */
#define ROOM_RETRY_NS    (UINT64_C(1000) * 1000 * 1000)
#define ROOM_EXTEND_USEC 60000000

struct open {
        struct lanemap_job job; /* first */
        struct lanemap_writer_options options;
        struct lanemap_writer *writer;
        struct lanemap_error error;
};

static void room_announce(struct lanemap_server *server)
{
        lanemap_health_status(server, "Waiting for room: %s", server->room.what.text);
        lanemap_notify("EXTEND_TIMEOUT_USEC=%d", ROOM_EXTEND_USEC);
}

/* Nothing was changed by the opening that failed: readers go on with what the predecessor
 * published, and it can be tried again for as long as it takes. */
static void room_await(struct lanemap_server *server, const struct lanemap_error *error, int r)
{
        struct lanemap_room *room = &server->room;

        room->what = *error;
        if (!*room->what.text)
                snprintf(room->what.text, sizeof(room->what.text), "%s", strerror(-r));
        room->retry_ns = lanemap_now_ns(&lanemap_clock_monotonic) + ROOM_RETRY_NS;
        if (!room->is_awaited)
                lanemap_log(LOG_ERR,
                            "%s waits for room: %s; readers go on with what was published before, "
                            "and it is served as soon as there is room",
                            server->options.name, room->what.text);
        room->is_awaited = true;
        if (lanemap_listen_serve(server) < 0)
                lanemap_log(LOG_ERR, "cannot tell clients that there is no room");
        room_announce(server);
}

static int open_run(struct lanemap_job *job)
{
        struct open *open = (struct open *)job;

        return lanemap_writer_open(&open->options, &open->writer);
}

/* An index that was opened is the server's, to be closed, also when the loop has ended. */
static void open_free(struct lanemap_server *server, struct lanemap_job *job)
{
        struct open *open = (struct open *)job;

        if (open->writer)
                server->writer = open->writer;
        lanemap_free(open);
}

static void open_end(struct lanemap_server *server, struct lanemap_job *job)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        struct open *open = (struct open *)job;

        if (job->r < 0 && server->stopping)
                return;
        if (job->r == -ENOSPC || job->r == -EDQUOT || job->r == -EFBIG) {
                room_await(server, &open->error, job->r);
                return;
        }
        if (job->r < 0) {
                lanemap_log(LOG_ERR, "cannot serve %s from %s: %s", server->options.name,
                            server->options.directory,
                            *open->error.text ? open->error.text : strerror(-job->r));
                server->failed = true;
                lanemap_server_stop(server);
                return;
        }
        server->room.is_awaited = false;
        server->writer = open->writer;
        if (server->stopping)
                return;
        server->position = lanemap_writer_position(server->writer);
        server->engine.fd = lanemap_writer_event_fd(server->writer);
        if (lanemap_watch_add(server, &server->engine, EPOLLIN) < 0 ||
            lanemap_listen_serve(server) < 0) {
                lanemap_log(LOG_ERR, "cannot wait for the engine and for clients");
                server->failed = true;
                lanemap_server_stop(server);
                return;
        }
        lanemap_writer_get_stats(server->writer, &stats);
        lanemap_log(
                LOG_NOTICE, "serving %s from %s: %llu keys, %llu pairs, %llu log records replayed",
                server->options.name, server->options.directory, (unsigned long long)stats.n_keys,
                (unsigned long long)stats.n_pairs, (unsigned long long)stats.recovered_records);
        lanemap_memory_opened(server);
        lanemap_notify("READY=1");
        lanemap_health_cron(server);
        lanemap_reload_serve(server);
}

int lanemap_open_start(struct lanemap_server *server)
{
        const struct lanemap_options *options = &server->options;
        struct lanemap_error error = {0};
        struct open *open;

        if (!lanemap_memory_may_open(server, &error)) {
                room_await(server, &error, -ENOMEM);
                return 0;
        }
        open = lanemap_alloc_zero(sizeof(*open));
        if (!open)
                return -ENOMEM;
        open->options = (struct lanemap_writer_options){
                .size = sizeof(open->options),
                .name = options->name,
                .directory = options->directory,
                .n_lanes = options->n_lanes,
                .fingerprint_bits = options->fingerprint_bits,
                .segment_kind_young = options->segment_kind_young,
                .segment_kind_bottom = options->segment_kind_bottom,
                .filter = options->filter,
                .appendfsync = options->appendfsync,
                .n_workers = options->n_workers,
                .compaction_bytes_per_second = options->compaction_bytes_per_second,
                .flush_bytes = options->flush_bytes,
                .log_file_bytes = options->log_file_bytes,
                .shared_bytes_max = options->shared_bytes_max,
                .scrub_bytes_per_second = options->scrub_bytes_per_second,
                .serve_from = options->serve_from,
                .lock_bytes = options->lock_bytes,
                .log = lanemap_log_engine,
                .error = &open->error,
        };
        open->job.run = open_run;
        open->job.end = open_end;
        open->job.free = open_free;
        open->job.is_wanted = true;
        lanemap_job_add(server, &open->job);
        return 0;
}

void lanemap_open_cron(struct lanemap_server *server)
{
        struct lanemap_room *room = &server->room;

        if (!room->is_awaited || server->writer || server->stopping)
                return;

        room_announce(server);
        if (room->retry_ns == 0 || lanemap_now_ns(&lanemap_clock_monotonic) < room->retry_ns)
                return;

        room->retry_ns = 0; /* until it has ended */
        if (lanemap_open_start(server) < 0)
                room->retry_ns = lanemap_now_ns(&lanemap_clock_monotonic) + ROOM_RETRY_NS;
}
