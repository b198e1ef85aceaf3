/* See command/help.h. */
#include <ctype.h>
#include <stdio.h>

#include "daemon/command/help.h"

static void upper(const char *from, char *to, size_t n_to)
{
        size_t n = 0;

        for (; from[n] && n + 1 < n_to; n++)
                to[n] = (char)toupper((unsigned char)from[n]);
        to[n] = 0;
}

void lanemap_command_help(const struct lanemap_call *call)
{
        const struct lanemap_command *container = call->command->container;
        struct lanemap_reply *reply = lanemap_client_reply(call->client);
        char name[32], text[256];

        lanemap_reply_array(reply, 1 + 2 * container->n_subcommands);
        upper(container->name, name, sizeof(name));
        snprintf(text, sizeof(text),
                 "%s <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name);
        lanemap_reply_simple(reply, text);
        for (size_t i = 0; i < container->n_subcommands; i++) {
                const struct lanemap_command *row = &container->subcommands[i];

                upper(row->name, name, sizeof(name));
                snprintf(text, sizeof(text), "%s%s%s", name, row->words ? " " : "",
                         row->words ? row->words : "");
                lanemap_reply_simple(reply, text);
                snprintf(text, sizeof(text), "    %s", row->summary);
                lanemap_reply_simple(reply, text);
        }
}
