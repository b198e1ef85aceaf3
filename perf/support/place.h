/* Where one index of a benchmark lives: a name nobody else publishes, a folder nobody else has. */
#ifndef LANEMAP_PERF_PLACE_H
#define LANEMAP_PERF_PLACE_H

#include <lanemap/lanemap.h>

struct perf_place {
        char name[LANEMAP_NAME_BYTES_MAX + 1];
        char directory[512];
};

/*
 * Makes the folder, in `dir`, or ends the program. Names are NAME-N, N counted within the process;
 * name NULL: perf-PID.
 */
void perf_place_make(const char *name, const char *dir, struct perf_place *ret_place);

/* The folder, the shared objects and the name's lock. */
void perf_place_remove(const struct perf_place *place);

/* A program of this build, by its path from the folder of the running one. Return: a block of
 * malloc. */
const char *perf_sibling_path(const char *relative);

#endif
