/* Saying in words what is wrong, for callers that want to know. */
#ifndef LANEMAP_STORE_ERROR_H
#define LANEMAP_STORE_ERROR_H

#include <lanemap/lanemap.h>

#include "common/base.h"

/* Fills error (NULL is fine) and answers r, so that it ends a function in one statement. */
int lanemap_store_error(struct lanemap_error *error, int r, const char *format, ...)
        LANEMAP_PRINTF(3, 4);

#endif
