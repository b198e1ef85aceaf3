/* COMMAND: what commands there are, from their rows. */
#include <string.h>

#include "daemon/command/category.h"
#include "daemon/command/glob.h"
#include "daemon/command/handlers.h"
#include "daemon/command/help.h"
#include "daemon/command/registry.h"
#include "daemon/command/words.h"

static bool is_hidden(const struct lanemap_command *command)
{
        return command->flags & LANEMAP_COMMAND_HIDDEN;
}

/* Return: the command of argument i, by its full name, or NULL. */
static const struct lanemap_command *named(const struct lanemap_call *call, uint32_t i)
{
        const struct lanemap_command *command =
                lanemap_registry_find_full(lanemap_call_bytes(call, i), call->args[i].bytes);

        return command && !is_hidden(command) ? command : NULL;
}

static size_t count_shown(const struct lanemap_command *container)
{
        size_t n = 0;

        for (size_t i = 0; i < container->n_subcommands; i++)
                n += !is_hidden(&container->subcommands[i]);
        return n;
}

/* Commands of which no subcommand is in the array. */
static size_t commands_count(void)
{
        const struct lanemap_command *command;
        size_t n = 0;

        for (size_t i = 0; (command = lanemap_registry_at(i)); i++)
                n += !is_hidden(command) && !command->container;
        return n;
}

static void commands_each(struct lanemap_reply *reply,
                          void (*fn)(struct lanemap_reply *, const struct lanemap_command *))
{
        const struct lanemap_command *command;

        for (size_t i = 0; (command = lanemap_registry_at(i)); i++)
                if (!is_hidden(command) && !command->container)
                        fn(reply, command);
}

static void command_count(const struct lanemap_call *call)
{
        lanemap_reply_integer(lanemap_client_reply(call->client), (int64_t)commands_count());
}

/* ---- keys ---- */

/* Calls fn for each argument of a message that is a key: i counts from args[0]. Return: how many
 * there are, -1 they cannot be told. */
static int64_t keys_each(const struct lanemap_command *command, const struct lanemap_call *message,
                         void (*fn)(const struct lanemap_call *message, uint32_t i,
                                    const struct lanemap_command_keys *keys))
{
        int64_t n_keys = 0;

        for (size_t k = 0; k < LANEMAP_N_ELEMENTS(command->keys) && command->keys[k].first; k++) {
                const struct lanemap_command_keys *keys = &command->keys[k];
                uint64_t n_numbered = 0, first = keys->first, last;

                if (!keys->is_numbered) {
                        last = keys->last < 0 ? message->n_args + (uint64_t)keys->last
                                              : (uint64_t)keys->last;
                } else {
                        if (lanemap_number_parse(lanemap_call_bytes(message, keys->first),
                                                 message->args[keys->first].bytes, UINT32_MAX,
                                                 &n_numbered) < 0 ||
                            n_numbered == 0)
                                return -1;
                        last = first + n_numbered;
                        first++;
                }
                if (last >= message->n_args)
                        return -1;
                for (uint64_t i = first; i <= last; i += keys->step, n_keys++)
                        if (fn)
                                fn(message, (uint32_t)i, keys);
        }
        return n_keys;
}

static void key_reply(const struct lanemap_call *message, uint32_t i,
                      const struct lanemap_command_keys *keys)
{
        lanemap_reply_bulk(lanemap_client_reply(message->client), lanemap_call_bytes(message, i),
                           message->args[i].bytes);
}

/* Set of the words of a text. */
static void words_reply(struct lanemap_reply *reply, const char *words)
{
        char text[32];
        size_t n = 1;

        for (const char *c = words; *c; c++)
                n += *c == ' ';
        lanemap_reply_set(reply, n);
        for (const char *word = words; *word;) {
                size_t n_word = strcspn(word, " ");

                memcpy(text, word, n_word);
                text[n_word] = 0;
                lanemap_reply_simple(reply, text);
                word += n_word + (word[n_word] == ' ');
        }
}

static void key_and_flags_reply(const struct lanemap_call *message, uint32_t i,
                                const struct lanemap_command_keys *keys)
{
        struct lanemap_reply *reply = lanemap_client_reply(message->client);

        lanemap_reply_array(reply, 2);
        key_reply(message, i, keys);
        words_reply(reply, keys->access);
}

/* Of the message that begins with argument 2. */
static void getkeys(const struct lanemap_call *call,
                    void (*fn)(const struct lanemap_call *message, uint32_t i,
                               const struct lanemap_command_keys *keys))
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        struct lanemap_call message = *call;
        const struct lanemap_command *command;
        int64_t n_keys;

        message.args += 2;
        message.n_args -= 2;
        command = lanemap_registry_find_message(message.message, message.args, message.n_args);
        if (!command || (command->subcommands && message.n_args > 1) ||
            command->flags & LANEMAP_COMMAND_HIDDEN) {
                lanemap_reply_error(reply, "ERR Invalid command specified");
                return;
        }
        if (!command->keys[0].first) {
                lanemap_reply_error(reply, "ERR The command has no key arguments");
                return;
        }
        if (!lanemap_command_takes(command, message.n_args)) {
                lanemap_reply_error(reply, "ERR Invalid number of arguments specified for command");
                return;
        }
        n_keys = keys_each(command, &message, NULL);
        if (n_keys < 0) {
                lanemap_reply_error(reply, "ERR Invalid arguments specified for command");
                return;
        }
        lanemap_reply_array(reply, (uint64_t)n_keys);
        keys_each(command, &message, fn);
}

static void command_getkeys(const struct lanemap_call *call)
{
        getkeys(call, key_reply);
}

static void command_getkeysandflags(const struct lanemap_call *call)
{
        getkeys(call, key_and_flags_reply);
}

/* ---- INFO ---- */

static void flags_reply(struct lanemap_reply *reply, const struct lanemap_command *command)
{
        static const struct {
                uint32_t flag;
                const char *text;
        } flags[] = {
                {LANEMAP_COMMAND_WRITE, "write"},     {LANEMAP_COMMAND_READONLY, "readonly"},
                {LANEMAP_COMMAND_GROWS, "denyoom"},   {LANEMAP_COMMAND_ADMIN, "admin"},
                {LANEMAP_COMMAND_LOADING, "loading"}, {LANEMAP_COMMAND_FAST, "fast"},
                {LANEMAP_COMMAND_NO_AUTH, "no_auth"}, {LANEMAP_COMMAND_NO_MULTI, "no_multi"},
        };
        size_t n = command->keys[0].is_numbered;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(flags); i++)
                n += !!(command->flags & flags[i].flag);
        lanemap_reply_set(reply, n);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(flags); i++)
                if (command->flags & flags[i].flag)
                        lanemap_reply_simple(reply, flags[i].text);
        if (command->keys[0].is_numbered)
                lanemap_reply_simple(reply, "movablekeys");
}

static void integer_pair(struct lanemap_reply *reply, const char *name, int64_t number)
{
        lanemap_reply_text(reply, name);
        lanemap_reply_integer(reply, number);
}

static void text_pair(struct lanemap_reply *reply, const char *name, const char *text)
{
        lanemap_reply_text(reply, name);
        lanemap_reply_text(reply, text);
}

static void specification_reply(struct lanemap_reply *reply,
                                const struct lanemap_command_keys *keys)
{
        lanemap_reply_map(reply, 3);
        lanemap_reply_text(reply, "flags");
        words_reply(reply, keys->access);
        lanemap_reply_text(reply, "begin_search");
        lanemap_reply_map(reply, 2);
        text_pair(reply, "type", "index");
        lanemap_reply_text(reply, "spec");
        lanemap_reply_map(reply, 1);
        integer_pair(reply, "index", keys->first);
        lanemap_reply_text(reply, "find_keys");
        lanemap_reply_map(reply, 2);
        text_pair(reply, "type", keys->is_numbered ? "keynum" : "range");
        lanemap_reply_text(reply, "spec");
        lanemap_reply_map(reply, 3);
        if (keys->is_numbered) {
                integer_pair(reply, "keynumidx", 0);
                integer_pair(reply, "firstkey", 1);
                integer_pair(reply, "keystep", keys->step);
        } else {
                integer_pair(reply, "lastkey",
                             keys->last < 0 ? keys->last : keys->last - keys->first);
                integer_pair(reply, "keystep", keys->step);
                integer_pair(reply, "limit", 0);
        }
}

/* Ten elements, as in Redis 7; there are no tips. */
static void info_reply(struct lanemap_reply *reply, const struct lanemap_command *command)
{
        const struct lanemap_command_keys *keys = command->keys;
        bool ranged = keys[0].first && !keys[0].is_numbered;
        size_t n_keys = 0;

        while (n_keys < LANEMAP_N_ELEMENTS(command->keys) && keys[n_keys].first)
                n_keys++;
        lanemap_reply_array(reply, 10);
        lanemap_reply_text(reply, command->full_name);
        lanemap_reply_integer(reply, command->arity);
        flags_reply(reply, command);
        lanemap_reply_integer(reply, ranged ? keys[0].first : 0);
        lanemap_reply_integer(reply, ranged ? keys[n_keys - 1].last : 0);
        lanemap_reply_integer(reply, ranged ? keys[0].step : 0);
        lanemap_category_reply(reply, command);
        lanemap_reply_array(reply, 0);
        lanemap_reply_array(reply, n_keys);
        for (size_t i = 0; i < n_keys; i++)
                specification_reply(reply, &keys[i]);
        lanemap_reply_array(reply, count_shown(command));
        for (size_t i = 0; i < command->n_subcommands; i++)
                if (!is_hidden(&command->subcommands[i]))
                        info_reply(reply, &command->subcommands[i]);
}

/* COMMAND itself, and COMMAND INFO without a name. */
static void info_all(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        lanemap_reply_array(reply, commands_count());
        commands_each(reply, info_reply);
}

static void command_info(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        if (call->n_args == 2) {
                info_all(call);
                return;
        }
        lanemap_reply_array(reply, call->n_args - 2);
        for (uint32_t i = 2; i < call->n_args; i++) {
                const struct lanemap_command *command = named(call, i);

                if (command)
                        info_reply(reply, command);
                else
                        lanemap_reply_null(reply);
        }
}

/* ---- DOCS ---- */

static const char *const group_names[] = {
        [LANEMAP_GROUP_GENERIC] = "generic",       [LANEMAP_GROUP_SET] = "set",
        [LANEMAP_GROUP_CONNECTION] = "connection", [LANEMAP_GROUP_SERVER] = "server",
        [LANEMAP_GROUP_LANEMAP] = "lanemap",       [LANEMAP_GROUP_TRANSACTIONS] = "transactions",
};

static void docs_reply(struct lanemap_reply *reply, const struct lanemap_command *command)
{
        size_t n_shown = count_shown(command);

        lanemap_reply_text(reply, command->full_name);
        lanemap_reply_map(reply, (uint64_t)4 + (command->words != NULL) + (n_shown > 0));
        text_pair(reply, "summary", command->summary);
        text_pair(reply, "since", command->since);
        text_pair(reply, "group", group_names[command->group]);
        text_pair(reply, "complexity", command->complexity ? command->complexity : "O(1)");
        if (command->words) {
                lanemap_reply_text(reply, "arguments");
                lanemap_words_reply(reply, command->words);
        }
        if (n_shown == 0)
                return;
        lanemap_reply_text(reply, "subcommands");
        lanemap_reply_map(reply, n_shown);
        for (size_t i = 0; i < command->n_subcommands; i++)
                if (!is_hidden(&command->subcommands[i]))
                        docs_reply(reply, &command->subcommands[i]);
}

static void command_docs(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        size_t n = 0;

        if (call->n_args == 2) {
                lanemap_reply_map(reply, commands_count());
                commands_each(reply, docs_reply);
                return;
        }
        for (uint32_t i = 2; i < call->n_args; i++)
                n += named(call, i) != NULL;
        lanemap_reply_map(reply, n);
        for (uint32_t i = 2; i < call->n_args; i++)
                if (named(call, i))
                        docs_reply(reply, named(call, i));
}

/* ---- LIST: subcommands too ---- */

static bool is_any(const struct lanemap_call *call, const struct lanemap_command *command)
{
        return true;
}

static bool fits_pattern(const struct lanemap_call *call, const struct lanemap_command *command)
{
        return lanemap_glob_match_name(lanemap_call_bytes(call, 4), call->args[4].bytes,
                                       command->full_name);
}

static void list_reply(const struct lanemap_call *call,
                       bool (*is_wanted)(const struct lanemap_call *call,
                                         const struct lanemap_command *command))
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        const struct lanemap_command *command;
        uint64_t n = 0;

        for (size_t i = 0; (command = lanemap_registry_at(i)); i++)
                n += !is_hidden(command) && is_wanted(call, command);
        lanemap_reply_array(reply, n);
        for (size_t i = 0; (command = lanemap_registry_at(i)); i++)
                if (!is_hidden(command) && is_wanted(call, command))
                        lanemap_reply_text(reply, command->full_name);
}

static void command_list(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        uint32_t category;

        if (call->n_args == 2) {
                list_reply(call, is_any);
        } else if (call->n_args != 5 || !lanemap_call_is(call, 2, "filterby")) {
                lanemap_reply_error(reply, "ERR syntax error");
        } else if (lanemap_call_is(call, 3, "pattern")) {
                list_reply(call, fits_pattern);
        } else if (lanemap_call_is(call, 3, "module")) {
                lanemap_reply_array(reply, 0); /* there are none */
        } else if (!lanemap_call_is(call, 3, "aclcat")) {
                lanemap_reply_error(reply, "ERR syntax error");
        } else if (lanemap_category_find(lanemap_call_bytes(call, 4), call->args[4].bytes,
                                         &category)) {
                lanemap_category_reply_members(reply, category);
        } else {
                lanemap_reply_array(reply, 0);
        }
}

static struct lanemap_command subcommands[] = {
        {"count", command_count, 2, 0, NULL, "Return how many commands there are.", "2.8.13"},
        {"list", command_list, -2, 0, "[FILTERBY MODULE|ACLCAT|PATTERN name]",
         "Return the names of commands and subcommands.", "7.0.0", "O(N), N: commands"},
        {"info", command_info, -2, 0, "[command-name [command-name ...]]",
         "Return arity, flags, categories and keys of commands, or of all.", "2.8.13",
         "O(N), N: commands"},
        {"docs", command_docs, -2, 0, "[command-name [command-name ...]]",
         "Return what commands, or all, are for, and their arguments.", "7.0.0",
         "O(N), N: commands"},
        {"getkeys", command_getkeys, -4, 0, "command [arg [arg ...]]",
         "Return the keys of a whole command.", "2.8.13", "O(N), N: arguments"},
        {"getkeysandflags", command_getkeysandflags, -4, 0, "command [arg [arg ...]]",
         "Return the keys of a whole command, and how it uses each.", "7.0.0",
         "O(N), N: arguments"},
        LANEMAP_COMMAND_HELP_ROW("5.0.0"),
};

struct lanemap_command lanemap_command_command = {
        .name = "command",
        .run = info_all,
        .arity = -1,
        .flags = LANEMAP_COMMAND_LOADING | LANEMAP_COMMAND_UNGATED | LANEMAP_COMMAND_CONNECTION,
        .summary = "What commands there are.",
        .since = "2.8.13",
        .complexity = "O(N), N: commands",
        .group = LANEMAP_GROUP_SERVER,
        .subcommands = subcommands,
        .n_subcommands = LANEMAP_N_ELEMENTS(subcommands),
};
