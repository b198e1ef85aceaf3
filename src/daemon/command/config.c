/* CONFIG: settings, and the counters' return to 0. */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>

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
        {"replica-read-only", "yes"},
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
                lanemap_command_subcommand_arity(call, "set");
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

static void config_help(const struct lanemap_call *call);

static const struct lanemap_subcommand subcommands[] = {
        {"get", -3, config_get, "Return parameters matching the glob-like <pattern>s.",
         "<pattern> [<pattern> ...]"},
        {"set", -4, config_set, "Set configuration parameters: all of them, or none.",
         "<directive> <value> [<directive> <value> ...]"},
        {"resetstat", 2, config_resetstat, "Reset statistics reported by the INFO command."},
        {"rewrite", 2, config_rewrite, "Refused: lanemapd writes no options file."},
        {"help", 2, config_help, "Print this help."},
};

static void config_help(const struct lanemap_call *call)
{
        lanemap_command_help(call, subcommands, LANEMAP_N_ELEMENTS(subcommands));
}

void lanemap_command_config(const struct lanemap_call *call)
{
        lanemap_command_run_subcommand(call, subcommands, LANEMAP_N_ELEMENTS(subcommands));
}
