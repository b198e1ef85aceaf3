/* Small things that every room uses. */
#ifndef LANEMAP_COMMON_BASE_H
#define LANEMAP_COMMON_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LANEMAP_CACHE_LINE_BYTES 64

#define LANEMAP_LIKELY(x)         __builtin_expect(!!(x), 1)
#define LANEMAP_UNLIKELY(x)       __builtin_expect(!!(x), 0)
#define LANEMAP_ALWAYS_INLINE     static inline __attribute__((always_inline))
#define LANEMAP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#define LANEMAP_MIN(a, b)         ((a) < (b) ? (a) : (b))
#define LANEMAP_MAX(a, b)         ((a) > (b) ? (a) : (b))
#define LANEMAP_N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

#define LANEMAP_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* `to` is a power of two. */
#define LANEMAP_ALIGN_UP(n, to) (((n) + ((to)-1)) & ~((__typeof__(n))(to)-1))

LANEMAP_ALWAYS_INLINE void lanemap_prefetch(const void *address)
{
        __builtin_prefetch(address, 0, 3);
}

#endif
