/* See text.h. */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void *lanemap_tool_realloc(void *block, size_t n, size_t bytes)
{
        void *moved = reallocarray(block, n ? n : 1, bytes);

        if (!moved) {
                fprintf(stderr, "lanemap: out of memory (%zu times %zu bytes)\n", n, bytes);
                exit(1);
        }
        return moved;
}

void lanemap_text_reserve(struct lanemap_text *text, size_t n)
{
        size_t capacity = text->capacity ? text->capacity : 64;

        if (text->capacity - text->bytes >= n)
                return;
        while (capacity - text->bytes < n)
                capacity *= 2;
        text->data = lanemap_tool_realloc(text->data, capacity, 1);
        text->capacity = capacity;
}

void lanemap_text_append(struct lanemap_text *text, const void *data, size_t n)
{
        if (n == 0)
                return;
        lanemap_text_reserve(text, n);
        memcpy(text->data + text->bytes, data, n);
        text->bytes += n;
}

void lanemap_text_append_char(struct lanemap_text *text, char c)
{
        lanemap_text_reserve(text, 1);
        text->data[text->bytes++] = c;
}

void lanemap_text_append_slice(struct lanemap_text *text, struct lanemap_slice slice)
{
        lanemap_text_append(text, slice.data, slice.bytes);
}

void lanemap_text_append_u64(struct lanemap_text *text, uint64_t n)
{
        char digits[20];
        size_t at = sizeof(digits);

        do
                digits[--at] = (char)('0' + n % 10);
        while ((n /= 10) > 0);
        lanemap_text_append(text, digits + at, sizeof(digits) - at);
}

void lanemap_text_append_format(struct lanemap_text *text, const char *format, ...)
{
        va_list args;
        int n;

        va_start(args, format);
        n = vsnprintf(NULL, 0, format, args);
        va_end(args);
        if (n <= 0)
                return;

        lanemap_text_reserve(text, (size_t)n + 1);
        va_start(args, format);
        vsnprintf(text->data + text->bytes, (size_t)n + 1, format, args);
        va_end(args);
        text->bytes += (size_t)n;
}

void lanemap_text_append_json(struct lanemap_text *text, struct lanemap_slice slice)
{
        lanemap_text_append_char(text, '"');
        for (size_t i = 0; i < slice.bytes; i++) {
                unsigned char c = (unsigned char)slice.data[i];

                if (c == '"' || c == '\\') {
                        lanemap_text_append_char(text, '\\');
                        lanemap_text_append_char(text, (char)c);
                } else if (c < 0x20) {
                        lanemap_text_append_format(text, "\\u%04x", c);
                } else {
                        lanemap_text_append_char(text, (char)c);
                }
        }
        lanemap_text_append_char(text, '"');
}

void lanemap_text_deinit(struct lanemap_text *text)
{
        free(text->data);
        *text = (struct lanemap_text){0};
}
