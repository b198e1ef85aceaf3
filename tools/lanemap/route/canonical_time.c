/*
 * Dates, times and intervals, from PostgreSQL's ISO output.
 *
 * A timestamp with time zone is moved to UTC by its days and seconds; the fraction is never touched
 * but for its trailing zeros, since zones are whole seconds. infinity stays itself. Years may have
 * more than four digits and BC behind them (1 BC is year 0 of the proleptic Gregorian calendar).
 */
#include "route/canonical.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* A reader's place in a text; the calls answer whether they found what they wanted. */
struct cursor {
        const char *p;
        const char *end;
};

static bool take(struct cursor *cursor, char c)
{
        if (cursor->p == cursor->end || *cursor->p != c)
                return false;
        cursor->p++;
        return true;
}

static bool take_text(struct cursor *cursor, const char *text)
{
        size_t n = strlen(text);

        if ((size_t)(cursor->end - cursor->p) < n || memcmp(cursor->p, text, n) != 0)
                return false;
        cursor->p += n;
        return true;
}

static bool take_number(struct cursor *cursor, size_t n_digits_min, size_t n_digits_max,
                        int64_t *ret_number)
{
        int64_t number = 0;
        size_t n = 0;

        while (n < n_digits_max && cursor->p < cursor->end && *cursor->p >= '0' &&
               *cursor->p <= '9') {
                number = 10 * number + (*cursor->p++ - '0');
                n++;
        }
        *ret_number = number;
        return n >= n_digits_min;
}

/* ".123000" -> "123"; nothing there is an empty fraction. */
static bool take_fraction(struct cursor *cursor, struct lanemap_slice *ret_fraction)
{
        struct lanemap_slice fraction = {.data = cursor->p, .bytes = 0};

        if (take(cursor, '.')) {
                fraction.data = cursor->p;
                while (cursor->p < cursor->end && *cursor->p >= '0' && *cursor->p <= '9')
                        cursor->p++;
                fraction.bytes = (size_t)(cursor->p - fraction.data);
                if (fraction.bytes == 0)
                        return false;
                while (fraction.bytes > 0 && fraction.data[fraction.bytes - 1] == '0')
                        fraction.bytes--;
        }
        *ret_fraction = fraction;
        return true;
}

/* HH:MM:SS in seconds; hours have two digits in a time of day and may have more in an interval. */
static bool take_clock(struct cursor *cursor, size_t hour_digits_max, int64_t *ret_seconds,
                       struct lanemap_slice *ret_fraction)
{
        int64_t hours, minutes, seconds;

        if (!take_number(cursor, 2, hour_digits_max, &hours) || !take(cursor, ':') ||
            !take_number(cursor, 2, 2, &minutes) || !take(cursor, ':') ||
            !take_number(cursor, 2, 2, &seconds))
                return false;
        *ret_seconds = 3600 * hours + 60 * minutes + seconds;
        return take_fraction(cursor, ret_fraction);
}

/* +HH[:MM[:SS]], in seconds east of Greenwich. */
static bool take_zone(struct cursor *cursor, int64_t *ret_seconds)
{
        int64_t hours, minutes = 0, seconds = 0;
        bool west = take(cursor, '-');

        if (take(cursor, 'Z')) {
                *ret_seconds = 0;
                return !west;
        }
        if ((!west && !take(cursor, '+')) || !take_number(cursor, 2, 2, &hours))
                return false;
        if (take(cursor, ':') && !take_number(cursor, 2, 2, &minutes))
                return false;
        if (take(cursor, ':') && !take_number(cursor, 2, 2, &seconds))
                return false;
        seconds += 3600 * hours + 60 * minutes;
        *ret_seconds = west ? -seconds : seconds;
        return true;
}

static int64_t floor_div(int64_t a, int64_t b)
{
        return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

/* Days since 0000-03-01 of the proleptic Gregorian calendar, counted in years that begin in March
 * so that the leap day is the last one. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
        year -= month <= 2;
        month = month > 2 ? month - 3 : month + 9;
        return 365 * year + floor_div(year, 4) - floor_div(year, 100) + floor_div(year, 400) +
               (153 * month + 2) / 5 + day - 1;
}

static void date_of(int64_t days, int64_t *ret_year, int64_t *ret_month, int64_t *ret_day)
{
        int64_t year = floor_div(10000 * days + 14780, 3652425);
        int64_t rest, month;

        rest = days - days_of(year, 3, 1);
        if (rest < 0) {
                year--;
                rest = days - days_of(year, 3, 1);
        }
        month = (5 * rest + 2) / 153;
        *ret_day = rest - (153 * month + 2) / 5 + 1;
        *ret_month = month < 10 ? month + 3 : month - 9;
        *ret_year = year + (*ret_month <= 2);
}

static void fraction_append(struct lanemap_slice fraction, struct lanemap_text *text)
{
        if (fraction.bytes == 0)
                return;
        lanemap_text_append_char(text, '.');
        lanemap_text_append_slice(text, fraction);
}

static void timestamp_append(int64_t days, int64_t seconds, struct lanemap_slice fraction,
                             bool zoned, struct lanemap_text *text)
{
        int64_t year, month, day;
        bool before_christ;

        days += floor_div(seconds, 86400);
        seconds -= 86400 * floor_div(seconds, 86400);
        date_of(days, &year, &month, &day);
        before_christ = year <= 0;
        if (before_christ)
                year = 1 - year;
        lanemap_text_append_format(text, "%04lld-%02lld-%02lld %02lld:%02lld:%02lld",
                                   (long long)year, (long long)month, (long long)day,
                                   (long long)(seconds / 3600), (long long)(seconds / 60 % 60),
                                   (long long)(seconds % 60));
        fraction_append(fraction, text);
        if (zoned)
                lanemap_text_append(text, "+00", 3);
        if (before_christ)
                lanemap_text_append(text, " BC", 3);
}

int lanemap_canonical_timestamp(struct lanemap_slice value, bool zoned, struct lanemap_text *text)
{
        struct cursor cursor = {.p = value.data, .end = value.data + value.bytes};
        int64_t year, month, day, seconds, zone = 0;
        struct lanemap_slice fraction;

        if (lanemap_slice_is(value, "infinity") || lanemap_slice_is(value, "-infinity")) {
                lanemap_text_append_slice(text, value);
                return 0;
        }
        if (!take_number(&cursor, 4, 7, &year) || !take(&cursor, '-') ||
            !take_number(&cursor, 2, 2, &month) || !take(&cursor, '-') ||
            !take_number(&cursor, 2, 2, &day) || month < 1 || month > 12 || day < 1 || day > 31)
                return -EINVAL;
        if (!take(&cursor, ' ') && !take(&cursor, 'T'))
                return -EINVAL;
        if (!take_clock(&cursor, 2, &seconds, &fraction))
                return -EINVAL;
        if (zoned && !take_zone(&cursor, &zone))
                return -EINVAL;
        if (take_text(&cursor, " BC"))
                year = 1 - year;
        if (cursor.p != cursor.end)
                return -EINVAL;

        timestamp_append(days_of(year, month, day), seconds - zone, fraction, zoned, text);
        return 0;
}

/* With or without a zone, which stays: 12:00+00 and 13:00+01 are different values. */
int lanemap_canonical_time(struct lanemap_slice value, struct lanemap_text *text)
{
        struct cursor cursor = {.p = value.data, .end = value.data + value.bytes};
        struct lanemap_slice fraction;
        int64_t seconds;

        if (!take_clock(&cursor, 2, &seconds, &fraction))
                return -EINVAL;
        lanemap_text_append(text, value.data, 8);
        fraction_append(fraction, text);
        lanemap_text_append(text, cursor.p, (size_t)(cursor.end - cursor.p));
        return 0;
}

/* The seconds of one unit in IntervalStyle postgres; 0: not a unit. */
static int64_t take_unit(struct cursor *cursor)
{
        static const struct {
                const char *name;
                int64_t seconds;
        } units[] = {
                {"years", 360 * 86400}, {"year", 360 * 86400}, {"mons", 30 * 86400},
                {"mon", 30 * 86400},    {"days", 86400},       {"day", 86400},
        };

        for (size_t i = 0; i < LANEMAP_N_ELEMENTS(units); i++) {
                if (take_text(cursor, units[i].name))
                        return units[i].seconds;
        }
        return 0;
}

/* A sum of signed parts: years to days and the clock have signs of their own. */
struct interval {
        int64_t seconds;
        int64_t microseconds; /* of the clock's fraction, with its sign */
};

/* The clock ends an interval. */
static bool interval_clock(struct cursor *cursor, bool negative, struct interval *interval)
{
        struct lanemap_slice fraction;
        int64_t seconds, microseconds = 0;

        if (!take_clock(cursor, 12, &seconds, &fraction) || fraction.bytes > 6 ||
            cursor->p != cursor->end)
                return false;
        for (size_t i = 0; i < 6; i++)
                microseconds =
                        10 * microseconds + (i < fraction.bytes ? fraction.data[i] - '0' : 0);
        interval->microseconds = negative ? -microseconds : microseconds;
        return !__builtin_add_overflow(interval->seconds, negative ? -seconds : seconds,
                                       &interval->seconds);
}

/* "3 days": ten digits hold any count of PostgreSQL's. */
static bool interval_unit(struct cursor *cursor, bool negative, struct interval *interval)
{
        int64_t number, unit;

        if (!take_number(cursor, 1, 10, &number) || !take(cursor, ' '))
                return false;
        unit = take_unit(cursor);
        if (unit == 0 || (cursor->p < cursor->end && !take(cursor, ' ')))
                return false;
        number *= negative ? -unit : unit;
        return !__builtin_add_overflow(interval->seconds, number, &interval->seconds);
}

static bool interval_parse(struct cursor *cursor, struct interval *interval)
{
        while (cursor->p < cursor->end) {
                bool negative = take(cursor, '-');
                struct cursor start;

                if (!negative)
                        take(cursor, '+');
                start = *cursor;
                if (interval_unit(cursor, negative, interval))
                        continue;
                *cursor = start;
                return interval_clock(cursor, negative, interval);
        }
        return true;
}

int lanemap_canonical_interval(struct lanemap_slice value, struct lanemap_text *text)
{
        struct cursor cursor = {.p = value.data, .end = value.data + value.bytes};
        struct interval interval = {0};
        struct lanemap_slice fraction;
        char digits[32];
        bool negative;

        if (value.bytes == 0 || !interval_parse(&cursor, &interval))
                return -EINVAL;
        if (interval.microseconds < 0 && interval.seconds > 0) {
                interval.seconds--;
                interval.microseconds += 1000000;
        } else if (interval.microseconds > 0 && interval.seconds < 0) {
                interval.seconds++;
                interval.microseconds -= 1000000;
        }
        negative = interval.seconds < 0 || interval.microseconds < 0;
        if (negative)
                lanemap_text_append_char(text, '-');
        lanemap_text_append_u64(text, negative ? -(uint64_t)interval.seconds
                                               : (uint64_t)interval.seconds);
        snprintf(digits, sizeof(digits), "%06d", abs((int)interval.microseconds));
        fraction = (struct lanemap_slice){.data = digits, .bytes = 6};
        while (fraction.bytes > 0 && digits[fraction.bytes - 1] == '0')
                fraction.bytes--;
        fraction_append(fraction, text);
        return 0;
}
