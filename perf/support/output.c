/* See output.h. */
#include "output.h"

#include <errno.h>
#include <string.h>

#include "die.h"

void perf_output_open(struct perf_output *output, const char *path, const struct perf_goal *goals,
                      size_t n_goals)
{
        *output = (struct perf_output){.path = path, .goals = goals, .n_goals = n_goals};
        if (!path)
                return;

        output->csv = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
        if (!output->csv)
                perf_die(path, -errno);
        fputs("name,value,unit\n", output->csv);
}

void perf_output_table(struct perf_output *output, const struct perf_table *table,
                       const char *title, uint64_t n_keys)
{
        if (output->csv != stdout)
                perf_table_print(table, title, output->goals, output->n_goals, stdout);
        if (output->csv)
                perf_table_csv(table, n_keys, output->csv);
}

/* A disk that was full half-way leaves its mark in the stream, whatever the last call says. */
void perf_output_close(struct perf_output *output)
{
        bool failed;

        if (!output->csv)
                return;

        failed = fflush(output->csv) != 0 || ferror(output->csv);
        if (output->csv != stdout)
                failed |= fclose(output->csv) != 0;
        if (failed)
                perf_die(output->path, -EIO);
}
