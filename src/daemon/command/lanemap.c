/* lanemapd's own verbs that run long or tell about the engine. ADD, REM and MARK are in
 * command/set.c. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/command/command.h"
#include "daemon/client/health.h"
#include "daemon/loop/job.h"
#include "daemon/command/stats.h"

void lanemap_command_lanemap_ids(const struct lanemap_call *call)
{
        int r;

        if (call->client->n_batched > 0)
                lanemap_batch_flush(call->server);
        r = lanemap_job_ids_start(call->client);
        if (r < 0) {
                lanemap_reply_error(lanemap_client_reply(call->client),
                                    "ERR cannot gather the ids (%s)", strerror(-r));
        }
}

void lanemap_command_lanemap_verify(const struct lanemap_call *call)
{
        int r;

        if (call->client->n_batched > 0)
                lanemap_batch_flush(call->server);
        r = lanemap_job_verify_start(call->client);
        if (r < 0) {
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR cannot verify (%s)",
                                    strerror(-r));
        }
}

/* The client's own directory: whatever this process sees under its name, it is that one. */
static int backup_passed(struct lanemap_client *client, const char *path,
                         struct lanemap_error *ret_error)
{
        int fd = client->passed_fd;

        client->passed_fd = -1;
        if (fd >= 0)
                return lanemap_job_backup_start(client, path, fd);

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
static int backup_named(struct lanemap_client *client, const char *path,
                        struct lanemap_error *ret_error)
{
        const char *dir = client->server->options.backup_dir, *name = path;
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

        return lanemap_job_backup_start(client, full, -1);
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

        if (call->client->n_batched > 0)
                lanemap_batch_flush(call->server);
        if (call->n_args > 2 && !passed) {
                snprintf(error.text, sizeof(error.text), "LANEMAP.BACKUP path [DESCRIPTOR]");
        } else if (n_bytes > 0 && n_bytes < sizeof(path) && !memchr(bytes, '\0', n_bytes)) {
                memcpy(path, bytes, n_bytes);
                path[n_bytes] = '\0';
                r = (passed ? backup_passed : backup_named)(call->client, path, &error);
        }
        if (r < 0)
                lanemap_reply_error(lanemap_client_reply(call->client),
                                    "ERR no backup was made: %s",
                                    error.text[0] ? error.text : strerror(-r));
}

/* FLUSH, COMPACT, FLIP: told apart by their names. */
void lanemap_command_lanemap_request(const struct lanemap_call *call)
{
        const char *name = call->command->name + strlen("lanemap.");
        uint32_t request = *name == 'c'                ? LANEMAP_REQUEST_COMPACT
                           : strcmp(name, "flip") == 0 ? LANEMAP_REQUEST_FLIP
                                                       : LANEMAP_REQUEST_FLUSH;
        int r;

        if (call->client->n_batched > 0)
                lanemap_batch_flush(call->server);
        r = lanemap_writer_request(call->server->writer, request, &call->client->ticket);
        if (r < 0) {
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR cannot start (%s)",
                                    strerror(-r));
                return;
        }
        lanemap_client_block(call->client, LANEMAP_BLOCKED_REQUEST);
        lanemap_command_requests_ended(call->server); /* it may have ended at once */
}

void lanemap_command_requests_ended(struct lanemap_server *server)
{
        struct lanemap_client *client;

        TAILQ_FOREACH(client, &server->clients, all)
        {
                int r;

                if (client->blocked != LANEMAP_BLOCKED_REQUEST)
                        continue;
                r = lanemap_writer_request_state(server->writer, client->ticket);
                if (r == LANEMAP_PENDING)
                        continue;
                if (r == 0)
                        lanemap_reply_simple(&client->out, "OK");
                else
                        lanemap_reply_error(&client->out, "ERR %s failed (%s)",
                                            client->last_command, strerror(-r));
                lanemap_client_reply_end(client);
                lanemap_client_unblock(client);
        }
}

static void stats_count(void *arg, const char *name, const char *value, bool is_text)
{
        (*(uint64_t *)arg)++;
}

static void stats_reply(void *arg, const char *name, const char *value, bool is_text)
{
        struct lanemap_reply *reply = arg;
        size_t n = strlen(value);

        lanemap_reply_text(reply, name);
        if (is_text) {
                lanemap_reply_text(reply, value);
                return;
        }
        lanemap_reply_raw(reply, ":", 1);
        lanemap_reply_raw(reply, value, n);
        lanemap_reply_raw(reply, "\r\n", 2);
}

void lanemap_command_lanemap_stats(const struct lanemap_call *call)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        uint64_t n = 0, age_ns;

        if (!lanemap_health_stats(call->server, &stats, &age_ns)) {
                lanemap_reply_error(reply, "ERR cannot read (%s)", strerror(EAGAIN));
                return;
        }
        lanemap_stats_each(&stats, stats_count, &n);
        lanemap_reply_map(reply, n);
        lanemap_stats_each(&stats, stats_reply, reply);
}

/* Known, so that whoever looks for it learns where it is. */
void lanemap_command_lanemap_reshard(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR resharding is for a stopped writer: stop lanemapd, then run "
                            "'lanemap reshard DIR --lanes N'");
}
