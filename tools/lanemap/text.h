/*
 * Byte strings of the tools: a slice that points into somebody's buffer, and a buffer that grows.
 *
 * Nothing here is NUL-terminated: keys and values may hold any byte. A tool that runs out of memory
 * has nothing left to save, so growing never fails: it says so and exits.
 */
#ifndef LANEMAP_TOOLS_TEXT_H
#define LANEMAP_TOOLS_TEXT_H

#include <string.h>

#include "common/base.h"

struct lanemap_slice {
        const char *data;
        size_t bytes;
};

#define LANEMAP_SLICE(literal) \
        ((struct lanemap_slice){.data = (literal), .bytes = sizeof(literal) - 1})

LANEMAP_ALWAYS_INLINE bool lanemap_slice_equal(struct lanemap_slice a, struct lanemap_slice b)
{
        return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.data, b.data, a.bytes) == 0);
}

LANEMAP_ALWAYS_INLINE bool lanemap_slice_is(struct lanemap_slice a, const char *text)
{
        return lanemap_slice_equal(a, (struct lanemap_slice){.data = text, .bytes = strlen(text)});
}

/* All zero is an empty text. Owner: whoever made it; lanemap_text_deinit() when done. */
struct lanemap_text {
        char *data;
        size_t bytes;
        size_t capacity;
};

/* Room for n more bytes; data may move. */
void lanemap_text_reserve(struct lanemap_text *text, size_t n);
void lanemap_text_append(struct lanemap_text *text, const void *data, size_t n);
void lanemap_text_append_char(struct lanemap_text *text, char c);
void lanemap_text_append_slice(struct lanemap_text *text, struct lanemap_slice slice);
void lanemap_text_append_u64(struct lanemap_text *text, uint64_t n);
__attribute__((nonnull)) void lanemap_text_append_format(struct lanemap_text *text,
                                                         const char *format, ...)
        LANEMAP_PRINTF(2, 3);
/* As a JSON string, with its quotes. Bytes above 0x7f pass as they are. */
void lanemap_text_append_json(struct lanemap_text *text, struct lanemap_slice slice);
void lanemap_text_deinit(struct lanemap_text *text);

/* realloc() that does not come back without memory. */
void *lanemap_tool_realloc(void *block, size_t n, size_t bytes);

LANEMAP_ALWAYS_INLINE struct lanemap_slice lanemap_text_slice(const struct lanemap_text *text)
{
        /* Never NULL: ends are computed from it. */
        return (struct lanemap_slice){.data = text->data ? text->data : "", .bytes = text->bytes};
}

#endif
