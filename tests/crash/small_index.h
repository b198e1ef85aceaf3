/*
 * A small index for programs that judge many states of a directory: two segments, a log behind
 * them, and what it answers as one number.
 */
#ifndef LANEMAP_TESTS_SMALL_INDEX_H
#define LANEMAP_TESTS_SMALL_INDEX_H

#include "crash_support.h"

/* A writer of an index that is there. Return: 0, or the error; *ret_error says why. */
int small_index_open(const struct lanemap_files *files, const char *name, const char *directory,
                     struct lanemap_writer **ret_writer, struct lanemap_error *ret_error);

/* Makes it in the empty directory of `scratch`, and leaves it as a killed writer would. */
void small_index_make(const struct lanemap_files *files, const struct scratch *scratch);

/* What it answers. Return: 0; -EBADMSG it contradicts itself. */
int small_index_digest(struct lanemap_writer *writer, uint64_t *ret_digest);

/* The same of what is in a directory, by a writer of that name; nothing of it is left in shared
 * memory. Return: also what keeps the writer from opening it, and then why. */
int small_index_read(const struct lanemap_files *files, const char *name, const char *directory,
                     uint64_t *ret_digest, struct lanemap_error *ret_error);

#endif
