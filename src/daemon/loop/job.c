/*
 * See loop/job.h. One gathering of ids runs at a time, since each reads the whole index; the others wait
 * in the list. Its answer is sent piece by piece as the client takes it, so a million ids need
 * their array, not their text.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/clock.h"
#include "daemon/client/health.h"
#include "daemon/loop/job.h"
#include "daemon/loop/log.h"
#include "daemon/client/memory.h"
#include "daemon/loop/notify.h"
#include "daemon/reload.h"

#define IDS_PER_PIECE ((size_t)16384)

/* An opening that found no room is tried again; meanwhile the service manager is told that the start
 * takes its time. */
#define ROOM_RETRY_NS    (UINT64_C(1000) * 1000 * 1000)
#define ROOM_EXTEND_USEC 60000000

static void job_done(struct lanemap_job *job)
{
        uint64_t one = 1;

        atomic_store_explicit(&job->done, true, memory_order_release);
        if (write(job->event_fd, &one, sizeof(one)) < 0)
                return; /* the loop looks once a second, too */
}

static void *job_open_run(void *arg)
{
        struct lanemap_job *job = arg;

        job->r = lanemap_writer_open(&job->writer_options, &job->writer);
        job_done(job);
        return NULL;
}

static void *job_ids_run(void *arg)
{
        struct lanemap_job *job = arg;

        job->r = lanemap_writer_ids(job->writer, &job->ids, &job->n_ids);
        job_done(job);
        return NULL;
}

static void *job_verify_run(void *arg)
{
        struct lanemap_job *job = arg;

        job->r = lanemap_writer_verify(job->writer, &job->findings, &job->n_findings);
        job_done(job);
        return NULL;
}

static void *job_backup_run(void *arg)
{
        struct lanemap_job *job = arg;

        if (job->destination_fd < 0)
                job->r = lanemap_writer_backup(job->writer, job->destination, &job->error);
        else
                job->r = lanemap_writer_backup_at(job->writer, job->destination_fd,
                                                  job->destination, &job->error);
        job_done(job);
        return NULL;
}

static struct lanemap_job *job_new(struct lanemap_server *server)
{
        struct lanemap_job *job = lanemap_alloc_zero(sizeof(*job));
        struct lanemap_job **last = &server->job_list;

        if (!job)
                return NULL;
        job->event_fd = server->jobs.fd;
        job->destination_fd = -1;
        while (*last)
                last = &(*last)->next;
        *last = job;
        return job;
}

static void job_free(struct lanemap_server *server, struct lanemap_job *job)
{
        struct lanemap_job **link = &server->job_list;

        while (*link != job)
                link = &(*link)->next;
        *link = job->next;
        lanemap_writer_ids_free(job->ids);
        lanemap_writer_findings_free(job->findings);
        lanemap_free(job->destination);
        if (job->destination_fd >= 0)
                close(job->destination_fd);
        lanemap_free(job);
}

/* Nothing was changed by the opening that failed: readers go on with what the predecessor published,
 * and it can be tried again for as long as it takes. */
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
        lanemap_job_room_cron(server);
}

void lanemap_job_room_cron(struct lanemap_server *server)
{
        struct lanemap_room *room = &server->room;
        int r;

        if (!room->is_awaited || server->writer || server->stopping)
                return;

        lanemap_health_status(server, "Waiting for room: %s", room->what.text);
        lanemap_notify("EXTEND_TIMEOUT_USEC=%d", ROOM_EXTEND_USEC);
        if (room->retry_ns == 0 || lanemap_now_ns(&lanemap_clock_monotonic) < room->retry_ns)
                return;

        room->retry_ns = 0; /* until it has ended */
        r = lanemap_job_open_start(server);
        if (r < 0)
                room->retry_ns = lanemap_now_ns(&lanemap_clock_monotonic) + ROOM_RETRY_NS;
}

int lanemap_job_open_start(struct lanemap_server *server)
{
        const struct lanemap_options *options = &server->options;
        struct lanemap_error error = {0};
        struct lanemap_job *job;
        int r;

        if (!lanemap_memory_may_open(server, &error)) {
                room_await(server, &error, -ENOMEM);
                return 0;
        }
        job = job_new(server);
        if (!job)
                return -ENOMEM;
        job->is_open = true;
        job->writer_options = (struct lanemap_writer_options){
                .size = sizeof(job->writer_options),
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
                .error = &job->error,
        };
        r = -pthread_create(&job->thread, NULL, job_open_run, job);
        job->started = r == 0;
        if (r < 0)
                job_free(server, job);
        return r;
}

/* Starts the first ids job that waits, if none runs. */
static void job_ids_next(struct lanemap_server *server)
{
        struct lanemap_job *next;

        for (struct lanemap_job *job = server->job_list; job; job = next) {
                int r;

                next = job->next;
                if (job->started)
                        return;
                if (!job->client) {
                        job_free(server, job);
                        continue;
                }
                r = -pthread_create(&job->thread, NULL,
                                    job->is_verify     ? job_verify_run
                                    : job->destination ? job_backup_run
                                                       : job_ids_run,
                                    job);
                if (r == 0) {
                        job->started = true;
                        return;
                }
                lanemap_reply_error(&job->client->out, "ERR cannot start a thread (%s)",
                                    strerror(-r));
                job->client->job = NULL;
                lanemap_client_reply_end(job->client);
                lanemap_client_unblock(job->client);
                job_free(server, job);
        }
}

static int job_reading_start(struct lanemap_client *client, bool is_verify, char *destination,
                             int fd)
{
        struct lanemap_job *job = job_new(client->server);

        if (!job) {
                lanemap_free(destination);
                return -ENOMEM;
        }
        job->is_verify = is_verify;
        job->destination = destination;
        job->destination_fd = fd;
        job->writer = client->server->writer;
        job->client = client;
        client->job = job;
        lanemap_client_block(client, LANEMAP_BLOCKED_IDS);
        job_ids_next(client->server);
        return 0;
}

int lanemap_job_ids_start(struct lanemap_client *client)
{
        return job_reading_start(client, false, NULL, -1);
}

int lanemap_job_verify_start(struct lanemap_client *client)
{
        return job_reading_start(client, true, NULL, -1);
}

int lanemap_job_backup_start(struct lanemap_client *client, const char *path, int fd)
{
        char *destination = lanemap_strdup(path);
        int r = destination ? job_reading_start(client, false, destination, fd) : -ENOMEM;

        if (r < 0 && fd >= 0)
                close(fd);
        return r;
}

void lanemap_job_ids_forget(struct lanemap_client *client)
{
        if (client->job)
                client->job->client = NULL;
        client->job = NULL;
        lanemap_writer_ids_free(client->ids);
        client->ids = NULL;
}

static void ids_answered(struct lanemap_client *client)
{
        lanemap_writer_ids_free(client->ids);
        client->ids = NULL;
        lanemap_client_unblock(client);
}

void lanemap_job_ids_continue(struct lanemap_client *client)
{
        struct lanemap_server *server = client->server;

        if (client->blocked == LANEMAP_BLOCKED_IDS_GATE) {
                if (client->ids_position > server->acknowledged && server->log_error == 0)
                        return;
                if (client->ids_position > server->acknowledged) {
                        lanemap_reply_error(&client->out,
                                            "ERR outcome unknown: the log cannot be written (%s)",
                                            strerror(-server->log_error));
                        client->gate.released = lanemap_reply_stream_end(&client->out);
                        server->n_outcome_unknown++;
                        ids_answered(client);
                        return;
                }
                lanemap_reply_array(&client->out, client->n_ids);
                client->n_ids_sent = 0;
                client->blocked = LANEMAP_BLOCKED_IDS_SEND;
        }
        while (client->n_ids_sent < client->n_ids &&
               lanemap_reply_bytes(&client->out) < LANEMAP_OUTPUT_BYTES_SEND) {
                size_t n = LANEMAP_MIN(client->n_ids - client->n_ids_sent, IDS_PER_PIECE);

                for (size_t i = 0; i < n; i++)
                        lanemap_reply_integer(&client->out, client->ids[client->n_ids_sent + i]);
                client->n_ids_sent += n;
        }
        if (client->out.failed)
                lanemap_client_close(client);
        /* Acknowledged before the first byte: this reply waits at no gate any more. */
        client->gate.released = lanemap_reply_stream_end(&client->out);
        if (client->n_ids_sent == client->n_ids)
                ids_answered(client);
}

static void job_ids_end(struct lanemap_server *server, struct lanemap_job *job)
{
        struct lanemap_client *client = job->client;

        if (!client)
                return;
        client->job = NULL;
        if (job->r < 0) {
                lanemap_reply_error(&client->out, "ERR cannot gather the ids (%s)",
                                    job->r == -EBADMSG
                                            ? "a segment file is damaged; the log and "
                                              "LANEMAP.VERIFY tell which, lanemap repair helps"
                                            : strerror(-job->r));
                lanemap_client_reply_end(client);
                lanemap_client_unblock(client);
                return;
        }
        client->ids = job->ids;
        client->n_ids = job->n_ids;
        job->ids = NULL;
        client->ids_position =
                LANEMAP_MAX(server->position, lanemap_writer_position(server->writer));
        client->blocked = LANEMAP_BLOCKED_IDS_GATE;
        server->gate_is_due = true;
        lanemap_client_touch(client);
}

static void finding_reply(struct lanemap_reply *reply, const struct lanemap_finding *finding)
{
        lanemap_reply_map(reply, 5);
        lanemap_reply_text(reply, "file");
        lanemap_reply_text(reply, finding->file);
        lanemap_reply_text(reply, "offset");
        if (finding->offset == LANEMAP_FINDING_NO_OFFSET)
                lanemap_reply_null(reply);
        else
                lanemap_reply_integer(reply, (int64_t)finding->offset);
        lanemap_reply_text(reply, "lane");
        if (finding->lane == LANEMAP_FINDING_NO_LANE)
                lanemap_reply_null(reply);
        else
                lanemap_reply_integer(reply, finding->lane);
        lanemap_reply_text(reply, "keys");
        lanemap_reply_integer(reply, (int64_t)finding->n_keys);
        lanemap_reply_text(reply, "what");
        lanemap_reply_text(reply, finding->what);
}

static void job_verify_end(const struct lanemap_job *job)
{
        struct lanemap_client *client = job->client;

        if (!client)
                return;
        client->job = NULL;
        if (job->r < 0) {
                lanemap_reply_error(&client->out, "ERR cannot verify (%s)", strerror(-job->r));
        } else {
                lanemap_reply_array(&client->out, job->n_findings);
                for (size_t i = 0; i < job->n_findings; i++)
                        finding_reply(&client->out, &job->findings[i]);
        }
        lanemap_client_reply_end(client);
        lanemap_client_unblock(client);
}

static void job_backup_end(const struct lanemap_job *job)
{
        struct lanemap_client *client = job->client;

        if (!client)
                return;
        client->job = NULL;
        if (job->r < 0)
                lanemap_reply_error(&client->out, "ERR no backup was made: %s",
                                    job->error.text[0] ? job->error.text : strerror(-job->r));
        else
                lanemap_reply_simple(&client->out, "OK");
        lanemap_client_reply_end(client);
        lanemap_client_unblock(client);
}

static void job_open_end(struct lanemap_server *server, struct lanemap_job *job)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};

        if (job->r < 0 && server->stopping)
                return;
        if (job->r == -ENOSPC || job->r == -EDQUOT || job->r == -EFBIG) {
                room_await(server, &job->error, job->r);
                return;
        }
        if (job->r < 0) {
                lanemap_log(LOG_ERR, "cannot serve %s from %s: %s", server->options.name,
                            server->options.directory,
                            *job->error.text ? job->error.text : strerror(-job->r));
                server->failed = true;
                lanemap_server_stop(server);
                return;
        }
        server->room.is_awaited = false;
        server->writer = job->writer;
        if (server->stopping)
                return;
        server->position = lanemap_writer_position(server->writer);
        server->engine.fd = lanemap_writer_event_fd(server->writer);
        if (lanemap_server_watch(server, &server->engine, 1) < 0 ||
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

void lanemap_job_ready(struct lanemap_server *server, struct lanemap_watch *watch, uint32_t events)
{
        struct lanemap_job *next;
        uint64_t count;

        if (watch && read(watch->fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
                return;
        for (struct lanemap_job *job = server->job_list; job; job = next) {
                next = job->next;
                if (!atomic_load_explicit(&job->done, memory_order_acquire))
                        continue;
                pthread_join(job->thread, NULL);
                if (job->is_open)
                        job_open_end(server, job);
                else if (job->is_verify)
                        job_verify_end(job);
                else if (job->destination)
                        job_backup_end(job);
                else
                        job_ids_end(server, job);
                job_free(server, job);
        }
        if (server->writer && !server->stopping)
                job_ids_next(server);
}

void lanemap_job_finish(struct lanemap_server *server)
{
        while (server->job_list) {
                struct lanemap_job *job = server->job_list;

                if (job->started)
                        pthread_join(job->thread, NULL);
                if (job->client)
                        job->client->job = NULL;
                if (job->is_open && job->r == 0)
                        server->writer = job->writer;
                job_free(server, job);
        }
}
