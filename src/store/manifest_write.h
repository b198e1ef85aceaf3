/*
 * Making a manifest the one in force. Its writer has synced everything that it names: the
 * segment files, the directory entries, and the log through every position.
 */
#ifndef LANEMAP_STORE_MANIFEST_WRITE_H
#define LANEMAP_STORE_MANIFEST_WRITE_H

#include "common/file.h"
#include "store/manifest_format.h"

/* The bytes of the file; free with lanemap_free(). Return: 0, -ENOMEM. */
int lanemap_manifest_format(const struct lanemap_manifest *manifest, char **ret_text,
                            size_t *ret_bytes);

/*
 * Write manifest.json.tmp, sync it, rename it over manifest.json, sync the directory. A manifest
 * that does not verify ends the process (lanemap_check): it would be a lie.
 *
 * Return: 0: it is in force, durably. Errors: -ENOMEM, errno of the file layer. After an error from
 * the rename on, either the old or the new one may be in force after a crash: write one again
 * before relying on either. Files that the old one or the new one names stay until then.
 * Cost: under a millisecond for 64 lanes of 3 segments, and two syncs.
 */
int lanemap_manifest_write(const struct lanemap_files *files, int dir_fd,
                           const struct lanemap_manifest *manifest);

#endif
