/* What the benchmarks' command lines have in common. */
#ifndef LANEMAP_PERF_ARGUMENTS_H
#define LANEMAP_PERF_ARGUMENTS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PERF_SIZES_MAX 8

/* `N[,N...]`, each at least `least`. Return: how many, or -EINVAL. */
int perf_sizes_parse(const char *text, uint64_t least, uint64_t *ret_sizes);

/* --csv: a new file, or stdout for "-", with its first line written. NULL: errno says why. */
FILE *perf_csv_open(const char *path);

/* Return: 0 or a negative errno: the disk was full. */
int perf_csv_close(FILE *csv);

#endif
