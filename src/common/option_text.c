/* See common/option.h: what --help prints, and what bash completes by. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/option.h"

#define LINE_BYTES 88
#define COLUMN_MAX 26 /* where descriptions begin, at most */

/* ---- help ---- */

/* `--name VALUE`. Return: its length. */
static int row_head(const struct lanemap_option *row, char *text, size_t n_text)
{
        return snprintf(text, n_text, "--%s%s%s", row->name, row->value ? " " : "",
                        row->value ? row->value : "");
}

/* n bytes of words, and new lines where they do not fit. */
static void words_print(FILE *to, const char *words, size_t n, int column)
{
        const char *end = words + n;
        int at = column;

        while (words < end) {
                int n_word = (int)LANEMAP_MIN(strcspn(words, " "), (size_t)(end - words));

                if (at > column && at + 1 + n_word > LINE_BYTES)
                        at = fprintf(to, "\n%*s", column, "") - 1;
                at += fprintf(to, "%s%.*s", at > column ? " " : "", n_word, words);
                words += n_word;
                words += strspn(words, " ");
        }
        fputc('\n', to);
}

static void text_print(FILE *to, const char *text)
{
        while (*text) {
                size_t n = strcspn(text, "\n");

                if (*text == ' ')
                        fprintf(to, "%.*s\n", (int)n, text);
                else
                        words_print(to, text, n, 0);
                text += n;
                text += *text == '\n';
        }
}

static void rows_print(FILE *to, const struct lanemap_program *program)
{
        const struct lanemap_option *row;
        int column = 0;
        char head[80];

        for (size_t i = 0; (row = lanemap_option_row(program, i)); i++) {
                int n = 4 + row_head(row, head, sizeof(head));

                if (n <= COLUMN_MAX)
                        column = LANEMAP_MAX(column, n);
        }
        for (size_t i = 0; (row = lanemap_option_row(program, i)); i++) {
                int n = row_head(row, head, sizeof(head));

                if (n > column - 4)
                        fprintf(to, "  %s\n%*s", head, column, "");
                else
                        fprintf(to, "  %-*s", column - 2, head);
                words_print(to, row->help, strlen(row->help), column);
        }
}

char *lanemap_option_help(const struct lanemap_program *program)
{
        char *text = NULL;
        size_t n_text;
        FILE *to = open_memstream(&text, &n_text);
        bool bad;

        if (!to)
                return NULL;
        fprintf(to, "Usage: %s\n\n", program->synopsis);
        if (program->about) {
                text_print(to, program->about);
                fputc('\n', to);
        }
        rows_print(to, program);
        if (program->epilog) {
                fputc('\n', to);
                text_print(to, program->epilog);
        }
        bad = ferror(to);
        if (fclose(to) == 0 && !bad)
                return text;
        free(text);
        return NULL;
}

/* ---- completion ---- */

/* The bash words that complete a value. */
static void value_print(FILE *to, const char *function, const struct lanemap_option *row)
{
        fprintf(to, "    --%s)", row->name);
        if (row->choices) {
                fprintf(to, " %s_words -W '", function);
                for (size_t i = 0; row->choices[i].text; i++)
                        fprintf(to, "%s%s", i ? " " : "", row->choices[i].text);
                fputc('\'', to);
        } else if (strcmp(row->value, "DIR") == 0) {
                fprintf(to, " %s_words -d", function);
        } else if (strcmp(row->value, "FILE") == 0 || strcmp(row->value, "PATH") == 0) {
                fprintf(to, " %s_words -f", function);
        }
        fputs(" ;;\n", to);
}

char *lanemap_option_completion(const struct lanemap_program *program, const char *function)
{
        const struct lanemap_option *row;
        char *text = NULL;
        size_t n_text;
        FILE *to = open_memstream(&text, &n_text);
        bool bad;

        if (!to)
                return NULL;
        fprintf(to,
                "%s_words() {\n"
                "    mapfile -t COMPREPLY < <(compgen \"$@\" -- \"$word\")\n"
                "}\n"
                "%s() {\n"
                "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
                "    if [[ $word == = ]]; then\n"
                "        word=\n"
                "    elif [[ $before == = ]]; then\n"
                "        before=${COMP_WORDS[COMP_CWORD - 2]}\n"
                "    fi\n"
                "    COMPREPLY=()\n"
                "    case $before in\n",
                function, function);
        for (size_t i = 0; (row = lanemap_option_row(program, i)); i++)
                if (row->value)
                        value_print(to, function, row);
        fprintf(to,
                "    *)\n"
                "        if [[ $word == -* ]]; then\n"
                "            %s_words -W '",
                function);
        for (size_t i = 0; (row = lanemap_option_row(program, i)); i++)
                fprintf(to, "%s--%s", i ? " " : "", row->name);
        fputs("'\n", to);
        if (program->arguments)
                fprintf(to, "        else\n            %s_words -%c\n", function,
                        strcmp(program->arguments, "DIR") == 0 ? 'd' : 'f');
        fputs("        fi\n"
              "        ;;\n"
              "    esac\n"
              "}\n",
              to);
        bad = ferror(to);
        if (fclose(to) == 0 && !bad)
                return text;
        free(text);
        return NULL;
}
