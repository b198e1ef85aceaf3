/*
 * The line parser, the keys that a change looks up, and tables whose old rows are incomplete.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "route/identity.h"
#include "lanemap/lanemap.h"
#include "route/route.h"

TestSuite(wal2json, .timeout = 60);

#define COLUMNS "\"columns\":[{\"name\":\"id\",\"type\":\"integer\",\"value\":1}]"
#define TABLE   "\"schema\":\"public\",\"table\":\"t\""

/* Parses a copy of exactly the line's size, so that a sanitizer sees a read past its end. */
static int parse(struct lanemap_wal2json_change *change, const char *line, char **ret_copy,
                 const char **ret_error)
{
        size_t bytes = strlen(line), at;

        *ret_copy = malloc(bytes ? bytes : 1);
        memcpy(*ret_copy, line, bytes);
        return lanemap_wal2json_parse(change, *ret_copy, bytes, ret_error, &at);
}

static void expect_bad(const char *line)
{
        struct lanemap_wal2json_change change = {0};
        const char *error = NULL;
        char *copy;

        cr_expect_eq(parse(&change, line, &copy, &error), -EBADMSG, "%s", line);
        cr_expect_not_null(error, "%s", line);
        free(copy);
        lanemap_wal2json_change_deinit(&change);
}

Test(wal2json, malformed_lines_are_refused)
{
        const char *const lines[] = {
                "nonsense",
                "{",
                "[]",
                "{}",
                "\"x\"",
                "{\"action\":\"I\"}",
                "{\"action\":\"X\"}",
                "{\"action\":\"\"}",
                "{\"action\":1}",
                "{\"action\":\"B\"} x",
                "{\"action\":\"B\",}",
                "{\"action\":\"B\" \"xid\":1}",
                "{\"action\":\"B\",\"xid\":\"1\"}",
                "{\"action\":\"B\",\"lsn\":1}",
                "{\"change\":[]}",
                "{\"action\":\"I\"," TABLE "}",
                "{\"action\":\"D\"," TABLE "}",
                "{\"action\":\"T\",\"table\":\"t\"}",
                "{\"action\":\"I\"," TABLE ",\"columns\":{}}",
                "{\"action\":\"I\"," TABLE ",\"columns\":[1]}",
                "{\"action\":\"I\"," TABLE ",\"columns\":[{\"name\":\"id\"}]}",
                "{\"action\":\"I\"," TABLE ",\"columns\":[{\"value\":1}]}",
                "{\"action\":\"I\"," TABLE ",\"columns\":[{\"name\":\"id\",\"value\":[1]}]}",
                "{\"action\":\"I\"," TABLE ",\"columns\":[{\"name\":\"id\",\"value\":1},]}",
                "{\"action\":\"I\"," TABLE ",\"columns\":[{\"name\":\"id\",\"value\":01}]}",
                "{\"action\":\"I\"," TABLE ",\"columns\":[{\"name\":\"id\",\"value\":1.}]}",
                "{\"action\":\"I\"," TABLE ",\"columns\":[{\"name\":\"id\",\"value\":tru}]}",
                "{\"action\":\"I\"," TABLE
                ",\"columns\":[{\"name\":\"id\",\"value\":\"\\u0000\"}]}",
                "{\"action\":\"I\"," TABLE
                ",\"columns\":[{\"name\":\"id\",\"value\":\"\\ud800\"}]}",
                "{\"action\":\"I\"," TABLE ",\"columns\":[{\"name\":\"id\",\"value\":\"\\x\"}]}",
                "{\"action\":\"I\"," TABLE ",\"columns\":[{\"name\":\"id\",\"value\":\"\t\"}]}",
        };

        for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
                expect_bad(lines[i]);
}

Test(wal2json, every_prefix_of_a_line_is_refused)
{
        const char line[] = "{\"action\":\"U\",\"xid\":7,\"lsn\":\"0/1\"," TABLE "," COLUMNS
                            ",\"identity\":[{\"name\":\"\\u00e9\\ud83d\\ude00\",\"type\":\"text\","
                            "\"value\":-1.5e+3}],\"other\":{\"a\":[null,true,false,{}]}}";
        struct lanemap_wal2json_change change = {0};
        char prefix[sizeof(line)];
        const char *error;
        char *copy;

        for (size_t i = 0; i + 1 < sizeof(line); i++) {
                memcpy(prefix, line, i);
                prefix[i] = '\0';
                expect_bad(prefix);
        }
        cr_assert_eq(parse(&change, line, &copy, &error), 0);
        cr_expect_eq(change.action, 'U');
        cr_expect(lanemap_slice_is(change.old_row.columns[0].name, "\xc3\xa9\xf0\x9f\x98\x80"));
        cr_expect(lanemap_slice_is(change.old_row.columns[0].value, "-1.5e+3"));
        free(copy);
        lanemap_wal2json_change_deinit(&change);
}

Test(wal2json, nesting_is_bounded)
{
        char line[4096] = "{\"action\":\"B\",\"x\":";

        memset(line + strlen(line), '[', 3000);
        expect_bad(line);
}

Test(wal2json, other_actions_and_unknown_members_are_understood)
{
        const char *const lines[] = {
                "{\"action\":\"B\",\"xid\":1,\"timestamp\":\"x\",\"lsn\":\"0/1\",\"nextlsn\":\"0/"
                "2\"}",
                " {\"action\" : \"C\"} ",
                "{\"action\":\"M\",\"xid\":null,\"transactional\":false,\"prefix\":\"p\","
                "\"content\":\"c\"}",
                "{\"action\":\"T\"," TABLE "}",
                "{\"action\":\"I\",\"pk\":[{\"name\":\"id\"}]," TABLE "," COLUMNS "}",
        };
        struct lanemap_wal2json_change change = {0};

        for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
                const char *error = "";
                char *copy;

                cr_expect_eq(parse(&change, lines[i], &copy, &error), 0, "%s: %s", lines[i], error);
                free(copy);
        }
        lanemap_wal2json_change_deinit(&change);
}

static void key_collect(void *arg, struct lanemap_slice key)
{
        lanemap_text_append_slice(arg, key);
        lanemap_text_append_char(arg, ' ');
}

static void expect_keys(const char *line, const char *keys)
{
        struct lanemap_route *route = lanemap_route_new(NULL);
        struct lanemap_wal2json_change change = {0};
        struct lanemap_text text = {0};
        const char *error = "";
        char *copy;

        cr_assert_eq(parse(&change, line, &copy, &error), 0, "%s: %s", line, error);
        lanemap_route_keys(route, &change, key_collect, &text);
        cr_expect(lanemap_slice_is(lanemap_text_slice(&text), keys), "%.*s\n%s", (int)text.bytes,
                  text.data, keys);
        lanemap_text_deinit(&text);
        free(copy);
        lanemap_wal2json_change_deinit(&change);
        lanemap_route_free(route);
}

/* Behaviours 1, 3, 5 and 6 of a route index. */
Test(wal2json, keys_of_each_action)
{
        expect_keys("{\"action\":\"I\"," TABLE ",\"columns\":["
                    "{\"name\":\"id\",\"type\":\"numeric\",\"value\":1.50},"
                    "{\"name\":\"b\",\"type\":\"boolean\",\"value\":true},"
                    "{\"name\":\"n\",\"type\":\"text\",\"value\":null},"
                    "{\"name\":\"a.b=c\",\"type\":\"text\",\"value\":\"x=y.z\"}]}",
                    "public.t public.t.id=1.5 public.t.b=t public.t.a\\.b\\=c=x=y.z ");
        expect_keys("{\"action\":\"D\"," TABLE ",\"identity\":["
                    "{\"name\":\"id\",\"type\":\"integer\",\"value\":1}]}",
                    "public.t public.t.id=1 ");
        expect_keys("{\"action\":\"U\"," TABLE "," COLUMNS ",\"identity\":["
                    "{\"name\":\"id\",\"type\":\"integer\",\"value\":2}]}",
                    "public.t public.t.id=1 public.t.id=2 ");
        expect_keys("{\"action\":\"U\"," TABLE "," COLUMNS ",\"identity\":["
                    "{\"name\":\"id\",\"type\":\"integer\",\"value\":1}]}",
                    "public.t public.t.id=1 ");
        expect_keys("{\"action\":\"U\"," TABLE "," COLUMNS "}", "public.t public.t.id=1 ");
        expect_keys("{\"action\":\"T\"," TABLE "}", "public.t ");
        expect_keys("{\"action\":\"I\"," TABLE ",\"columns\":["
                    "{\"name\":\"f\",\"type\":\"boolean\",\"value\":false},"
                    "{\"name\":\"untyped\",\"value\":1.0}]}",
                    "public.t public.t.f=f public.t.untyped=1 ");
}

/* An unchanged TOAST column is missing from the new row, which shifts the others. */
Test(wal2json, keys_of_shifted_columns)
{
        expect_keys("{\"action\":\"U\"," TABLE ",\"columns\":["
                    "{\"name\":\"id\",\"type\":\"integer\",\"value\":1},"
                    "{\"name\":\"x\",\"type\":\"integer\",\"value\":5}],\"identity\":["
                    "{\"name\":\"id\",\"type\":\"integer\",\"value\":1},"
                    "{\"name\":\"big\",\"type\":\"text\",\"value\":\"long\"},"
                    "{\"name\":\"x\",\"type\":\"integer\",\"value\":5}]}",
                    "public.t public.t.id=1 public.t.x=5 public.t.big=long public.t.x=5 ");
}

/* A value that is too long for a key cannot have been loaded, and must not end the stream. */
Test(wal2json, too_long_values_are_not_looked_up)
{
        size_t bytes = LANEMAP_KEY_BYTES_MAX + 200;
        struct lanemap_text line = {0};

        for (size_t value_bytes = LANEMAP_KEY_BYTES_MAX - strlen("public.t.id=");
             value_bytes <= bytes; value_bytes += 1 + (bytes - LANEMAP_KEY_BYTES_MAX)) {
                struct lanemap_route *route = lanemap_route_new(NULL);
                struct lanemap_wal2json_change change = {0};
                struct lanemap_text keys = {0};
                const char *error;
                size_t at;
                bool fits = value_bytes + strlen("public.t.id=") <= LANEMAP_KEY_BYTES_MAX;

                line.bytes = 0;
                lanemap_text_append_format(&line,
                                           "{\"action\":\"I\"," TABLE ",\"columns\":["
                                           "{\"name\":\"id\",\"type\":\"text\",\"value\":\"");
                for (size_t i = 0; i < value_bytes; i++)
                        lanemap_text_append_char(&line, 'x');
                lanemap_text_append_format(&line, "\"}]}");
                cr_assert_eq(lanemap_wal2json_parse(&change, line.data, line.bytes, &error, &at),
                             0);
                lanemap_route_keys(route, &change, key_collect, &keys);
                cr_expect_eq(keys.bytes,
                             strlen("public.t ") + (fits ? LANEMAP_KEY_BYTES_MAX + 1 : 0));
                cr_expect_eq(lanemap_route_stats(route)->n_unkeyable, fits ? 0 : 1);
                lanemap_text_deinit(&keys);
                lanemap_wal2json_change_deinit(&change);
                lanemap_route_free(route);
        }
        lanemap_text_deinit(&line);
}

static int see(struct lanemap_identity *identity, char action, const char *table, size_t n_new,
               size_t n_old)
{
        struct lanemap_wal2json_change change = {
                .action = action,
                .schema = LANEMAP_SLICE("public"),
                .table = {.data = table, .bytes = strlen(table)},
                .new_row = {.n_columns = n_new},
                .old_row = {.n_columns = n_old},
        };

        return lanemap_identity_see(identity, &change);
}

Test(wal2json, incomplete_old_rows_are_told_once_per_table)
{
        struct lanemap_identity identity = {0};

        cr_expect_eq(see(&identity, 'I', "full", 3, 0), 0);
        cr_expect_eq(see(&identity, 'U', "full", 3, 3), 0);
        cr_expect_eq(see(&identity, 'U', "full", 2, 3), 0, "an unchanged TOAST column");
        cr_expect_eq(see(&identity, 'D', "full", 0, 3), 0);
        cr_expect_eq(see(&identity, 'I', "keyed", 3, 0), 0);
        cr_expect_eq(see(&identity, 'D', "keyed", 0, 1), 1);
        cr_expect_eq(see(&identity, 'D', "keyed", 0, 1), 0);
        cr_expect_eq(see(&identity, 'U', "other", 3, 1), 1);
        cr_expect_eq(see(&identity, 'U', "other", 3, 0), 0);
        cr_expect_eq(see(&identity, 'U', "none", 2, 0), 1);
        cr_expect_eq(see(&identity, 'T', "unseen", 0, 0), 0);
        lanemap_identity_deinit(&identity);
}
