/* See lines.h. */
#include "load/lines.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

#define FIRST_BUFFER_BYTES ((size_t)256 << 10)

void lanemap_lines_init(struct lanemap_lines *lines, int fd, size_t line_bytes_max)
{
        *lines = (struct lanemap_lines){.fd = fd, .line_bytes_max = line_bytes_max};
        lines->capacity = FIRST_BUFFER_BYTES;
        lines->buffer = lanemap_tool_realloc(NULL, lines->capacity, 1);
}

void lanemap_lines_deinit(struct lanemap_lines *lines)
{
        free(lines->buffer);
        lines->buffer = NULL;
}

/* Room for at least one more byte behind `end`. */
static void buffer_make_room(struct lanemap_lines *lines)
{
        if (lines->start > 0) {
                memmove(lines->buffer, lines->buffer + lines->start, lines->end - lines->start);
                lines->scanned -= lines->start;
                lines->end -= lines->start;
                lines->start = 0;
        }
        if (lines->end < lines->capacity)
                return;
        lines->capacity *= 2;
        lines->buffer = lanemap_tool_realloc(lines->buffer, lines->capacity, 1);
}

static bool stopped(const struct lanemap_lines *lines)
{
        return lines->stop && *lines->stop;
}

/* Sleeps until there is something to read. Return: 0, -EINTR when *stop was set. */
static int input_sleep(struct lanemap_lines *lines, const sigset_t *wait_mask)
{
        struct pollfd pollfd = {.fd = lines->fd, .events = POLLIN};

        while (!stopped(lines)) {
                if (ppoll(&pollfd, 1, NULL, wait_mask) >= 0)
                        return stopped(lines) ? -EINTR : 0;
                if (errno != EINTR)
                        return -errno;
        }
        return -EINTR;
}

static int input_wait(struct lanemap_lines *lines)
{
        struct pollfd pollfd = {.fd = lines->fd, .events = POLLIN};
        sigset_t mask;
        int r;

        if (lines->before_wait && poll(&pollfd, 1, 0) == 0)
                lines->before_wait(lines->arg);
        if (!lines->stop)
                return input_sleep(lines, NULL);

        sigprocmask(SIG_BLOCK, lines->stop_signals, &mask);
        r = input_sleep(lines, &mask);
        sigprocmask(SIG_SETMASK, &mask, NULL);
        return r;
}

static int buffer_fill(struct lanemap_lines *lines)
{
        ssize_t n;
        int r;

        buffer_make_room(lines);
        r = input_wait(lines);
        if (r < 0)
                return r;
        do
                n = read(lines->fd, lines->buffer + lines->end, lines->capacity - lines->end);
        while (n < 0 && (errno == EINTR || errno == EAGAIN));
        if (n < 0)
                return -errno;

        if (n == 0)
                lines->at_end = true;
        lines->end += (size_t)n;
        lines->n_bytes += (uint64_t)n;
        return 0;
}

/* The line buffer[start .. at) is complete; the next one starts at `next`. */
static int line_answer(struct lanemap_lines *lines, size_t at, size_t next, char **ret_line,
                       size_t *ret_bytes)
{
        size_t start = lines->start;
        bool skipped = lines->skipping || at - start > lines->line_bytes_max;

        lines->start = lines->scanned = next;
        lines->skipping = false;
        lines->number++;
        if (skipped)
                return -EMSGSIZE;

        *ret_line = lines->buffer + start;
        *ret_bytes = at - start;
        return 1;
}

int lanemap_lines_next(struct lanemap_lines *lines, char **ret_line, size_t *ret_bytes)
{
        for (;;) {
                char *newline =
                        memchr(lines->buffer + lines->scanned, '\n', lines->end - lines->scanned);
                int r;

                if (newline) {
                        size_t at = (size_t)(newline - lines->buffer);

                        return line_answer(lines, at, at + 1, ret_line, ret_bytes);
                }
                lines->scanned = lines->end;
                if (lines->end - lines->start > lines->line_bytes_max) {
                        lines->skipping = true;
                        lines->start = lines->scanned = lines->end = 0;
                }
                if (lines->at_end) {
                        if (lines->start == lines->end && !lines->skipping)
                                return 0;
                        return line_answer(lines, lines->end, lines->end, ret_line, ret_bytes);
                }
                r = buffer_fill(lines);
                if (r < 0)
                        return r;
        }
}
