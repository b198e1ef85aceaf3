/* The small parts of the command line: escapes, lines, odds. */
#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "escape.h"
#include "load/lines.h"
#include "odds.h"
#include "position.h"
#include "tool.h"

TestSuite(parts, .timeout = 60);

Test(parts, keys_survive_being_escaped)
{
        const char key[] = "a\tb\nc\\d\\t\0e";
        struct lanemap_text text = {0};
        char bad[] = "a\\", worse[] = "\\x";
        size_t bytes = strlen(bad);

        lanemap_escape_key((struct lanemap_slice){.data = key, .bytes = sizeof(key)}, &text);
        cr_expect_null(memchr(text.data, '\t', text.bytes));
        cr_expect_null(memchr(text.data, '\n', text.bytes));
        cr_assert_eq(lanemap_unescape_key(text.data, &text.bytes), 0);
        cr_assert_eq(text.bytes, sizeof(key));
        cr_expect_eq(memcmp(text.data, key, sizeof(key)), 0);
        cr_expect_eq(lanemap_unescape_key(bad, &bytes), -EINVAL);
        bytes = strlen(worse);
        cr_expect_eq(lanemap_unescape_key(worse, &bytes), -EINVAL);
        lanemap_text_deinit(&text);
}

Test(parts, numbers)
{
        uint64_t number = 0;

        cr_expect(lanemap_tool_number(LANEMAP_SLICE("007"), 10, &number));
        cr_expect_eq(number, 7);
        cr_expect(lanemap_tool_number(LANEMAP_SLICE("4294967294"), LANEMAP_ID_MAX, &number));
        cr_expect_not(lanemap_tool_number(LANEMAP_SLICE("4294967295"), LANEMAP_ID_MAX, &number));
        cr_expect_not(lanemap_tool_number(LANEMAP_SLICE(""), 10, &number));
        cr_expect_not(lanemap_tool_number(LANEMAP_SLICE("-1"), 10, &number));
        cr_expect_not(lanemap_tool_number(LANEMAP_SLICE("1 "), 10, &number));
        cr_expect_not(
                lanemap_tool_number(LANEMAP_SLICE("99999999999999999999999"), UINT64_MAX, &number));
}

/* One byte more than the limit is skipped, wherever the reads fall; what follows is read. */
Test(parts, long_lines_are_skipped_whole)
{
        struct lanemap_lines lines;
        size_t limit = 1000000, bytes;
        char *line;
        FILE *file = tmpfile();

        cr_assert_not_null(file);
        fprintf(file, "first\n\n");
        for (size_t i = 0; i < limit; i++)
                fputc('a', file);
        fputc('\n', file);
        for (size_t i = 0; i < limit + 1; i++)
                fputc('b', file);
        fprintf(file, "\nlast");
        rewind(file);

        lanemap_lines_init(&lines, fileno(file), limit);
        cr_assert_eq(lanemap_lines_next(&lines, &line, &bytes), 1);
        cr_expect(bytes == 5 && memcmp(line, "first", 5) == 0);
        cr_assert_eq(lanemap_lines_next(&lines, &line, &bytes), 1);
        cr_expect_eq(bytes, 0);
        cr_assert_eq(lanemap_lines_next(&lines, &line, &bytes), 1);
        cr_expect(bytes == limit && line[0] == 'a' && line[limit - 1] == 'a');
        cr_assert_eq(lanemap_lines_next(&lines, &line, &bytes), -EMSGSIZE);
        cr_expect_eq(lines.number, 4);
        cr_assert_eq(lanemap_lines_next(&lines, &line, &bytes), 1);
        cr_expect(bytes == 4 && memcmp(line, "last", 4) == 0);
        cr_assert_eq(lanemap_lines_next(&lines, &line, &bytes), 0);
        cr_assert_eq(lanemap_lines_next(&lines, &line, &bytes), 0);
        cr_expect_eq(lines.number, 5);
        lanemap_lines_deinit(&lines);
        fclose(file);
}

static void count_wait(void *arg)
{
        ++*(int *)arg;
}

Test(parts, the_caller_hears_before_a_sleep)
{
        struct lanemap_lines lines;
        int pipe_fds[2], n_waits = 0;
        size_t bytes;
        char *line;

        cr_assert_eq(pipe(pipe_fds), 0);
        lanemap_lines_init(&lines, pipe_fds[0], 100);
        lines.before_wait = count_wait;
        lines.arg = &n_waits;
        cr_assert_eq(write(pipe_fds[1], "a\nb\n", 4), 4);
        cr_assert_eq(lanemap_lines_next(&lines, &line, &bytes), 1);
        cr_assert_eq(lanemap_lines_next(&lines, &line, &bytes), 1);
        cr_expect_eq(n_waits, 0);
        close(pipe_fds[1]);
        cr_assert_eq(lanemap_lines_next(&lines, &line, &bytes), 0);
        cr_expect_eq(n_waits, 0);
        lanemap_lines_deinit(&lines);
        close(pipe_fds[0]);
}

Test(parts, odds_are_what_they_are)
{
        /* 2^64 / 10^6 / 10^5 and so on; powers of two divide exactly. */
        cr_expect_eq(lanemap_odds_seconds_between(1 << 20, 64, 1 << 10), 17179869184.0);
        cr_expect_eq(lanemap_odds_seconds_between(1 << 20, 80, 1 << 10), 1125899906842624.0);
        cr_expect_eq(lanemap_odds_seconds_between(1 << 20, 96, 1 << 10), 73786976294838206464.0);
        cr_expect_float_eq(lanemap_odds_seconds_between(1000000, 64, 100000), 184467440.73709551616,
                           1e-6);
        cr_expect(isinf(lanemap_odds_seconds_between(0, 64, 5)));
        cr_expect(isinf(lanemap_odds_seconds_between(5, 64, 0)));
        cr_expect_eq(lanemap_odds_false_route(1 << 10, 64), 0x1p-54);
        cr_expect_eq(lanemap_odds_collision(1 << 10, 64), 0x1p-45);
}

Test(parts, times_are_said_in_words)
{
        static const struct {
                double seconds;
                const char *words;
        } times[] = {
                {0.25, "0.25 seconds"},
                {59, "59 seconds"},
                {90, "1.5 minutes"},
                {7200, "2.0 hours"},
                {86400 * 45.0, "45 days"},
                {184467440.737, "5.8 years"},
                {12089258196146.2, "383093 years"},
                {2e6 * 31556952.0, "2.0 million years"},
                {2.5e10 * 31556952.0, "25 billion years"},
                {1e20 * 31556952.0, "1e+11 billion years"},
                {HUGE_VAL, "never"},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(times); i++) {
                char room[40];

                lanemap_odds_time_format(times[i].seconds, room, sizeof(room));
                cr_expect_str_eq(room, times[i].words, "%s instead of %s", room, times[i].words);
        }
}

static struct lanemap_slice slice(const char *text)
{
        return (struct lanemap_slice){.data = text, .bytes = strlen(text)};
}

Test(parts, positions)
{
        static const char *const no[] = {"",     "/",     "0/",          "/0",
                                         "0",    "0/0/0", "0/123456789", "g/0",
                                         "0/-1", " 0/0",  "0/0 ",        "0x1/0"};
        uint64_t lsn = 77;

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(no); i++)
                cr_expect_not(lanemap_lsn_parse(slice(no[i]), &lsn), "%s", no[i]);
        cr_expect_eq(lsn, 77);
        cr_expect(lanemap_lsn_parse(slice("0/0"), &lsn) && lsn == 0);
        cr_expect(lanemap_lsn_parse(slice("16/b374D848"), &lsn) && lsn == UINT64_C(0x16b374d848));
        cr_expect(lanemap_lsn_parse(slice("FFFFFFFF/FFFFFFFF"), &lsn) && lsn == UINT64_MAX);
}
