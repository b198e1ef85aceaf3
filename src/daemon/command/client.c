/* CLIENT and its subcommands; LIST and KILL are in command/client_list.c. */
#include <stdio.h>
#include <string.h>

#include "daemon/command/client_list.h"
#include "daemon/command/handlers.h"
#include "daemon/command/help.h"

/* Redis's rule for names. */
static bool text_is_plain(const struct lanemap_call *call, uint32_t i)
{
        const char *text = lanemap_call_bytes(call, i);

        for (uint32_t c = 0; c < call->args[i].bytes; c++)
                if (text[c] < '!' || text[c] > '~')
                        return false;
        return true;
}

/* Replies an error unless argument i may be a client's name. */
bool lanemap_command_client_name(const struct lanemap_call *call, uint32_t i)
{
        if (!text_is_plain(call, i)) {
                lanemap_reply_error(lanemap_client_reply(call->client),
                                    "ERR Client names cannot contain spaces, newlines or "
                                    "special characters.");
                return false;
        }
        if (call->args[i].bytes < sizeof(call->client->name))
                return true;
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR Client names have at most %zu bytes",
                            sizeof(call->client->name) - 1);
        return false;
}

static void client_id(const struct lanemap_call *call)
{
        lanemap_reply_integer(lanemap_client_reply(call->client), (int64_t)call->client->id);
}

static void client_getname(const struct lanemap_call *call)
{
        if (*call->client->name)
                lanemap_reply_text(lanemap_client_reply(call->client), call->client->name);
        else
                lanemap_reply_null(lanemap_client_reply(call->client));
}

static void client_setname(const struct lanemap_call *call)
{
        struct lanemap_client *client = call->client;

        if (!lanemap_command_client_name(call, 2))
                return;
        memcpy(client->name, lanemap_call_bytes(call, 2), call->args[2].bytes);
        client->name[call->args[2].bytes] = 0;
        lanemap_reply_simple(lanemap_client_reply(client), "OK");
}

static void client_setinfo(const struct lanemap_call *call)
{
        struct lanemap_client *client = call->client;
        struct lanemap_reply *reply = lanemap_client_reply(client);
        int n_name = (int)LANEMAP_MIN(call->args[2].bytes, 128u);
        const char *name = lanemap_call_bytes(call, 2);
        bool is_name = lanemap_call_is(call, 2, "lib-name");
        char *to = is_name ? client->lib_name : client->lib_ver;
        size_t n_to = is_name ? sizeof(client->lib_name) : sizeof(client->lib_ver);

        if (!is_name && !lanemap_call_is(call, 2, "lib-ver")) {
                lanemap_reply_error(reply, "ERR Unrecognized option '%.*s'", n_name, name);
        } else if (!text_is_plain(call, 3)) {
                lanemap_reply_error(reply,
                                    "ERR %.*s cannot contain spaces, newlines or special "
                                    "characters.",
                                    n_name, name);
        } else if (call->args[3].bytes >= n_to) {
                lanemap_reply_error(reply, "ERR %.*s has at most %zu bytes", n_name, name,
                                    n_to - 1);
        } else {
                memcpy(to, lanemap_call_bytes(call, 3), call->args[3].bytes);
                to[call->args[3].bytes] = 0;
                lanemap_reply_simple(reply, "OK");
        }
}

static void client_info(const struct lanemap_call *call)
{
        char line[LANEMAP_CLIENT_LINE_BYTES_MAX];

        lanemap_reply_verbatim(lanemap_client_reply(call->client), line,
                               lanemap_client_describe(call->client, line, sizeof(line)));
}

/* NO-EVICT, NO-TOUCH: nothing here depends on them. */
static void client_switch(const struct lanemap_call *call)
{
        if (lanemap_call_is(call, 2, "on") || lanemap_call_is(call, 2, "off"))
                lanemap_reply_simple(lanemap_client_reply(call->client), "OK");
        else
                lanemap_reply_error(lanemap_client_reply(call->client), "ERR syntax error");
}

static void client_reply_mode(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        if (lanemap_call_is(call, 2, "on"))
                lanemap_reply_simple(reply, "OK");
        else if (lanemap_call_is(call, 2, "off") || lanemap_call_is(call, 2, "skip"))
                lanemap_reply_error(reply, "ERR lanemapd answers every command: the reply says "
                                           "that a write is durable");
        else
                lanemap_reply_error(reply, "ERR syntax error");
}

static void client_pause(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR lanemapd does not pause clients: there is no failover that "
                            "needs it; LANEMAP.BACKUP copies an index that is being written");
}

/* Nothing is paused, so nothing has to be done. */
static void client_unpause(const struct lanemap_call *call)
{
        lanemap_reply_simple(lanemap_client_reply(call->client), "OK");
}

static void client_getredir(const struct lanemap_call *call)
{
        lanemap_reply_integer(lanemap_client_reply(call->client), -1);
}

static void client_tracking(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        if (lanemap_call_is(call, 2, "off"))
                lanemap_reply_simple(reply, "OK");
        else if (lanemap_call_is(call, 2, "on"))
                lanemap_reply_error(reply, "ERR lanemapd does not track what clients cache: a "
                                           "lookup in shared memory is always current");
        else
                lanemap_reply_error(reply, "ERR syntax error");
}

static void client_trackinginfo(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        lanemap_reply_map(reply, 3);
        lanemap_reply_text(reply, "flags");
        lanemap_reply_set(reply, 1);
        lanemap_reply_text(reply, "off");
        lanemap_reply_text(reply, "redirect");
        lanemap_reply_integer(reply, -1);
        lanemap_reply_text(reply, "prefixes");
        lanemap_reply_array(reply, 0);
}

static void client_caching(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR CLIENT CACHING can be called only when the client is in tracking "
                            "mode with OPTIN or OPTOUT mode enabled");
}

static void client_unblock(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        bool error = call->n_args == 4 && lanemap_call_is(call, 3, "error");
        struct lanemap_client *client;
        uint64_t id;

        if (call->n_args > 4 ||
            (call->n_args == 4 && !error && !lanemap_call_is(call, 3, "timeout"))) {
                lanemap_reply_error(reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
                return;
        }
        if (lanemap_number_parse(lanemap_call_bytes(call, 2), call->args[2].bytes, INT64_MAX, &id) <
            0) {
                lanemap_reply_error(reply, "ERR value is not an integer or out of range");
                return;
        }
        TAILQ_FOREACH(client, &call->server->clients, all)
        {
                if (client->id == id && client->blocked == LANEMAP_BLOCKED_DURABLE)
                        break;
        }
        if (client)
                lanemap_command_wait_end(client, error);
        lanemap_reply_integer(reply, client != NULL);
}

#define ADM LANEMAP_COMMAND_ADMIN
#define HID LANEMAP_COMMAND_HIDDEN

/* clang-format off */
static struct lanemap_command subcommands[] = {
        {"id", client_id, 2, 0, NULL, "Return the ID of the current connection.", "5.0.0"},
        {"getname", client_getname, 2, 0, NULL,
         "Return the name of the current connection.", "2.6.9"},
        {"setname", client_setname, 3, 0, "connection-name",
         "Assign a name to the current connection.", "2.6.9"},
        {"setinfo", client_setinfo, 4, 0, "LIB-NAME|LIB-VER value",
         "Say which library uses the current connection.", "7.2.0"},
        {"list", lanemap_client_list, -2, ADM,
         "[TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID client-id [client-id ...]]",
         "Return information about client connections.", "2.4.0", "O(N), N: connections"},
        {"info", client_info, 2, 0, NULL,
         "Return information about the current client connection.", "6.2.0"},
        {"kill", lanemap_client_kill, -3, ADM,
         "[ip:port] [ID client-id] [TYPE NORMAL|MASTER|REPLICA|PUBSUB] [USER username] "
         "[ADDR ip:port] [LADDR ip:port] [SKIPME YES|NO] [MAXAGE seconds]",
         "Close connections.", "2.4.0", "O(N), N: connections"},
        {"no-evict", client_switch, 3, ADM, "ON|OFF", "Accepted; see maxmemory-clients.", "7.0.0"},
        {"no-touch", client_switch, 3, 0, "ON|OFF", "Accepted; keys have no access time.", "7.2.0"},
        {"reply", client_reply_mode, 3, 0, "ON|OFF|SKIP", "Accepted with ON only.", "3.2.0"},
        {"pause", client_pause, -3, ADM | HID, "timeout [WRITE|ALL]", "Refused.", "3.0.0"},
        {"unpause", client_unpause, 2, ADM, NULL, "Accepted; nothing is paused.", "6.2.0"},
        {"getredir", client_getredir, 2, 0, NULL, "Always -1: there is no tracking.", "6.0.0"},
        {"tracking", client_tracking, -3, 0, "ON|OFF", "Accepted with OFF only.", "6.0.0"},
        {"trackinginfo", client_trackinginfo, 2, 0, NULL, "Always off.", "6.2.0"},
        {"caching", client_caching, 3, HID, "YES|NO", "Refused: there is no tracking.", "6.0.0"},
        {"unblock", client_unblock, -3, ADM, "client-id [TIMEOUT|ERROR]",
         "End the wait of a client that is in WAITAOF.", "5.0.0", "O(N), N: connections"},
        LANEMAP_COMMAND_HELP_ROW("5.0.0"),
};
/* clang-format on */

struct lanemap_command lanemap_command_client = {
        .name = "client",
        .arity = -2,
        .flags = LANEMAP_COMMAND_LOADING | LANEMAP_COMMAND_UNGATED,
        .summary = "About connections.",
        .since = "2.4.0",
        .complexity = "that of the subcommand",
        .group = LANEMAP_GROUP_CONNECTION,
        .subcommands = subcommands,
        .n_subcommands = LANEMAP_N_ELEMENTS(subcommands),
};
