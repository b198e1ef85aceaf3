/*
 * A place of its own for each test: a name that nobody else publishes, and an empty directory. Both
 * are gone at the end, with every shared object of the name.
 *
 *         struct scratch scratch;
 *
 *         scratch_init(&scratch, "flip");
 *         ... scratch.name, scratch.directory ...
 *         scratch_deinit(&scratch);
 *
 * They are gone, too, when the process that made the place ends without a deinit: by exit(), where
 * a test's assertion has failed, or by a signal that says what it did wrong.
 *
 * What goes wrong here ends the process: no test goes on without its place.
 */
#ifndef LANEMAP_TESTS_SCRATCH_H
#define LANEMAP_TESTS_SCRATCH_H

#include "common/base.h"

struct scratch {
        char name[48];
        char directory[256];
        int dir_fd;
};

/* what     a few letters of [a-z0-9_-] that say whose it is */
void scratch_init(struct scratch *scratch, const char *what);
void scratch_deinit(struct scratch *scratch);

/* Removes a directory tree. One that is not there is fine. */
void scratch_remove_tree(const char *path);

/* Removes what is in a directory. */
void scratch_empty(const char *directory);

/* Removes every shared object of a name, the lock too. */
void scratch_remove_shared(const char *name);

/* A copy of a directory of plain files, under a new name. */
void scratch_copy_directory(const char *from, const char *to);

/*
 * One line per file, sorted: name, mode, size, BLAKE2b of the content. For "nothing was changed".
 * Owner: the caller, free().
 */
char *scratch_listing(const char *directory);
/* The same of the shared objects of a name, lock and spare aside; the control object without its
 * heartbeat and without the name of the object to come. */
char *scratch_shared_listing(const char *name);

/* The first file of a directory whose name begins with prefix, in sorted order. Return: whether
 * there is one. */
bool scratch_find(const char *directory, const char *prefix, char *ret_path, size_t path_bytes);

#endif
