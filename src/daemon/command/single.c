/*
 * Redis's words for what lanemapd has one of, or none: one user, no modules, no cluster, no
 * replicas. What a client asks before it works is answered; what would change something says why
 * it does not.
 */
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

static void module_help(const struct lanemap_call *call);

static const struct lanemap_subcommand module_subcommands[] = {
        {"list", 2, nothing_list, "Return a list of loaded modules: there are none."},
        {"load", -3, module_refuse, "Refused.", "<path> [<arg> ...]"},
        {"loadex", -3, module_refuse, "Refused.", "<path> [CONFIG NAME VALUE] [ARGS ...]"},
        {"unload", 3, module_refuse, "Refused.", "<name>"},
        {"help", 2, module_help, "Print this help."},
};

static void module_help(const struct lanemap_call *call)
{
        lanemap_command_help(call, module_subcommands, LANEMAP_N_ELEMENTS(module_subcommands));
}

void lanemap_command_module(const struct lanemap_call *call)
{
        lanemap_command_run_subcommand(call, module_subcommands,
                                       LANEMAP_N_ELEMENTS(module_subcommands));
}

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

static void acl_refuse(const struct lanemap_call *call)
{
        lanemap_reply_error(lanemap_client_reply(call->client),
                            "ERR lanemapd has one user, 'default', who may do everything; its "
                            "password is the option requirepass-file");
}

static void acl_help(const struct lanemap_call *call);

static const struct lanemap_subcommand acl_subcommands[] = {
        {"whoami", 2, acl_whoami, "Return the current connection username."},
        {"users", 2, acl_users, "List all the registered usernames: default."},
        {"list", 2, acl_list, "Show users details, without passwords."},
        {"getuser", 3, acl_getuser, "Get the user's details.", "<username>"},
        {"cat", -2, acl_refuse, "Refused: commands have no categories.", "[<category>]"},
        {"setuser", -3, acl_refuse, "Refused.", "<username> <attribute> [<attribute> ...]"},
        {"deluser", -3, acl_refuse, "Refused.", "<username> [<username> ...]"},
        {"genpass", -2, acl_refuse, "Refused.", "[<bits>]"},
        {"log", -2, acl_refuse, "Refused.", "[<count>|RESET]"},
        {"dryrun", -4, acl_refuse, "Refused.", "<username> <command> [<arg> ...]"},
        {"load", 2, acl_refuse, "Refused."},
        {"save", 2, acl_refuse, "Refused."},
        {"help", 2, acl_help, "Print this help."},
};

static void acl_help(const struct lanemap_call *call)
{
        lanemap_command_help(call, acl_subcommands, LANEMAP_N_ELEMENTS(acl_subcommands));
}

void lanemap_command_acl(const struct lanemap_call *call)
{
        lanemap_command_run_subcommand(call, acl_subcommands, LANEMAP_N_ELEMENTS(acl_subcommands));
}
