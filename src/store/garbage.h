/*
 * Files that a crash left in the data directory: they have our names, and nothing names them.
 *
 * Only the holder of the lock may ask, and after a takeover only once the new generation is
 * published: until then readers of the old one may still open such a file.
 */
#ifndef LANEMAP_STORE_GARBAGE_H
#define LANEMAP_STORE_GARBAGE_H

#include "store/log_recover.h"
#include "store/manifest_format.h"

/*
 * Names of segment files (seg-*.lms) that the manifest does not list under that number and
 * checksum, of log files (log-*.lml) that are not among log_files, and of temporary files (*.tmp,
 * tmp-seg-*). Files of other names are not ours and never named.
 *
 * manifest       the one in force; NULL: there is none, so every segment is garbage
 * log_files      lanemap_log_get_files(), taken after the manifest was written
 *
 * Return: 0, and *ret_n_names names (each NUL-terminated), sorted, in one block to be freed with
 * lanemap_free(); NULL when there are none. Errors: -ENOMEM, errno of readdir.
 */
int lanemap_store_list_garbage(int dir_fd, const struct lanemap_manifest *manifest,
                               const struct lanemap_log_file *log_files, size_t n_log_files,
                               char ***ret_names, size_t *ret_n_names);

/*
 * Asks if there are segment or log files: without a manifest, they are the sign of a damaged index.
 * Return: 1, 0, or a negative errno, as above.
 */
int lanemap_store_has_data(int dir_fd);

#endif
