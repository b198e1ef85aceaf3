/* The report of a repair: lines of what is found, done or lost, and the one that says why it
 * fails. */
#include "directory/repair_parts.h"

#include <stdarg.h>
#include <stdio.h>

void lanemap_repair_say(const struct lanemap_repair *repair, const char *format, ...)
{
        char line[1024];
        va_list args;

        if (!repair->options->say)
                return;
        va_start(args, format);
        vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        repair->options->say(repair->options->say_arg, line);
}

int lanemap_repair_fail(const struct lanemap_repair *repair, int r, const char *format, ...)
{
        va_list args;

        if (!repair->error)
                return r;
        va_start(args, format);
        vsnprintf(repair->error->text, sizeof(repair->error->text), format, args);
        va_end(args);
        return r;
}
