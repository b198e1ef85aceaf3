/* See loop/notify.h. */
#include <stdarg.h>
#include <stdio.h>

#include "daemon/loop/notify.h"

#ifdef LANEMAP_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>

void lanemap_notify(const char *format, ...)
{
        char text[2048];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        sd_notify(0, text);
}

uint64_t lanemap_notify_watchdog_usec(void)
{
        uint64_t usec = 0;

        return sd_watchdog_enabled(0, &usec) > 0 ? usec : 0;
}

int lanemap_notify_passed_fds(int *ret_fd)
{
        *ret_fd = SD_LISTEN_FDS_START;
        return sd_listen_fds(1);
}

#else

void lanemap_notify(const char *format, ...)
{
}

uint64_t lanemap_notify_watchdog_usec(void)
{
        return 0;
}

int lanemap_notify_passed_fds(int *ret_fd)
{
        return 0;
}

#endif
