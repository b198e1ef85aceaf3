/*
 * Canonical keys: equal values give equal text, different ones do not. Each table's rows are values
 * that PostgreSQL calls equal, and their key.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "route/canonical.h"

TestSuite(canonical, .timeout = 60);

struct row {
        const char *value;
        const char *key;
};

static struct lanemap_slice slice(const char *text)
{
        return (struct lanemap_slice){.data = text, .bytes = strlen(text)};
}

static void expect_value(const char *type, const char *value, const char *key, int outcome)
{
        struct lanemap_text text = {0};
        int r = lanemap_canonical_value(lanemap_canonical_type_of(slice(type)), slice(value),
                                        &text);

        cr_expect(lanemap_slice_is(lanemap_text_slice(&text), key),
                  "%s '%s' became '%.*s', not '%s'", type, value, (int)text.bytes, text.data, key);
        cr_expect_eq(r, outcome, "%s '%s' answered %d", type, value, r);
        lanemap_text_deinit(&text);
}

static void expect_rows(const char *type, const struct row *rows, size_t n)
{
        for (size_t i = 0; i < n; i++)
                expect_value(type, rows[i].value, rows[i].key, 0);
}

#define EXPECT_ROWS(type, ...)                                           \
        do {                                                             \
                const struct row rows[] = {__VA_ARGS__};                 \
                expect_rows(type, rows, sizeof(rows) / sizeof(rows[0])); \
        } while (0)

Test(canonical, integers_have_one_spelling)
{
        EXPECT_ROWS("integer", {"7", "7"}, {"007", "7"}, {"+7", "7"}, {"-7", "-7"}, {"0", "0"},
                    {"-0", "0"}, {"000", "0"}, {"-007", "-7"});
        EXPECT_ROWS("bigint", {"9223372036854775807", "9223372036854775807"},
                    {"-9223372036854775808", "-9223372036854775808"});
        EXPECT_ROWS("oid", {"4294967295", "4294967295"});
        EXPECT_ROWS("smallint", {"-32768", "-32768"});
}

Test(canonical, numerics_are_exact_and_have_one_spelling)
{
        EXPECT_ROWS("numeric", {"1", "1"}, {"1.0", "1"}, {"1.00", "1"}, {"01.50", "1.5"},
                    {".5", "0.5"}, {"0.5", "0.5"}, {"-0.50", "-0.5"}, {"-0.00", "0"},
                    {"1e3", "1000"}, {"1E+3", "1000"}, {"1.5e3", "1500"}, {"1500e-3", "1.5"},
                    {"1e-3", "0.001"}, {"12.34e1", "123.4"}, {"100", "100"}, {"0.0010", "0.001"},
                    {"0e500", "0"}, {"5.", "5"}, {"NaN", "NaN"}, {"-inf", "-Infinity"});
        EXPECT_ROWS("numeric(38,10)",
                    {"1234567890123456789012345678.0123456789",
                     "1234567890123456789012345678.0123456789"},
                    {"1234567890123456789012345678.0123456780",
                     "1234567890123456789012345678.012345678"},
                    {"0.10000000000000000000000000000000000001",
                     "0.10000000000000000000000000000000000001"});
}

Test(canonical, what_is_no_number_stays_as_it_is)
{
        const char *const values[] = {"",  "-",   "1e",   "1e+",      "abc", "1.2.3",
                                      ".", "1 2", "0x10", "1e999999", "--1", "1e99999999999"};

        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
                expect_value("numeric", values[i], values[i], 1);
                expect_value("double precision", values[i], values[i], 1);
        }
}

Test(canonical, floats_are_the_shortest_text_that_reads_back)
{
        EXPECT_ROWS("double precision", {"0.1", "0.1"}, {"0.10", "0.1"}, {"1e20", "1e+20"},
                    {"1e+20", "1e+20"}, {"100000000000000000000", "1e+20"}, {"-0", "0"},
                    {"0.1000000000000000055511151231257827", "0.1"}, {"5e-324", "5e-324"},
                    {"1.7976931348623157e308", "1.7976931348623157e+308"},
                    {"123456789012345", "123456789012345"}, {"1e15", "1e+15"},
                    {"999999999999999", "999999999999999"}, {"0.0001", "0.0001"},
                    {"0.00001", "1e-05"}, {"-2.50", "-2.5"},
                    {"5.6843418860808015e-14", "5.684341886080802e-14"},
                    {"9.5367431640625e-07", "9.5367431640625e-07"},
                    {"-7.12023634722304440e-307", "-7.120236347223045e-307"}, {"nan", "NaN"},
                    {"-Infinity", "-Infinity"});
        EXPECT_ROWS("real", {"0.1", "0.1"}, {"0.100000001490116", "0.1"},
                    {"16777216", "1.6777216e+07"}, {"1e10", "1e+10"}, {"123456", "123456"},
                    {"1234567", "1.234567e+06"}, {"3.4028235e38", "3.4028235e+38"}, {"-0.0", "0"});
}

Test(canonical, booleans_and_uuids)
{
        EXPECT_ROWS("boolean", {"t", "t"}, {"true", "t"}, {"f", "f"}, {"false", "f"});
        EXPECT_ROWS(
                "uuid",
                {"A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
                {"a0eebc999c0b4ef8bb6d6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
                {"{a0eebc99-9c0b4ef8-bb6d6bb9-bd380a11}", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"});
        expect_value("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1",
                     "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", 1);
        expect_value("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g",
                     "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g", 1);
        expect_value("boolean", "maybe", "maybe", 1);
}

Test(canonical, timestamps_with_a_zone_are_moved_to_utc)
{
        EXPECT_ROWS("timestamp with time zone",
                    {"2026-01-02 03:04:05+00", "2026-01-02 03:04:05+00"},
                    {"2026-01-02 08:34:05.120+05:30", "2026-01-02 03:04:05.12+00"},
                    {"2026-01-01 22:04:05-05", "2026-01-02 03:04:05+00"},
                    {"2026-12-31 23:30:00-01", "2027-01-01 00:30:00+00"},
                    {"2024-03-01 00:00:00+01", "2024-02-29 23:00:00+00"},
                    {"2023-03-01 00:00:00+01", "2023-02-28 23:00:00+00"},
                    {"1900-03-01 00:00:00+01", "1900-02-28 23:00:00+00"},
                    {"2000-03-01 00:00:00+01", "2000-02-29 23:00:00+00"},
                    {"1883-11-18 11:56:02-00:03:58", "1883-11-18 12:00:00+00"},
                    {"0001-01-01 00:30:00+01", "0001-12-31 23:30:00+00 BC"},
                    {"0001-12-31 23:30:00+00 BC", "0001-12-31 23:30:00+00 BC"},
                    {"4713-01-01 00:00:00+00 BC", "4713-01-01 00:00:00+00 BC"},
                    {"12026-01-01 00:00:00+00", "12026-01-01 00:00:00+00"},
                    {"infinity", "infinity"}, {"-infinity", "-infinity"});
        EXPECT_ROWS("timestamp(3) with time zone",
                    {"2026-01-02T03:04:05.100Z", "2026-01-02 03:04:05.1+00"});
        EXPECT_ROWS("timestamp without time zone",
                    {"2026-01-02 03:04:05.100000", "2026-01-02 03:04:05.1"},
                    {"2026-01-02 03:04:05.000", "2026-01-02 03:04:05"});
        expect_value("timestamp with time zone", "2026-01-02 03:04:05", "2026-01-02 03:04:05", 1);
        expect_value("timestamp without time zone", "yesterday", "yesterday", 1);
        expect_value("timestamp without time zone", "2026-13-02 03:04:05", "2026-13-02 03:04:05",
                     1);
}

/* Every day of four hundred years around a leap century comes back from the day count. */
Test(canonical, every_day_comes_back)
{
        static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
        char expected[] = "2000-12-31 23:00:00+00";
        int n_days = 0;

        for (int year = 1801; year <= 2200; year++) {
                bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

                for (int month = 1; month <= 12; month++) {
                        int n = lengths[month - 1] + (month == 2 && leap);

                        for (int day = 1; day <= n; day++, n_days++) {
                                char today[64];

                                snprintf(today, sizeof(today), "%04d-%02d-%02d 00:00:00+01", year,
                                         month, day);
                                if (n_days > 0)
                                        expect_value("timestamp with time zone", today, expected,
                                                     0);
                                snprintf(expected, sizeof(expected), "%04u-%02u-%02u 23:00:00+00",
                                         (unsigned)year % 10000, (unsigned)month % 100,
                                         (unsigned)day % 100);
                        }
                }
        }
        cr_expect_eq(n_days, 146097);
}

Test(canonical, times_and_intervals)
{
        EXPECT_ROWS("time with time zone", {"03:04:05.500+01", "03:04:05.5+01"},
                    {"12:00:00+00", "12:00:00+00"}, {"13:00:00+01", "13:00:00+01"});
        EXPECT_ROWS("time(3) without time zone", {"03:04:05.000", "03:04:05"});
        EXPECT_ROWS("interval", {"1 mon", "2592000"}, {"30 days", "2592000"},
                    {"720:00:00", "2592000"}, {"1 year -3 days +04:05:06.7", "30859506.7"},
                    {"-1 days +02:03:04.5", "-79015.5"}, {"00:00:00", "0"}, {"-00:00:00.5", "-0.5"},
                    {"1 day -24:00:00", "0"}, {"-1 years -2 mons", "-36288000"},
                    {"00:00:01.000001", "1.000001"});
        EXPECT_ROWS("interval day to second(3)", {"1 day", "86400"});
        expect_value("interval", "P1D", "P1D", 1);
        expect_value("interval", "9999999999 days 99999999999 years",
                     "9999999999 days 99999999999 years", 1);
}

Test(canonical, bytes_padding_and_plain_text)
{
        EXPECT_ROWS("bytea", {"deadBEEF", "deadbeef"}, {"\\xDEADBEEF", "deadbeef"}, {"", ""});
        EXPECT_ROWS("character(5)", {"ab   ", "ab"}, {"ab", "ab"}, {" a", " a"});
        EXPECT_ROWS("\"char\"", {"a ", "a "});
        EXPECT_ROWS("text", {"007 ", "007 "}, {"1.0", "1.0"}, {"", ""}, {"A=b.c\\", "A=b.c\\"});
        EXPECT_ROWS("character varying(20)", {"ab ", "ab "});
        EXPECT_ROWS("shop.numeric", {"1.0", "1.0"});
        EXPECT_ROWS("\"integer\"", {"007", "007"});
        EXPECT_ROWS("", {"007", "007"});
        expect_value("bytea", "abc", "abc", 1);
}

Test(canonical, jsonb_numbers)
{
        EXPECT_ROWS(
                "jsonb",
                {"{\"a\": 1.00, \"b\": [1000, \"1.00\"]}", "{\"a\": 1, \"b\": [1000, \"1.00\"]}"},
                {"-0.0", "0"}, {"\"x\\\"1.0\"", "\"x\\\"1.0\""}, {"null", "null"},
                {"{\"1.0\": 1e2}", "{\"1.0\": 100}"});
        EXPECT_ROWS("json", {"{\"a\": 1.00}", "{\"a\": 1.00}"});
}

Test(canonical, arrays_by_their_elements)
{
        EXPECT_ROWS("numeric(10,2)[]", {"{1.00,NULL,2}", "{1,NULL,2}"}, {"{}", "{}"},
                    {"{{1.0,2},{3,4.50}}", "{{1,2},{3,4.5}}"}, {"[2:3]={1.0,2}", "[2:3]={1,2}"});
        EXPECT_ROWS("text[]", {"{\"a,b\",\"\",NULL,\"null\",x}", "{\"a,b\",\"\",NULL,\"null\",x}"},
                    {"{\"plain\"}", "{plain}"}, {"{\"q\\\"b\\\\\"}", "{\"q\\\"b\\\\\"}"});
        EXPECT_ROWS("timestamp with time zone[]",
                    {"{\"2026-01-02 08:34:05+05:30\"}", "{\"2026-01-02 03:04:05+00\"}"});
        EXPECT_ROWS("boolean[]", {"{t,f}", "{t,f}"});
        expect_value("integer[]", "{1,2", "{1,2", 1);
        expect_value("integer[]", "1,2", "1,2", 1);
        expect_value("integer[]", "{1}{2}", "{1}{2}", 1);
        expect_value("integer[]", "[1:2]", "[1:2]", 1);
        expect_value("numeric[]", "{\"2.50\"-0}", "{\"2.50\"-0}", 1);
        expect_value("numeric[]", "{1.0,}", "{1.0,}", 1);
        expect_value("numeric[]", "{,1.0}", "{,1.0}", 1);
        expect_value("numeric[]", "{{1.0}2.0}", "{{1.0}2.0}", 1);
        EXPECT_ROWS("numeric[]", {"{{},{}}", "{{},{}}"});
}

Test(canonical, a_domain_can_be_named)
{
        cr_assert_eq(lanemap_canonical_alias_add(slice("shop.price"), slice("numeric(10,2)")), 0);
        cr_assert_lt(lanemap_canonical_alias_add(slice("shop.price"), slice("nothing")), 0);
        cr_assert_lt(lanemap_canonical_alias_add(slice(""), slice("numeric")), 0);
        expect_value("shop.price", "1.00", "1", 0);
        expect_value("shop.price[]", "{1.00}", "{1}", 0);
        lanemap_canonical_alias_deinit();
        expect_value("shop.price", "1.00", "1.00", 0);
}

Test(canonical, identifiers_cannot_be_confused)
{
        struct lanemap_text one = {0}, other = {0};

        lanemap_canonical_table_key(slice("a.b"), slice("c=d\\e"), &one);
        cr_expect(lanemap_slice_is(lanemap_text_slice(&one), "a\\.b.c\\=d\\\\e"));
        lanemap_canonical_table_key(slice("a"), slice("b.c=d\\e"), &other);
        cr_expect_not(lanemap_slice_equal(lanemap_text_slice(&one), lanemap_text_slice(&other)));
        lanemap_text_deinit(&one);
        lanemap_text_deinit(&other);
}

/* Where the rounding interval is lopsided, a shorter text may exist on the other side. */
Test(canonical, powers_of_two_read_back)
{
        for (int i = -1074; i <= 1023; i++) {
                struct lanemap_text text = {0};
                double number = __builtin_ldexp(1, i);
                char exact[64];

                snprintf(exact, sizeof(exact), "%.17g", number);
                cr_assert_eq(lanemap_canonical_float(slice(exact), false, &text), 0);
                lanemap_text_append_char(&text, '\0');
                cr_expect_eq(strtod(text.data, NULL), number, "2^%d", i);
                lanemap_text_deinit(&text);
        }
}
