/* See resp/write.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/resp/number.h"
#include "daemon/resp/write.h"

/* A type byte, a number, \r\n: at most 24 bytes. */
static void line_write(struct lanemap_reply *reply, char type, uint64_t number)
{
        char *to = lanemap_reply_reserve(reply, 32);
        size_t n = 0;

        if (!to)
                return;
        to[n++] = type;
        n += lanemap_number_write(to + n, number);
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

/* How many error replies had a code; the last row is for what has no room. */
static struct {
        char text[16];
        uint64_t n;
} codes[24];

static void code_count(const char *text)
{
        size_t n = strcspn(text, " "), i = 0;

        if (n >= sizeof(codes[0].text))
                n = sizeof(codes[0].text) - 1;
        while (i + 1 < LANEMAP_N_ELEMENTS(codes) && codes[i].text[0] &&
               (strncmp(codes[i].text, text, n) != 0 || codes[i].text[n]))
                i++;
        memcpy(codes[i].text, text, n);
        codes[i].text[n] = 0;
        codes[i].n++;
}

const char *lanemap_reply_error_code(size_t i, uint64_t *ret_n)
{
        if (i >= LANEMAP_N_ELEMENTS(codes) || !codes[i].text[0])
                return NULL;
        *ret_n = codes[i].n;
        return codes[i].text;
}

void lanemap_reply_error_codes_reset(void)
{
        memset(codes, 0, sizeof(codes));
}

void lanemap_reply_error(struct lanemap_reply *reply, const char *format, ...)
{
        char text[768];
        va_list args;

        reply->n_errors++;
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        if (!reply->is_discarded)
                code_count(text);
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
        char *start = lanemap_reply_reserve(reply, n_ids * LANEMAP_ELEMENT_BYTES_MAX +
                                                           LANEMAP_ELEMENT_BYTES_MORE);
        char *to = start;

        if (!to)
                return;
        for (size_t i = 0; i < n_ids; i++)
                to = lanemap_element_write(to, '$', ids[i]);
        reply->end += (size_t)(to - start);
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

void lanemap_reply_null_array(struct lanemap_reply *reply)
{
        const char *text = reply->protocol < 3 ? "*-1\r\n" : "_\r\n";

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

void lanemap_reply_double(struct lanemap_reply *reply, double number)
{
        char text[40];
        int n = snprintf(text, sizeof(text), "%.17g", number);

        if (reply->protocol == 2) {
                lanemap_reply_bulk(reply, text, (size_t)n);
                return;
        }
        lanemap_reply_raw(reply, ",", 1);
        lanemap_reply_raw(reply, text, (size_t)n);
        lanemap_reply_raw(reply, "\r\n", 2);
}
