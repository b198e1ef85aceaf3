/* See error.h. */
#include "store/error.h"

#include <stdarg.h>
#include <stdio.h>

int lanemap_store_error(struct lanemap_error *error, int r, const char *format, ...)
{
        va_list args;

        if (!error)
                return r;

        va_start(args, format);
        vsnprintf(error->text, sizeof(error->text), format, args);
        va_end(args);
        return r;
}
