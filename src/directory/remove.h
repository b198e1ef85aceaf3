/*
 * An index that no writer has is removed: its shared objects, and, if asked for, its data
 * directory.
 *
 *   1. the lock of the name, and that of the directory
 *   2. the control object: from here on nobody attaches; then data objects, the spare
 *   3. manifest.json: from here on there is no index; then segment files, log, quarantine
 *   4. the lock files, while they are held; the directory
 *
 *   RM1  Nothing is removed while a writer lives: both locks are held from before the first unlink
 *       until after the last one. A program that has opened a lock file which is removed meanwhile
 *       finds that out and takes the one that is there (lanemap_store_lock()).
 *   RM2  Only what the index made is removed: names as in FORMAT.md. Anything else stays, the
 *       directory with it, and is named.
 *   RM3  A directory that holds another index than the name's objects is refused.
 *   RM4  What a crash leaves the next call removes; removing what is not there is no error.
 *
 * Readers that are attached keep what they have mapped.
 */
#ifndef LANEMAP_DIRECTORY_REMOVE_H
#define LANEMAP_DIRECTORY_REMOVE_H

#include <lanemap/lanemap.h>

#include "common/file.h"

struct lanemap_remove_options {
        const struct lanemap_files *files;
        const char *name;
        const char *directory; /* NULL: it stays */
};

struct lanemap_remove_report {
        uint32_t n_objects; /* of shared memory */
        uint32_t n_files;
        uint64_t object_bytes;
        uint64_t file_bytes;
};

/*
 * ret_report     written also on failure
 * error          may be NULL; says what is wrong and what to do
 *
 * Return: 0: nothing is left. Errors: -EBUSY a writer lives, -EEXIST RM3, -EINVAL bad name, or the
 * directory is none of an index: nothing was removed. -ENOTEMPTY RM2, -EPERM, -EACCES an object or
 * file is another user's, -ENOMEM, ...: the rest was removed.
 * Thread: any.
 */
int lanemap_remove_index(const struct lanemap_remove_options *options,
                         struct lanemap_remove_report *ret_report, struct lanemap_error *error);

#endif
