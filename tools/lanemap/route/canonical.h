/*
 * Canonical route keys: equal things have equal text.
 *
 *   schema.table                 the whole table: a shape without a predicate
 *   schema.table.column=value    rows whose column equals value
 *
 * Identifiers are written as the catalogue spells them, with a backslash before each `.`, `=` and
 * `\`; the value is everything behind the first unescaped `=`, and is not escaped. The value's text
 * depends on the column's type, so that values which PostgreSQL calls equal give the same key:
 *
 *   smallint integer bigint oid numeric   shortest decimal digits, no exponent: 007 -> 7,
 *                                         1.50 -> 1.5, 1e3 -> 1000, -0 -> 0; never through a double
 *   real, double precision                the shortest digits that read back the same, laid out as
 *                                         PostgreSQL does: 0.1, 1e+20; -0 -> 0
 *   boolean                               t, f
 *   uuid                                  lowercase, with dashes
 *   timestamp, time                       fraction without trailing zeros: 2026-01-02 03:04:05.1
 *   timestamp with time zone              the same, in UTC, with +00 behind it
 *   time with time zone                   zone kept (PostgreSQL compares it), zeros cut
 *   interval                              seconds; a month is 30 days, a day 24 hours
 *   bytea                                 lowercase hexadecimal digits, without \x
 *   character(n)                          without trailing spaces
 *   jsonb                                 as PostgreSQL prints it, numbers as above
 *   TYPE[]                                as PostgreSQL prints it, elements by their type's rule
 *   everything else                       the bytes as they come: text, varchar, name, date, ...
 *
 * NULL has no key. A value that is not of its type's form is kept as it is, byte for byte.
 * A domain's name says nothing about what it holds: lanemap_canonical_alias_add().
 */
#ifndef LANEMAP_TOOLS_CANONICAL_H
#define LANEMAP_TOOLS_CANONICAL_H

#include "text.h"

enum lanemap_canonical_class {
        LANEMAP_CANONICAL_TEXT, /* as it is */
        LANEMAP_CANONICAL_NUMERIC,
        LANEMAP_CANONICAL_REAL,
        LANEMAP_CANONICAL_DOUBLE,
        LANEMAP_CANONICAL_BOOLEAN,
        LANEMAP_CANONICAL_UUID,
        LANEMAP_CANONICAL_TIMESTAMP,
        LANEMAP_CANONICAL_TIMESTAMPTZ,
        LANEMAP_CANONICAL_TIME,
        LANEMAP_CANONICAL_INTERVAL,
        LANEMAP_CANONICAL_BYTEA,
        LANEMAP_CANONICAL_PADDED,
        LANEMAP_CANONICAL_JSONB,
};

struct lanemap_canonical_type {
        enum lanemap_canonical_class class;
        bool array;
};

/* What a type's name, as format_type() prints it ("numeric(10,2)[]"), stands for. */
struct lanemap_canonical_type lanemap_canonical_type_of(struct lanemap_slice name);

/* Treat the type `name` as the type `as` from now on, in the whole process. Not kept. Return: 0,
 * -EINVAL `as` is no type with a rule of its own. Thread: before any other call. */
int lanemap_canonical_alias_add(struct lanemap_slice name, struct lanemap_slice as);
void lanemap_canonical_alias_deinit(void);

/*
 * Append a value's canonical text.
 *
 * Return: 0; 1 when the value is not of the type's form and was appended as it is.
 */
int lanemap_canonical_value(struct lanemap_canonical_type type, struct lanemap_slice value,
                            struct lanemap_text *text);

void lanemap_canonical_identifier(struct lanemap_slice identifier, struct lanemap_text *text);
void lanemap_canonical_table_key(struct lanemap_slice schema, struct lanemap_slice table,
                                 struct lanemap_text *text);

/*
 * The rules one by one, for the file that dispatches and for tests. All append on 0 only.
 * Return: 0, -EINVAL the value is not of that form.
 */
int lanemap_canonical_numeric(struct lanemap_slice value, struct lanemap_text *text);
int lanemap_canonical_float(struct lanemap_slice value, bool single, struct lanemap_text *text);
int lanemap_canonical_timestamp(struct lanemap_slice value, bool zoned, struct lanemap_text *text);
int lanemap_canonical_time(struct lanemap_slice value, struct lanemap_text *text);
int lanemap_canonical_interval(struct lanemap_slice value, struct lanemap_text *text);
/* element() appends the canonical text of one element. */
int lanemap_canonical_array(struct lanemap_slice value,
                            void (*element)(enum lanemap_canonical_class class,
                                            struct lanemap_slice value, struct lanemap_text *text),
                            enum lanemap_canonical_class class, struct lanemap_text *text);

#endif
