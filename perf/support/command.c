/* See command.h. */
#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

void perf_command_refuse(const char *why)
{
        fprintf(stderr, "%s: %s (--help)\n", program_invocation_short_name, why);
        exit(2);
}

void perf_command_parse(const struct lanemap_option *options, size_t n_options, void *values,
                        int argc, char **argv)
{
        struct lanemap_error error = {.text = ""};
        char synopsis[128];
        const struct lanemap_program program = {
                .name = program_invocation_short_name,
                .synopsis = synopsis,
                .options = options,
                .n_options = n_options,
        };
        int r, first;

        snprintf(synopsis, sizeof(synopsis), "%s [OPTION...]", program.name);
        r = lanemap_option_parse(&program, values, argc, argv, &first, &error);
        if (r == LANEMAP_OPTION_HELP) {
                char *help = lanemap_option_help(&program);

                fputs(help ? help : "", stdout);
                free(help);
                exit(0);
        }
        if (r < 0)
                perf_command_refuse(error.text);
        if (first != argc)
                perf_command_refuse("takes options only");
}

const char *perf_command_dir(const char *dir)
{
        if (!dir)
                dir = getenv("TMPDIR");
        return dir ? dir : "/tmp";
}
