/* common/option: what a row parses, refuses, shows and completes. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/option.h"

struct values {
        uint32_t n_workers, kind;
        uint64_t rate;
        double seconds;
        struct lanemap_option_sizes keys;
        const char *directory;
        char socket[8];
        bool json;
        char taken[16];
};

static const struct lanemap_choice kinds[] = {
        {"packed", 1}, {"info", 2}, {"verbose", 2}, {"bbhash", 3}, {NULL}};
static const struct lanemap_choice off[] = {{"off", UINT64_MAX}, {NULL}};

static int password_take(void *values, char *text, struct lanemap_error *ret_error)
{
        struct values *to = values;

        if (strlen(text) >= sizeof(to->taken)) {
                snprintf(ret_error->text, sizeof(ret_error->text), "--password: too long");
                return -EINVAL;
        }
        memcpy(to->taken, text, strlen(text) + 1);
        memset(text, '*', strlen(text));
        return 0;
}

#define TO(member) LANEMAP_OPTION_TO(struct values, member)
static const struct lanemap_option rows[] = {
        {"workers", "N", "compaction threads", TO(n_workers), 1, 64, .letter = 'w'},
        {"kind", "K", "of a segment", TO(kind), .choices = kinds, .choices_only = true},
        {"rate", "N", "bytes a second, or off", TO(rate), 10, 1000, .choices = off},
        {"seconds", "N", "of a window", TO(seconds)},
        {"keys", "N[,N...]", "sizes", TO(keys), 5},
        {"dir", "DIR", "of the index", TO(directory), .min = 1},
        {"socket", "PATH", "of the daemon", TO(socket)},
        {"json", NULL, "one object", TO(json), .letter = 'j'},
        {"password", "TEXT", "of the daemon", .take = password_take},
};

static const struct lanemap_program program = {
        .name = "tool",
        .synopsis = "tool [OPTION...] FILE",
        .about = "A paragraph that is long enough to be wrapped, since it has more than "
                 "eighty-eight "
                 "bytes in it.\n\n  as it is",
        .options = rows,
        .n_options = LANEMAP_N_ELEMENTS(rows),
        .epilog = "The end.",
        .arguments = "FILE",
        .version = "1",
};

/* Return: what the parser does. words: the command line after the program's name, by blanks. */
static int parse(const struct lanemap_program *of, const char *words, struct values *values,
                 int *ret_first, struct lanemap_error *ret_error)
{
        static char line[512];
        char *argv[32] = {line}, *at = line;
        int argc = 1;

        snprintf(line, sizeof(line), "tool %s", words);
        while ((at = strchr(at, ' '))) {
                *at++ = 0;
                argv[argc++] = at;
        }
        return lanemap_option_parse(of, values, argc, argv, ret_first, ret_error);
}

Test(option, each_kind_of_value_is_read)
{
        struct values values = {.rate = 7};
        struct lanemap_error error = {0};
        int first = 0;

        cr_assert_eq(parse(&program,
                           "a --workers=64 --kind BBHASH b --seconds 0.5 --keys 5,6 --dir d -j "
                           "--socket 1234567 --password x",
                           &values, &first, &error),
                     0);
        cr_assert_eq(first, 15); /* of 17 words; a and b went to the end */
        cr_assert_eq(values.n_workers, 64);
        cr_assert_eq(values.kind, 3);
        cr_assert_eq(values.rate, 7); /* not given: as it was */
        cr_assert_eq(values.seconds, 0.5);
        cr_assert_eq(values.keys.n, 2);
        cr_assert_eq(values.keys.values[1], 6);
        cr_assert_str_eq(values.directory, "d");
        cr_assert_str_eq(values.socket, "1234567");
        cr_assert_str_eq(values.taken, "x");
        cr_assert(values.json);
        cr_assert_eq(parse(&program, "-w 3 --rate off --ke 9", &values, &first, &error), 0);
        cr_assert_eq(values.n_workers, 3);
        cr_assert_eq(values.rate, UINT64_MAX);
        cr_assert_eq(values.keys.values[0], 9); /* by the beginning of its name */
}

Test(option, a_password_is_overwritten_where_it_stood)
{
        char name[] = "tool", option[] = "--password", text[] = "secret";
        char *argv[] = {name, option, text, NULL};
        struct lanemap_error error = {0};
        struct values values = {0};
        int first;

        cr_assert_eq(lanemap_option_parse(&program, &values, 3, argv, &first, &error), 0);
        cr_assert_str_eq(text, "******");
}

Test(option, what_cannot_be_read_is_named)
{
        static const struct {
                const char *words;
                int r;
                const char *text;
        } bad[] = {
                {"--workers 0", -EINVAL, "--workers: '0' is not a number from 1 to 64"},
                {"--workers 65", -EINVAL, "--workers: '65' is not a number from 1 to 64"},
                {"--workers 5x", -EINVAL, "--workers: '5x' is not a number from 1 to 64"},
                {"--workers -1", -EINVAL, "--workers: '-1' is not a number from 1 to 64"},
                {"--workers 18446744073709551617", -EINVAL,
                 "--workers: '18446744073709551617' is not a number from 1 to 64"},
                {"--workers", -EINVAL, "--workers needs a value"},
                {"--kind x", -EINVAL, "--kind: 'x' is not packed, info or bbhash"},
                {"--kind 1", -EINVAL, "--kind: '1' is not packed, info or bbhash"},
                {"--rate 9", -EINVAL, "--rate: '9' is not a number from 10 to 1000, or off"},
                {"--seconds 0", -EINVAL, "--seconds: '0' is not a number above 0"},
                {"--seconds inf", -EINVAL, "--seconds: 'inf' is not a number above 0"},
                {"--keys 5,4", -EINVAL, "--keys: '5,4' is not a list of numbers from 5 on"},
                {"--keys 5,", -EINVAL, "--keys: '5,' is not a list of numbers from 5 on"},
                {"--keys 5,5,5,5,5,5,5,5,5", -EINVAL,
                 "--keys: '5,5,5,5,5,5,5,5,5' is not a list of numbers from 5 on"},
                {"--dir=", -EINVAL, "--dir: the name of a directory is empty"},
                {"--socket 12345678", -EINVAL, "--socket: the path is too long"},
                {"--json=1", -EINVAL, "--json takes no value"},
                {"--password 1234567890123456", -EINVAL, "--password: too long"},
                {"--nosuch=secret", -ENOENT, "unknown option '--nosuch'"},
                {"-xj", -ENOENT, "unknown option '-x'"},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(bad); i++) {
                struct lanemap_error error = {0};
                struct values values = {.n_workers = 9};
                int first = -1;

                cr_assert_eq(parse(&program, bad[i].words, &values, &first, &error), bad[i].r, "%s",
                             bad[i].words);
                cr_assert_str_eq(error.text, bad[i].text);
                cr_assert_eq(values.n_workers, 9);
                cr_assert_eq(first, -1);
        }
}

Test(option, help_and_version_end_the_parsing)
{
        struct lanemap_program silent = program;
        struct lanemap_error error = {0};
        struct values values = {0};
        int first;

        silent.version = NULL;
        cr_assert_eq(parse(&program, "--help --workers x", &values, &first, &error),
                     LANEMAP_OPTION_HELP);
        cr_assert_eq(parse(&program, "-h", &values, &first, &error), LANEMAP_OPTION_HELP);
        cr_assert_eq(parse(&program, "--version", &values, &first, &error), LANEMAP_OPTION_VERSION);
        cr_assert_eq(parse(&program, "-V", &values, &first, &error), LANEMAP_OPTION_VERSION);
        cr_assert_eq(parse(&program, "--completion", &values, &first, &error), -ENOENT);
        cr_assert_eq(parse(&silent, "--version", &values, &first, &error), -ENOENT);
        silent.completes = true;
        cr_assert_eq(parse(&silent, "--completion", &values, &first, &error),
                     LANEMAP_OPTION_COMPLETION);
}

Test(option, options_first_leaves_the_words_alone)
{
        struct lanemap_program get = program;
        struct lanemap_error error = {0};
        struct values values = {0};
        int first;

        get.options_first = true;
        cr_assert_eq(parse(&get, "-j name --workers x", &values, &first, &error), 0);
        cr_assert_eq(first, 2);
}

Test(option, help_shows_every_row_within_its_width)
{
        char *help = lanemap_option_help(&program);
        const char *line = help;

        cr_assert(help);
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                char head[64];

                snprintf(head, sizeof(head), "\n  --%s%s%s  ", rows[i].name,
                         rows[i].value ? " " : "", rows[i].value ? rows[i].value : "");
                cr_assert(strstr(help, head), "%s in %s", head, help);
                cr_assert(strstr(help, rows[i].help));
        }
        for (const char *end; (end = strchr(line, '\n')); line = end + 1)
                cr_assert_leq(end - line, 88);
        cr_assert(strstr(help, "Usage: tool [OPTION...] FILE\n"));
        cr_assert(strstr(help, "\n\n  as it is\n\n"));
        cr_assert(strstr(help, "\n  --help "));
        free(help);
}

Test(option, a_value_is_shown_as_it_is_given)
{
        static const char *const texts[LANEMAP_N_ELEMENTS(rows)] = {
                "3", "info", "off", "0.5", "5,6", "d", "s", "yes", ""};
        struct values values = {.n_workers = 3,
                                .kind = 2,
                                .rate = UINT64_MAX,
                                .seconds = 0.5,
                                .keys = {2, {5, 6}},
                                .directory = "d",
                                .socket = "s",
                                .json = true,
                                .taken = "secret"};
        char text[32];

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(rows); i++) {
                lanemap_option_format(&rows[i], &values, text, sizeof(text));
                cr_assert_str_eq(text, texts[i]);
        }
}

/* Bash itself reads it. */
Test(option, bash_completes_names_and_values)
{
        char *completion = lanemap_option_completion(&program, "_tool");
        char answer[64] = "";
        FILE *script;
        char path[] = "/tmp/lanemap-option-XXXXXX";
        char command[128];
        int fd = mkstemp(path);

        cr_assert(completion);
        cr_assert_geq(fd, 0);
        dprintf(fd,
                "%s\nCOMP_WORDS=(tool --kind = b) COMP_CWORD=3; _tool; echo -n ${COMPREPLY[*]}/\n"
                "COMP_WORDS=(tool --se) COMP_CWORD=1; _tool; echo -n ${COMPREPLY[*]}\n",
                completion);
        close(fd);
        snprintf(command, sizeof(command), "bash -eu %s", path);
        script = popen(command, "re");
        cr_assert(script);
        cr_assert(fgets(answer, sizeof(answer), script));
        cr_assert_eq(pclose(script), 0);
        cr_assert_str_eq(answer, "bbhash/--seconds");
        unlink(path);
        free(completion);
}
