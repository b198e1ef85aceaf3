/*
 * See resp/read.h. The states are few: between messages (n_missing 0), before a length line, within
 * the bytes of an argument (in_bulk). `at` only grows within a message; the one exception to "no
 * byte is looked at twice" is a length line that is not complete, which has at most LENGTH_LINE_MAX
 * bytes, and an inline line, where the newline is searched from `at`.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "daemon/resp/read.h"

#define LENGTH_LINE_MAX 64
#define ARGS_KEEP       4096 /* room for so many is kept from message to message */

void lanemap_resp_parser_init(struct lanemap_resp_parser *parser)
{
        memset(parser, 0, sizeof(*parser));
        parser->args = parser->first_args;
        parser->args_capacity = LANEMAP_N_ELEMENTS(parser->first_args);
}

void lanemap_resp_parser_deinit(struct lanemap_resp_parser *parser)
{
        if (parser->args != parser->first_args)
                lanemap_free(parser->args);
        parser->args = NULL;
}

static int parser_fail(struct lanemap_resp_parser *parser, const char *what)
{
        snprintf(parser->error, sizeof(parser->error), "%s", what);
        return -EBADMSG;
}

static int parser_grow(struct lanemap_resp_parser *parser)
{
        uint32_t capacity = parser->args_capacity * 2;
        struct lanemap_resp_arg *args;

        if (parser->args == parser->first_args) {
                args = lanemap_alloc(capacity * sizeof(*args));
                if (args)
                        memcpy(args, parser->first_args, sizeof(parser->first_args));
        } else {
                args = lanemap_realloc(parser->args, capacity * sizeof(*args));
        }
        if (!args)
                return -ENOMEM;
        parser->args = args;
        parser->args_capacity = capacity;
        return 0;
}

static int parser_add(struct lanemap_resp_parser *parser, size_t off, size_t bytes)
{
        int r;

        if (LANEMAP_UNLIKELY(parser->n_args == parser->args_capacity)) {
                r = parser_grow(parser);
                if (r < 0)
                        return r;
        }
        parser->args[parser->n_args++] =
                (struct lanemap_resp_arg){.off = (uint32_t)off, .bytes = (uint32_t)bytes};
        return 0;
}

/* A message of many arguments must not leave its array behind for the rest of a connection. */
static void parser_start(struct lanemap_resp_parser *parser)
{
        if (LANEMAP_UNLIKELY(parser->args_capacity > ARGS_KEEP)) {
                lanemap_free(parser->args);
                parser->args = parser->first_args;
                parser->args_capacity = LANEMAP_N_ELEMENTS(parser->first_args);
        }
        parser->n_args = 0;
}

void lanemap_resp_parser_trim(struct lanemap_resp_parser *parser)
{
        if (parser->n_missing == 0)
                parser_start(parser);
}

/*
 * The number between a type byte at bytes[0] and \r\n. As Redis reads it: an optional minus, no
 * leading zeros, no spaces.
 *
 * Return: 0, LANEMAP_RESP_MORE, -ERANGE the line is too long, -EINVAL not a number.
 */
static int length_read(const char *bytes, size_t n_bytes, int64_t *ret_number, size_t *ret_used)
{
        size_t n = LANEMAP_MIN(n_bytes, (size_t)LENGTH_LINE_MAX);
        size_t at = 1;
        int64_t number = 0;
        bool negative = false;
        size_t digits;

        if (at < n && bytes[at] == '-') {
                negative = true;
                at++;
        }
        digits = at;
        while (at < n && bytes[at] >= '0' && bytes[at] <= '9' && at - digits < 18)
                number = number * 10 + (bytes[at++] - '0');
        if (LANEMAP_UNLIKELY(at == n || (at + 1 == n && bytes[at] == '\r')))
                return n == LENGTH_LINE_MAX ? -ERANGE : LANEMAP_RESP_MORE;
        if (bytes[at] != '\r') {
                if (memchr(bytes + at, '\r', n - at))
                        return -EINVAL;
                return n == LENGTH_LINE_MAX ? -ERANGE : LANEMAP_RESP_MORE;
        }
        if (at == digits || bytes[at + 1] != '\n' || (bytes[digits] == '0' && at - digits > 1) ||
            (negative && bytes[digits] == '0'))
                return -EINVAL;
        *ret_number = negative ? -number : number;
        *ret_used = at + 2;
        return 0;
}

/* Return: 0 there are arguments to come, LANEMAP_RESP_COMMAND there are none, _MORE, errors. */
static int header_read(struct lanemap_resp_parser *parser, const char *bytes, size_t n_bytes)
{
        int64_t number;
        size_t used;
        int r;

        r = length_read(bytes, n_bytes, &number, &used);
        if (r == LANEMAP_RESP_MORE)
                return r;
        if (r == -ERANGE)
                return parser_fail(parser, "too big mbulk count string");
        if (r < 0 || number > LANEMAP_RESP_ARGS_MAX)
                return parser_fail(parser, "invalid multibulk length");
        if (parser->restricted && number > LANEMAP_RESP_RESTRICTED_ARGS_MAX)
                return parser_fail(parser, "unauthenticated multibulk length");
        parser_start(parser);
        parser->at = used;
        if (number <= 0)
                return LANEMAP_RESP_COMMAND;
        parser->n_missing = (uint32_t)number;
        return 0;
}

/* The line before an argument. Return: 0, LANEMAP_RESP_MORE, errors. */
static int bulk_length_read(struct lanemap_resp_parser *parser, const char *bytes, size_t n_bytes)
{
        int64_t number;
        size_t used;
        int r;

        if (parser->at == n_bytes)
                return LANEMAP_RESP_MORE;
        if (LANEMAP_UNLIKELY(bytes[parser->at] != '$')) {
                char c = bytes[parser->at];

                snprintf(parser->error, sizeof(parser->error), "expected '$', got '%c'",
                         isprint((unsigned char)c) ? c : '?');
                return -EBADMSG;
        }
        r = length_read(bytes + parser->at, n_bytes - parser->at, &number, &used);
        if (r == LANEMAP_RESP_MORE)
                return r;
        if (r == -ERANGE)
                return parser_fail(parser, "too big bulk count string");
        if (r < 0 || number < 0 || number > LANEMAP_RESP_ARG_BYTES_MAX)
                return parser_fail(parser, "invalid bulk length");
        if (parser->restricted && number > LANEMAP_RESP_RESTRICTED_ARG_BYTES_MAX)
                return parser_fail(parser, "unauthenticated bulk length");
        parser->at += used;
        parser->bulk_bytes = (uint32_t)number;
        parser->in_bulk = true;
        return 0;
}

static int multibulk_read(struct lanemap_resp_parser *parser, const char *bytes, size_t n_bytes,
                          size_t *ret_consumed)
{
        int r;

        while (parser->n_missing > 0) {
                if (!parser->in_bulk) {
                        r = bulk_length_read(parser, bytes, n_bytes);
                        if (r != 0)
                                return r;
                }
                if (n_bytes - parser->at < (size_t)parser->bulk_bytes + 2)
                        return LANEMAP_RESP_MORE;
                if (LANEMAP_UNLIKELY(memcmp(bytes + parser->at + parser->bulk_bytes, "\r\n", 2)))
                        return parser_fail(parser, "expected CRLF after bulk");
                r = parser_add(parser, parser->at, parser->bulk_bytes);
                if (r < 0)
                        return r;
                parser->at += (size_t)parser->bulk_bytes + 2;
                parser->in_bulk = false;
                parser->n_missing--;
        }
        *ret_consumed = parser->at;
        parser->at = 0;
        return LANEMAP_RESP_COMMAND;
}

static int hex_digit(char c)
{
        if (c >= '0' && c <= '9')
                return c - '0';
        c = (char)(c | 0x20);
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands behind a backslash within double quotes. *at is moved past it. */
static char unescape(const char *line, size_t n_line, size_t *at)
{
        static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
        char c = line[*at];
        const char *known;

        if (c == 'x' && *at + 2 < n_line && hex_digit(line[*at + 1]) >= 0 &&
            hex_digit(line[*at + 2]) >= 0) {
                c = (char)(hex_digit(line[*at + 1]) * 16 + hex_digit(line[*at + 2]));
                *at += 3;
                return c;
        }
        (*at)++;
        known = c ? strchr(from, c) : NULL;
        return known ? to[known - from] : c;
}

/*
 * One word of an inline line, unquoted in place: what is written never passes what is read.
 *
 * Return: 0, -EINVAL quotes do not close, or something stands right behind the closing one.
 */
static int word_read(char *line, size_t n_line, size_t *at, size_t *ret_bytes)
{
        size_t from = *at, to = *at;
        char quote = 0;

        while (from < n_line) {
                char c = line[from];

                if (quote) {
                        if (c == '\\' && quote == '"' && from + 1 < n_line) {
                                from++;
                                line[to++] = unescape(line, n_line, &from);
                                continue;
                        }
                        if (c == '\\' && quote == '\'' && from + 1 < n_line &&
                            line[from + 1] == '\'') {
                                line[to++] = '\'';
                                from += 2;
                                continue;
                        }
                        if (c == quote) {
                                if (from + 1 < n_line && !isspace((unsigned char)line[from + 1]))
                                        return -EINVAL;
                                quote = 0;
                                from++;
                                break;
                        }
                } else if (c == '"' || c == '\'') {
                        quote = c;
                        from++;
                        continue;
                } else if (isspace((unsigned char)c)) {
                        break;
                }
                line[to++] = line[from++];
        }
        if (quote)
                return -EINVAL;
        *ret_bytes = to - *at;
        *at = from;
        return 0;
}

static int inline_read(struct lanemap_resp_parser *parser, char *bytes, size_t n_bytes,
                       size_t *ret_consumed)
{
        const char *newline = memchr(bytes + parser->at, '\n', n_bytes - parser->at);
        size_t n_line, n_message, at = 0;
        int r;

        if (!newline) {
                if (n_bytes > LANEMAP_RESP_INLINE_BYTES_MAX)
                        return parser_fail(parser, "too big inline request");
                parser->at = n_bytes;
                return LANEMAP_RESP_MORE;
        }
        n_line = (size_t)(newline - bytes);
        if (n_line > LANEMAP_RESP_INLINE_BYTES_MAX)
                return parser_fail(parser, "too big inline request");
        parser->at = 0;
        parser_start(parser);
        n_message = n_line + 1;
        if (n_line > 0 && bytes[n_line - 1] == '\r')
                n_line--;
        for (;;) {
                size_t start, word_bytes;

                while (at < n_line && isspace((unsigned char)bytes[at]))
                        at++;
                if (at == n_line) {
                        *ret_consumed = n_message;
                        return LANEMAP_RESP_COMMAND;
                }
                if (LANEMAP_UNLIKELY(parser->restricted &&
                                     parser->n_args == LANEMAP_RESP_RESTRICTED_ARGS_MAX))
                        return parser_fail(parser, "unauthenticated inline request is too long");
                start = at;
                if (word_read(bytes, n_line, &at, &word_bytes) < 0)
                        return parser_fail(parser, "unbalanced quotes in request");
                r = parser_add(parser, start, word_bytes);
                if (r < 0)
                        return r;
        }
}

int lanemap_resp_parse(struct lanemap_resp_parser *parser, char *bytes, size_t n_bytes,
                       size_t *ret_consumed)
{
        int r;

        if (parser->n_missing == 0) {
                if (n_bytes == 0)
                        return LANEMAP_RESP_MORE;
                if (bytes[0] != '*')
                        return inline_read(parser, bytes, n_bytes, ret_consumed);
                r = header_read(parser, bytes, n_bytes);
                if (r == LANEMAP_RESP_COMMAND) {
                        *ret_consumed = parser->at;
                        parser->at = 0;
                }
                if (r != 0)
                        return r;
        }
        return multibulk_read(parser, bytes, n_bytes, ret_consumed);
}
