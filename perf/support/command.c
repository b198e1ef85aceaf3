/* See command.h. */
#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 32
#define LINE_MAX    100

static const char *shown(const struct perf_option *option)
{
        static const char *const kinds[] = {
                [PERF_OPTION_FLAG] = "",   [PERF_OPTION_NUMBER] = "N",
                [PERF_OPTION_COUNT] = "N", [PERF_OPTION_REAL] = "N",
                [PERF_OPTION_TEXT] = "",   [PERF_OPTION_SIZES] = "N[,N...]",
        };

        return option->shown ? option->shown : kinds[option->kind];
}

/* `--name ARGUMENT`. Return: its length. */
static int option_text(const struct perf_option *option, char *text, size_t bytes)
{
        return snprintf(text, bytes, "--%s%s%s", option->name, *shown(option) ? " " : "",
                        shown(option));
}

static void usage_print(const struct perf_option *options, size_t n_options, FILE *to)
{
        int column = fprintf(to, "usage: %s", program_invocation_short_name), indent = column,
            width = 0;
        char text[64];

        for (size_t i = 0; i < n_options; i++) {
                int length = option_text(&options[i], text, sizeof(text));

                width = length > width ? length : width;
                if (column + length + 3 > LINE_MAX)
                        column = fprintf(to, "\n%*s", indent, "") - 1;
                column += fprintf(to, " [%s]", text);
        }
        fputs("\n\n", to);
        for (size_t i = 0; i < n_options; i++) {
                (void)option_text(&options[i], text, sizeof(text));
                fprintf(to, "  %-*s  %s\n", width, text, options[i].help);
        }
}

void perf_command_refuse(const char *why)
{
        fprintf(stderr, "%s: %s (--help)\n", program_invocation_short_name, why);
        exit(2);
}

static void option_refuse(const struct perf_option *option)
{
        char why[128];

        snprintf(why, sizeof(why), "--%s does not take that", option->name);
        perf_command_refuse(why);
}

/* Return: where the number ends. */
static const char *number_take(const struct perf_option *option, const char *text, uint64_t most,
                               uint64_t *ret_number)
{
        unsigned long long number;
        char *end;

        if (option->most > 0 && option->most < most)
                most = option->most;
        if (*text < '0' || *text > '9')
                option_refuse(option);
        errno = 0;
        number = strtoull(text, &end, 10);
        if (errno || number < option->least || number > most)
                option_refuse(option);

        *ret_number = number;
        return end;
}

static void sizes_take(const struct perf_option *option, const char *text)
{
        struct perf_sizes sizes = {0};

        for (;; text++) {
                if (sizes.n == PERF_SIZES_MAX)
                        option_refuse(option);
                text = number_take(option, text, UINT64_MAX, &sizes.values[sizes.n++]);
                if (*text != ',')
                        break;
        }
        if (*text)
                option_refuse(option);

        memcpy(option->to, &sizes, sizeof(sizes));
}

static void real_take(const struct perf_option *option, const char *text)
{
        char *end;
        double value = strtod(text, &end);

        if (end == text || *end || !isfinite(value) || value <= 0)
                option_refuse(option);
        *(double *)option->to = value;
}

static void option_take(const struct perf_option *option, const char *text)
{
        uint64_t number = 0;

        switch (option->kind) {
        case PERF_OPTION_FLAG:
                *(bool *)option->to = true;
                break;
        case PERF_OPTION_NUMBER:
                if (*number_take(option, text, UINT64_MAX, &number))
                        option_refuse(option);
                *(uint64_t *)option->to = number;
                break;
        case PERF_OPTION_COUNT:
                if (*number_take(option, text, UINT32_MAX, &number))
                        option_refuse(option);
                *(uint32_t *)option->to = (uint32_t)number;
                break;
        case PERF_OPTION_REAL:
                real_take(option, text);
                break;
        case PERF_OPTION_SIZES:
                sizes_take(option, text);
                break;
        case PERF_OPTION_TEXT:
                *(const char **)option->to = text;
                break;
        }
}

void perf_command_parse(const struct perf_option *options, size_t n_options, int argc, char **argv)
{
        struct option longs[OPTIONS_MAX + 2] = {{"help", no_argument, NULL, 'h'}};
        int at = 0, code;

        if (n_options > OPTIONS_MAX)
                perf_command_refuse("more options than there is room for");
        for (size_t i = 0; i < n_options; i++)
                longs[i + 1] = (struct option){
                        .name = options[i].name,
                        .has_arg = options[i].kind == PERF_OPTION_FLAG ? no_argument
                                                                       : required_argument,
                };

        while ((code = getopt_long(argc, argv, "", longs, &at)) != -1) {
                if (code == 'h') {
                        usage_print(options, n_options, stdout);
                        exit(0);
                }
                if (code != 0) {
                        usage_print(options, n_options, stderr);
                        exit(2);
                }
                option_take(&options[at - 1], optarg);
        }
        if (optind != argc) {
                usage_print(options, n_options, stderr);
                exit(2);
        }
}

const char *perf_command_dir(const char *dir)
{
        if (!dir)
                dir = getenv("TMPDIR");
        return dir ? dir : "/tmp";
}
