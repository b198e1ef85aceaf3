/* See json_scan.h; the grammar is RFC 8259. */
#include "route/json_scan.h"

#include <errno.h>

#define DEPTH_MAX 64

void lanemap_json_scan_init(struct lanemap_json_scan *scan, char *data, size_t bytes)
{
        *scan = (struct lanemap_json_scan){.data = data, .bytes = bytes};
}

static int bad(struct lanemap_json_scan *scan, const char *what)
{
        scan->error = what;
        return -EBADMSG;
}

/* The byte at the cursor; -1 at the end. */
static int look(const struct lanemap_json_scan *scan)
{
        return scan->at < scan->bytes ? (unsigned char)scan->data[scan->at] : -1;
}

static int look_past_space(struct lanemap_json_scan *scan)
{
        int c = look(scan);

        while (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
                scan->at++;
                c = look(scan);
        }
        return c;
}

static bool accept(struct lanemap_json_scan *scan, char c)
{
        if (look_past_space(scan) != c)
                return false;
        scan->at++;
        return true;
}

static bool is_digit(int c)
{
        return c >= '0' && c <= '9';
}

int lanemap_json_scan_peek(struct lanemap_json_scan *scan, enum lanemap_json_kind *ret_kind)
{
        int c = look_past_space(scan);

        switch (c) {
        case '{':
                *ret_kind = LANEMAP_JSON_OBJECT;
                return 0;
        case '[':
                *ret_kind = LANEMAP_JSON_ARRAY;
                return 0;
        case '"':
                *ret_kind = LANEMAP_JSON_STRING;
                return 0;
        case 't':
                *ret_kind = LANEMAP_JSON_TRUE;
                return 0;
        case 'f':
                *ret_kind = LANEMAP_JSON_FALSE;
                return 0;
        case 'n':
                *ret_kind = LANEMAP_JSON_NULL;
                return 0;
        default:
                if (c == '-' || is_digit(c)) {
                        *ret_kind = LANEMAP_JSON_NUMBER;
                        return 0;
                }
                return bad(scan, c < 0 ? "the line ends in the middle" : "a value is expected");
        }
}

static bool accept_digits(struct lanemap_json_scan *scan)
{
        size_t start = scan->at;

        while (is_digit(look(scan)))
                scan->at++;
        return scan->at > start;
}

static int scan_number(struct lanemap_json_scan *scan, struct lanemap_slice *ret_text)
{
        size_t start = scan->at;

        if (look(scan) == '-')
                scan->at++;
        if (look(scan) == '0')
                scan->at++;
        else if (!accept_digits(scan))
                return bad(scan, "a digit is expected");
        if (look(scan) == '.') {
                scan->at++;
                if (!accept_digits(scan))
                        return bad(scan, "a digit is expected after the point");
        }
        if (look(scan) == 'e' || look(scan) == 'E') {
                scan->at++;
                if (look(scan) == '+' || look(scan) == '-')
                        scan->at++;
                if (!accept_digits(scan))
                        return bad(scan, "a digit is expected in the exponent");
        }

        *ret_text = (struct lanemap_slice){.data = scan->data + start, .bytes = scan->at - start};
        return 0;
}

/* Four hexadecimal digits at the cursor, or -1. */
static long scan_hex4(struct lanemap_json_scan *scan)
{
        long value = 0;

        if (scan->bytes - scan->at < 4)
                return -1;
        for (size_t i = 0; i < 4; i++) {
                int c = (unsigned char)scan->data[scan->at++];

                if (is_digit(c))
                        c -= '0';
                else if (c >= 'a' && c <= 'f')
                        c -= 'a' - 10;
                else if (c >= 'A' && c <= 'F')
                        c -= 'A' - 10;
                else
                        return -1;
                value = value << 4 | c;
        }
        return value;
}

static size_t utf8_put(char *to, long code)
{
        unsigned char *p = (unsigned char *)to;

        if (code < 0x80) {
                p[0] = (unsigned char)code;
                return 1;
        }
        if (code < 0x800) {
                p[0] = (unsigned char)(0xc0 | code >> 6);
                p[1] = (unsigned char)(0x80 | (code & 0x3f));
                return 2;
        }
        if (code < 0x10000) {
                p[0] = (unsigned char)(0xe0 | code >> 12);
                p[1] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
                p[2] = (unsigned char)(0x80 | (code & 0x3f));
                return 3;
        }
        p[0] = (unsigned char)(0xf0 | code >> 18);
        p[1] = (unsigned char)(0x80 | (code >> 12 & 0x3f));
        p[2] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
        p[3] = (unsigned char)(0x80 | (code & 0x3f));
        return 4;
}

/* The cursor stands behind "\u". */
static int scan_unicode(struct lanemap_json_scan *scan, char *to, size_t *ret_bytes)
{
        long code = scan_hex4(scan), low;

        if (code < 0)
                return bad(scan, "\\u wants four hexadecimal digits");
        if (code == 0)
                return bad(scan, "\\u0000 cannot be part of a value");
        if (code >= 0xdc00 && code <= 0xdfff)
                return bad(scan, "half of a surrogate pair");
        if (code >= 0xd800 && code <= 0xdbff) {
                if (scan->bytes - scan->at < 2 || scan->data[scan->at] != '\\' ||
                    scan->data[scan->at + 1] != 'u')
                        return bad(scan, "half of a surrogate pair");
                scan->at += 2;
                low = scan_hex4(scan);
                if (low < 0xdc00 || low > 0xdfff)
                        return bad(scan, "half of a surrogate pair");
                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }

        *ret_bytes = utf8_put(to, code);
        return 0;
}

/* The cursor stands behind a backslash; writes the character to `to`. */
static int scan_escape(struct lanemap_json_scan *scan, char *to, size_t *ret_bytes)
{
        static const char from_to[] = "\"\"\\\\//b\bf\fn\nr\rt\t";
        int c = look(scan);

        if (c < 0)
                return bad(scan, "the line ends inside a string");
        scan->at++;
        if (c == 'u')
                return scan_unicode(scan, to, ret_bytes);
        for (size_t i = 0; i + 1 < sizeof(from_to); i += 2) {
                if (from_to[i] == c) {
                        *to = from_to[i + 1];
                        *ret_bytes = 1;
                        return 0;
                }
        }
        return bad(scan, "unknown escape in a string");
}

/* The cursor stands on the opening quote. */
static int scan_string(struct lanemap_json_scan *scan, struct lanemap_slice *ret_text)
{
        size_t start = ++scan->at, to = start;

        for (;;) {
                int c = look(scan);
                size_t n = 1;
                int r;

                if (c < 0)
                        return bad(scan, "the line ends inside a string");
                if (c < 0x20)
                        return bad(scan, "a control character inside a string");
                scan->at++;
                if (c == '"')
                        break;
                if (c != '\\') {
                        scan->data[to++] = (char)c;
                        continue;
                }
                r = scan_escape(scan, scan->data + to, &n);
                if (r < 0)
                        return r;
                to += n;
        }

        *ret_text = (struct lanemap_slice){.data = scan->data + start, .bytes = to - start};
        return 0;
}

static int scan_word(struct lanemap_json_scan *scan, const char *word)
{
        size_t n = strlen(word);

        if (scan->bytes - scan->at < n || memcmp(scan->data + scan->at, word, n) != 0)
                return bad(scan, "a value is expected");
        scan->at += n;
        return 0;
}

int lanemap_json_scan_scalar(struct lanemap_json_scan *scan, enum lanemap_json_kind *ret_kind,
                             struct lanemap_slice *ret_text)
{
        struct lanemap_slice text = {.data = "", .bytes = 0};
        enum lanemap_json_kind kind;
        int r = lanemap_json_scan_peek(scan, &kind);

        if (r < 0)
                return r;
        if (kind == LANEMAP_JSON_STRING)
                r = scan_string(scan, &text);
        else if (kind == LANEMAP_JSON_NUMBER)
                r = scan_number(scan, &text);
        else if (kind == LANEMAP_JSON_TRUE)
                r = scan_word(scan, "true");
        else if (kind == LANEMAP_JSON_FALSE)
                r = scan_word(scan, "false");
        else if (kind == LANEMAP_JSON_NULL)
                r = scan_word(scan, "null");
        else
                r = bad(scan, "a plain value is expected here, not an object or array");
        if (r < 0)
                return r;

        *ret_kind = kind;
        *ret_text = text;
        return 0;
}

int lanemap_json_scan_begin(struct lanemap_json_scan *scan, enum lanemap_json_kind kind,
                            bool *first)
{
        bool object = kind == LANEMAP_JSON_OBJECT;

        if (!accept(scan, object ? '{' : '['))
                return bad(scan, object ? "an object is expected" : "an array is expected");
        *first = true;
        return 0;
}

int lanemap_json_scan_member(struct lanemap_json_scan *scan, bool *first,
                             struct lanemap_slice *ret_name)
{
        int r;

        if (accept(scan, '}'))
                return 0;
        if (!*first && !accept(scan, ','))
                return bad(scan, "',' or '}' is expected");
        *first = false;
        if (look_past_space(scan) != '"')
                return bad(scan, "a member name is expected");
        r = scan_string(scan, ret_name);
        if (r < 0)
                return r;
        if (!accept(scan, ':'))
                return bad(scan, "':' is expected");
        return 1;
}

int lanemap_json_scan_element(struct lanemap_json_scan *scan, bool *first)
{
        if (accept(scan, ']'))
                return 0;
        if (!*first && !accept(scan, ','))
                return bad(scan, "',' or ']' is expected");
        *first = false;
        return 1;
}

static int skip_value(struct lanemap_json_scan *scan, int depth)
{
        enum lanemap_json_kind kind;
        struct lanemap_slice text;
        bool first;
        int r = lanemap_json_scan_peek(scan, &kind);

        if (r < 0)
                return r;
        if (kind != LANEMAP_JSON_OBJECT && kind != LANEMAP_JSON_ARRAY)
                return lanemap_json_scan_scalar(scan, &kind, &text);
        if (depth >= DEPTH_MAX)
                return bad(scan, "nested too deeply");

        r = lanemap_json_scan_begin(scan, kind, &first);
        while (r >= 0) {
                r = kind == LANEMAP_JSON_OBJECT ? lanemap_json_scan_member(scan, &first, &text)
                                                : lanemap_json_scan_element(scan, &first);
                if (r <= 0)
                        return r;
                r = skip_value(scan, depth + 1);
        }
        return r;
}

int lanemap_json_scan_skip(struct lanemap_json_scan *scan)
{
        return skip_value(scan, 0);
}

int lanemap_json_scan_end(struct lanemap_json_scan *scan)
{
        return look_past_space(scan) < 0 ? 0 : bad(scan, "something follows the object");
}
