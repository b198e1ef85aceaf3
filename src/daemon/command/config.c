/* CONFIG: settings, and the counters' return to 0. */
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command/handlers.h"
#include "daemon/loop/log.h"
#include "daemon/reload.h"

/* The settings that CONFIG GET knows. Return: false behind the last one. */
static bool config_at(const struct lanemap_server *server, size_t i, const char **ret_name,
                      char *value, size_t n_value)
{
        static const char *const names[] = {
                "appendfsync",
                "appendonly",
                "save",
                "dir",
                "unixsocket",
                "port",
                "databases",
                "maxmemory",
                "timeout",
                "maxclients",
                "bind",
                "loglevel",
                "requirepass",
                "proto-max-bulk-len",
                "client-query-buffer-limit",
        };
        uint32_t appendfsync = server->writer ? lanemap_writer_get_appendfsync(server->writer)
                                              : server->options.appendfsync;
        int level = lanemap_log_level();

        if (i >= LANEMAP_N_ELEMENTS(names))
                return false;
        *ret_name = names[i];
        switch (i) {
        case 0:
                snprintf(value, n_value, "%s", lanemap_appendfsync_text(appendfsync));
                break;
        case 3:
                snprintf(value, n_value, "%s", server->options.directory);
                break;
        case 4:
                snprintf(value, n_value, "%s", server->options.socket);
                break;
        case 5:
                snprintf(value, n_value, "%u", server->options.port);
                break;
        case 9:
                snprintf(value, n_value, "%zu", server->n_clients_max);
                break;
        case 10:
                snprintf(value, n_value, "%s", server->options.port ? "127.0.0.1 ::1" : "");
                break;
        case 11:
                snprintf(value, n_value, "%s",
                         level == LOG_DEBUG    ? "debug"
                         : level == LOG_INFO   ? "info"
                         : level == LOG_NOTICE ? "notice"
                                               : "warning");
                break;
        case 13:
                snprintf(value, n_value, "%d", LANEMAP_RESP_ARG_BYTES_MAX);
                break;
        case 14:
                snprintf(value, n_value, "%zu", LANEMAP_QUERY_BYTES_MAX);
                break;
        case 1:
                snprintf(value, n_value, "yes");
                break;
        case 2:
        case 12: /* the password is never told */
                *value = 0;
                break;
        default:
                snprintf(value, n_value, "%s", i == 6 ? "1" : "0");
        }
        return true;
}

static bool config_is_wanted(const struct lanemap_call *call, const char *name)
{
        char pattern[128];

        for (uint32_t i = 2; i < call->n_args; i++) {
                if (call->args[i].bytes >= sizeof(pattern))
                        continue;
                memcpy(pattern, lanemap_call_bytes(call, i), call->args[i].bytes);
                pattern[call->args[i].bytes] = 0;
                if (fnmatch(pattern, name, FNM_CASEFOLD | FNM_NOESCAPE) == 0)
                        return true;
        }
        return false;
}

static void config_get(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        char value[4352];
        const char *name;
        size_t n = 0;

        for (size_t i = 0; config_at(call->server, i, &name, value, sizeof(value)); i++)
                n += config_is_wanted(call, name);
        lanemap_reply_map(reply, n);
        for (size_t i = 0; config_at(call->server, i, &name, value, sizeof(value)); i++) {
                if (!config_is_wanted(call, name))
                        continue;
                lanemap_reply_text(reply, name);
                lanemap_reply_text(reply, value);
        }
}

static void config_set(const struct lanemap_call *call)
{
        struct lanemap_server *server = call->server;
        struct lanemap_reply *reply;
        int r = -EINVAL;

        if (call->n_args % 2 != 0) {
                lanemap_command_subcommand_arity(call, "set");
                return;
        }
        reply = lanemap_client_reply(call->client);
        for (uint32_t i = 2; i < call->n_args; i += 2) {
                if (lanemap_call_is(call, i, "appendfsync"))
                        continue;
                lanemap_reply_error(reply,
                                    "ERR CONFIG SET failed (possibly related to argument '%.*s') - "
                                    "can't set immutable config",
                                    (int)LANEMAP_MIN(call->args[i].bytes, 64u),
                                    lanemap_call_bytes(call, i));
                return;
        }
        if (!server->writer) {
                lanemap_command_loading(call->server, reply);
                return;
        }
        for (uint32_t i = 3; i < call->n_args; i += 2) {
                r = lanemap_appendfsync_parse(lanemap_call_bytes(call, i), call->args[i].bytes);
                if (r < 0)
                        break;
        }
        if (r < 0 || lanemap_reload_set_appendfsync(server, (uint32_t)r) < 0) {
                lanemap_reply_error(reply, "ERR CONFIG SET failed (possibly related to argument "
                                           "'appendfsync') - argument(s) must be one of the "
                                           "following: everysec, always, no");
                return;
        }
        lanemap_log(LOG_NOTICE, "appendfsync is %s now", lanemap_appendfsync_text((uint32_t)r));
        lanemap_reply_simple(reply, "OK");
}

void lanemap_command_config(const struct lanemap_call *call)
{
        static const struct lanemap_subcommand subcommands[] = {
                {"get", -3}, {"set", -4}, {"resetstat", 2}, {"rewrite", 2}, {"help", 2},
        };
        struct lanemap_server *server = call->server;
        struct lanemap_reply *reply;

        switch (lanemap_command_subcommand(call, subcommands, LANEMAP_N_ELEMENTS(subcommands))) {
        case 0:
                config_get(call);
                break;
        case 1:
                config_set(call);
                break;
        case 2:
                reply = lanemap_client_reply(call->client);
                server->n_commands = server->n_errors = server->n_applies = 0;
                server->n_connections = server->n_refused = server->n_outcome_unknown = 0;
                server->bytes_in = server->bytes_out = 0;
                lanemap_reply_simple(reply, "OK");
                break;
        case 3:
                lanemap_reply_error(lanemap_client_reply(call->client),
                                    "ERR The server is running without a config file");
                break;
        case 4:
                reply = lanemap_client_reply(call->client);
                lanemap_reply_array(reply, 1);
                lanemap_reply_simple(reply, "CONFIG GET <pattern...>|SET appendfsync "
                                            "always|everysec|no|RESETSTAT");
                break;
        }
}
