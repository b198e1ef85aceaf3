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

static void client_help(const struct lanemap_call *call);

static const struct lanemap_subcommand subcommands[] = {
        {"id", 2, client_id, "Return the ID of the current connection."},
        {"getname", 2, client_getname, "Return the name of the current connection."},
        {"setname", 3, client_setname, "Assign a name to the current connection.", "<name>"},
        {"setinfo", 4, client_setinfo, "Set client meta attributes.", "LIB-NAME|LIB-VER <value>"},
        {"list", -2, lanemap_client_list, "Return information about client connections.",
         "[TYPE NORMAL|MASTER|REPLICA|PUBSUB] [ID <id> [<id> ...]]"},
        {"info", 2, client_info, "Return information about the current client connection."},
        {"kill", -3, lanemap_client_kill, "Kill connections.",
         "<ip:port>|<option> <value> [<option> <value> ...]: ID, ADDR, LADDR, USER, TYPE, SKIPME, "
         "MAXAGE"},
        {"no-evict", 3, client_switch, "Accepted; see maxmemory-clients.", "ON|OFF"},
        {"no-touch", 3, client_switch, "Accepted; keys have no access time.", "ON|OFF"},
        {"reply", 3, client_reply_mode, "Accepted with ON only.", "ON|OFF|SKIP"},
        {"pause", -3, client_pause, "Refused.", "<timeout> [WRITE|ALL]"},
        {"unpause", 2, client_unpause, "Accepted; nothing is paused."},
        {"getredir", 2, client_getredir, "Always -1: there is no tracking."},
        {"tracking", -3, client_tracking, "Accepted with OFF only.", "ON|OFF"},
        {"trackinginfo", 2, client_trackinginfo, "Always off."},
        {"caching", 3, client_caching, "Refused: there is no tracking.", "YES|NO"},
        {"unblock", -3, client_unblock, "Unblock a client that waits in WAITAOF.",
         "<id> [TIMEOUT|ERROR]"},
        {"help", 2, client_help, "Print this help."},
};

static void client_help(const struct lanemap_call *call)
{
        lanemap_command_help(call, subcommands, LANEMAP_N_ELEMENTS(subcommands));
}

void lanemap_command_client(const struct lanemap_call *call)
{
        lanemap_command_run_subcommand(call, subcommands, LANEMAP_N_ELEMENTS(subcommands));
}
