/* Numbers as text: most of what lanemapd says. */
#ifndef LANEMAP_DAEMON_RESP_NUMBER_H
#define LANEMAP_DAEMON_RESP_NUMBER_H

#include <string.h>

#include "common/base.h"

#define LANEMAP_NUMBER_DIGITS_MAX 20

/* Decimal digits of number, at most LANEMAP_NUMBER_DIGITS_MAX. Return: how many. */
static inline size_t lanemap_number_write(char *to, uint64_t number)
{
        char digits[LANEMAP_NUMBER_DIGITS_MAX];
        size_t n = 0;

        do {
                digits[sizeof(digits) - ++n] = (char)('0' + number % 10);
                number /= 10;
        } while (number);
        memcpy(to, digits + sizeof(digits) - n, n);
        return n;
}

/* "$10\r\n4294967294\r\n" */
#define LANEMAP_ELEMENT_BYTES_MAX ((size_t)17)
/* Written beyond the end of an element: copying a fixed length is faster. */
#define LANEMAP_ELEMENT_BYTES_MORE ((size_t)10)

/* One id as a bulk string ('$') or an integer (':'). Return: where the next one goes. */
static inline char *lanemap_element_write(char *to, char type, uint32_t id)
{
        char digits[LANEMAP_NUMBER_DIGITS_MAX] = {0};
        size_t n_digits = lanemap_number_write(digits, id);

        *to++ = type;
        if (type == '$') {
                to += lanemap_number_write(to, n_digits);
                *to++ = '\r';
                *to++ = '\n';
        }
        memcpy(to, digits, 10);
        to += n_digits;
        *to++ = '\r';
        *to++ = '\n';
        return to;
}

#endif
