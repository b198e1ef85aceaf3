/* Where a failed lanemap_check() ends: one line to standard error, then SIGABRT with a core. */
#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>

#ifdef LANEMAP_TSAN
#include "common/order.h"
unsigned lanemap_order_tsan_fence;
#endif

_Noreturn void lanemap_check_failed(const char *what, const char *file, int line)
{
        fprintf(stderr, "lanemap: check failed: %s (%s:%d)\n", what, file, line);
        abort();
}
