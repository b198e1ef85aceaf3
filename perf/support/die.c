/* See die.h. */
#include "die.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void perf_die(const char *what, int r)
{
        fprintf(stderr, "%s: %s%s%s\n", program_invocation_short_name, what, r ? ": " : "",
                r ? strerror(r < 0 ? -r : r) : "");
        exit(1);
}
