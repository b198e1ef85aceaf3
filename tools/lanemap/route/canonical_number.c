/*
 * Numbers as text. numeric(38,10) has more digits than any machine number, so exact values never
 * leave their decimal digits: an exponent only moves the point, and zeros that say nothing go.
 */
#include "route/canonical.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* PostgreSQL's numeric has at most 131072 digits before the point and 16383 behind it. A text that
 * would grow past that is not one of its numbers. */
#define NUMERIC_DIGITS_MAX 150000

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool named(struct lanemap_slice value, const char *name)
{
        return value.bytes == strlen(name) && strncasecmp(value.data, name, value.bytes) == 0;
}

/* NaN and the infinities, which PostgreSQL spells in several ways. */
static int special_append(struct lanemap_slice value, struct lanemap_text *text)
{
        if (named(value, "nan"))
                lanemap_text_append(text, "NaN", 3);
        else if (named(value, "infinity") || named(value, "inf") || named(value, "+infinity"))
                lanemap_text_append(text, "Infinity", 8);
        else if (named(value, "-infinity") || named(value, "-inf"))
                lanemap_text_append(text, "-Infinity", 9);
        else
                return -EINVAL;
        return 0;
}

/* A decimal in parts: digits with the point taken out, and how many of them stand before it. */
struct decimal {
        bool negative;
        size_t digits;   /* offset of the first digit (or point) in the value */
        size_t end;      /* offset behind the last */
        size_t point;    /* offset of the point, or `end` */
        size_t n_digits; /* without the point */
        int64_t exponent;
};

/* [+-] digits [. digits] [e [+-] digits], one digit at least. */
static int decimal_parse(struct lanemap_slice value, struct decimal *ret_decimal)
{
        struct decimal decimal = {0};
        size_t at = 0;

        if (at < value.bytes && (value.data[at] == '-' || value.data[at] == '+'))
                decimal.negative = value.data[at++] == '-';
        decimal.digits = at;
        decimal.point = SIZE_MAX;
        for (; at < value.bytes; at++) {
                if (value.data[at] == '.' && decimal.point == SIZE_MAX)
                        decimal.point = at;
                else if (!is_digit(value.data[at]))
                        break;
        }
        decimal.end = at;
        decimal.n_digits = at - decimal.digits - (decimal.point != SIZE_MAX);
        if (decimal.point == SIZE_MAX)
                decimal.point = at;
        if (decimal.n_digits == 0)
                return -EINVAL;

        if (at < value.bytes && (value.data[at] == 'e' || value.data[at] == 'E')) {
                bool negative;

                at++;
                negative = at < value.bytes && value.data[at] == '-';
                at += negative || (at < value.bytes && value.data[at] == '+');
                if (at == value.bytes || value.bytes - at > 9)
                        return -EINVAL;
                for (; at < value.bytes && is_digit(value.data[at]); at++)
                        decimal.exponent = 10 * decimal.exponent + (value.data[at] - '0');
                if (negative)
                        decimal.exponent = -decimal.exponent;
        }
        if (at != value.bytes)
                return -EINVAL;

        *ret_decimal = decimal;
        return 0;
}

static void zeros_append(struct lanemap_text *text, int64_t n)
{
        for (; n > 0; n--)
                lanemap_text_append_char(text, '0');
}

/* digits[0 .. n): no zero at either end; the point stands behind the first `before` of them, which
 * may be negative or past the end. */
static void decimal_append(struct lanemap_text *text, const char *digits, size_t n, int64_t before)
{
        if (before <= 0) {
                lanemap_text_append(text, "0.", 2);
                zeros_append(text, -before);
                lanemap_text_append(text, digits, n);
        } else if (before >= (int64_t)n) {
                lanemap_text_append(text, digits, n);
                zeros_append(text, before - (int64_t)n);
        } else {
                lanemap_text_append(text, digits, (size_t)before);
                lanemap_text_append_char(text, '.');
                lanemap_text_append(text, digits + before, n - (size_t)before);
        }
}

/* Most numbers are plain integers in canonical form already. */
static bool is_plain_integer(struct lanemap_slice value)
{
        size_t at = value.bytes > 1 && value.data[0] == '-';

        if (value.bytes == 0 || (value.data[at] == '0' && value.bytes > 1))
                return false;
        for (; at < value.bytes; at++) {
                if (!is_digit(value.data[at]))
                        return false;
        }
        return true;
}

int lanemap_canonical_numeric(struct lanemap_slice value, struct lanemap_text *text)
{
        struct lanemap_text digits = {0};
        struct decimal decimal;
        size_t first = 0, n;
        int64_t before;

        if (is_plain_integer(value)) {
                lanemap_text_append_slice(text, value);
                return 0;
        }
        if (decimal_parse(value, &decimal) < 0)
                return special_append(value, text);

        for (size_t i = decimal.digits; i < decimal.end; i++) {
                if (i != decimal.point)
                        lanemap_text_append_char(&digits, value.data[i]);
        }
        before = (int64_t)(decimal.point - decimal.digits) + decimal.exponent;
        for (n = digits.bytes; n > 0 && digits.data[n - 1] == '0';)
                n--;
        while (first < n && digits.data[first] == '0')
                first++;
        n -= first;
        before -= (int64_t)first;
        if (n > 0 && (before > NUMERIC_DIGITS_MAX || before < -NUMERIC_DIGITS_MAX)) {
                lanemap_text_deinit(&digits);
                return -EINVAL;
        }

        if (n == 0) {
                lanemap_text_append_char(text, '0');
        } else {
                if (decimal.negative)
                        lanemap_text_append_char(text, '-');
                decimal_append(text, digits.data + first, n, before);
        }
        lanemap_text_deinit(&digits);
        return 0;
}

static bool reads_back(const char *text, double number, bool single)
{
        return single ? strtof(text, NULL) == (float)number : strtod(text, NULL) == number;
}

/* "d.ddde-XX" to the next larger number of as many digits. Return: false when that has one more. */
static bool digits_increment(char *text)
{
        char *p = strchr(text, 'e');

        while (p-- > text) {
                if (*p == '.')
                        continue;
                if (*p != '9') {
                        ++*p;
                        return true;
                }
                *p = '0';
        }
        return false;
}

/*
 * "d.ddde-XX" with the fewest digits that read back as the number, which is positive. At a power of
 * two more numbers read back from above than from below, so where the nearest text of some length
 * does not, the next larger one may.
 */
static void float_shortest(double number, bool single, char *room, size_t room_bytes)
{
        int precision_max = single ? 9 : 17;

        for (int precision = 1; precision <= precision_max; precision++) {
                snprintf(room, room_bytes, "%.*e", precision - 1, number);
                if (reads_back(room, number, single))
                        return;
                if (digits_increment(room) && reads_back(room, number, single))
                        return;
        }
}

/* PostgreSQL writes an exponent below 1e-4 and from 1e15 (real: 1e6) on. */
static void float_append(double number, bool single, struct lanemap_text *text)
{
        char room[64], digits[32];
        size_t n = 0;
        int exponent;

        float_shortest(fabs(number), single, room, sizeof(room));
        exponent = atoi(strchr(room, 'e') + 1);
        for (const char *p = room; *p != 'e'; p++) {
                if (is_digit(*p))
                        digits[n++] = *p;
        }
        if (number < 0)
                lanemap_text_append_char(text, '-');
        if (exponent >= -4 && exponent < (single ? 6 : 15)) {
                decimal_append(text, digits, n, exponent + 1);
                return;
        }
        lanemap_text_append_char(text, digits[0]);
        if (n > 1) {
                lanemap_text_append_char(text, '.');
                lanemap_text_append(text, digits + 1, n - 1);
        }
        lanemap_text_append_format(text, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
}

int lanemap_canonical_float(struct lanemap_slice value, bool single, struct lanemap_text *text)
{
        struct decimal decimal;
        char room[512];
        double number;

        if (decimal_parse(value, &decimal) < 0)
                return special_append(value, text);
        if (value.bytes >= sizeof(room))
                return -EINVAL;
        memcpy(room, value.data, value.bytes);
        room[value.bytes] = '\0';

        number = single ? (double)strtof(room, NULL) : strtod(room, NULL);
        if (!isfinite(number))
                return -EINVAL;
        if (number == 0)
                lanemap_text_append_char(text, '0');
        else
                float_append(number, single, text);
        return 0;
}
