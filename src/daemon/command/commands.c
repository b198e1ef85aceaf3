/* COMMAND: what commands there are. */
#include "daemon/command/handlers.h"
#include "daemon/command/registry.h"

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

        for (size_t i = 0; (command = lanemap_registry_at(i)); i++)
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

        for (size_t i = 0; (command = lanemap_registry_at(i)); i++)
                if (!(command->flags & LANEMAP_COMMAND_HIDDEN))
                        fn(reply, command);
}

static const struct lanemap_command *named(const struct lanemap_call *call, uint32_t i)
{
        const struct lanemap_command *command =
                lanemap_registry_find(lanemap_call_bytes(call, i), call->args[i].bytes);

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
