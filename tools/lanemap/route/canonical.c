/* Types, identifiers and the short rules. See canonical.h. */
#include "route/canonical.h"

#include <errno.h>
#include <stdlib.h>

struct alias {
        struct lanemap_text name;
        enum lanemap_canonical_class class;
};

static struct alias *aliases;
static size_t n_aliases;

static const struct {
        const char *name;
        enum lanemap_canonical_class class;
} classes[] = {
        {"integer", LANEMAP_CANONICAL_NUMERIC},
        {"bigint", LANEMAP_CANONICAL_NUMERIC},
        {"smallint", LANEMAP_CANONICAL_NUMERIC},
        {"numeric", LANEMAP_CANONICAL_NUMERIC},
        {"oid", LANEMAP_CANONICAL_NUMERIC},
        {"real", LANEMAP_CANONICAL_REAL},
        {"double precision", LANEMAP_CANONICAL_DOUBLE},
        {"boolean", LANEMAP_CANONICAL_BOOLEAN},
        {"uuid", LANEMAP_CANONICAL_UUID},
        {"timestamp without time zone", LANEMAP_CANONICAL_TIMESTAMP},
        {"timestamp with time zone", LANEMAP_CANONICAL_TIMESTAMPTZ},
        {"time without time zone", LANEMAP_CANONICAL_TIME},
        {"time with time zone", LANEMAP_CANONICAL_TIME},
        {"interval", LANEMAP_CANONICAL_INTERVAL},
        {"bytea", LANEMAP_CANONICAL_BYTEA},
        {"character", LANEMAP_CANONICAL_PADDED},
        {"bpchar", LANEMAP_CANONICAL_PADDED},
        {"jsonb", LANEMAP_CANONICAL_JSONB},
        {"text", LANEMAP_CANONICAL_TEXT},
};

/* "timestamp(3) with time zone" -> "timestamp with time zone"; `room` holds the result. */
static struct lanemap_slice type_without_modifier(struct lanemap_slice name, char *room,
                                                  size_t room_bytes)
{
        const char *open = memchr(name.data, '(', name.bytes);
        const char *close = memrchr(name.data, ')', name.bytes);
        size_t before, after;

        if (!open || !close || close < open || name.bytes > room_bytes)
                return name;
        before = (size_t)(open - name.data);
        after = name.bytes - (size_t)(close + 1 - name.data);
        memcpy(room, name.data, before);
        memcpy(room + before, close + 1, after);
        return (struct lanemap_slice){.data = room, .bytes = before + after};
}

static bool starts_with(struct lanemap_slice text, const char *start)
{
        size_t n = strlen(start);

        return text.bytes >= n && memcmp(text.data, start, n) == 0;
}

static bool class_of(struct lanemap_slice name, enum lanemap_canonical_class *ret_class)
{
        char room[128];

        for (size_t i = 0; i < n_aliases; i++) {
                if (lanemap_slice_equal(name, lanemap_text_slice(&aliases[i].name))) {
                        *ret_class = aliases[i].class;
                        return true;
                }
        }
        if (name.bytes == 0 || name.data[0] == '"')
                return false;
        name = type_without_modifier(name, room, sizeof(room));
        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(classes); i++) {
                if (lanemap_slice_is(name, classes[i].name)) {
                        *ret_class = classes[i].class;
                        return true;
                }
        }
        if (starts_with(name, "interval ")) { /* interval day to second */
                *ret_class = LANEMAP_CANONICAL_INTERVAL;
                return true;
        }
        return false;
}

struct lanemap_canonical_type lanemap_canonical_type_of(struct lanemap_slice name)
{
        struct lanemap_canonical_type type = {.class = LANEMAP_CANONICAL_TEXT};

        if (name.bytes > 2 && memcmp(name.data + name.bytes - 2, "[]", 2) == 0) {
                type.array = true;
                name.bytes -= 2;
        }
        class_of(name, &type.class);
        return type;
}

int lanemap_canonical_alias_add(struct lanemap_slice name, struct lanemap_slice as)
{
        enum lanemap_canonical_class class;

        if (name.bytes == 0 || !class_of(as, &class))
                return -EINVAL;
        aliases = lanemap_tool_realloc(aliases, n_aliases + 1, sizeof(aliases[0]));
        aliases[n_aliases] = (struct alias){.class = class};
        lanemap_text_append_slice(&aliases[n_aliases].name, name);
        n_aliases++;
        return 0;
}

void lanemap_canonical_alias_deinit(void)
{
        for (size_t i = 0; i < n_aliases; i++)
                lanemap_text_deinit(&aliases[i].name);
        free(aliases);
        aliases = NULL;
        n_aliases = 0;
}

void lanemap_canonical_identifier(struct lanemap_slice identifier, struct lanemap_text *text)
{
        for (size_t i = 0; i < identifier.bytes; i++) {
                char c = identifier.data[i];

                if (c == '.' || c == '=' || c == '\\')
                        lanemap_text_append_char(text, '\\');
                lanemap_text_append_char(text, c);
        }
}

void lanemap_canonical_table_key(struct lanemap_slice schema, struct lanemap_slice table,
                                 struct lanemap_text *text)
{
        lanemap_canonical_identifier(schema, text);
        lanemap_text_append_char(text, '.');
        lanemap_canonical_identifier(table, text);
}

static int canonical_boolean(struct lanemap_slice value, struct lanemap_text *text)
{
        if (lanemap_slice_is(value, "t") || lanemap_slice_is(value, "true"))
                lanemap_text_append_char(text, 't');
        else if (lanemap_slice_is(value, "f") || lanemap_slice_is(value, "false"))
                lanemap_text_append_char(text, 'f');
        else
                return -EINVAL;
        return 0;
}

static char hex_lower(char c)
{
        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))
                return c;
        if (c >= 'A' && c <= 'F')
                return (char)(c - 'A' + 'a');
        return 0;
}

/* What PostgreSQL reads as a uuid: 32 digits, dashes behind any group of four, braces around it. */
static int canonical_uuid(struct lanemap_slice value, struct lanemap_text *text)
{
        char uuid[36];
        size_t n_digits = 0, at = 0;

        if (value.bytes >= 2 && value.data[0] == '{' && value.data[value.bytes - 1] == '}') {
                value.data++;
                value.bytes -= 2;
        }
        for (size_t i = 0; i < value.bytes; i++) {
                char digit = hex_lower(value.data[i]);

                if (value.data[i] == '-' && n_digits > 0 && n_digits % 4 == 0 && n_digits < 32 &&
                    value.data[i - 1] != '-')
                        continue;
                if (!digit || n_digits == 32)
                        return -EINVAL;
                if (n_digits == 8 || n_digits == 12 || n_digits == 16 || n_digits == 20)
                        uuid[at++] = '-';
                uuid[at++] = digit;
                n_digits++;
        }
        if (n_digits != 32)
                return -EINVAL;

        lanemap_text_append(text, uuid, sizeof(uuid));
        return 0;
}

static int canonical_bytea(struct lanemap_slice value, struct lanemap_text *text)
{
        size_t start = starts_with(value, "\\x") ? 2 : 0;

        if ((value.bytes - start) % 2 != 0)
                return -EINVAL;
        for (size_t i = start; i < value.bytes; i++) {
                if (!hex_lower(value.data[i]))
                        return -EINVAL;
        }
        for (size_t i = start; i < value.bytes; i++)
                lanemap_text_append_char(text, hex_lower(value.data[i]));
        return 0;
}

static int canonical_padded(struct lanemap_slice value, struct lanemap_text *text)
{
        while (value.bytes > 0 && value.data[value.bytes - 1] == ' ')
                value.bytes--;
        lanemap_text_append_slice(text, value);
        return 0;
}

static bool in_number(char c)
{
        return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* PostgreSQL has ordered and spaced it already; only its numbers keep trailing zeros. */
static int canonical_jsonb(struct lanemap_slice value, struct lanemap_text *text)
{
        bool in_string = false;

        for (size_t i = 0; i < value.bytes; i++) {
                struct lanemap_slice number = {.data = value.data + i, .bytes = 0};
                char c = value.data[i];

                if (!in_string && ((c >= '0' && c <= '9') || c == '-')) {
                        while (i + number.bytes < value.bytes &&
                               in_number(number.data[number.bytes]))
                                number.bytes++;
                        if (lanemap_canonical_numeric(number, text) < 0)
                                lanemap_text_append_slice(text, number);
                        i += number.bytes - 1;
                        continue;
                }
                if (c == '"')
                        in_string = !in_string;
                lanemap_text_append_char(text, c);
                if (in_string && c == '\\' && i + 1 < value.bytes)
                        lanemap_text_append_char(text, value.data[++i]);
        }
        return 0;
}

static int canonical_scalar(enum lanemap_canonical_class class, struct lanemap_slice value,
                            struct lanemap_text *text)
{
        switch (class) {
        case LANEMAP_CANONICAL_NUMERIC:
                return lanemap_canonical_numeric(value, text);
        case LANEMAP_CANONICAL_REAL:
                return lanemap_canonical_float(value, true, text);
        case LANEMAP_CANONICAL_DOUBLE:
                return lanemap_canonical_float(value, false, text);
        case LANEMAP_CANONICAL_BOOLEAN:
                return canonical_boolean(value, text);
        case LANEMAP_CANONICAL_UUID:
                return canonical_uuid(value, text);
        case LANEMAP_CANONICAL_TIMESTAMP:
                return lanemap_canonical_timestamp(value, false, text);
        case LANEMAP_CANONICAL_TIMESTAMPTZ:
                return lanemap_canonical_timestamp(value, true, text);
        case LANEMAP_CANONICAL_TIME:
                return lanemap_canonical_time(value, text);
        case LANEMAP_CANONICAL_INTERVAL:
                return lanemap_canonical_interval(value, text);
        case LANEMAP_CANONICAL_BYTEA:
                return canonical_bytea(value, text);
        case LANEMAP_CANONICAL_PADDED:
                return canonical_padded(value, text);
        case LANEMAP_CANONICAL_JSONB:
                return canonical_jsonb(value, text);
        case LANEMAP_CANONICAL_TEXT:
                break;
        }
        lanemap_text_append_slice(text, value);
        return 0;
}

static int value_or_as_it_is(int r, struct lanemap_slice value, struct lanemap_text *text)
{
        if (r == 0)
                return 0;
        lanemap_text_append_slice(text, value);
        return 1;
}

static void element_append(enum lanemap_canonical_class class, struct lanemap_slice value,
                           struct lanemap_text *text)
{
        value_or_as_it_is(canonical_scalar(class, value, text), value, text);
}

int lanemap_canonical_value(struct lanemap_canonical_type type, struct lanemap_slice value,
                            struct lanemap_text *text)
{
        int r = type.array ? lanemap_canonical_array(value, element_append, type.class, text)
                           : canonical_scalar(type.class, value, text);

        return value_or_as_it_is(r, value, text);
}
