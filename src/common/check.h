/*
 * Two families of assertions.
 *
 * lanemap_check() is always compiled in. It stands where going on would publish a lie: keys of a
 * segment out of order, a generation that does not grow, an offset outside its region. It ends the
 * process; the kernel gives the locks up and readers go on with what was published before.
 *
 * lanemap_debug_check() exists in debug and sanitizer builds (LANEMAP_DEBUG_CHECKS).
 *
 * A reader never asserts on bytes that it reads: they are input, and answer -EBADMSG.
 */
#ifndef LANEMAP_COMMON_CHECK_H
#define LANEMAP_COMMON_CHECK_H

#include "common/base.h"

_Noreturn void lanemap_check_failed(const char *what, const char *file, int line);

#define lanemap_check(expr)                                              \
        do {                                                             \
                if (LANEMAP_UNLIKELY(!(expr)))                           \
                        lanemap_check_failed(#expr, __FILE__, __LINE__); \
        } while (0)

#if defined(LANEMAP_DEBUG_CHECKS) || defined(LANEMAP_SANITIZED)
#define lanemap_debug_check(expr) lanemap_check(expr)
#else
#define lanemap_debug_check(expr) ((void)sizeof(expr))
#endif

#endif
