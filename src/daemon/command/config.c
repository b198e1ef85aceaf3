/* CONFIG: settings, and the counters' return to 0. */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

#include "daemon/command/handlers.h"
#include "daemon/command/stats.h"
#include "daemon/loop/log.h"
#include "daemon/options.h"

/* What is no option, but asked for by clients of Redis: a text, or what format() says. */
static void bind_format(const struct lanemap_server *server, char *text, size_t n_text)
{
        snprintf(text, n_text, "%s", server->options.port ? "127.0.0.1 ::1" : "");
}

static void argument_format(const struct lanemap_server *server, char *text, size_t n_text)
{
        snprintf(text, n_text, "%d", LANEMAP_RESP_ARG_BYTES_MAX);
}

static void query_format(const struct lanemap_server *server, char *text, size_t n_text)
{
        snprintf(text, n_text, "%zu", LANEMAP_QUERY_BYTES_MAX);
}

static const struct {
        const char *name;
        const char *text;
        void (*format)(const struct lanemap_server *server, char *text, size_t n_text);
} others[] = {
        {"appendonly", "yes"},
        {"save", ""},
        {"databases", "1"},
        {"maxmemory", "0"},
        {"timeout", "0"},
        {"bind", .format = bind_format},
        {"proto-max-bulk-len", .format = argument_format},
        {"client-query-buffer-limit", .format = query_format},
};

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

/* Calls fn for every setting that the call asks for. Return: how many there are. */
static size_t config_each(const struct lanemap_call *call,
                          void (*fn)(struct lanemap_reply *, const char *name, const char *value),
                          struct lanemap_reply *reply)
{
        const struct lanemap_program *program = &lanemap_daemon_program;
        char value[4352];
        size_t n = 0;

        for (size_t i = 0; i < program->n_options; i++) {
                const struct lanemap_option *option = &program->options[i];

                if (!option->config || !config_is_wanted(call, option->config))
                        continue;
                lanemap_option_format(option, &call->server->options, value, sizeof(value));
                fn(reply, option->config, value);
                n++;
        }
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(others); i++) {
                if (!config_is_wanted(call, others[i].name))
                        continue;
                if (others[i].format)
                        others[i].format(call->server, value, sizeof(value));
                fn(reply, others[i].name, others[i].format ? value : others[i].text);
                n++;
        }
        return n;
}

static void setting_count(struct lanemap_reply *reply, const char *name, const char *value)
{
}

static void setting_reply(struct lanemap_reply *reply, const char *name, const char *value)
{
        lanemap_reply_text(reply, name);
        lanemap_reply_text(reply, value);
}

static void config_get(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        lanemap_reply_map(reply, config_each(call, setting_count, NULL));
        config_each(call, setting_reply, reply);
}

/* The option that argument i names. Return: NULL after replying that it cannot be set. */
static const struct lanemap_option *config_find(const struct lanemap_call *call, uint32_t i)
{
        const struct lanemap_program *program = &lanemap_daemon_program;

        for (size_t o = 0; o < program->n_options; o++) {
                const struct lanemap_option *option = &program->options[o];

                if (option->config && option->change && lanemap_call_is(call, i, option->config))
                        return option;
        }
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR CONFIG SET failed (possibly related to argument '%.*s') - can't "
                            "set immutable config",
                            (int)LANEMAP_MIN(call->args[i].bytes, 64u),
                            lanemap_call_bytes(call, i));
        return NULL;
}

/* Stores argument i in `options`. Return: false after replying why not. */
static bool config_take(const struct lanemap_call *call, const struct lanemap_option *option,
                        uint32_t i, struct lanemap_options *options)
{
        const char *list = option->choices ? "argument(s) must be one of the following: " : "";
        struct lanemap_error error = {"too long"};
        char text[64];

        if (call->args[i].bytes < sizeof(text)) {
                memcpy(text, lanemap_call_bytes(call, i), call->args[i].bytes);
                text[call->args[i].bytes] = 0;
                if (strlen(text) == call->args[i].bytes &&
                    lanemap_option_take(option, options, text, &error) == 0)
                        return true;
        }
        if (option->choices)
                lanemap_choice_list(option->choices, ", ", error.text, sizeof(error.text));
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR CONFIG SET failed (possibly related to argument '%s') - %s%s",
                            option->config, list, error.text);
        return false;
}

static void config_set(const struct lanemap_call *call)
{
        struct lanemap_server *server = call->server;
        struct lanemap_options options = server->options;
        char value[64];
        int r;

        if (call->n_args % 2 != 0) {
                lanemap_command_subcommand_arity(call, "set");
                return;
        }
        for (uint32_t i = 2; i < call->n_args; i += 2)
                if (!config_find(call, i))
                        return;
        if (!server->writer) {
                lanemap_command_loading(server, lanemap_client_reply(call->client));
                return;
        }
        for (uint32_t i = 2; i < call->n_args; i += 2)
                if (!config_take(call, config_find(call, i), i + 1, &options))
                        return;
        for (uint32_t i = 2; i < call->n_args; i += 2) {
                const struct lanemap_option *option = config_find(call, i);

                r = option->change(server, &options);
                if (r < 0) {
                        lanemap_reply_error(lanemap_client_reply(call->client),
                                            "ERR CONFIG SET failed (possibly related to argument "
                                            "'%s') - %s",
                                            option->config, strerror(-r));
                        return;
                }
                memcpy((char *)&server->options + option->off, (char *)&options + option->off,
                       option->bytes);
                lanemap_option_format(option, &options, value, sizeof(value));
                lanemap_log(LOG_NOTICE, "%s is %s now", option->config, value);
        }
        lanemap_reply_simple(lanemap_client_reply(call->client), "OK");
}

void lanemap_command_config(const struct lanemap_call *call)
{
        static const struct lanemap_subcommand subcommands[] = {
                {"get", -3}, {"set", -4}, {"resetstat", 2}, {"rewrite", 2}, {"help", 2},
        };
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
                lanemap_stats_reset(call->server);
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
                                            "always|everysec|no|SET loglevel <level>|RESETSTAT");
                break;
        }
}
