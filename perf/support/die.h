/* How a benchmark ends when something cannot be measured or an answer is wrong. */
#ifndef LANEMAP_PERF_DIE_H
#define LANEMAP_PERF_DIE_H

/*
 * One sentence on stderr, `PROGRAM: WHAT: the error's text`, and exit status 1.
 *
 * r    an errno of either sign; 0: WHAT says it all
 */
void perf_die(const char *what, int r) __attribute__((noreturn));

#endif
