/* See resp/write.h. Numbers are written by hand: they are most of what lanemapd says. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/alloc.h"
#include "daemon/resp/write.h"

#define REPLY_BYTES_FIRST 1024
#define REPLY_BYTES_KEEP  65536

void lanemap_reply_init(struct lanemap_reply *reply, uint32_t protocol)
{
        memset(reply, 0, sizeof(*reply));
        reply->protocol = protocol;
}

void lanemap_reply_deinit(struct lanemap_reply *reply)
{
        lanemap_free(reply->bytes);
        reply->bytes = NULL;
        reply->begin = reply->end = reply->capacity = 0;
}

static char *reply_grow(struct lanemap_reply *reply, size_t n)
{
        size_t live = reply->end - reply->begin;
        size_t capacity = reply->capacity ? reply->capacity : REPLY_BYTES_FIRST;
        char *bytes;

        if (reply->failed)
                return NULL;
        if (reply->begin >= live && reply->capacity - live >= n) {
                memmove(reply->bytes, reply->bytes + reply->begin, live);
                reply->begin = 0;
                reply->end = live;
                return reply->bytes + live;
        }
        while (capacity - reply->end < n)
                capacity *= 2;
        bytes = lanemap_realloc(reply->bytes, capacity);
        if (!bytes) {
                reply->failed = true;
                return NULL;
        }
        reply->bytes = bytes;
        reply->capacity = capacity;
        return bytes + reply->end;
}

char *lanemap_reply_reserve(struct lanemap_reply *reply, size_t n)
{
        if (LANEMAP_LIKELY(reply->capacity - reply->end >= n && !reply->failed))
                return reply->bytes + reply->end;
        return reply_grow(reply, n);
}

void lanemap_reply_sent(struct lanemap_reply *reply, size_t n)
{
        reply->begin += n;
        reply->stream += n;
        if (reply->begin == reply->end)
                reply->begin = reply->end = 0;
}

void lanemap_reply_cut(struct lanemap_reply *reply, uint64_t stream_from)
{
        if (stream_from < lanemap_reply_stream_end(reply))
                reply->end = reply->begin + (size_t)(stream_from - reply->stream);
}

void lanemap_reply_trim(struct lanemap_reply *reply)
{
        if (reply->begin == reply->end && reply->capacity > REPLY_BYTES_KEEP) {
                lanemap_free(reply->bytes);
                reply->bytes = NULL;
                reply->begin = reply->end = reply->capacity = 0;
        }
}

void lanemap_reply_raw(struct lanemap_reply *reply, const void *bytes, size_t n_bytes)
{
        char *to;

        if (n_bytes == 0)
                return;
        to = lanemap_reply_reserve(reply, n_bytes);
        if (!to)
                return;
        memcpy(to, bytes, n_bytes);
        reply->end += n_bytes;
}

/* Decimal digits of number; answers how many. */
static size_t number_write(char *to, uint64_t number)
{
        char digits[20];
        size_t n = 0;

        do {
                digits[sizeof(digits) - ++n] = (char)('0' + number % 10);
                number /= 10;
        } while (number);
        memcpy(to, digits + sizeof(digits) - n, n);
        return n;
}

/* A type byte, a number, \r\n: at most 24 bytes. */
static void line_write(struct lanemap_reply *reply, char type, uint64_t number)
{
        char *to = lanemap_reply_reserve(reply, 32);
        size_t n = 0;

        if (!to)
                return;
        to[n++] = type;
        n += number_write(to + n, number);
        to[n++] = '\r';
        to[n++] = '\n';
        reply->end += n;
}

void lanemap_reply_simple(struct lanemap_reply *reply, const char *text)
{
        lanemap_reply_raw(reply, "+", 1);
        lanemap_reply_raw(reply, text, strlen(text));
        lanemap_reply_raw(reply, "\r\n", 2);
}

void lanemap_reply_error(struct lanemap_reply *reply, const char *format, ...)
{
        char text[768];
        va_list args;

        reply->n_errors++;
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        for (char *c = text; *c; c++)
                if (*c == '\r' || *c == '\n')
                        *c = ' ';
        lanemap_reply_raw(reply, "-", 1);
        lanemap_reply_raw(reply, text, strlen(text));
        lanemap_reply_raw(reply, "\r\n", 2);
}

void lanemap_reply_integer(struct lanemap_reply *reply, int64_t number)
{
        if (number >= 0) {
                line_write(reply, ':', (uint64_t)number);
                return;
        }
        lanemap_reply_raw(reply, ":", 1);
        line_write(reply, '-', 0 - (uint64_t)number);
}

void lanemap_reply_bulk(struct lanemap_reply *reply, const void *bytes, size_t n_bytes)
{
        line_write(reply, '$', n_bytes);
        lanemap_reply_raw(reply, bytes, n_bytes);
        lanemap_reply_raw(reply, "\r\n", 2);
}

void lanemap_reply_text(struct lanemap_reply *reply, const char *text)
{
        lanemap_reply_bulk(reply, text, strlen(text));
}

void lanemap_reply_ids(struct lanemap_reply *reply, const uint32_t *ids, size_t n_ids)
{
        for (size_t done = 0; done < n_ids;) {
                size_t n = LANEMAP_MIN(n_ids - done, (size_t)4096);
                char *start = lanemap_reply_reserve(reply, n * 20);
                char *to = start;

                if (!to)
                        return;
                for (size_t i = 0; i < n; i++) {
                        char digits[20];
                        size_t n_digits = number_write(digits, ids[done + i]);

                        *to++ = '$';
                        to += number_write(to, n_digits);
                        *to++ = '\r';
                        *to++ = '\n';
                        memcpy(to, digits, 10);
                        to += n_digits;
                        *to++ = '\r';
                        *to++ = '\n';
                }
                reply->end += (size_t)(to - start);
                done += n;
        }
}

void lanemap_reply_verbatim(struct lanemap_reply *reply, const char *text, size_t n_bytes)
{
        if (reply->protocol < 3) {
                lanemap_reply_bulk(reply, text, n_bytes);
                return;
        }
        line_write(reply, '=', n_bytes + 4);
        lanemap_reply_raw(reply, "txt:", 4);
        lanemap_reply_raw(reply, text, n_bytes);
        lanemap_reply_raw(reply, "\r\n", 2);
}

void lanemap_reply_null(struct lanemap_reply *reply)
{
        const char *text = reply->protocol < 3 ? "$-1\r\n" : "_\r\n";

        lanemap_reply_raw(reply, text, strlen(text));
}

void lanemap_reply_array(struct lanemap_reply *reply, uint64_t n_elements)
{
        line_write(reply, '*', n_elements);
}

void lanemap_reply_set(struct lanemap_reply *reply, uint64_t n_elements)
{
        line_write(reply, reply->protocol < 3 ? '*' : '~', n_elements);
}

void lanemap_reply_map(struct lanemap_reply *reply, uint64_t n_pairs)
{
        if (reply->protocol < 3)
                line_write(reply, '*', 2 * n_pairs);
        else
                line_write(reply, '%', n_pairs);
}
