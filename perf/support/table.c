/* See table.h. */
#include "table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "die.h"
#include "pin.h"

void perf_table_add(struct perf_table *table, const char *name, double value, const char *unit)
{
        struct perf_row *row = &table->rows[table->n_rows];

        if (table->n_rows == PERF_TABLE_ROWS_MAX)
                perf_die("more rows than a table has", -ENOSPC);

        *row = (struct perf_row){.value = value};
        snprintf(row->name, sizeof(row->name), "%s", name);
        snprintf(row->unit, sizeof(row->unit), "%s", unit);
        table->n_rows++;
}

void perf_table_note(struct perf_table *table, const char *format, ...)
{
        va_list args;

        if (table->n_notes == sizeof(table->notes) / sizeof(table->notes[0]))
                perf_die("more notes than a table has", -ENOSPC);

        va_start(args, format);
        vsnprintf(table->notes[table->n_notes++], sizeof(table->notes[0]), format, args);
        va_end(args);
}

void perf_table_circumstances(struct perf_table *table)
{
        double load[3] = {0};

        if (getloadavg(load, 3) < 1)
                return;

        perf_table_note(table, "%d processors, load %.2f when it began%s", perf_n_cpus(), load[0],
                        load[0] > 0.5 ? ": not quiet, trust ratios only" : "");
#if defined(LANEMAP_SANITIZED) || !defined(__OPTIMIZE__)
        perf_table_note(table, "not an optimised build: no number here is worth anything");
#endif
}

double perf_table_value(const struct perf_table *table, const char *name)
{
        for (size_t i = 0; i < table->n_rows; i++)
                if (strcmp(table->rows[i].name, name) == 0)
                        return table->rows[i].value;

        return 0;
}

static void value_format(char *text, size_t bytes, double value)
{
        double size = value < 0 ? -value : value;

        if (size >= 1000 || (value == (double)(int64_t)value && size >= 10))
                snprintf(text, bytes, "%.0f", value);
        else if (size >= 100)
                snprintf(text, bytes, "%.1f", value);
        else if (size >= 1)
                snprintf(text, bytes, "%.2f", value);
        else
                snprintf(text, bytes, "%.4f", value);
}

static const struct perf_goal *goal_of(const char *name, const struct perf_goal *goals,
                                       size_t n_goals)
{
        for (size_t i = 0; i < n_goals; i++)
                if (strcmp(goals[i].name, name) == 0)
                        return &goals[i];

        return NULL;
}

void perf_table_print(const struct perf_table *table, const char *title,
                      const struct perf_goal *goals, size_t n_goals, FILE *to)
{
        fprintf(to, "\n%s\n\n  %-42s %12s  %-8s %s\n", title, "measure", "value", "unit", "goal");
        for (size_t i = 0; i < table->n_rows; i++) {
                const struct perf_row *row = &table->rows[i];
                const struct perf_goal *goal = goal_of(row->name, goals, n_goals);
                char value[32], limit[32];

                value_format(value, sizeof(value), row->value);
                fprintf(to, "  %-42s %12s  %-8s", row->name, value, row->unit);
                if (goal) {
                        bool met = goal->at_least ? row->value >= goal->value
                                                  : row->value <= goal->value;

                        value_format(limit, sizeof(limit), goal->value);
                        fprintf(to, " %s %s%s", goal->at_least ? ">=" : "<=", limit,
                                met ? "  met" : "  MISSED");
                }
                fputc('\n', to);
        }
        for (size_t i = 0; i < table->n_notes; i++)
                fprintf(to, "  note: %s\n", table->notes[i]);
        fflush(to);
}

void perf_table_csv(const struct perf_table *table, uint64_t n_keys, FILE *to)
{
        for (size_t i = 0; i < table->n_rows; i++)
                fprintf(to, "n%" PRIu64 ".%s,%.9g,%s\n", n_keys, table->rows[i].name,
                        table->rows[i].value, table->rows[i].unit);
        fflush(to);
}
