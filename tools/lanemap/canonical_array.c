/*
 * Array literals: {1,NULL,"a b"}, nested, with bounds in front where they do not start at 1.
 *
 * An element is unquoted, put into canonical form by its type's rule, and quoted again where
 * PostgreSQL would: when it is empty, reads NULL, or holds a brace, comma, quote, backslash or
 * white space. Bounds stay: PostgreSQL compares them. A literal that does not parse is given back
 * untouched.
 */
#include "canonical.h"

#include <errno.h>
#include <strings.h>

static bool is_space(char c)
{
        return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_null(struct lanemap_slice element)
{
        return element.bytes == 4 && strncasecmp(element.data, "NULL", 4) == 0;
}

static void element_append(struct lanemap_slice element, struct lanemap_text *text)
{
        bool quoted = element.bytes == 0 || is_null(element);

        for (size_t i = 0; i < element.bytes && !quoted; i++)
                quoted = strchr("{},\"\\", element.data[i]) || is_space(element.data[i]);
        if (!quoted) {
                lanemap_text_append_slice(text, element);
                return;
        }

        lanemap_text_append_char(text, '"');
        for (size_t i = 0; i < element.bytes; i++) {
                if (element.data[i] == '"' || element.data[i] == '\\')
                        lanemap_text_append_char(text, '\\');
                lanemap_text_append_char(text, element.data[i]);
        }
        lanemap_text_append_char(text, '"');
}

/* Reads one element at *at into `element`, unescaped. Return: 0, -EINVAL. */
static int element_read(struct lanemap_slice value, size_t *at, struct lanemap_text *element,
                        bool *ret_quoted)
{
        bool quoted = value.data[*at] == '"';

        element->bytes = 0;
        *at += quoted;
        for (; *at < value.bytes; ++*at) {
                char c = value.data[*at];

                if (quoted ? c == '"' : (c == ',' || c == '}'))
                        break;
                if (!quoted && (c == '{' || c == '"'))
                        return -EINVAL;
                if (c == '\\' && ++*at == value.bytes)
                        return -EINVAL;
                lanemap_text_append_char(element, value.data[*at]);
        }
        if (*at == value.bytes)
                return -EINVAL;
        *at += quoted;
        *ret_quoted = quoted;
        return !quoted && element->bytes == 0 ? -EINVAL : 0;
}

static int array_walk(enum lanemap_canonical_class class, struct lanemap_slice value, size_t at,
                      struct lanemap_text *element, struct lanemap_text *canonical,
                      struct lanemap_text *text)
{
        struct lanemap_canonical_type type = {.class = class};
        size_t depth = 0;

        while (at < value.bytes) {
                char c = value.data[at];
                bool quoted;

                if (c == '{' || c == '}' || c == ',') {
                        if (c == '}' && depth == 0)
                                return -EINVAL;
                        depth += c == '{';
                        depth -= c == '}';
                        lanemap_text_append_char(text, c);
                        at++;
                        if (depth == 0)
                                break;
                        continue;
                }
                if (depth == 0 || element_read(value, &at, element, &quoted) < 0)
                        return -EINVAL;
                if (!quoted && is_null(lanemap_text_slice(element))) {
                        lanemap_text_append(text, "NULL", 4);
                        continue;
                }
                canonical->bytes = 0;
                lanemap_canonical_value(type, lanemap_text_slice(element), canonical);
                element_append(lanemap_text_slice(canonical), text);
        }
        return depth == 0 && at == value.bytes ? 0 : -EINVAL;
}

int lanemap_canonical_array(enum lanemap_canonical_class element, struct lanemap_slice value,
                            struct lanemap_text *text)
{
        struct lanemap_text room = {0}, canonical = {0};
        size_t before = text->bytes, at = 0;
        int r;

        if (value.bytes > 0 && value.data[0] == '[') {
                const char *equals = memchr(value.data, '=', value.bytes);

                if (!equals)
                        return -EINVAL;
                at = (size_t)(equals + 1 - value.data);
                lanemap_text_append(text, value.data, at);
        }
        if (at == value.bytes || value.data[at] != '{')
                r = -EINVAL;
        else
                r = array_walk(element, value, at, &room, &canonical, text);
        if (r < 0)
                text->bytes = before;

        lanemap_text_deinit(&room);
        lanemap_text_deinit(&canonical);
        return r;
}
