/*
 * Lines of a file descriptor, for streams that never end.
 *
 * The caller gets each line in place and may change its bytes (the JSON scanner unescapes in
 * place). A line longer than the limit is skipped as a whole and reported, so that one bad producer
 * cannot stop the stream or fill the memory. Before the process would sleep in read(2),
 * before_wait() is called: that is where output is flushed. A signal that sets *stop ends the
 * stream even when it arrives just before the sleep: it is blocked for the last look at *stop, and
 * let in by ppoll(2).
 */
#ifndef LANEMAP_TOOLS_LINES_H
#define LANEMAP_TOOLS_LINES_H

#include <signal.h>

#include "common/base.h"

struct lanemap_lines {
        int fd;
        size_t line_bytes_max;
        void (*before_wait)(void *arg); /* may be NULL */
        void *arg;
        const volatile sig_atomic_t *stop; /* may be NULL */
        const sigset_t *stop_signals;      /* those that may set it */

        uint64_t number;  /* of the line that was answered last, from 1 */
        uint64_t n_bytes; /* read so far */

        /* private */
        char *buffer;
        size_t start, scanned, end, capacity;
        bool skipping, at_end;
};

/* line_bytes_max: without the newline. */
void lanemap_lines_init(struct lanemap_lines *lines, int fd, size_t line_bytes_max);
void lanemap_lines_deinit(struct lanemap_lines *lines);

/*
 * The next line, without its newline; the last one may lack it. Valid until the next call.
 *
 * Return: 1 a line, 0 the end. Errors: -EMSGSIZE this line is too long and was skipped (go on
 * calling), -EINTR *stop was set (bytes of an unfinished line are dropped), any errno of read(2).
 */
int lanemap_lines_next(struct lanemap_lines *lines, char **ret_line, size_t *ret_bytes);

#endif
