/* See common/option.h. */
#include "common/option.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG_FIRST      256 /* getopt's number of the first row; letters are below */
#define LONG_HELP       (LONG_FIRST + LANEMAP_OPTIONS_MAX)
#define LONG_VERSION    (LONG_HELP + 1)
#define LONG_COMPLETION (LONG_HELP + 2)

static const struct lanemap_option help_row = {"help", NULL, "print this and exit"};
static const struct lanemap_option version_row = {"version", NULL, "print the version and exit"};
static const struct lanemap_option completion_row = {
        "completion", NULL, "print what bash evaluates to complete this command, and exit"};

static int refuse(struct lanemap_error *ret_error, const char *format, ...) LANEMAP_PRINTF(2, 3);

static int refuse(struct lanemap_error *ret_error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(ret_error->text, sizeof(ret_error->text), format, args);
        va_end(args);
        return -EINVAL;
}

/* ---- values ---- */

int lanemap_number_parse(const char *text, size_t n_bytes, uint64_t max, uint64_t *ret_number)
{
        uint64_t number = 0;

        if (n_bytes == 0)
                return -EINVAL;
        for (size_t i = 0; i < n_bytes; i++) {
                uint64_t digit = (uint64_t)((unsigned char)text[i] - '0');

                if (digit > 9)
                        return -EINVAL;
                if (number > (max - digit) / 10 || digit > max)
                        return -ERANGE;
                number = number * 10 + digit;
        }
        *ret_number = number;
        return 0;
}

const char *lanemap_choice_text(const struct lanemap_choice *choices, uint64_t value)
{
        for (; choices->text; choices++)
                if (choices->value == value)
                        return choices->text;
        return "unknown";
}

/* A further word for the value before it. */
static bool choice_is_alias(const struct lanemap_choice *choices, size_t i)
{
        return i > 0 && choices[i].value == choices[i - 1].value;
}

void lanemap_choice_list(const struct lanemap_choice *choices, const char *last, char *text,
                         size_t n_text)
{
        size_t end = 0, n = 0;

        *text = 0;
        for (size_t i = 0; choices[i].text; i++)
                if (!choice_is_alias(choices, i))
                        end = i;
        for (size_t i = 0; i <= end && n < n_text; i++) {
                const char *between = i == 0 ? "" : i == end ? last : ", ";

                if (!choice_is_alias(choices, i))
                        n += (size_t)snprintf(text + n, n_text - n, "%s%s", between,
                                              choices[i].text);
        }
}

static uint64_t number_max(const struct lanemap_option *option)
{
        if (option->max > 0)
                return option->max;
        return option->kind == LANEMAP_OPTION_U32 ? UINT32_MAX : UINT64_MAX;
}

static int number_refuse(const struct lanemap_option *option, const char *text,
                         struct lanemap_error *ret_error)
{
        const char *what = option->kind == LANEMAP_OPTION_SIZES ? "list of numbers" : "number";
        char words[128] = "";

        if (option->choices)
                lanemap_choice_list(option->choices, " or ", words, sizeof(words));
        if (option->choices_only)
                return refuse(ret_error, "--%s: '%.200s' is not %s", option->name, text, words);
        if (option->max == 0 && option->min == 0)
                return refuse(ret_error, "--%s: '%.200s' is not a %s", option->name, text, what);
        if (option->max == 0)
                return refuse(ret_error, "--%s: '%.200s' is not a %s from %" PRIu64 " on",
                              option->name, text, what, option->min);
        return refuse(ret_error, "--%s: '%.200s' is not a %s from %" PRIu64 " to %" PRIu64 "%s%s",
                      option->name, text, what, option->min, option->max, *words ? ", or " : "",
                      words);
}

static int number_take(const struct lanemap_option *option, const char *text, uint64_t *ret_number,
                       struct lanemap_error *ret_error)
{
        uint64_t number;

        for (const struct lanemap_choice *choice = option->choices; choice && choice->text;
             choice++) {
                if (strcasecmp(choice->text, text) == 0) {
                        *ret_number = choice->value;
                        return 0;
                }
        }
        if (option->choices_only ||
            lanemap_number_parse(text, strlen(text), number_max(option), &number) < 0 ||
            number < option->min)
                return number_refuse(option, text, ret_error);
        *ret_number = number;
        return 0;
}

static int sizes_take(const struct lanemap_option *option, const char *text,
                      struct lanemap_option_sizes *ret_sizes, struct lanemap_error *ret_error)
{
        struct lanemap_option_sizes sizes = {0};

        for (const char *at = text;; at++) {
                size_t n_bytes = strcspn(at, ",");
                uint64_t *number = &sizes.values[sizes.n];

                if (sizes.n++ == LANEMAP_OPTION_SIZES_MAX ||
                    lanemap_number_parse(at, n_bytes, number_max(option), number) < 0 ||
                    *number < option->min)
                        return number_refuse(option, text, ret_error);
                at += n_bytes;
                if (!*at)
                        break;
        }
        *ret_sizes = sizes;
        return 0;
}

static int real_take(const struct lanemap_option *option, const char *text, double *ret_number,
                     struct lanemap_error *ret_error)
{
        char *end;
        double number = strtod(text, &end);

        if (end == text || *end || !isfinite(number) || number <= 0)
                return refuse(ret_error, "--%s: '%.200s' is not a number above 0", option->name,
                              text);
        *ret_number = number;
        return 0;
}

static int text_check(const struct lanemap_option *option, const char *text,
                      struct lanemap_error *ret_error)
{
        const char *what = strcmp(option->value, "PATH") == 0  ? "the path"
                           : strcmp(option->value, "DIR") == 0 ? "the name of a directory"
                                                               : "the value";

        if (option->min > 0 && !*text)
                return refuse(ret_error, "--%s: %s is empty", option->name, what);
        if (option->kind == LANEMAP_OPTION_ARRAY && strlen(text) >= option->bytes)
                return refuse(ret_error, "--%s: %s is too long", option->name, what);
        return 0;
}

int lanemap_option_take(const struct lanemap_option *option, void *values, char *text,
                        struct lanemap_error *ret_error)
{
        void *to = (char *)values + option->off;
        uint64_t number;
        int r = 0;

        if (option->take)
                return option->take(values, text, ret_error);
        switch (option->kind) {
        case LANEMAP_OPTION_CALL:
                break;
        case LANEMAP_OPTION_FLAG:
                *(bool *)to = true;
                break;
        case LANEMAP_OPTION_U32:
                r = number_take(option, text, &number, ret_error);
                if (r == 0)
                        *(uint32_t *)to = (uint32_t)number;
                break;
        case LANEMAP_OPTION_U64:
                r = number_take(option, text, to, ret_error);
                break;
        case LANEMAP_OPTION_REAL:
                r = real_take(option, text, to, ret_error);
                break;
        case LANEMAP_OPTION_SIZES:
                r = sizes_take(option, text, to, ret_error);
                break;
        case LANEMAP_OPTION_TEXT:
                r = text_check(option, text, ret_error);
                if (r == 0)
                        *(const char **)to = text;
                break;
        case LANEMAP_OPTION_ARRAY:
                r = text_check(option, text, ret_error);
                if (r == 0)
                        memcpy(to, text, strlen(text) + 1);
                break;
        }
        return r;
}

static const char *text_at(const void *at)
{
        const char *text = *(const char *const *)at;

        return text ? text : "";
}

static void number_format(const struct lanemap_option *option, uint64_t number, char *text,
                          size_t n_text)
{
        for (const struct lanemap_choice *choice = option->choices; choice && choice->text;
             choice++) {
                if (choice->value == number) {
                        snprintf(text, n_text, "%s", choice->text);
                        return;
                }
        }
        snprintf(text, n_text, "%" PRIu64, number);
}

void lanemap_option_format(const struct lanemap_option *option, const void *values, char *text,
                           size_t n_text)
{
        const void *from = (const char *)values + option->off;
        const struct lanemap_option_sizes *sizes;
        size_t n = 0;

        *text = 0;
        switch (option->kind) {
        case LANEMAP_OPTION_CALL:
                break;
        case LANEMAP_OPTION_FLAG:
                snprintf(text, n_text, "%s", *(const bool *)from ? "yes" : "no");
                break;
        case LANEMAP_OPTION_U32:
                number_format(option, *(const uint32_t *)from, text, n_text);
                break;
        case LANEMAP_OPTION_U64:
                number_format(option, *(const uint64_t *)from, text, n_text);
                break;
        case LANEMAP_OPTION_REAL:
                snprintf(text, n_text, "%g", *(const double *)from);
                break;
        case LANEMAP_OPTION_SIZES:
                sizes = from;
                for (size_t i = 0; i < sizes->n && n < n_text; i++)
                        n += (size_t)snprintf(text + n, n_text - n, "%s%" PRIu64, i ? "," : "",
                                              sizes->values[i]);
                break;
        case LANEMAP_OPTION_TEXT:
                snprintf(text, n_text, "%s", text_at(from));
                break;
        case LANEMAP_OPTION_ARRAY:
                snprintf(text, n_text, "%s", (const char *)from);
                break;
        }
}

/* ---- the command line ---- */

const struct lanemap_option *lanemap_option_row(const struct lanemap_program *program, size_t i)
{
        const struct lanemap_option *more[] = {
                program->completes ? &completion_row : NULL,
                program->version ? &version_row : NULL,
                &help_row,
        };

        if (i < program->n_options)
                return &program->options[i];
        i -= program->n_options;
        for (size_t m = 0; m < LANEMAP_N_ELEMENTS(more); m++)
                if (more[m] && i-- == 0)
                        return more[m];
        return NULL;
}

static int row_number(const struct lanemap_option *row, size_t i)
{
        return row == &help_row         ? LONG_HELP
               : row == &version_row    ? LONG_VERSION
               : row == &completion_row ? LONG_COMPLETION
                                        : LONG_FIRST + (int)i;
}

/* The argument that getopt_long() stopped at, without its value, which may be a password. */
static int unknown_option(char **argv, struct lanemap_error *ret_error)
{
        const char *word = argv[optind - 1];
        int n = (int)LANEMAP_MIN(strcspn(word, "="), (size_t)200);

        if (optopt >= LONG_FIRST)
                return refuse(ret_error, "%.*s takes no value", n, word);
        if (optopt > 0) /* a letter; argv is at its word or after it */
                (void)refuse(ret_error, "unknown option '-%c'", optopt);
        else
                (void)refuse(ret_error, "unknown option '%.*s'", n, word);
        return -ENOENT;
}

struct parser {
        struct option longs[LANEMAP_OPTIONS_MAX + 4];
        char letters[2 * LANEMAP_OPTIONS_MAX + 8];
        const struct lanemap_option *by_letter[128];
};

static int parser_init(const struct lanemap_program *program, struct parser *parser,
                       struct lanemap_error *ret_error)
{
        const struct lanemap_option *row;
        size_t n_letters;

        if (program->n_options > LANEMAP_OPTIONS_MAX)
                return refuse(ret_error, "more options than there is room for");
        memset(parser, 0, sizeof(*parser));
        n_letters =
                (size_t)snprintf(parser->letters, sizeof(parser->letters), "%s:h%s",
                                 program->options_first ? "+" : "", program->version ? "V" : "");
        for (size_t i = 0; (row = lanemap_option_row(program, i)); i++) {
                parser->longs[i] =
                        (struct option){row->name, row->value != NULL, NULL, row_number(row, i)};
                if (!row->letter)
                        continue;
                parser->by_letter[(int)row->letter] = row;
                n_letters += (size_t)snprintf(parser->letters + n_letters,
                                              sizeof(parser->letters) - n_letters, "%c%s",
                                              row->letter, row->value ? ":" : "");
        }
        opterr = 0;
        optind = 0;
        return 0;
}

/* Return: 1 and the next option; 0 after the last; an outcome plus 1; -EINVAL, -ENOENT. */
static int parser_next(const struct lanemap_program *program, const struct parser *parser, int argc,
                       char **argv, const struct lanemap_option **ret_row,
                       struct lanemap_error *ret_error)
{
        int number = getopt_long(argc, argv, parser->letters, parser->longs, NULL);

        if (number == -1)
                return 0;
        if (number == LONG_HELP || number == 'h')
                return 1 + LANEMAP_OPTION_HELP;
        if (number == LONG_VERSION || number == 'V')
                return 1 + LANEMAP_OPTION_VERSION;
        if (number == LONG_COMPLETION)
                return 1 + LANEMAP_OPTION_COMPLETION;
        if (number == ':')
                return refuse(ret_error, "%.200s needs a value", argv[optind - 1]);
        if (number == '?')
                return unknown_option(argv, ret_error);
        *ret_row = number < LONG_FIRST ? parser->by_letter[number]
                                       : &program->options[number - LONG_FIRST];
        return 1;
}

int lanemap_option_parse(const struct lanemap_program *program, void *values, int argc, char **argv,
                         int *ret_first, struct lanemap_error *ret_error)
{
        const struct lanemap_option *row = NULL;
        struct parser parser;
        int r;

        r = parser_init(program, &parser, ret_error);
        if (r < 0)
                return r;
        while ((r = parser_next(program, &parser, argc, argv, &row, ret_error)) == 1) {
                r = lanemap_option_take(row, values, optarg, ret_error);
                if (r < 0)
                        return r;
        }
        if (r != 0)
                return r < 0 ? r : r - 1;
        *ret_first = optind;
        return 0;
}

const char *lanemap_option_last(const struct lanemap_program *program, const char *name, int argc,
                                char **argv)
{
        const struct lanemap_option *row = NULL;
        struct lanemap_error error;
        const char *last = NULL;
        struct parser parser;
        int r;

        r = parser_init(program, &parser, &error);
        if (r < 0)
                return NULL;
        while ((r = parser_next(program, &parser, argc, argv, &row, &error)) == 1)
                if (strcmp(row->name, name) == 0)
                        last = optarg;
        return r > 0 ? NULL : last;
}

const struct lanemap_option *lanemap_option_find(const struct lanemap_program *program,
                                                 const char *name)
{
        for (size_t i = 0; i < program->n_options; i++)
                if (strcmp(program->options[i].name, name) == 0)
                        return &program->options[i];
        return NULL;
}

bool lanemap_option_equal(const struct lanemap_option *option, const void *a, const void *b)
{
        const char *at_a = (const char *)a + option->off, *at_b = (const char *)b + option->off;

        switch (option->kind) {
        case LANEMAP_OPTION_CALL:
                return true;
        case LANEMAP_OPTION_TEXT:
                return strcmp(text_at(at_a), text_at(at_b)) == 0;
        case LANEMAP_OPTION_ARRAY:
                return strcmp(at_a, at_b) == 0;
        default:
                return memcmp(at_a, at_b, option->bytes) == 0;
        }
}
