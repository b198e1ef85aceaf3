/* Which processors a process runs on: who measures has the last one, who makes work the others. */
#ifndef LANEMAP_PERF_PIN_H
#define LANEMAP_PERF_PIN_H

#include <sys/types.h>

/* How many processors this process may use. */
int perf_n_cpus(void);

/* The calling thread, onto the last of them. Return: 0 or a negative errno. */
int perf_pin_measuring(void);

/* Every thread of `pid`: off the last processor (spread = 0), or anywhere (spread = 1). Nothing
 * happens where there is only one. Return: 0 or a negative errno. */
int perf_pin_working(pid_t pid, int spread);

#endif
