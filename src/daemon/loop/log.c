/* See loop/log.h. */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/loop/log.h"

static int log_level = LOG_NOTICE;
static bool log_journal;

void lanemap_log_init(int loglevel)
{
        log_level = loglevel;
        log_journal = getenv("JOURNAL_STREAM") != NULL;
}

int lanemap_log_level(void)
{
        return log_level;
}

static size_t log_head(char *line, size_t n_line, int priority)
{
        struct timespec now;
        struct tm tm;
        size_t n;

        if (log_journal)
                return (size_t)snprintf(line, n_line, "<%d>", priority);
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        n = strftime(line, n_line, "%Y-%m-%dT%H:%M:%S", &tm);
        return n + (size_t)snprintf(line + n, n_line - n,
                                    ".%03ldZ lanemapd[%d]: ", now.tv_nsec / 1000000, (int)getpid());
}

static void LANEMAP_PRINTF(2, 0) log_line(int priority, const char *format, va_list args)
{
        char line[1280];
        size_t n;
        int r;

        if (priority > log_level)
                return;
        n = log_head(line, 128, priority);
        r = vsnprintf(line + n, sizeof(line) - n - 1, format, args);
        if (r < 0)
                return;
        n += LANEMAP_MIN((size_t)r, sizeof(line) - n - 2);
        line[n++] = '\n';
        if (write(STDERR_FILENO, line, n) < 0)
                return; /* there is nobody left to tell */
}

void lanemap_log(int priority, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        log_line(priority, format, args);
        va_end(args);
}

void lanemap_log_some(struct lanemap_log_some *some, uint64_t seconds, int priority,
                      const char *format, ...)
{
        va_list args;

        if (some->minute != seconds / 60) {
                if (some->n_left_out > 0)
                        lanemap_log(priority, "%" PRIu64 " lines like the next one were left out",
                                    some->n_left_out);
                *some = (struct lanemap_log_some){.minute = seconds / 60};
        }
        if (some->n_said == LANEMAP_LOG_SOME) {
                some->n_left_out++;
                return;
        }
        some->n_said++;
        va_start(args, format);
        log_line(priority, format, args);
        va_end(args);
}

static size_t text_append(char *line, size_t n, const char *text)
{
        while (*text)
                line[n++] = *text++;
        return n;
}

static size_t number_append(char *line, size_t n, uintptr_t number, unsigned base)
{
        char digits[24];
        size_t n_digits = 0;

        do
                digits[n_digits++] = "0123456789abcdef"[number % base];
        while (number /= base);
        while (n_digits > 0)
                line[n++] = digits[--n_digits];
        return n;
}

/* By hand: nothing of stdio may run in a signal's handler. */
void lanemap_log_fault(int number, const void *address)
{
        const char *name = sigabbrev_np(number);
        char line[160];
        size_t n;

        n = text_append(line, 0, log_journal ? "<2>" : "lanemapd: ");
        n = text_append(line, n, "SIG");
        n = text_append(line, n, name ? name : "?");
        if (address) {
                n = text_append(line, n, " at 0x");
                n = number_append(line, n, (uintptr_t)address, 16);
        }
        if (number == SIGBUS && address) /* in a segment file it is damage: signals.c */
                n = text_append(line, n, " (shared memory was cut short, or memory fails)");
        n = text_append(line, n, ": process ");
        n = number_append(line, n, (uintptr_t)getpid(), 10);
        n = text_append(line, n, " ends\n");
        if (write(STDERR_FILENO, line, n) < 0)
                return;
}

void lanemap_log_engine(void *arg, int priority, const char *line)
{
        lanemap_log(priority, "%s", line);
}
