/*
 * Array literals: {1,NULL,"a b"}, nested, with bounds in front where they do not start at 1.
 *
 * An element is unquoted, put into canonical form by its type's rule, and quoted again where
 * PostgreSQL would: when it is empty, reads NULL, or holds a brace, comma, quote, backslash or
 * white space. Bounds stay: PostgreSQL compares them. A literal that does not parse is given back
 * untouched.
 */
#include "route/canonical.h"

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

/* What may come next in a literal. */
struct grammar {
        size_t depth;
        bool value_next; /* an element or an opening brace, not a comma */
        bool just_opened;
};

/* Return: whether a brace or comma may stand here. */
static bool grammar_step(struct grammar *grammar, char c)
{
        bool good = c == '{' ? grammar->value_next
                    : c == '}'
                            ? grammar->depth > 0 && (!grammar->value_next || grammar->just_opened)
                            : grammar->depth > 0 && !grammar->value_next;

        grammar->depth += c == '{';
        grammar->depth -= good && c == '}';
        grammar->just_opened = c == '{';
        grammar->value_next = c != '}';
        return good;
}

/* The rule that makes elements canonical. */
struct rule {
        void (*element)(enum lanemap_canonical_class class, struct lanemap_slice value,
                        struct lanemap_text *text);
        enum lanemap_canonical_class class;
};

static void element_canonical(const struct rule *rule, struct lanemap_slice element, bool quoted,
                              struct lanemap_text *text)
{
        struct lanemap_text canonical = {0};

        if (!quoted && is_null(element)) {
                lanemap_text_append(text, "NULL", 4);
                return;
        }
        rule->element(rule->class, element, &canonical);
        element_append(lanemap_text_slice(&canonical), text);
        lanemap_text_deinit(&canonical);
}

static int array_walk(const struct rule *rule, struct lanemap_slice value, size_t at,
                      struct lanemap_text *element, struct lanemap_text *text)
{
        struct grammar grammar = {.value_next = true};

        do {
                char c = value.data[at];
                bool quoted;

                if (c == '{' || c == '}' || c == ',') {
                        if (!grammar_step(&grammar, c))
                                return -EINVAL;
                        lanemap_text_append_char(text, c);
                        at++;
                        continue;
                }
                if (!grammar.value_next || grammar.depth == 0 ||
                    element_read(value, &at, element, &quoted) < 0)
                        return -EINVAL;
                grammar.value_next = grammar.just_opened = false;
                element_canonical(rule, lanemap_text_slice(element), quoted, text);
        } while (grammar.depth > 0 && at < value.bytes);

        return grammar.depth == 0 && at == value.bytes ? 0 : -EINVAL;
}

int lanemap_canonical_array(struct lanemap_slice value,
                            void (*element)(enum lanemap_canonical_class class,
                                            struct lanemap_slice value, struct lanemap_text *text),
                            enum lanemap_canonical_class class, struct lanemap_text *text)
{
        const struct rule rule = {element, class};
        struct lanemap_text room = {0};
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
                r = array_walk(&rule, value, at, &room, text);
        if (r < 0)
                text->bytes = before;

        lanemap_text_deinit(&room);
        return r;
}
