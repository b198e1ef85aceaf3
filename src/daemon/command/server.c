/* Commands about the server: COMMAND, CONFIG, SHUTDOWN, and those that say why they are not here.
 */
#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "daemon/command/command.h"
#include "daemon/loop/log.h"
#include "daemon/reload.h"

static void command_flags(struct lanemap_reply *reply, const struct lanemap_command *command)
{
        static const struct {
                uint32_t flag;
                const char *text;
        } flags[] = {
                {LANEMAP_COMMAND_WRITE, "write"},     {LANEMAP_COMMAND_READONLY, "readonly"},
                {LANEMAP_COMMAND_FAST, "fast"},       {LANEMAP_COMMAND_LOADING, "loading"},
                {LANEMAP_COMMAND_NO_AUTH, "no_auth"}, {LANEMAP_COMMAND_NO_MULTI, "no_multi"},
                {LANEMAP_COMMAND_ADMIN, "admin"},
        };
        size_t n = 0;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(flags); i++)
                n += !!(command->flags & flags[i].flag);
        lanemap_reply_set(reply, n);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(flags); i++)
                if (command->flags & flags[i].flag)
                        lanemap_reply_simple(reply, flags[i].text);
}

/* As in Redis 7: ten elements, of which the last four are empty here. */
static void command_describe(struct lanemap_reply *reply, const struct lanemap_command *command)
{
        lanemap_reply_array(reply, 10);
        lanemap_reply_text(reply, command->name);
        lanemap_reply_integer(reply, command->arity);
        command_flags(reply, command);
        lanemap_reply_integer(reply, command->first_key);
        lanemap_reply_integer(reply, command->last_key);
        lanemap_reply_integer(reply, command->key_step);
        lanemap_reply_set(reply, 0);   /* ACL categories */
        lanemap_reply_set(reply, 0);   /* tips */
        lanemap_reply_set(reply, 0);   /* key specifications */
        lanemap_reply_array(reply, 0); /* subcommands */
}

static void command_document(struct lanemap_reply *reply, const struct lanemap_command *command)
{
        lanemap_reply_text(reply, command->name);
        lanemap_reply_map(reply, 2);
        lanemap_reply_text(reply, "summary");
        lanemap_reply_text(reply, command->summary);
        lanemap_reply_text(reply, "group");
        lanemap_reply_text(reply, command->first_key ? "set" : "server");
}

static size_t commands_count(void)
{
        const struct lanemap_command *command;
        size_t n = 0;

        for (size_t i = 0; (command = lanemap_command_at(i)); i++)
                n += !(command->flags & LANEMAP_COMMAND_HIDDEN);
        return n;
}

static void name_reply(struct lanemap_reply *reply, const struct lanemap_command *command)
{
        lanemap_reply_text(reply, command->name);
}

static void commands_each(struct lanemap_reply *reply,
                          void (*fn)(struct lanemap_reply *, const struct lanemap_command *))
{
        const struct lanemap_command *command;

        for (size_t i = 0; (command = lanemap_command_at(i)); i++)
                if (!(command->flags & LANEMAP_COMMAND_HIDDEN))
                        fn(reply, command);
}

static const struct lanemap_command *named(const struct lanemap_call *call, uint32_t i)
{
        const struct lanemap_command *command =
                lanemap_command_find(lanemap_call_bytes(call, i), call->args[i].bytes);

        return command && !(command->flags & LANEMAP_COMMAND_HIDDEN) ? command : NULL;
}

static void command_info(const struct lanemap_call *call, struct lanemap_reply *reply)
{
        lanemap_reply_array(reply, call->n_args - 2);
        for (uint32_t i = 2; i < call->n_args; i++) {
                const struct lanemap_command *command = named(call, i);

                if (command)
                        command_describe(reply, command);
                else
                        lanemap_reply_null(reply);
        }
}

static void command_docs(const struct lanemap_call *call, struct lanemap_reply *reply)
{
        size_t n = 0;

        if (call->n_args == 2) {
                lanemap_reply_map(reply, commands_count());
                commands_each(reply, command_document);
                return;
        }
        for (uint32_t i = 2; i < call->n_args; i++)
                n += named(call, i) != NULL;
        lanemap_reply_map(reply, n);
        for (uint32_t i = 2; i < call->n_args; i++)
                if (named(call, i))
                        command_document(reply, named(call, i));
}

void lanemap_command_command(const struct lanemap_call *call)
{
        static const struct lanemap_subcommand subcommands[] = {
                {"count", 2}, {"list", -2}, {"info", -2}, {"docs", -2}, {"help", 2},
        };
        struct lanemap_reply *reply;
        int which = -1;

        if (call->n_args > 1) {
                which = lanemap_command_subcommand(call, subcommands,
                                                   LANEMAP_N_ELEMENTS(subcommands));
                if (which < 0)
                        return;
        }
        reply = lanemap_client_reply(call->client);
        if (which == 0) {
                lanemap_reply_integer(reply, (int64_t)commands_count());
        } else if (which == 1) {
                lanemap_reply_array(reply, commands_count());
                commands_each(reply, name_reply);
        } else if (which == 2 && call->n_args > 2) {
                command_info(call, reply);
        } else if (which == 3) {
                command_docs(call, reply);
        } else if (which == 4) {
                lanemap_reply_array(reply, 1);
                lanemap_reply_simple(reply, "COMMAND [COUNT|LIST|INFO [name...]|DOCS [name...]]");
        } else {
                lanemap_reply_array(reply, commands_count());
                commands_each(reply, command_describe);
        }
}

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

void lanemap_command_shutdown(const struct lanemap_call *call)
{
        for (uint32_t i = 1; i < call->n_args; i++) {
                if (lanemap_call_is(call, i, "abort")) {
                        lanemap_reply_error(lanemap_client_reply(call->client),
                                            "ERR No shutdown in progress.");
                        return;
                }
                if (!lanemap_call_is(call, i, "save") && !lanemap_call_is(call, i, "nosave") &&
                    !lanemap_call_is(call, i, "now") && !lanemap_call_is(call, i, "force")) {
                        lanemap_reply_error(lanemap_client_reply(call->client), "ERR syntax error");
                        return;
                }
        }
        lanemap_log(LOG_NOTICE, "client %" PRIu64 " asked for a shutdown", call->client->id);
        lanemap_server_stop(call->server);
}

void lanemap_command_time(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        struct timeval now;
        char text[24];

        gettimeofday(&now, NULL);
        lanemap_reply_array(reply, 2);
        snprintf(text, sizeof(text), "%lld", (long long)now.tv_sec);
        lanemap_reply_text(reply, text);
        snprintf(text, sizeof(text), "%ld", (long)now.tv_usec);
        lanemap_reply_text(reply, text);
}

void lanemap_command_lastsave(const struct lanemap_call *call)
{
        lanemap_reply_integer(lanemap_client_reply(call->client), call->server->started);
}

void lanemap_command_wait(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        uint64_t number;

        if (lanemap_number_parse(lanemap_call_bytes(call, 1), call->args[1].bytes, INT64_MAX,
                                 &number) < 0)
                lanemap_reply_error(reply, "ERR value is not an integer or out of range");
        else if (lanemap_call_bytes(call, 2)[0] == '-' && call->args[2].bytes > 1)
                lanemap_reply_error(reply, "ERR timeout is negative");
        else if (lanemap_number_parse(lanemap_call_bytes(call, 2), call->args[2].bytes, INT64_MAX,
                                      &number) < 0)
                lanemap_reply_error(reply, "ERR timeout is not an integer or out of range");
        else
                lanemap_reply_integer(reply, 0);
}

void lanemap_command_no_keys(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR keys are not stored, only their fingerprints; '%s' cannot be "
                            "answered",
                            call->command->name);
}

void lanemap_command_other_type(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR lanemapd stores sets of integers only");
}
