/*
 * The outcome of a run: rows of name, value, unit; printed for people, and as CSV for programs.
 *
 * A name is stable: it is what two runs are compared by. In the CSV it begins with the number of
 * keys, `n1000000.hit_p50`.
 */
#ifndef LANEMAP_PERF_TABLE_H
#define LANEMAP_PERF_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PERF_TABLE_ROWS_MAX 512

struct perf_row {
        char name[56];
        char unit[16];
        double value;
};

/* What a row is meant to be. Said beside the value; never a verdict of the program. */
struct perf_goal {
        const char *name;
        bool at_least;
        double value;
};

struct perf_table {
        size_t n_rows;
        struct perf_row rows[PERF_TABLE_ROWS_MAX];
        size_t n_notes;
        char notes[16][160];
};

void perf_table_add(struct perf_table *table, const char *name, double value, const char *unit);
void perf_table_note(struct perf_table *table, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Notes what a reader of the numbers should know of the machine and of the build, now. */
void perf_table_circumstances(struct perf_table *table);

/* The row's value, or 0. */
double perf_table_value(const struct perf_table *table, const char *name);

void perf_table_print(const struct perf_table *table, const char *title,
                      const struct perf_goal *goals, size_t n_goals, FILE *to);
void perf_table_csv(const struct perf_table *table, uint64_t n_keys, FILE *to);

#endif
