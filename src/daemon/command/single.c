/*
 * Redis's words for what lanemapd has one of, or none: one user, no modules, no cluster, no
 * replicas. What a client asks before it works is answered; what would change something says why
 * it does not.
 */
#include "daemon/command/category.h"
#include "daemon/command/handlers.h"
#include "daemon/command/help.h"

void lanemap_command_role(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);

        lanemap_reply_array(reply, 3);
        lanemap_reply_text(reply, "master");
        lanemap_reply_integer(reply, (int64_t)call->server->position);
        lanemap_reply_array(reply, 0);
}

/* Rows of the table that say why a command is not here have the sentence as their summary. */
void lanemap_command_refused(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client), "ERR %s", call->command->summary);
}

static void text_reply(const struct lanemap_call *call, const char *text)
{
        lanemap_reply_text(lanemap_client_reply(call->client), text);
}

/* ---- MODULE ---- */

static void nothing_list(const struct lanemap_call *call)
{
        lanemap_reply_array(lanemap_client_reply(call->client), 0);
}

static void module_refuse(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client), "ERR lanemapd loads no modules");
}

#define ADM LANEMAP_COMMAND_ADMIN
#define HID LANEMAP_COMMAND_HIDDEN

static struct lanemap_command module_subcommands[] = {
        {"list", nothing_list, 2, ADM, NULL, "Return a list of loaded modules: there are none.",
         "4.0.0"},
        {"load", module_refuse, -3, ADM | HID, "path [arg [arg ...]]", "Refused.", "4.0.0"},
        {"loadex", module_refuse, -3, ADM | HID, "path [CONFIG name value]", "Refused.", "7.0.0"},
        {"unload", module_refuse, 3, ADM | HID, "name", "Refused.", "4.0.0"},
        LANEMAP_COMMAND_HELP_ROW("5.0.0"),
};

struct lanemap_command lanemap_command_module = {
        .name = "module",
        .arity = -2,
        .flags = LANEMAP_COMMAND_LOADING | LANEMAP_COMMAND_UNGATED,
        .summary = "Modules, of which there are none.",
        .since = "4.0.0",
        .complexity = "that of the subcommand",
        .group = LANEMAP_GROUP_SERVER,
        .subcommands = module_subcommands,
        .n_subcommands = LANEMAP_N_ELEMENTS(module_subcommands),
};

/* ---- ACL: the user `default`, who may do everything ---- */

static void acl_whoami(const struct lanemap_call *call)
{
        text_reply(call, "default");
}

static void acl_users(const struct lanemap_call *call)
{
        lanemap_reply_array(lanemap_client_reply(call->client), 1);
        text_reply(call, "default");
}

/* Without the hash of the password, which Redis shows. */
static void acl_list(const struct lanemap_call *call)
{
        lanemap_reply_array(lanemap_client_reply(call->client), 1);
        text_reply(call, *call->server->options.password ? "user default on ~* &* +@all"
                                                         : "user default on nopass ~* &* +@all");
}

static void acl_getuser(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        bool has_password = *call->server->options.password;

        if (call->args[2].bytes != 7 || !lanemap_call_is(call, 2, "default")) {
                lanemap_reply_null(reply);
                return;
        }
        lanemap_reply_map(reply, 6);
        lanemap_reply_text(reply, "flags");
        lanemap_reply_set(reply, has_password ? 1 : 2);
        lanemap_reply_text(reply, "on");
        if (!has_password)
                lanemap_reply_text(reply, "nopass");
        lanemap_reply_text(reply, "passwords");
        lanemap_reply_array(reply, 0);
        lanemap_reply_text(reply, "commands");
        lanemap_reply_text(reply, "+@all");
        lanemap_reply_text(reply, "keys");
        lanemap_reply_text(reply, "~*");
        lanemap_reply_text(reply, "channels");
        lanemap_reply_text(reply, "&*");
        lanemap_reply_text(reply, "selectors");
        lanemap_reply_array(reply, 0);
}

static void acl_cat(const struct lanemap_call *call)
{
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        uint32_t category;

        if (call->n_args > 3) {
                lanemap_reply_error(reply,
                                    "ERR unknown subcommand or wrong number of arguments for "
                                    "'%.*s'. Try ACL HELP.",
                                    (int)LANEMAP_MIN(call->args[1].bytes, 128u),
                                    lanemap_call_bytes(call, 1));
        } else if (call->n_args == 2) {
                lanemap_category_reply_all(reply);
        } else if (lanemap_category_find(lanemap_call_bytes(call, 2), call->args[2].bytes,
                                         &category)) {
                lanemap_category_reply_members(reply, category);
        } else {
                lanemap_reply_error(reply, "ERR Unknown category '%.*s'",
                                    (int)LANEMAP_MIN(call->args[2].bytes, 128u),
                                    lanemap_call_bytes(call, 2));
        }
}

static void acl_refuse(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR lanemapd has one user, 'default', who may do everything; its "
                            "password is the option requirepass-file");
}

static struct lanemap_command acl_subcommands[] = {
        {"whoami", acl_whoami, 2, 0, NULL, "Return the current connection username.", "6.0.0"},
        {"users", acl_users, 2, ADM, NULL, "List all the registered usernames: default.", "6.0.0"},
        {"list", acl_list, 2, ADM, NULL, "Show users details, without passwords.", "6.0.0"},
        {"getuser", acl_getuser, 3, ADM, "username", "Get the user's details.", "6.0.0"},
        {"cat", acl_cat, -2, 0, "[category]",
         "List the categories of commands, or the commands of a category.", "6.0.0",
         "O(N), N: commands"},
        {"setuser", acl_refuse, -3, ADM | HID, "username [rule [rule ...]]", "Refused.", "6.0.0",
         .secrets = lanemap_command_all_secret},
        {"deluser", acl_refuse, -3, ADM | HID, "username [username ...]", "Refused.", "6.0.0"},
        {"genpass", acl_refuse, -2, HID, "[bits]", "Refused.", "6.0.0"},
        {"log", acl_refuse, -2, ADM | HID, "[count|RESET]", "Refused.", "6.0.0"},
        {"dryrun", acl_refuse, -4, ADM | HID, "username command [arg [arg ...]]", "Refused.",
         "7.0.0", .secrets = lanemap_command_all_secret},
        {"load", acl_refuse, 2, ADM | HID, NULL, "Refused.", "6.0.0"},
        {"save", acl_refuse, 2, ADM | HID, NULL, "Refused.", "6.0.0"},
        LANEMAP_COMMAND_HELP_ROW("6.0.0"),
};

struct lanemap_command lanemap_command_acl = {
        .name = "acl",
        .arity = -2,
        .flags = LANEMAP_COMMAND_LOADING | LANEMAP_COMMAND_UNGATED,
        .summary = "Users, of which there is one: default.",
        .since = "6.0.0",
        .complexity = "that of the subcommand",
        .group = LANEMAP_GROUP_SERVER,
        .subcommands = acl_subcommands,
        .n_subcommands = LANEMAP_N_ELEMENTS(acl_subcommands),
};
