/* See arguments.h. */
#include "arguments.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int perf_sizes_parse(const char *text, uint64_t least, uint64_t *ret_sizes)
{
        uint64_t sizes[PERF_SIZES_MAX];
        char *end;
        int n = 0;

        do {
                if (n == PERF_SIZES_MAX || *text < '0' || *text > '9')
                        return -EINVAL;
                sizes[n] = strtoull(text, &end, 10);
                if (sizes[n++] < least)
                        return -EINVAL;
                text = end + 1;
        } while (*end == ',');
        if (*end)
                return -EINVAL;

        memcpy(ret_sizes, sizes, (size_t)n * sizeof(*sizes));
        return n;
}

FILE *perf_csv_open(const char *path)
{
        FILE *csv = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");

        if (csv)
                fputs("name,value,unit\n", csv);
        return csv;
}

int perf_csv_close(FILE *csv)
{
        int failed = fflush(csv) != 0;

        if (csv != stdout)
                failed |= fclose(csv) != 0;
        return failed ? -errno : 0;
}
