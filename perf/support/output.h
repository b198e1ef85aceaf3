/*
 * Where the tables of a run go: on stdout for people, beside goals, and into a CSV for programs.
 *
 * A program reports and never judges: goals stand beside the values, and its exit status says only
 * whether everything could be measured and every answer was right.
 */
#ifndef LANEMAP_PERF_OUTPUT_H
#define LANEMAP_PERF_OUTPUT_H

#include <stdio.h>

#include "table.h"

struct perf_output {
        const char *path;
        FILE *csv; /* NULL: none; stdout: nothing but that */
        const struct perf_goal *goals;
        size_t n_goals;
};

/* path: of --csv, "-" for stdout; NULL: no CSV. goals stay the caller's. What fails ends the
 * program. */
void perf_output_open(struct perf_output *output, const char *path, const struct perf_goal *goals,
                      size_t n_goals);
void perf_output_close(struct perf_output *output);

/* n_keys: what the names of the rows begin with in the CSV. */
void perf_output_table(struct perf_output *output, const struct perf_table *table,
                       const char *title, uint64_t n_keys);

#endif
