/*
 * lanemap: the command line of a route index. Everything is in the subcommands, a file each; this
 * one picks one of them.
 */
#include <signal.h>
#include <stdio.h>

#include "tool.h"

static const char help[] =
        "Usage: lanemap COMMAND [OPTION...] [ARGUMENT...]\n"
        "\n"
        "Work with a route index (key -> ids) that lanemapd publishes in shared memory.\n"
        "\n"
        "Commands:\n"
        "  get    look keys up\n"
        "  load   add routes to a running writer, or to a directory\n"
        "  stat   what an index holds and uses\n"
        "  route  read a PostgreSQL change stream and print which ids each change touches\n"
        "  verify whether a data directory holds what was written\n"
        "  repair make a damaged data directory usable, and say what was lost\n"
        "  reshard  give a data directory another number of lanes\n"
        "  backup copy an index into an empty directory\n"
        "  restore  bring a backup back\n"
        "  remove remove what a stopped index has in shared memory, and its directory\n"
        "  tenant make or remove the user and the groups of an index\n"
        "\n"
        "  --help     this text; 'lanemap COMMAND --help' tells about a command\n"
        "  --version  the version\n"
        "\n"
        "Exit codes: 0 done; 1 failure; 2 usage; 3 get found none of the keys; 4 load or route\n"
        "refused some lines of the input and did the others; 5 verify found damage;\n"
        "6 repair lost something.\n";

static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
} commands[] = {
        /* clang-format off */
        {"get", lanemap_tool_get},
        {"load", lanemap_tool_load},
        {"stat", lanemap_tool_stat},
        {"route", lanemap_tool_route},
        {"verify", lanemap_tool_verify},
        {"repair", lanemap_tool_repair},
        {"reshard", lanemap_tool_reshard},
        {"backup", lanemap_tool_backup},
        {"restore", lanemap_tool_restore},
        {"remove", lanemap_tool_remove},
        {"tenant", lanemap_tool_tenant},
        /* clang-format on */
};

int main(int argc, char **argv)
{
        static char program[] = "lanemap"; /* what getopt_long() puts before its messages */
        const char *name = argc > 1 ? argv[1] : "";

        /* A file that may not grow is a full disk, with an error that says so. */
        signal(SIGXFSZ, SIG_IGN);

        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
                return lanemap_tool_help(help);
        if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
                printf("lanemap %s\n", lanemap_version());
                return lanemap_tool_flush() < 0 ? LANEMAP_TOOL_FAILURE : LANEMAP_TOOL_DONE;
        }
        lanemap_tool_bus_error_init();
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(commands); i++) {
                if (strcmp(name, commands[i].name) != 0)
                        continue;
                argv[1] = program;
                return commands[i].run(argc - 1, argv + 1);
        }

        if (*name)
                lanemap_tool_say("unknown command '%s'", name);
        else
                lanemap_tool_say("a command is missing");
        return lanemap_tool_usage("");
}
