/* Bringing a copy of an index back: verify, copy, verify. BK1 to BK3 in verify/copy.h. */
#ifndef LANEMAP_DIRECTORY_RESTORE_H
#define LANEMAP_DIRECTORY_RESTORE_H

#include <lanemap/writer.h>

#include "common/file.h"

/*
 * Copy what a directory holds, a backup or a data directory that no writer has open, into a new
 * one.
 *
 * files          by which `to` is written
 * to             made if it does not exist, else it must be empty
 * error          may be NULL
 *
 * Return: 0. Errors: -EBADMSG `from` is damaged; -EBUSY a writer has it open; -ENOENT; -ENOTEMPTY;
 * errno of the file system.
 */
int lanemap_restore_directory(const struct lanemap_files *files, const char *from, const char *to,
                              struct lanemap_error *error);

#endif
