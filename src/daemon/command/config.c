/* CONFIG: settings, and the counters' return to 0. */
#include <stdio.h>
#include <string.h>

#include "daemon/command/glob.h"
#include "daemon/command/handlers.h"
#include "daemon/command/help.h"
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
        {"maxmemory-policy", "noeviction"},
        {"cluster-enabled", "no"},
        {"daemonize", "no"},
        {"tcp-keepalive", "0"},
        {"appendfilename", "log"},
        {"no-appendfsync-on-rewrite", "no"},
        {"latency-tracking", "yes"},
        {"latency-tracking-info-percentiles", "50 99 99.9"},
        {"replica-read-only", "yes"},
        {"bind", .format = bind_format},
        {"proto-max-bulk-len", .format = argument_format},
        {"client-query-buffer-limit", .format = query_format},
};

/* Return: the first argument that asks for a setting, or 0. One without *, ? and [ is a name. */
static uint32_t config_asked(const struct lanemap_call *call, const char *name,
                             bool *ret_by_pattern)
{
        for (uint32_t i = 2; i < call->n_args; i++) {
                const char *text = lanemap_call_bytes(call, i);
                uint32_t n = call->args[i].bytes;
                bool is_pattern =
                        memchr(text, '*', n) || memchr(text, '?', n) || memchr(text, '[', n);

                *ret_by_pattern = is_pattern;
                if (is_pattern ? lanemap_glob_match_name(text, n, name)
                               : lanemap_call_is(call, i, name))
                        return i;
        }
        return 0;
}

/* A setting that the call asks for, once. As in Redis its name is as it was asked for. Return:
 * whether it is. */
static bool setting_reply(const struct lanemap_call *call, struct lanemap_reply *reply,
                          const char *name, const char *value)
{
        bool by_pattern;
        uint32_t i = config_asked(call, name, &by_pattern);

        if (i == 0)
                return false;
        if (!reply)
                return true;
        if (by_pattern)
                lanemap_reply_text(reply, name);
        else
                lanemap_reply_bulk(reply, lanemap_call_bytes(call, i), call->args[i].bytes);
        lanemap_reply_text(reply, value);
        return true;
}

/* reply: NULL: they are counted only. Return: how many settings the call asks for. */
static size_t settings_reply(const struct lanemap_call *call, struct lanemap_reply *reply)
{
        const struct lanemap_program *program = &lanemap_daemon_program;
        char value[4352];
        size_t n = 0;

        for (size_t i = 0; i < program->n_options; i++) {
                const struct lanemap_option *option = &program->options[i];

                if (!option->config)
                        continue;
                lanemap_option_format(option, &call->server->options, value, sizeof(value));
                n += setting_reply(call, reply, option->config, value);
        }
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(others); i++) {
                if (others[i].format)
                        others[i].format(call->server, value, sizeof(value));
                n += setting_reply(call, reply, others[i].name,
                                   others[i].format ? value : others[i].text);
        }
        return n;
}

static void config_get(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        lanemap_reply_map(reply, settings_reply(call, NULL));
        settings_reply(call, reply);
}

/* ---- CONFIG SET ---- */

static const struct lanemap_option *option_named(const struct lanemap_call *call, uint32_t i)
{
        const struct lanemap_program *program = &lanemap_daemon_program;

        for (size_t o = 0; o < program->n_options; o++)
                if (program->options[o].config &&
                    lanemap_call_is(call, i, program->options[o].config))
                        return &program->options[o];
        return NULL;
}

static bool other_is_named(const struct lanemap_call *call, uint32_t i)
{
        for (size_t o = 0; o < LANEMAP_N_ELEMENTS(others); o++)
                if (lanemap_call_is(call, i, others[o].name))
                        return true;
        return false;
}

static void config_refuse(const struct lanemap_call *call, uint32_t i, const char *why)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR CONFIG SET failed (possibly related to argument '%.*s') - %s",
                            (int)LANEMAP_MIN(call->args[i].bytes, 64u), lanemap_call_bytes(call, i),
                            why);
}

/* The names of all pairs: known, able to change, and each once. Return: false after an error was
 * replied. */
static bool config_names(const struct lanemap_call *call)
{
        for (uint32_t i = 2; i < call->n_args; i += 2) {
                const struct lanemap_option *option = option_named(call, i);

                if (!option && !other_is_named(call, i)) {
                        lanemap_reply_error(lanemap_client_reply(call->client),
                                            "ERR Unknown option or number of arguments for CONFIG "
                                            "SET - '%.*s'",
                                            (int)LANEMAP_MIN(call->args[i].bytes, 128u),
                                            lanemap_call_bytes(call, i));
                        return false;
                }
                if (!option || !option->change) {
                        config_refuse(call, i, "can't set immutable config");
                        return false;
                }
                for (uint32_t before = 2; before < i; before += 2) {
                        if (option_named(call, before) != option)
                                continue;
                        config_refuse(call, i, "duplicate parameter");
                        return false;
                }
        }
        return true;
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

static void config_store(struct lanemap_options *to, const struct lanemap_options *from,
                         const struct lanemap_option *option)
{
        memcpy((char *)to + option->off, (const char *)from + option->off, option->bytes);
}

/* Those before argument i are as they were. */
static void config_undo(const struct lanemap_call *call, uint32_t end,
                        const struct lanemap_options *old)
{
        for (uint32_t i = 2; i < end; i += 2) {
                const struct lanemap_option *option = option_named(call, i);

                config_store(&call->server->options, old, option);
                (void)option->change(call->server, old);
        }
}

/* All of them, or none. Return: false after an error was replied. */
static bool config_change(const struct lanemap_call *call, const struct lanemap_options *new)
{
        struct lanemap_server *server = call->server;
        struct lanemap_options old = server->options;

        for (uint32_t i = 2; i < call->n_args; i += 2) {
                const struct lanemap_option *option = option_named(call, i);
                int r = option->change(server, new);

                if (r < 0) {
                        config_undo(call, i, &old);
                        config_refuse(call, i, strerror(-r));
                        return false;
                }
                config_store(&server->options, new, option);
        }
        return true;
}

static void config_set(const struct lanemap_call *call)
{
        struct lanemap_server *server = call->server;
        struct lanemap_options options = server->options;
        char value[64];

        if (call->n_args % 2 != 0) {
                lanemap_command_wrong_arity(call);
                return;
        }
        if (!config_names(call))
                return;
        if (!server->writer) {
                lanemap_command_loading(server, lanemap_client_reply(call->client));
                return;
        }
        for (uint32_t i = 2; i < call->n_args; i += 2)
                if (!config_take(call, option_named(call, i), i + 1, &options))
                        return;
        if (!config_change(call, &options))
                return;
        for (uint32_t i = 2; i < call->n_args; i += 2) {
                const struct lanemap_option *option = option_named(call, i);

                lanemap_option_format(option, &options, value, sizeof(value));
                lanemap_log(LOG_NOTICE, "%s is %s now", option->config, value);
        }
        lanemap_reply_simple(lanemap_client_reply(call->client), "OK");
}

static void config_resetstat(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        lanemap_stats_reset(call->server);
        lanemap_reply_simple(reply, "OK");
}

static void config_rewrite(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR The server is running without a config file");
}

/* Options that may not be set, and unknown ones, can be a password: requirepass, masterauth. */
static uint64_t config_secrets(const struct lanemap_call *call)
{
        uint64_t secrets = 0;

        for (uint32_t i = 2; i + 1 < call->n_args && i + 1 < 64; i += 2) {
                const struct lanemap_option *option = option_named(call, i);

                if (!option || !option->change)
                        secrets |= UINT64_C(1) << (i + 1);
        }
        return secrets;
}

#define ADM LANEMAP_COMMAND_ADMIN

static struct lanemap_command subcommands[] = {
        {"get", config_get, -3, ADM, "parameter [parameter ...]",
         "Return the parameters that match glob-like patterns.", "2.0.0",
         "O(N * M), N: patterns, M: parameters"},
        {.name = "set",
         .run = config_set,
         .arity = -4,
         .flags = ADM,
         .words = "parameter value [parameter value ...]",
         .summary = "Set configuration parameters: all of them, or none.",
         .since = "2.0.0",
         .complexity = "O(N), N: parameters",
         .secrets = config_secrets},
        {"resetstat", config_resetstat, 2, ADM, NULL,
         "Reset statistics reported by the INFO command.", "2.0.0"},
        {"rewrite", config_rewrite, 2, ADM | LANEMAP_COMMAND_HIDDEN, NULL,
         "Refused: lanemapd writes no options file.", "2.8.0"},
        LANEMAP_COMMAND_HELP_ROW("5.0.0"),
};

struct lanemap_command lanemap_command_config = {
        .name = "config",
        .arity = -2,
        .flags = LANEMAP_COMMAND_LOADING | LANEMAP_COMMAND_UNGATED,
        .summary = "Read settings, and set those that may change.",
        .since = "2.0.0",
        .complexity = "that of the subcommand",
        .group = LANEMAP_GROUP_SERVER,
        .subcommands = subcommands,
        .n_subcommands = LANEMAP_N_ELEMENTS(subcommands),
};
