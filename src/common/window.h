/*
 * A bounded window on memory that somebody else writes.
 *
 * Readers trust nothing that they map: each offset is checked against the window before it is
 * followed, with arithmetic that cannot overflow. The bytes may change while they are looked at, so
 * each is loaded once, with the loads of order.h.
 */
#ifndef LANEMAP_COMMON_WINDOW_H
#define LANEMAP_COMMON_WINDOW_H

#include "common/base.h"

struct lanemap_window {
        const unsigned char *base;
        uint64_t bytes;
};

/* The address of [off, off + bytes), or NULL when that is not wholly inside, or off is not a
 * multiple of `align` (a power of two). */
LANEMAP_ALWAYS_INLINE const void *lanemap_window_at(const struct lanemap_window *window,
                                                    uint64_t off, uint64_t bytes, uint64_t align)
{
        if (LANEMAP_UNLIKELY(bytes > window->bytes || off > window->bytes - bytes ||
                             (off & (align - 1))))
                return NULL;

        return window->base + off;
}

#endif
