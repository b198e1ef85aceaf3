/* What both kinds of targets share. See load.h. */
#include "load/load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "tool.h"

void lanemap_load_refuse(struct lanemap_load_target *target, uint64_t line, const char *format, ...)
{
        char text[512];
        va_list args;

        if (target->n_refused++ >= LANEMAP_LOAD_COMPLAINTS_MAX)
                return;
        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        lanemap_tool_say("line %llu: %s", (unsigned long long)line, text);
        if (target->n_refused == LANEMAP_LOAD_COMPLAINTS_MAX)
                lanemap_tool_say("more bad lines are only counted from here on");
}

#ifndef LANEMAP_HAVE_HIREDIS
int lanemap_load_socket_open(const char *path, struct lanemap_load_target **ret_target)
{
        lanemap_tool_say("this program was built without hiredis, so it cannot talk to '%s'", path);
        return -EPROTONOSUPPORT;
}

int lanemap_load_socket_command(const char *path, const char **words, int n_words, int fd)
{
        struct lanemap_load_target *target;

        return lanemap_load_socket_open(path, &target);
}

int lanemap_load_socket_stats(const char *path,
                              void (*fn)(void *arg, const char *name, const char *text,
                                         int64_t number),
                              void *arg)
{
        struct lanemap_load_target *target;

        return lanemap_load_socket_open(path, &target);
}
#endif
