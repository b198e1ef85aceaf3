/* Where one index of a benchmark lives: a name nobody else publishes, a folder nobody else has. */
#ifndef LANEMAP_PERF_PLACE_H
#define LANEMAP_PERF_PLACE_H

#include <lanemap/lanemap.h>

struct perf_place {
        char name[LANEMAP_NAME_BYTES_MAX + 1];
        char directory[512];
};

/*
 * Makes the folder. Names are NAME-N, N counted within the process.
 *
 * name    NULL: perf-PID
 * dir     the folder that it is made in
 *
 * Return: 0 or a negative errno.
 */
int perf_place_make(const char *name, const char *dir, struct perf_place *ret_place);

/* The folder, the shared objects and the name's lock. */
void perf_place_remove(const struct perf_place *place);

/* A program of this build, by its path from the folder of the running one. Return: 0 or a negative
 * errno. */
int perf_sibling_path(const char *relative, char *path, size_t path_bytes);

#endif
