/* Messages of the engine to people: lines for options.log, sentences for options.error. */
#include "writer/core/core.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void lanemap_engine_log(const struct lanemap_writer *writer, int priority, const char *format, ...)
{
        char line[1024];
        va_list args;

        if (!writer->options.log)
                return;

        va_start(args, format);
        vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        writer->options.log(writer->options.log_arg, priority, line);
}

/* Says why open failed, unless a part that knows more has said it already. */
int lanemap_engine_fail(const struct lanemap_writer *writer, int r, const char *format, ...)
{
        struct lanemap_error *error = writer->options.error;
        va_list args;

        if (!error || error->text[0] != '\0')
                return r;

        va_start(args, format);
        vsnprintf(error->text, sizeof(error->text), format, args);
        va_end(args);
        return r;
}
