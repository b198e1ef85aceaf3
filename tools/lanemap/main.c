/*
 * lanemap: the command line of a route index. Everything is in the subcommands, a file each (cmd/);
 * this one picks one of them.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd/commands.h"

static const struct lanemap_tool_command *const commands[] = {
        &lanemap_tool_get,     &lanemap_tool_load,   &lanemap_tool_stat,    &lanemap_tool_route,
        &lanemap_tool_verify,  &lanemap_tool_repair, &lanemap_tool_reshard, &lanemap_tool_backup,
        &lanemap_tool_restore, &lanemap_tool_remove, &lanemap_tool_tenant,
};

static const struct lanemap_program program = {
        .name = "lanemap",
        .synopsis = "lanemap COMMAND [OPTION...] [ARGUMENT...]",
        .epilog = "'lanemap COMMAND --help' says more about a command.\n\nExit codes: 0 done; 1 "
                  "failure; 2 usage; 3 get found none of the keys; 4 load or route refused some "
                  "lines of the input and did the others; 5 verify found damage; 6 repair lost "
                  "something.",
        .version = LANEMAP_VERSION,
        .completes = true,
        .options_first = true,
};

static int help_print(void)
{
        struct lanemap_program with_commands = program;
        struct lanemap_text about = {0};
        int exit_code;

        lanemap_text_append_format(
                &about,
                "Work with a route index (key -> ids) that lanemapd publishes in shared memory.\n"
                "\n"
                "Commands:");
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(commands); i++)
                lanemap_text_append_format(&about, "\n  %-8s  %s", commands[i]->name,
                                           commands[i]->summary);
        lanemap_text_append_char(&about, '\0');
        with_commands.about = about.data;
        exit_code = lanemap_tool_help(&with_commands);
        lanemap_text_deinit(&about);
        return exit_code;
}

/* A function for each command, and one that picks among them. */
static int completion_print(void)
{
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(commands); i++) {
                char function[64];
                char *text;

                snprintf(function, sizeof(function), "_lanemap_%s", commands[i]->name);
                text = lanemap_option_completion(&commands[i]->program, function);
                if (!text)
                        return LANEMAP_TOOL_FAILURE;
                fputs(text, stdout);
                free(text);
        }
        fputs("_lanemap() {\n"
              "    if ((COMP_CWORD > 1)) && declare -F \"_lanemap_${COMP_WORDS[1]}\" >/dev/null; "
              "then\n"
              "        \"_lanemap_${COMP_WORDS[1]}\"\n"
              "        return\n"
              "    fi\n"
              "    mapfile -t COMPREPLY < <(compgen -W '--completion --version --help",
              stdout);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(commands); i++)
                printf(" %s", commands[i]->name);
        fputs("' -- \"${COMP_WORDS[COMP_CWORD]}\")\n"
              "}\n"
              "complete -o filenames -F _lanemap lanemap\n",
              stdout);
        return lanemap_tool_flush() < 0 ? LANEMAP_TOOL_FAILURE : LANEMAP_TOOL_DONE;
}

static int version_print(void)
{
        printf("lanemap %s\n", lanemap_version());
        return lanemap_tool_flush() < 0 ? LANEMAP_TOOL_FAILURE : LANEMAP_TOOL_DONE;
}

int main(int argc, char **argv)
{
        struct lanemap_error error = {.text = ""};
        const char *name;
        int r, first;

        /* A file that may not grow is a full disk, with an error that says so. */
        signal(SIGXFSZ, SIG_IGN);

        r = lanemap_option_parse(&program, NULL, argc, argv, &first, &error);
        if (r == LANEMAP_OPTION_HELP)
                return help_print();
        if (r == LANEMAP_OPTION_VERSION)
                return version_print();
        if (r == LANEMAP_OPTION_COMPLETION)
                return completion_print();
        if (r < 0) {
                lanemap_tool_say("%s", error.text);
                return lanemap_tool_usage("");
        }

        lanemap_tool_bus_error_init();
        name = first < argc ? argv[first] : "";
        if (strcmp(name, "help") == 0)
                return help_print();
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(commands); i++)
                if (strcmp(name, commands[i]->name) == 0)
                        return lanemap_tool_run(commands[i], argc - first, argv + first);
        if (*name)
                lanemap_tool_say("unknown command '%s'", name);
        else
                lanemap_tool_say("a command is missing");
        return lanemap_tool_usage("");
}
