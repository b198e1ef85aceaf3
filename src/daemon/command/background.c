/*
 * Commands that read the whole index, each in a thread of its own (loop/job.h): IDS, VERIFY,
 * BACKUP. Their client is blocked until the answer is there.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/alloc.h"
#include "daemon/client/budget.h"
#include "daemon/client/release.h"
#include "daemon/client/state.h"
#include "daemon/command/handlers.h"
#include "daemon/loop/job.h"

struct reading {
        struct lanemap_job job; /* first */
        struct lanemap_writer *writer;
        const char *failure;                                                   /* "cannot verify" */
        void (*reply)(struct reading *reading, struct lanemap_client *client); /* it went well */
        uint32_t *ids;
        size_t n_ids;
        struct lanemap_finding *findings;
        size_t n_findings;
        char *destination;  /* of a backup */
        int destination_fd; /* of it; -1: destination is a path */
        struct lanemap_error error;
};

static void reading_free(struct lanemap_server *server, struct lanemap_job *job)
{
        struct reading *reading = (struct reading *)job;

        lanemap_writer_ids_free(reading->ids);
        lanemap_writer_findings_free(reading->findings);
        lanemap_free(reading->destination);
        if (reading->destination_fd >= 0)
                close(reading->destination_fd);
        lanemap_free(reading);
}

static void reading_end(struct lanemap_server *server, struct lanemap_job *job)
{
        struct reading *reading = (struct reading *)job;
        struct lanemap_client *client = job->client;

        if (!client)
                return;
        client->job = NULL;
        if (job->r == 0) {
                reading->reply(reading, client);
        } else if (!job->is_started) {
                lanemap_reply_error(&client->out, "ERR cannot start a thread (%s)",
                                    strerror(-job->r));
        } else if (reading->error.text[0]) {
                lanemap_reply_error(&client->out, "ERR %s: %s", reading->failure,
                                    reading->error.text);
        } else {
                lanemap_reply_error(&client->out, "ERR %s (%s)", reading->failure,
                                    job->r == -EBADMSG
                                            ? "a segment file is damaged; the log and "
                                              "LANEMAP.VERIFY tell which, lanemap repair helps"
                                            : strerror(-job->r));
        }
        lanemap_client_reply_end(client);
        lanemap_client_unblock(client);
}

/* Return: NULL when there is no memory. */
static struct reading *reading_new(const struct lanemap_call *call)
{
        struct reading *reading = lanemap_alloc_zero(sizeof(*reading));

        if (!reading)
                return NULL;
        reading->job.end = reading_end;
        reading->job.free = reading_free;
        reading->writer = call->server->writer;
        reading->destination_fd = -1;
        return reading;
}

static void reading_start(const struct lanemap_call *call, struct reading *reading)
{
        reading->job.client = call->client;
        call->client->job = &reading->job;
        lanemap_client_block(call->client, LANEMAP_BLOCKED_JOB);
        lanemap_job_add(call->server, &reading->job);
}

static int ids_run(struct lanemap_job *job)
{
        struct reading *reading = (struct reading *)job;

        return lanemap_writer_ids(reading->writer, &reading->ids, &reading->n_ids);
}

static void ids_reply(struct reading *reading, struct lanemap_client *client)
{
        struct lanemap_server *server = client->server;

        /* They may hold anything that was applied until now (LP1). */
        server->position = LANEMAP_MAX(server->position, lanemap_writer_position(server->writer));
        server->gate_is_due = true;
        if (!lanemap_budget_allows(server, reading->n_ids * sizeof(*reading->ids))) {
                lanemap_budget_refuse(server, &client->out, "OOM",
                                      reading->n_ids * sizeof(*reading->ids));
                return;
        }
        lanemap_reply_array(&client->out, reading->n_ids);
        lanemap_reply_run(&client->out, ':', reading->ids, reading->n_ids);
        reading->ids = NULL;
}

void lanemap_command_lanemap_ids(const struct lanemap_call *call)
{
        struct reading *reading = reading_new(call);

        if (!reading) {
                lanemap_reply_error(lanemap_client_reply(call->client),
                                    "ERR cannot gather the ids (%s)", strerror(ENOMEM));
                return;
        }
        reading->job.run = ids_run;
        reading->failure = "cannot gather the ids";
        reading->reply = ids_reply;
        reading_start(call, reading);
}

static int verify_run(struct lanemap_job *job)
{
        struct reading *reading = (struct reading *)job;

        return lanemap_writer_verify(reading->writer, &reading->findings, &reading->n_findings);
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

static void verify_reply(struct reading *reading, struct lanemap_client *client)
{
        lanemap_reply_array(&client->out, reading->n_findings);
        for (size_t i = 0; i < reading->n_findings; i++)
                finding_reply(&client->out, &reading->findings[i]);
}

void lanemap_command_lanemap_verify(const struct lanemap_call *call)
{
        struct reading *reading = reading_new(call);

        if (!reading) {
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR cannot verify (%s)",
                                    strerror(ENOMEM));
                return;
        }
        reading->job.run = verify_run;
        reading->failure = "cannot verify";
        reading->reply = verify_reply;
        reading_start(call, reading);
}

static int backup_run(struct lanemap_job *job)
{
        struct reading *reading = (struct reading *)job;

        if (reading->destination_fd < 0)
                return lanemap_writer_backup(reading->writer, reading->destination,
                                             &reading->error);
        return lanemap_writer_backup_at(reading->writer, reading->destination_fd,
                                        reading->destination, &reading->error);
}

static void backup_reply(struct reading *reading, struct lanemap_client *client)
{
        lanemap_reply_simple(&client->out, "OK");
}

/* fd: the directory, or -1: path is one that this process sees as the client does. Owner: the job,
 * also when this fails. Return: 0, -ENOMEM. */
static int backup_start(const struct lanemap_call *call, const char *path, int fd)
{
        struct reading *reading = reading_new(call);
        char *destination = lanemap_strdup(path);

        if (!reading || !destination) {
                lanemap_free(reading);
                lanemap_free(destination);
                if (fd >= 0)
                        close(fd);
                return -ENOMEM;
        }
        reading->job.run = backup_run;
        reading->failure = "no backup was made";
        reading->reply = backup_reply;
        reading->destination = destination;
        reading->destination_fd = fd;
        reading_start(call, reading);
        return 0;
}

/* The client's own directory: whatever this process sees under its name, it is that one. */
static int backup_passed(const struct lanemap_call *call, const char *path,
                         struct lanemap_error *ret_error)
{
        int fd = call->client->passed_fd;

        call->client->passed_fd = -1;
        if (fd >= 0)
                return backup_start(call, path, fd);

        snprintf(ret_error->text, sizeof(ret_error->text),
                 "no descriptor of %.200s came with the command: it is sent over the Unix socket, "
                 "with SCM_RIGHTS",
                 path);
        return -EBADF;
}

/*
 * By name: where the operator says that everybody sees the same. Elsewhere this process may have a
 * /tmp of its own, which goes when it ends, or a root that is read-only.
 */
static int backup_named(const struct lanemap_call *call, const char *path,
                        struct lanemap_error *ret_error)
{
        const char *dir = call->server->options.backup_dir, *name = path;
        size_t n = dir ? strlen(dir) : 0;
        char full[PATH_MAX];

        while (n > 1 && dir[n - 1] == '/')
                n--;
        if (dir && path[0] == '/')
                name = strncmp(path, dir, n) == 0 && path[n] == '/' ? path + n + 1 : "";
        if (!dir || !*name || strchr(name, '/') || strcmp(name, ".") == 0 ||
            strcmp(name, "..") == 0 ||
            snprintf(full, sizeof(full), "%.*s/%s", (int)n, dir, name) >= (int)sizeof(full)) {
                snprintf(ret_error->text, sizeof(ret_error->text),
                         "lanemapd may see another directory than you under \"%.100s\": 'lanemap "
                         "backup --socket' passes the directory itself; by name, %s%.200s%s",
                         path, dir ? "it is DIR/NAME or NAME, with " : "start it with --backup-dir",
                         dir ? dir : "", dir ? " for DIR" : "");
                return -EINVAL;
        }

        return backup_start(call, full, -1);
}

/* LANEMAP.BACKUP path [DESCRIPTOR] */
void lanemap_command_lanemap_backup(const struct lanemap_call *call)
{
        const char *bytes = lanemap_call_bytes(call, 1);
        size_t n_bytes = call->args[1].bytes;
        struct lanemap_error error = {.text = ""};
        bool passed = call->n_args == 3 && lanemap_call_is(call, 2, "DESCRIPTOR");
        char path[PATH_MAX];
        int r = -EINVAL;

        if (call->n_args > 2 && !passed) {
                snprintf(error.text, sizeof(error.text), "LANEMAP.BACKUP path [DESCRIPTOR]");
        } else if (n_bytes > 0 && n_bytes < sizeof(path) && !memchr(bytes, '\0', n_bytes)) {
                memcpy(path, bytes, n_bytes);
                path[n_bytes] = '\0';
                r = (passed ? backup_passed : backup_named)(call, path, &error);
        }
        if (r < 0)
                lanemap_reply_error(lanemap_client_reply(call->client),
                                    "ERR no backup was made: %s",
                                    error.text[0] ? error.text : strerror(-r));
}
