/* lanemapd's own verbs that ask the engine. ADD, REM and MARK are in command/set.c; IDS, VERIFY and
 * BACKUP in command/background.c. */
#include <errno.h>
#include <string.h>

#include "daemon/client/health.h"
#include "daemon/client/release.h"
#include "daemon/client/state.h"
#include "daemon/command/handlers.h"
#include "daemon/command/stats.h"

/* FLUSH, COMPACT, FLIP: told apart by their names. */
void lanemap_command_lanemap_request(const struct lanemap_call *call)
{
        const char *name = call->command->name + strlen("lanemap.");
        uint32_t request = *name == 'c'                ? LANEMAP_REQUEST_COMPACT
                           : strcmp(name, "flip") == 0 ? LANEMAP_REQUEST_FLIP
                                                       : LANEMAP_REQUEST_FLUSH;
        int r;

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
                                            client->last_command,
                                            r == -EBADMSG ? "a segment file is damaged; the log "
                                                            "and LANEMAP.VERIFY tell which, "
                                                            "lanemap repair helps"
                                                          : strerror(-r));
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

static void stats_help(struct lanemap_reply *reply)
{
        char text[256];
        size_t n = 0;

        while (lanemap_stats_describe(n, text, sizeof(text)))
                n++;
        lanemap_reply_array(reply, n);
        for (size_t i = 0; lanemap_stats_describe(i, text, sizeof(text)); i++)
                lanemap_reply_simple(reply, text);
}

void lanemap_command_lanemap_stats(const struct lanemap_call *call)
{
        struct lanemap_writer_stats stats = {.size = sizeof(stats)};
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        uint64_t n = 0, age_ns;

        if (call->n_args > 1) {
                if (call->n_args == 2 && lanemap_call_is(call, 1, "help"))
                        stats_help(reply);
                else
                        lanemap_reply_error(reply, "ERR syntax error");
                return;
        }
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
